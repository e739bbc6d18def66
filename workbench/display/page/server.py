"""Serves the page: Voila, on this machine only, behind a token, until Ctrl-C."""

from __future__ import annotations

import os
import secrets
import socket
import tempfile
import webbrowser
from collections.abc import Callable, Mapping
from pathlib import Path

from workbench.errors import GatewayError
from workbench.pipeline.parameters import Json

HOST = "127.0.0.1"
_SHARE = Path(__file__).parent / "share"
_NAME = "board.ipynb"


def serve_page(
    notebook: Path,
    values: Mapping[str, Json],
    *,
    port: int = 8866,
    open_browser: bool = True,
    theme: str = "light",
    say: Callable[[str], None] = print,
) -> None:
    """Serve the board of a notebook until Ctrl-C or SIGTERM; then no kernel is left.

    `say` is called with the address when the server listens. Each visit has a kernel of its own, which ends when the
    page is left. Raises `NotebookError`, and `GatewayError` when the port is taken.
    """
    from workbench.display.page.notebook import page_notebook

    text = page_notebook(notebook.read_text(encoding="utf-8"), values)
    with tempfile.TemporaryDirectory(prefix="workbench-board-") as folder:
        page = Path(folder) / _NAME
        page.write_text(text, encoding="utf-8")
        _serve(page, port, open_browser=open_browser, theme=theme, say=say)


def _serve(page: Path, port: int, *, open_browser: bool, theme: str, say: Callable[[str], None]) -> None:
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [str(_SHARE), os.environ.get("JUPYTER_PATH")]))
    from tornado.ioloop import IOLoop
    from traitlets.config import Config
    from voila.app import Voila

    from workbench.display.page.kernels import ThisInterpreter, VisitorKernels

    token, port = secrets.token_urlsafe(24), _free_port(port)
    voila = {
        "ip": HOST,
        "port": port,
        "port_retries": 0,
        "token": token,
        "open_browser": False,
        "config_file_paths": [],  # what the user has set up for other pages is not for this one
        "log_level": "ERROR",
        "tornado_settings": {"ws_ping_timeout": 30_000},  # Jupyter's own is longer than tornado takes, which says so
    }
    page_settings = {
        "template": "workbench",
        "theme": theme,
        "strip_sources": True,
        "show_tracebacks": True,
        "allow_template_override": "NO",
        "allow_theme_override": "NO",
        "multi_kernel_manager_class": VisitorKernels,
        "kernel_spec_manager_class": ThisInterpreter,
        "file_allowlist": [],
    }
    config = {
        "Voila": voila,
        "VoilaConfiguration": page_settings,
        "KernelManager": {"shutdown_wait_time": 15.0},  # recording ends in good order
        "MappingKernelManager": {"transport_encryption": "auto"},  # on TCP every user of the machine could listen
    }
    server = Voila(config=Config(config))
    server.initialize([str(page)])
    address = f"http://{HOST}:{port}/?token={token}"

    def tell() -> None:
        say(address)
        if open_browser:
            webbrowser.open(address)

    IOLoop.current().add_callback(tell)  # when it listens
    server.start()


def _free_port(port: int) -> int:
    """Return the port, or any where it is 0; say in our words when it is taken, before Voila says it in its own."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            return int(listener.getsockname()[1])
        except OSError as error:
            raise GatewayError(f"cannot listen on port {port} ({error.strerror}); choose another by --port") from error

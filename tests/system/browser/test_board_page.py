"""`workbench board` as its user has it: a page of its own in a real browser, and what is left when it is closed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.system.browser.lab import Lab
from tests.system.browser.window import Window, window_on
from workbench.store.database import DatabaseManager

PROJECT = Path(__file__).parents[3]
LIVE = r"""() => {
    const rows = document.querySelector('.workbench-board')?.innerText ?? '';
    return rows.includes('recorded by this kernel') && /(?!0\.0)\d+\.\d bars\/s/.test(rows);
}"""
_GONE_S = 30


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("WORKBENCH_", "JUPYTER"))}
    settings = {
        "WORKBENCH_NOTEBOOKS_DIR": str(PROJECT / "notebooks"),
        "WORKBENCH_GATEWAY__SPEED": "10",
        "WORKBENCH_GATEWAY__START": "2026-11-20T10:30:00",
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }
    command = [sys.executable, "-m", "workbench", "board", "AAPL", "KO", "--no-browser", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--data-dir", str(tmp_path / "data")],
        cwd=tmp_path, env=inherited | settings, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_page_shows_the_board_and_ends_its_kernel_when_it_is_left(
    server: subprocess.Popen[str], tmp_path: Path, chromium: Any, pictures: Path
) -> None:
    address = server.stdout.readline().split()[-1]
    assert address.startswith("http://127.0.0.1:"), address
    base, _, token = address.partition("/?token=")

    assert "Token" in urllib.request.urlopen(base, timeout=20).read().decode()  # it asks for it
    with window_on(Lab(base, token, tmp_path), chromium, pictures) as window:
        visit(window, address)
        window.picture("board-page-1280-light")
        first = kernels_of(server)
        window.page.close()  # as when the browser is killed: nothing tells the server but the end of its connection
        window.page = window.page.context.new_page()
        visit(window, address)  # it records: the kernel of the page before has let its symbols go
        assert psutil.wait_procs(first, _GONE_S)[1] == []
        second = kernels_of(server)
        assert (len(first), len(second)) == (1, 1)
        assert not window.errors
        server.send_signal(signal.SIGINT)
        assert server.wait(_GONE_S) == 0
        window.errors.clear()  # the page misses its server
    assert psutil.wait_procs(second, _GONE_S)[1] == []
    assert "Traceback" not in server.stdout.read()
    with DatabaseManager(f"sqlite:///{tmp_path / 'data' / 'demo' / 'trading.db'}") as database:
        rows = database.schema_status().tables
        assert rows["live_recorders"] == 0  # released, not only dead
        assert rows["live_bars"]


def visit(window: Window, address: str) -> None:
    window.page.goto(address, wait_until="commit")
    window.page.wait_for_function(LIVE, timeout=60_000)


def kernels_of(server: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(server.pid).children()

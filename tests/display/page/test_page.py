"""What stands behind the board's page, as far as no browser is needed; the rest is in tests/system/browser."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from workbench.display.page.notebook import page_notebook
from workbench.display.page.server import serve_page
from workbench.errors import GatewayError, NotebookError

BOARD = Path(__file__).parents[3] / "notebooks" / "05-stream-live.ipynb"


def sources(text: str) -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(text)["cells"]]


def test_the_page_has_the_parameters_what_is_given_the_board_and_its_begin() -> None:
    text = page_notebook(BOARD.read_text("utf-8"), {"symbols": ["KO"], "viewer": True})

    parameters, given, board, begin = sources(text)

    assert "follow_watchlist: bool = True" in parameters
    assert given == "symbols = ['KO']\nviewer = True\n"
    assert board.rstrip().endswith("board")
    assert begin.endswith("begin(board, desk, record=not viewer)\n")
    nbformat.validate(nbformat.reads(text, as_version=4))
    for cell in (parameters, given, board, begin):
        compile(cell, "cell", "exec")


def test_a_notebook_without_a_board_is_refused() -> None:
    cells: list[Any] = [nbformat.v4.new_code_cell("symbols = []", metadata={"tags": ["parameters"]})]

    with pytest.raises(NotebookError, match="tagged board"):
        page_notebook(nbformat.writes(nbformat.v4.new_notebook(cells=cells)), {})


def test_a_port_that_is_taken_is_told_before_anything_is_served() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        with pytest.raises(GatewayError, match=f"cannot listen on port {port} .* choose another by --port"):
            serve_page(BOARD, {}, port=port, open_browser=False, say=lambda _: pytest.fail("it listens"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["aapl"], "error: 'aapl' is no symbol (did you mean 'AAPL'?)"),
        (
            ["--gateway", "nowhere"],
            "error: gateway 'nowhere' is neither host:port, such as 127.0.0.1:7497",
        ),
    ],
)
def test_bad_input_is_refused_in_a_sentence(arguments: list[str], said: str) -> None:
    command = [sys.executable, "-m", "workbench", "board", "--no-browser", *arguments]

    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr

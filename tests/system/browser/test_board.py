"""The board as its user has it: notebook 05 in JupyterLab, in a real browser, over a gateway that gets killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from PIL import Image

from tests.system.browser.lab import free_port, running_lab
from tests.system.browser.window import READY_MS, Window, window_on
from workbench.display.live import assets

NOTEBOOK = "05-stream-live.ipynb"
FOLDER = Path(__file__).parents[3] / "notebooks"
SYMBOLS = ["AAPL", "KO", "MSFT", "NVDA", "XOM"]
SPEED = 5
BUSY_S = 60 if os.environ.get("WORKBENCH_SOAK") else 5
PANEL = "document.querySelector('.workbench-panel')"
CHARTS = "[...document.querySelectorAll('.workbench-board .workbench-chart')]"
WORD = f"{PANEL}?.querySelector('[data-part=word]')?.textContent"
ROW = "document.querySelector('.workbench-panel tr[data-symbol={}]')"
IN_ORDER = f"""(() => {{
    const ranks = [...{PANEL}.querySelectorAll('tbody [data-kind=int]')].map((one) => Number(one.textContent) || 99);
    return ranks[0] === 1 && ranks.every((rank, at) => !at || ranks[at - 1] <= rank);
}})()"""
BUSY = f"""
import time
from workbench.store.journal import LiveJournal
journal = LiveJournal(desk.db)
before, end = journal.end(), time.time() + {BUSY_S}
while time.time() < end:
    sum(range(10_000))
print(journal.end() - before)
"""

CAUGHT_UP = """
newest = journal.symbols()["KO"].end.timestamp()
while board.market.stocks["KO"].newest < newest:
    time.sleep(0.02)
print(board.panel.number)
"""


def test_the_board_moves_tells_the_truth_and_survives_what_befalls_it(
    tmp_path: Path, chromium: Any, pictures: Path
) -> None:
    if assets.why_not() and not os.environ.get("WORKBENCH_REQUIRE_CHROMIUM"):
        pytest.skip(assets.why_not())
    port = free_port()
    settings = {
        "WORKBENCH_DATA_DIR": str(tmp_path / "data"),
        "WORKBENCH_IB__PORT": str(port),
        "WORKBENCH_IB__GATEWAY_SPEED": str(SPEED),
    }
    (tmp_path / "lab").mkdir()
    copy_notebook(tmp_path / "lab" / NOTEBOOK)
    with gateway(port, "2026-11-20T10:44:30") as process, running_lab(tmp_path / "lab", settings) as lab:
        with window_on(lab, chromium, pictures, height=1200) as window:
            window.open(NOTEBOOK)
            window.run_all()
            shows_the_board(window, "light", "board-1280-light")
            moves(window)
            follows_the_selection(window)
            sorts_and_filters(window)
            tells_what_a_button_cannot_do(window)
            goes_on_while_a_cell_computes(window)
            says_when_the_kernel_is_silent(window)
            window.save()

        with window_on(lab, chromium, pictures, width=1920, height=1200) as window:
            window.open(NOTEBOOK, style="dark")
            assert selected(window) == "KO"
            shows_the_board(window, "dark", "board-1920-dark")
            moves(window)
            process.kill()
            turns_red(window)
            window.picture("board-1920-dark-no-gateway")
            begun = monotonic()
            with gateway(port, later(window)):
                window.wait_for(f"{WORD} === 'live'")
                healed = monotonic()
                moves(window)
                print(f"\nhealed {healed - begun:.1f} s after its restart, moved {monotonic() - healed:.1f} s later")
                stops(window)


def shows_the_board(window: Window, style: str, name: str) -> None:
    window.wait_for(f"{CHARTS}.filter((one) => one.dataset.ready && one.dataset.style === '{style}').length === 4")
    window.wait_for(f"{WORD} === 'live' && {PANEL}.dataset.style === '{style}'")
    assert part(window, "source") == "built-in gateway: simulated data"
    assert part(window, "recorder") == "recorded by this kernel"
    assert sorted(column(window, "symbol")) == SYMBOLS
    window.wait_for(IN_ORDER)
    window.page.evaluate("() => window.jupyterapp.shell.collapseLeft()")
    board = window.page.locator(".workbench-board")
    board.scroll_into_view_if_needed()
    window.page.wait_for_timeout(300)  # the charts take their new width
    board.screenshot(path=window.pictures / f"{name}.png")
    if (place := os.environ.get("WORKBENCH_BOARD_PICTURE")) and style == "light":
        picture = Image.open(window.pictures / f"{name}.png").convert("RGB")
        picture.quantize(128, dither=Image.Dither.NONE).save(place, optimize=True)


def moves(window: Window) -> None:
    """Wait until the prices in the table, the clock, and each of the charts are other ones."""
    before = json.dumps([part(window, "clock"), column(window, "last")])
    updates = window.page.evaluate(f"() => {CHARTS}.map((one) => Number(one.dataset.updates))")
    window.page.wait_for_function(
        f"([clock, last]) => {PANEL}.querySelector('[data-part=clock]').textContent !== clock && "
        "[...document.querySelectorAll('.workbench-panel tbody [data-kind=price]')].some((one, at) => "
        "one.textContent !== last[at])",
        arg=json.loads(before),
        timeout=READY_MS,
    )
    window.page.wait_for_function(
        f"(before) => {CHARTS}.every((one, at) => Number(one.dataset.updates) > before[at])",
        arg=updates,
        timeout=READY_MS,
    )


def follows_the_selection(window: Window) -> None:
    """Click a row, then walk on by keys."""
    window.page.locator("tr[data-symbol=MSFT]").click()
    window.wait_for(f"{CHARTS}.every((one) => one.querySelector('[data-part=symbol]').textContent === 'MSFT')")
    symbols = column(window, "symbol")
    to = "ArrowUp" if symbols.index("KO") < symbols.index("MSFT") else "ArrowDown"
    window.page.locator("tr[data-symbol=MSFT]").focus()
    for _ in range(abs(symbols.index("KO") - symbols.index("MSFT"))):
        window.page.keyboard.press(to)
    window.wait_for(f"{CHARTS}.every((one) => one.querySelector('[data-part=symbol]').textContent === 'KO')")
    assert selected(window) == "KO"


def sorts_and_filters(window: Window) -> None:
    window.page.get_by_role("button", name="symbol", exact=True).click()
    window.wait_for(f"{PANEL}.querySelector('th[data-name=symbol]').getAttribute('aria-sort') === 'ascending'")
    assert column(window, "symbol") == SYMBOLS
    window.page.get_by_label("filter rows").fill("x")
    assert column(window, "symbol") == ["XOM"]
    window.page.get_by_label("filter rows").fill("")
    assert column(window, "symbol") == SYMBOLS


def tells_what_a_button_cannot_do(window: Window) -> None:
    window.page.get_by_label("symbol to add").fill("../x")
    window.page.get_by_label("symbol to add").press("Enter")
    window.wait_for(f"{PANEL}.querySelector('.workbench-told').textContent.includes('../X')")
    window.page.get_by_label("Follow watchlist").click()
    window.wait_for(f"{PANEL}.querySelector('.workbench-told').hidden")


def goes_on_while_a_cell_computes(window: Window) -> None:
    """The journal receives all that comes, and the board is up to date soon after."""
    received = int(window.ask(BUSY))
    begun = monotonic()
    window.wait_for(f"Number({PANEL}.dataset.n) >= {window.ask(CAUGHT_UP)}")
    print(f"\n{BUSY_S} s of computing: {received} bars recorded meanwhile; caught up {monotonic() - begun:.2f} s later")
    assert received >= 0.5 * len(SYMBOLS) * BUSY_S * SPEED / 5


def says_when_the_kernel_is_silent(window: Window) -> None:
    kernel = int(window.ask("import os; print(os.getpid())"))
    os.kill(kernel, signal.SIGSTOP)
    try:
        window.wait_for(f"{WORD} === 'silent' && {PANEL}.dataset.level === 'bad'")
    finally:
        os.kill(kernel, signal.SIGCONT)
    window.wait_for(f"{WORD} !== 'silent' && {PANEL}.dataset.silent === 'no'")
    for symbol in ("XOM", "KO"):  # and it obeys again
        window.page.locator(f"tr[data-symbol={symbol}]").click()
        window.wait_for(f"{CHARTS}.every((one) => one.querySelector('[data-part=symbol]').textContent === '{symbol}')")


def turns_red(window: Window) -> None:
    begun = monotonic()
    window.wait_for(f"{WORD} === 'trouble' && {PANEL}.dataset.level === 'bad'")
    took = monotonic() - begun
    print(f"\nred {took:.1f} s after the gateway was killed")
    assert took < 10
    assert part(window, "connection") == "not connected"
    assert "no connection to the gateway" in window.page.locator(".workbench-sentence").inner_text().lower()


def stops(window: Window) -> None:
    window.page.get_by_role("button", name="Stop").click()
    window.wait_for(f"{WORD} === 'stopped'")
    assert window.ask("print(desk.live.is_running, desk.live.symbols)") == "False []"


# -- the parts of the page


def part(window: Window, name: str) -> str:
    return str(window.page.locator(f".workbench-panel [data-part={name}]").inner_text())


def column(window: Window, name: str) -> list[str]:
    kind = {"symbol": "text", "last": "price"}[name]
    return list(window.page.locator(f".workbench-panel tbody [data-kind={kind}]").all_inner_texts())


def selected(window: Window) -> str:
    return str(window.page.locator(".workbench-panel tr[aria-selected=true]").get_attribute("data-symbol"))


def later(window: Window) -> str:
    """Return when the gateway begins again, in its own time: where the board's clock is, and a little more."""
    told = part(window, "clock").removeprefix("≈ ")
    clock = datetime.strptime(f"2026 {told}", "%Y %a %b %d %H:%M:%S New York")  # noqa: DTZ007  as it is written there
    moment = clock + timedelta(minutes=1)
    return f"{moment:%Y-%m-%dT%H:%M:%S}"


def copy_notebook(to: Path) -> None:
    """Copy the notebook, with other symbols in its parameters."""
    notebook = json.loads((FOLDER / NOTEBOOK).read_text(encoding="utf-8"))
    cell = next(cell for cell in notebook["cells"] if cell["metadata"].get("tags") == ["parameters"])
    lines = [line for line in cell["source"] if not line.startswith("symbols")]
    cell["source"] = [f"symbols: list[str] = {SYMBOLS}\n", *lines]
    to.write_text(json.dumps(notebook), encoding="utf-8")


@contextmanager
def gateway(port: int, start: str) -> Iterator[subprocess.Popen[str]]:
    """Run a gateway of its own, as `workbench gateway` in a terminal does."""
    command = [sys.executable, "-m", "workbench", "gateway", "--port", str(port), "--start", start]
    process = subprocess.Popen([*command, "--speed", str(SPEED)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert "listening" in process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()

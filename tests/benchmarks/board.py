"""What a board costs: time in a real kernel, bytes on its socket, memory of the kernel and of a real browser.

Claims: at most a millisecond of kernel time for an update of the table, and a millisecond and a kilobyte for one of a
chart; four charts and fifty rows at four updates a second take less than 15 % of a core in the kernel; an hour of bars
leaves kernel and browser as large as they were.

The board is a viewer of a journal that another process fills, at twenty times real time: so all fifty rows change in
each look. For memory an hour passes in a minute (`--hour`: in an hour). Without a Chromium only the kernel is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from jupyter_client.manager import start_new_kernel

COUNT, SPEED, SECONDS = 50, 20.0, 30.0
START = "2026-11-20T10:30:00"
FIRST = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
SETUP = f"""
import json, time, workbench as wb
desk = wb.open()
symbols = list(desk.universe)[:{COUNT}]
board = desk.board(symbols, viewer=True)
while board.market.opening or not board.panel.rows:
    time.sleep(.1)
"""
MEASURE = """
took = {"table": [], "rows": [], "chart": [], "look": []}
def timed(what, work):
    def run(*arguments, **options):
        begin = time.thread_time()
        try:
            return work(*arguments, **options)
        finally:
            took[what].append(time.thread_time() - begin)
    return run
import workbench.display.board.board as module
module.row_of = timed("rows", module.row_of)
board.market.look = timed("look", board.market.look)
board.panel.put_rows = timed("table", board.panel.put_rows)
board.panel.is_shown = True
for chart in board.charts:
    chart.is_shown = True
    chart.update = timed("chart", chart.update)
"""
RUN = f"""
begin, cpu = time.perf_counter(), time.process_time()
time.sleep({SECONDS})
share = (time.process_time() - cpu) / (time.perf_counter() - begin)
rows = sum(took["rows"]) / max(1, len(took["rows"]))
print(json.dumps({{"share": share, "row": rows, "looks": len(took["table"]), **took}}))
"""
BOARD = "document.querySelector('.workbench-panel')"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--hour", action="store_true", help="let the hour of the memory test take an hour")
    options.add_argument("--feed", nargs=3, metavar=("DATABASE", "SPEED", "SECONDS"), help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.feed:
        feed(chosen.feed[0], float(chosen.feed[1]), float(chosen.feed[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        environment = {"WORKBENCH_DATA_DIR": folder, "WORKBENCH_GATEWAY__START": START}
        prepare(environment)
        measure_kernel(Path(folder), environment)
        measure_memory(Path(folder), environment, speed=1.0 if chosen.hour else 60.0)


def prepare(environment: dict[str, str]) -> None:
    """Store the history of fifty symbols."""
    code = (
        "import workbench as wb\n"
        "with wb.open() as desk:\n"
        f"    symbols = list(desk.universe)[:{COUNT}]\n"
        "    desk.backfill(symbols, ['1day', '4hour', '1hour', '15min'], since='2026-01-01', progress=False)\n"
    )
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment}, check=True)
    print(f"history of {COUNT} symbols stored in {time.monotonic() - begun:.0f} s")


# -- the recorder's part


def feed(database: str, speed: float, seconds: float) -> None:
    """Append a bar of each symbol for every five seconds of the session, as a recorder does."""
    from workbench.market.universe import default_universe
    from workbench.store.database import DatabaseManager
    from workbench.store.holders import this_process
    from workbench.store.journal import LiveBar, LiveJournal

    symbols = list(default_universe())[:COUNT]
    with DatabaseManager(database) as opened:
        journal, holder = LiveJournal(opened), this_process()
        known = journal.symbols().get(symbols[0])
        first = int((known.end if known else FIRST).timestamp())
        now = datetime.now(UTC)
        journal.hold(symbols, holder, now=now, until=now + timedelta(seconds=seconds + 60))
        print("feeding", flush=True)
        begun, at = time.monotonic(), 0
        while time.monotonic() - begun < seconds:
            due = int((time.monotonic() - begun) * speed / 5)
            for at in range(at, due):  # noqa: B020  goes on where it was
                price = 100 + 0.01 * ((7 * at) % 97)
                journal.append([
                    LiveBar(one, first + 5 * at, price, price + 0.05, price - 0.05, price, 100.0, price, 5.0)
                    for one in symbols
                ])  # fmt: skip
            at = max(at, due)
            time.sleep(0.02)
        journal.release(holder)


@contextmanager
def fed(folder: Path, speed: float, seconds: float) -> Iterator[None]:
    database = f"sqlite:///{folder / 'demo' / 'trading.db'}"
    command = [sys.executable, "-m", "tests.benchmarks.board", "--feed", database, str(speed), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as feeder:
        assert feeder.stdout is not None
        feeder.stdout.readline()
        try:
            yield
        finally:
            feeder.kill()


# -- the kernel


def measure_kernel(folder: Path, environment: dict[str, str]) -> None:
    manager, client = start_new_kernel(env={**os.environ, **environment})
    try:
        with fed(folder, SPEED, 3600):
            execute(client, SETUP)
            execute(client, MEASURE)
            client.execute(RUN)
            sizes, told = listen(client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    row = 1e3 * told["row"]
    print(f"{COUNT} rows and 4 charts, {told['looks'] / SECONDS:.1f} looks a second: {told['share']:.1%} of a core")
    print(f"table: {spread(told['table'])} to compare and send, {row * 1e3:.0f} µs to make a row")
    print(f"journal, bars and indicators of all rows: {spread(told['look'])}")
    print(f"chart: {spread(told['chart'])}")
    for name, some in sizes.items():
        print(f"{name} on the socket: {statistics.median(some):.0f} bytes (median), {max(some)} (most), {len(some)}")


def spread(seconds: list[float]) -> str:
    milliseconds = [1e3 * one for one in seconds]
    worst = statistics.quantiles(milliseconds, n=100)[98]
    return f"{statistics.median(milliseconds):.2f} ms (median), {worst:.2f} ms (99 %) of {len(milliseconds)}"


def execute(client: Any, code: str) -> None:
    reply = client.execute_interactive(code, timeout=300, output_hook=lambda _message: None)
    if reply["content"]["status"] != "ok":
        raise RuntimeError("\n".join(reply["content"]["traceback"]))


def listen(client: Any) -> tuple[dict[str, list[int]], dict[str, Any]]:
    """Return the sizes of what came over the socket by kind, and what the kernel measured."""
    sizes: dict[str, list[int]] = {"table": [], "status": [], "chart": []}
    while True:
        frames = client.iopub_channel.socket.recv_multipart()
        _, parts = client.session.feed_identities(frames)
        message = client.session.deserialize(parts)
        content = message["content"]
        if message["msg_type"] == "comm_msg" and (custom := content["data"].get("content")):
            kind = "table" if "cells" in custom else "status" if "status" in custom else custom.get("kind")
            if kind in ("table", "status", "rows"):
                sizes["chart" if kind == "rows" else kind].append(sum(map(len, frames)))
        elif message["msg_type"] == "stream" and content["name"] == "stdout":
            return sizes, json.loads(content["text"])
        elif message["msg_type"] == "error":
            raise RuntimeError("\n".join(content["traceback"]))


# -- memory, in a browser


def measure_memory(folder: Path, environment: dict[str, str], *, speed: float) -> None:
    from tests.system.browser.conftest import FLAGS, find_chromium

    path = find_chromium()
    if path is None:
        print("memory is not measured: there is no Chromium here")
        return
    from playwright.sync_api import sync_playwright

    from tests.system.browser.lab import running_lab
    from tests.system.browser.window import window_on

    (folder / "lab").mkdir()
    seconds = 3600 / speed
    with sync_playwright() as playwright, running_lab(folder / "lab", environment) as lab:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        lab.write("board.ipynb", SETUP, "board")
        with window_on(lab, browser, folder) as window:
            window.open("board.ipynb")
            window.run_all()
            window.wait_for("document.querySelectorAll('.workbench-chart[data-ready=yes]').length === 4")
            kernel = psutil.Process(int(window.ask("import os; print(os.getpid())")))
            session = window.page.context.new_cdp_session(window.page)
            with fed(folder, speed, seconds + 60):
                samples = [sample(window, session, kernel, seconds / 6, at) for at in range(7)]
            first, last = samples[1], samples[-1]
            print(f"from 10 to 60 simulated minutes: kernel {first[0]:.0f} to {last[0]:.0f} MB, browser's heap "
                  f"{first[1]:.1f} to {last[1]:.1f} MB, {first[2]} to {last[2]} nodes")  # fmt: skip
        browser.close()


def sample(window: Any, session: Any, kernel: psutil.Process, seconds: float, at: int) -> tuple[float, float, int]:
    """Return the kernel's memory and the browser's heap in MB, and the nodes of the page, after a while."""
    if at:
        window.page.wait_for_timeout(1e3 * seconds)
    session.send("HeapProfiler.enable")
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    told = kernel.memory_info().rss / 1e6, metrics["JSHeapUsedSize"] / 1e6, int(metrics["Nodes"])
    updates = window.page.evaluate(f"() => {BOARD}.dataset.n")
    print(f"after {10 * at:2} minutes: kernel {told[0]:.0f} MB, heap {told[1]:.1f} MB, {told[2]} nodes, n {updates}")
    return told


if __name__ == "__main__":
    main()

"""A notebook that records live bars and computes meanwhile: in a real kernel, no bar is late or lost.

`WORKBENCH_SOAK` makes each cell run for a minute.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import start_new_kernel

from tests.ib.conftest import at
from tests.ib.live_market import until
from tests.ib.live_process import OURS
from workbench.gateway.clock import GatewayClock
from workbench.gateway.serving import running
from workbench.gateway.simulated import SimulatedTape
from workbench.store.database import DatabaseManager
from workbench.store.journal import LiveJournal

SECONDS = 60.0 if os.environ.get("WORKBENCH_SOAK") else 3.0
SPEED = 10.0
LATE_S = 3.0
"""A second is promised; on a machine that is busy with other tests it may be more."""
SYMBOLS = ("AAPL", "KO")

COMPUTES = f"""
import time
end, count = time.monotonic() + {SECONDS}, 0
while time.monotonic() < end:
    count += 1
"""
SLEEPS = f"import time; time.sleep({SECONDS})"
RECORDS = "import workbench; desk = workbench.open(); desk.live.start({symbols!r})"


@contextmanager
def kernel(folder: Path, port: int) -> Iterator[BlockingKernelClient]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    env |= {"WORKBENCH_IB__PORT": str(port), "WORKBENCH_IB__GATEWAY_SPEED": str(SPEED)}
    env |= {"WORKBENCH_DATA_DIR": str(folder), "IPYTHONDIR": str(folder)}
    manager, client = start_new_kernel(kernel_name="python3", env=env, cwd=str(folder))
    try:
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def run(client: BlockingKernelClient, code: str) -> None:
    reply = client.execute_interactive(code, timeout=120, output_hook=lambda _: None)
    assert reply["content"]["status"] == "ok", reply["content"]


def test_cells_that_compute_or_sleep_neither_delay_nor_lose_live_bars(tmp_path: Path) -> None:
    start = at("2026-11-20T09:31:00")
    with (
        running(SimulatedTape(1, start=int(start)), GatewayClock(start, SPEED)) as gateway,
        DatabaseManager(f"sqlite:///{tmp_path / 'trading.db'}") as database,
        kernel(tmp_path, gateway.port) as client,
    ):
        journal = LiveJournal(database)
        run(client, RECORDS.format(symbols=SYMBOLS))
        until(lambda: ends(journal) > start)
        first = ends(journal)

        for cell in (COMPUTES, SLEEPS):
            asked = client.execute(cell)
            begun, worst = time.monotonic(), 0.0
            while time.monotonic() < begun + SECONDS:
                worst = max(worst, gateway.clock.now() - ends(journal) - 5)
                time.sleep(0.05)
            assert worst < LATE_S * SPEED
            reply = client.get_shell_msg(timeout=60)
            assert (reply["parent_header"]["msg_id"], reply["content"]["status"]) == (asked, "ok")

        last = ends(journal)
        assert last - first > SECONDS * SPEED
        for symbol in SYMBOLS:
            starts = {int(bar.timestamp()) for bar in journal.load(symbol).index}
            assert set(range(int(first), int(last), 5)) <= starts
        run(client, "desk.close()")


def ends(journal: LiveJournal) -> float:
    spans = journal.symbols()
    return min(spans[symbol].end.timestamp() if symbol in spans else 0.0 for symbol in SYMBOLS)

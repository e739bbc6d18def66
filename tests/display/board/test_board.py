"""The whole board without a browser: a real workbench, a real database, recorders that are other processes."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import workbench as wb
from workbench.display.board import Board
from workbench.errors import InvalidInput
from workbench.store.holders import Holder, process_start, this_process
from workbench.store.journal import LiveBar, LiveJournal

OPEN = int(pd.Timestamp("2026-11-20 14:30", tz="UTC").timestamp())


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Any]:
    with wb.open(data_dir=tmp_path) as desk:
        yield desk


@pytest.fixture
def recorder() -> Iterator[subprocess.Popen[bytes]]:
    """Return a process that stands for a recorder: it lives, and may be killed."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()
    process.stdin.close()  # type: ignore[union-attr]


def hold(journal: LiveJournal, process: subprocess.Popen[bytes], *symbols: str) -> None:
    """Hold symbols as that process would."""
    machine = this_process().machine
    holder = Holder(f"process {process.pid}", machine, process.pid, process_start(process.pid) or "")
    now = datetime.now(UTC)
    journal.hold(symbols, holder, now=now, until=now + timedelta(minutes=1))


def bars(first: int, after: int, symbol: str = "KO") -> list[LiveBar]:
    prices = ((at, 50 + 0.01 * (at % 17)) for at in range(first, after))
    return [
        LiveBar(symbol, OPEN + 5 * at, one, one + 0.02, one - 0.02, one, 10.0, one, 2.0) for at, one in prices
    ]  # fmt: skip


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end, "this did not come about"
        time.sleep(0.02)


def ask(board: Board, **content: Any) -> None:
    """Ask for something as a browser does."""
    said = {"method": "custom", "content": content}
    board.panel.comm.handle_msg({"content": {"data": said}, "buffers": []})


def test_a_viewer_shows_what_another_process_records_until_that_dies(
    desk: Any, recorder: subprocess.Popen[bytes]
) -> None:
    journal = LiveJournal(desk.db)
    hold(journal, recorder, "KO")
    journal.append(bars(0, 30))
    board = desk.board("KO", viewer=True)
    until(lambda: len(board.panel.rows) == 1)
    assert (board.status.word, board.table.loc["KO", "last"]) == ("viewer", bars(0, 30)[-1].close)

    journal.append(bars(30, 80))
    until(lambda: bool(board.table.loc["KO", "last"] == bars(30, 80)[-1].close))
    recorder.kill()
    recorder.wait()

    until(lambda: board.status.level == "bad")
    assert f"The recorder of KO, process {recorder.pid}, has died" in board.status.sentence
    assert "Workbench(data in" in repr(desk)
    assert "not connected" in repr(desk)
    with pytest.raises(InvalidInput, match="viewer"):
        board.start()


def test_orders_are_carried_out_and_what_cannot_be_is_told(desk: Any) -> None:
    LiveJournal(desk.db).append([*bars(0, 30), *bars(0, 30, "XOM")])
    board = desk.board(["KO", "XOM"], viewer=True, timeframes=["1min", "5min"])
    assert [chart.symbol for chart in board.charts] == ["KO", "KO"]

    ask(board, kind="select", value="XOM")
    until(lambda: board.selected == "XOM" and [chart.symbol for chart in board.charts] == ["XOM", "XOM"])
    ask(board, kind="add", value="jpm")
    until(lambda: board.symbols == ["KO", "XOM", "JPM"])
    ask(board, kind="remove", value="XOM")
    until(lambda: board.symbols == ["KO", "JPM"] and board.selected == "KO")
    ask(board, kind="add", value="../x")
    until(lambda: "../X" in board.panel.values["told"])
    ask(board, kind="start")
    until(lambda: "viewer" in board.panel.values["told"])
    ask(board, kind="dance")
    until(lambda: "dance failed" in board.panel.values["told"])


def test_a_board_follows_the_watchlist_as_it_is_replaced(desk: Any) -> None:
    def listed(*symbols: str) -> pd.DataFrame:
        return pd.DataFrame({"symbol": symbols, "side": "long", "score": 50.0})

    desk.db.save_watchlist(listed("XOM", "JPM"))
    board = desk.board("KO", follow_watchlist=True, viewer=True)
    assert board.symbols == ["KO", "XOM", "JPM"]

    desk.db.save_watchlist(listed("AAPL"))

    until(lambda: board.symbols == ["KO", "AAPL"])
    ask(board, kind="remove", value="AAPL")
    until(lambda: "AAPL is on the watchlist" in board.panel.values["told"])
    ask(board, kind="follow", value=False)
    until(lambda: board.symbols == ["KO"])


def test_another_kernel_goes_on_from_the_journal(desk: Any, tmp_path: Path) -> None:
    LiveJournal(desk.db).append(bars(0, 200))
    first = desk.board("KO", viewer=True, timeframes="1min")
    until(lambda: not first.market.opening)

    with wb.open(data_dir=tmp_path) as other:
        second = other.board("KO", viewer=True, timeframes="1min")
        until(lambda: len(second.panel.rows) == 1)

        pd.testing.assert_frame_equal(first.table, second.table)
        pd.testing.assert_frame_equal(first.charts[0].bars, second.charts[0].bars)


def test_on_paper_there_is_what_was_there_and_nothing_is_fetched(desk: Any) -> None:
    LiveJournal(desk.db).append(bars(0, 200))
    board = desk.board("KO", viewer=True, timeframes="1min")
    until(lambda: len(board.panel.rows) == 1)

    data, _ = board._repr_mimebundle_()

    html = data["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in data
    assert all(part in html for part in ("simulated data", "<td>KO</td>", "<td>50.", "data:image/png;base64,"))
    assert "http" not in html


def test_a_board_ends_with_all_its_threads_when_another_takes_its_place_and_with_the_desk(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with wb.open(data_dir=tmp_path) as desk:
        first = desk.board("KO", viewer=True)
        second = desk.board("XOM", viewer=True)
        assert not any(thread.is_alive() for thread in first._threads)
        assert first.comm is None
        assert all(thread.is_alive() for thread in second._threads)

    assert set(threading.enumerate()) <= before

"""All series of a symbol change as one step, whoever reads meanwhile and whenever the writer dies."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench.errors import StoreError
from workbench.market.coverage import Interval
from workbench.market.sessions import session_calendar
from workbench.market.timeframes import TIMEFRAMES
from workbench.store.historical import HistoricalDataManager
from workbench.store.rebuild import load_events, staging, switch
from workbench.store.splits import Ratio, adjusted

DAY, AT = date(2020, 8, 31), datetime(2020, 8, 31, 22, tzinfo=UTC)
SPLIT = Ratio(4, 1)


def days(begin: str = "2019-06-03", end: str = "2020-08-28") -> pd.DataFrame:
    first, last = (pd.Timestamp(day, tz="UTC").to_pydatetime() for day in (begin, end))
    sessions = session_calendar().during(first, last + timedelta(days=1), TIMEFRAMES["1day"])
    index = pd.DatetimeIndex([one.label_utc for one in sessions], name="timestamp").as_unit("us")
    close = 400 + 50 * np.sin(np.arange(len(index)) / 20)
    values = {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close, "volume": 1000.0}
    return pd.DataFrame(values | {"average": close, "bar_count": 10.0}, index=index)


def filled(folder: Path) -> HistoricalDataManager:
    """Return a store with two series of three parts in old shares."""
    store = HistoricalDataManager(folder / "historical")
    for prices in ("TRADES", "MIDPOINT"):
        covers = Interval(datetime(2019, 6, 3, tzinfo=UTC), datetime(2020, 8, 29, tzinfo=UTC))
        store.save_bars("AAPL", "1day", days(), what_to_show=prices, source="IB", covers=covers)
    return store


def stage(store: HistoricalDataManager, begin: str = "2019-06-03", ratio: Ratio = SPLIT) -> None:
    with staging(store, "AAPL", DAY) as staged:
        for prices in ("TRADES", "MIDPOINT"):
            bars = adjusted(days(), ratio).loc[begin:]
            covers = Interval(pd.Timestamp(begin, tz="UTC").to_pydatetime(), datetime(2020, 8, 29, tzinfo=UTC))
            staged.save_bars("AAPL", "1day", bars, what_to_show=prices, source="IB", covers=covers)


def switched(store: HistoricalDataManager, ratio: Ratio | None = SPLIT) -> None:
    with staging(store, "AAPL", DAY) as staged:
        switch(store, staged, "AAPL", ratio, AT)


def states(store: HistoricalDataManager) -> list[str]:
    """Return of each series whether its bars are old or new; fail when they are neither."""
    found = []
    for prices in ("TRADES", "MIDPOINT"):
        closes = store.load_bars("AAPL", "1day", columns="close", what_to_show=prices)["close"].to_numpy()
        shares = {"old": days()["close"].to_numpy(), "new": days()["close"].to_numpy() / 4}
        found.append(next((name for name, known in shares.items() if np.array_equal(known, closes)), "mixed"))
    return found


def test_all_series_switch_and_the_event_is_recorded(tmp_path: Path) -> None:
    store = filled(tmp_path)
    covered = store.coverage("AAPL", "1day")
    stage(store)

    switched(store)

    assert states(store) == ["new", "new"]
    assert store.coverage("AAPL", "1day") == covered
    (event,) = load_events(store, "AAPL")
    assert (event.ratio, set(event.series), event.kept) == ("4:1", {"1day", "1day-MIDPOINT"}, 0)
    assert not list(store.home("AAPL").glob(".rebuild/*"))


def test_bars_that_ib_has_no_more_are_adjusted_here_and_counted(tmp_path: Path) -> None:
    store = filled(tmp_path)
    covered = store.coverage("AAPL", "1day")
    stage(store, begin="2020-03-02")

    switched(store)

    assert states(store) == ["new", "new"]
    assert store.coverage("AAPL", "1day") == covered
    assert load_events(store, "AAPL")[0].kept == 2 * len(days(end="2020-02-28"))


def test_by_hand_no_bar_is_dropped_that_ib_has_no_more(tmp_path: Path) -> None:
    store = filled(tmp_path)
    stage(store, begin="2020-03-02")

    with pytest.raises(StoreError, match="workbench drop"):
        switched(store, None)

    assert states(store) == ["old", "old"]


@pytest.mark.parametrize("ratio", [Ratio(1, 1), Ratio(7, 1)])
def test_bars_in_other_shares_than_those_of_the_split_are_not_switched_in(tmp_path: Path, ratio: Ratio) -> None:
    store = filled(tmp_path)
    stage(store, ratio=ratio)

    with pytest.raises(StoreError, match="only 0% of them differ by the ratio 4:1"):
        switched(store)

    assert states(store) == ["old", "old"]
    assert load_events(store, "AAPL") == []


def test_a_series_of_which_nothing_was_staged_keeps_all_as_it_was(tmp_path: Path) -> None:
    store = filled(tmp_path)
    stage(store)
    store.save_bars("AAPL", "1hour", days().iloc[-1:].set_axis(pd.DatetimeIndex(["2020-08-28 14:00Z"])), source="IB")

    with pytest.raises(StoreError, match="no bars of AAPL 1hour"):
        switched(store)

    assert states(store) == ["old", "old"]


def switched_but_dead_after(folder: Path, steps: int) -> None:
    """Switch in a process of its own, which dies before it touches the disk once more than `steps` times."""
    left = steps

    def counted(original: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **options: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                os._exit(9)
            return original(*args, **options)

        return call

    for owner, name in ((Path, "replace"), (Path, "unlink"), (os, "fsync"), (os, "fdatasync")):
        if hasattr(owner, name):
            setattr(owner, name, counted(getattr(owner, name)))
    switched(HistoricalDataManager(folder))


def test_a_writer_that_dies_at_any_step_leaves_all_old_or_all_new(tmp_path: Path) -> None:
    """It dies before its n-th change of the disk, for every n; in the end it lives."""
    seen, steps = [], 0
    processes = multiprocessing.get_context("forkserver")  # where the modules are imported once, not for each
    processes.set_forkserver_preload([__name__])
    while not seen or seen[-1] != "lived":
        store = filled(tmp_path / str(steps))
        stage(store)
        child = processes.Process(target=switched_but_dead_after, args=(store.data_dir, steps))
        child.start()
        child.join()
        assert child.exitcode in (0, 9)

        found = states(store)
        assert found in (["old", "old"], ["new", "new"])
        assert len(load_events(store, "AAPL")) == found.count("new") / 2
        switched_again = filled_again(store, found[0])
        assert states(switched_again) == found
        seen.append("lived" if child.exitcode == 0 else found[0])
        steps += 1
    assert {"old", "new"} < set(seen)
    assert steps > 15


def filled_again(store: HistoricalDataManager, state: str) -> HistoricalDataManager:
    """Save a stored bar once more: the next writer clears up after the dead one."""
    bars = days() if state == "old" else adjusted(days(), SPLIT)
    store.save_bars("AAPL", "1day", bars.iloc[:1], source="IB")
    assert not (store.home("AAPL") / ".commit").exists()
    return store


READER = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.store.test_rebuild import HistoricalDataManager, states
store, seen = HistoricalDataManager(sys.argv[1]), []
print("ready", flush=True)
while "new" not in seen[-2:]:
    seen += states(store)
print(" ".join(sorted(set(" ".join(seen[n : n + 2]) for n in range(0, len(seen), 2)))))
"""


def test_a_reader_in_another_process_sees_each_series_all_old_or_all_new(tmp_path: Path) -> None:
    store = filled(tmp_path)
    stage(store)

    with subprocess.Popen([sys.executable, "-c", READER, store.data_dir], stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
        switched(store)
        told = reader.stdout.read()

    assert "mixed" not in told
    assert "new old" not in told  # what is read later is not older
    assert "new" in told

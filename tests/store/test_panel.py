"""A panel is what the parts hold, whatever was saved since, and whoever saved it."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import CorruptPart, InvalidInput
from workbench.market.bars import COLUMNS
from workbench.market.contracts import Contract
from workbench.market.coverage import Interval
from workbench.market.universe import Universe
from workbench.store.historical import HistoricalDataManager

SYMBOLS = ("AAPL", "MSFT", "KO")
BEGIN = datetime(2025, 12, 31, 20, tzinfo=UTC)


def store_at(folder: Path) -> HistoricalDataManager:
    """Return a store that keeps no session's hours."""
    universe = Universe([Contract(symbol, kind="index") for symbol in SYMBOLS])
    return HistoricalDataManager(folder / "historical", universe=universe)


def bars(first: int, count: int, price: float) -> pd.DataFrame:
    index = pd.date_range(BEGIN + timedelta(minutes=first), periods=count, freq="min", tz="UTC", unit="us")
    return pd.DataFrame(dict.fromkeys(("open", "high", "low", "close", "volume"), price), index=index)


def check(store: HistoricalDataManager, symbols: tuple[str, ...], count: int) -> None:
    """Compare a panel with what loading each series gives, bit for bit."""
    panel = store.panel("1min", symbols, count)
    for row, symbol in enumerate(symbols):
        loaded = store.load_bars(symbol, "1min").iloc[-count:]
        pad = count - len(loaded)
        assert np.isnat(panel.timestamps[row, :pad]).all()
        assert np.array_equal(panel.timestamps[row, pad:], loaded.index.tz_localize(None).to_numpy())
        for name in COLUMNS:
            assert np.isnan(panel[name][row, :pad]).all()
            assert np.array_equal(panel[name][row, pad:], loaded[name].to_numpy(), equal_nan=True)


saves = st.tuples(
    st.sampled_from(SYMBOLS),
    st.integers(0, 400),
    st.integers(1, 60),
    st.sampled_from([10, 10.01, 10.02]),
    st.booleans(),
)
looks = st.tuples(st.lists(st.sampled_from(SYMBOLS), min_size=1, unique=True).map(tuple), st.integers(1, 90))


@settings(max_examples=12, deadline=None)
@given(st.lists(saves | looks, min_size=2, max_size=8))
def test_whatever_is_saved_revised_or_removed_a_panel_is_what_the_parts_hold(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    with TemporaryDirectory() as folder:
        store, others = store_at(Path(folder)), store_at(Path(folder))
        for step in [*steps, (SYMBOLS, 50)]:
            if len(step) == 2:
                check(store, *step)
                continue
            symbol, first, count, price, removes = step
            span = Interval(BEGIN + timedelta(minutes=first - 30), BEGIN + timedelta(minutes=first + count))
            others.save_bars(symbol, "1min", bars(first, count, price), covers=span if removes else None)


@pytest.fixture
def store(tmp_path: Path) -> HistoricalDataManager:
    store = store_at(tmp_path)
    for symbol in SYMBOLS:
        store.save_bars(symbol, "1min", bars(0, 300, 10))
    return store


def files(store: HistoricalDataManager) -> list[str]:
    return sorted(path.name for path in (store.data_dir.parent / "cache" / "panel" / "1min-TRADES").glob("*.panel"))


def test_nothing_is_written_while_nothing_changes(store: HistoricalDataManager) -> None:
    check(store, SYMBOLS, 50)
    before = files(store)

    check(store, SYMBOLS[:2], 20)
    check(store_at(store.data_dir.parent), ("KO", "AAPL"), 50)

    assert files(store) == before
    assert len(before) == 1


def test_what_another_process_saved_is_in_the_next_panel(store: HistoricalDataManager) -> None:
    panel = store.panel("1min", SYMBOLS, 50)
    child = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.store.test_panel import store_at, bars
store_at(Path(sys.argv[1])).save_bars("KO", "1min", bars(290, 10, 10.01))
"""
    subprocess.run([sys.executable, "-c", child, store.data_dir.parent], check=True)

    assert (panel["close"] == 10).all()  # what is held does not change under the reader
    assert (store.panel("1min", SYMBOLS, 50)["close"] == 10.01).sum() == 10
    check(store, SYMBOLS, 50)


@pytest.mark.parametrize("harm", ["index", "shorter", "gone", "other store"])
def test_a_panel_in_doubt_is_made_anew(store: HistoricalDataManager, harm: str) -> None:
    check(store, SYMBOLS, 50)
    folder = store.data_dir.parent / "cache" / "panel" / "1min-TRADES"
    (block,) = folder.glob("*.panel")
    index = folder / "index.json"
    match harm:
        case "index":
            index.write_text(index.read_text()[:-40])
        case "shorter":
            block.write_bytes(block.read_bytes()[:-8])
        case "gone":
            block.unlink()
        case "other store":
            index.write_text(index.read_text().replace("historical", "other"))
            block.write_bytes(bytes(block.stat().st_size))

    check(store, SYMBOLS, 50)


def test_a_larger_panel_replaces_a_smaller_one(store: HistoricalDataManager) -> None:
    check(store, SYMBOLS, 20)
    check(store, SYMBOLS, 400)
    check(store, SYMBOLS, 20)

    assert len(files(store)) == 1


def test_a_part_that_cannot_be_read_is_an_error_and_not_an_old_row(store: HistoricalDataManager) -> None:
    check(store, SYMBOLS, 50)
    part = next(store.home("KO").rglob("2026-01.parquet"))
    part.write_bytes(part.read_bytes()[:-100])

    with pytest.raises(CorruptPart):
        store.panel("1min", SYMBOLS, 50)
    check(store, ("AAPL", "MSFT"), 50)


def test_a_panel_cannot_be_written_to_and_needs_symbols_and_columns(store: HistoricalDataManager) -> None:
    panel = store.panel("1min", SYMBOLS, 50)

    with pytest.raises(ValueError, match="read-only"):
        panel["close"][0, 0] = 1
    with pytest.raises(InvalidInput, match="no column price"):
        panel["price"]
    with pytest.raises(InvalidInput, match="at least one symbol"):
        store.panel("1min", [])

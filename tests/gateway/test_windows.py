"""Many symbols in one pass give what each gives alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.gateway import windows
from workbench.gateway.replay import ReplayTape
from workbench.gateway.simulated import SimulatedTape
from workbench.gateway.tape import BarColumns, BatchTape, Block
from workbench.gateway.windows import one_by_one

NEW_YORK = ZoneInfo("America/New_York")
SYMBOLS = ["SPY", "SEB", "VIX", "AAPL", "BRK B", "F", "NATH", "RY.TSE"]


@pytest.fixture(params=[windows.GROUP, 1], ids=["one group", "several groups"], autouse=True, scope="module")
def group(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let few symbols make several groups, as many symbols do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "GROUP", request.param)
        simulated.cache_clear()
        yield
    simulated.cache_clear()


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp())


@cache
def simulated() -> SimulatedTape:
    return SimulatedTape(seed=3)


def rows(block: Block) -> list[tuple[float, ...]]:
    columns = [getattr(block.bars, it.name).tolist() for it in fields(BarColumns)]
    return list(zip(block.place.tolist(), *columns, strict=True))


EDGES = ["2026-11-20 04:00", "2026-11-20 09:30", "2026-11-20 12:31", "2026-11-20 16:00", "2026-11-27 13:00",
         "2026-11-27 17:00", "2026-11-02 09:30", "2026-11-22 12:00"]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    symbols=st.lists(st.sampled_from(SYMBOLS), min_size=1, max_size=6, unique=True),
    edge=st.sampled_from(EDGES),
    offset=st.integers(-400, 400),
    length=st.sampled_from([0, 1, 5, 15, 300, 700]),
    use_rth=st.booleans(),
)
def test_the_simulated_market_tells_of_many_what_it_tells_of_each(symbols, edge, offset, length, use_rth) -> None:
    begin = at(edge) + offset

    together = simulated().window(symbols, begin, begin + length, use_rth=use_rth)

    assert rows(together) == rows(one_by_one(simulated(), symbols, begin, begin + length, use_rth=use_rth))


@settings(max_examples=30, deadline=None)
@given(
    symbols=st.permutations(["SPY", "BAC"]),
    begin=st.integers(at("2013-10-09 09:20"), at("2013-10-09 16:10")),
    length=st.sampled_from([5, 60, 400]),
    use_rth=st.booleans(),
)
def test_a_replay_tells_of_many_what_it_tells_of_each(real_bars: Path, symbols, begin, length, use_rth) -> None:
    tape = replayed(real_bars)

    together = tape.window(symbols, begin, begin + length, use_rth=use_rth)

    assert rows(together) == rows(one_by_one(tape, symbols, begin, begin + length, use_rth=use_rth))


@cache
def replayed(folder: Path) -> ReplayTape:
    return ReplayTape(folder / "lean")


def test_both_tapes_look_up_in_batches() -> None:
    assert isinstance(simulated(), BatchTape)
    assert issubclass(ReplayTape, BatchTape)


def test_a_symbol_that_joins_a_group_changes_nothing_for_the_others() -> None:
    begin = at("2026-11-20 11:00")
    alone = simulated().window(["SPY"], begin, begin + 60, use_rth=True)

    joined = simulated().window(SYMBOLS, begin, begin + 60, use_rth=True)

    assert [row[1:] for row in rows(joined) if row[0] == 0] == [row[1:] for row in rows(alone)]


@pytest.mark.parametrize("use_rth", [True, False])
def test_an_empty_market_has_no_bars(use_rth: bool) -> None:
    sunday = at("2026-11-22 12:00")

    assert rows(simulated().window(SYMBOLS, sunday, sunday + 5, use_rth=use_rth)) == []
    assert rows(simulated().window([], sunday, sunday + 5, use_rth=use_rth)) == []

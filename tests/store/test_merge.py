from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from workbench.market.bars import to_frame, to_table
from workbench.market.coverage import Interval
from workbench.store.merge import SaveReport, merge

BEGIN = datetime(2026, 11, 20, tzinfo=UTC)


def at(minute: int) -> datetime:
    return BEGIN + timedelta(minutes=minute)


def table_of(closes: dict[int, float]) -> pa.Table:
    """Return a bar at each minute, with that close."""
    index = pd.DatetimeIndex([at(minute) for minute in sorted(closes)], dtype="datetime64[us, UTC]")
    prices = [closes[minute] for minute in sorted(closes)]
    return to_table(pd.DataFrame(dict.fromkeys(("open", "high", "low", "close", "volume"), prices), index=index))


def closes_of(table: pa.Table) -> dict[int, float]:
    frame = to_frame(table)
    return {int((stamp - BEGIN).total_seconds() // 60): close for stamp, close in frame["close"].items()}


bars = st.dictionaries(st.integers(0, 20), st.sampled_from([1.0, 2.0, 3.0]))


@given(bars, bars, st.none() | st.tuples(st.integers(0, 20), st.integers(1, 20)))
def test_merging_is_laying_one_dictionary_over_another(
    old: dict[int, float], new: dict[int, float], cover: tuple[int, int] | None
) -> None:
    covered = set() if cover is None else set(range(cover[0], cover[0] + cover[1]))
    covers = Interval(at(min(covered)), at(max(covered) + 1)) if covered else None

    merged, report = merge(table_of(old), table_of(new), covers)

    gone = {minute for minute in old if minute in covered and minute not in new}
    kept = {minute: close for minute, close in old.items() if minute not in gone}
    assert closes_of(merged) == dict(sorted((kept | new).items()))
    assert list(closes_of(merged)) == sorted(closes_of(merged))
    both = old.keys() & new.keys()
    assert report == SaveReport(
        added=len(new.keys() - old.keys()),
        revised=sum(old[minute] != new[minute] for minute in both),
        removed=len(gone),
        unchanged=sum(old[minute] == new[minute] for minute in both),
    )


@given(bars, bars)
def test_merging_twice_is_merging_once(old: dict[int, float], new: dict[int, float]) -> None:
    once, _ = merge(table_of(old), table_of(new), None)

    twice, report = merge(once, table_of(new), None)

    assert twice.equals(once)
    assert not report.changed


@given(bars, bars)
def test_the_order_of_disjoint_merges_does_not_matter(some: dict[int, float], others: dict[int, float]) -> None:
    others = {minute + 100: close for minute, close in others.items()}

    forth = merge(merge(table_of({}), table_of(some), None)[0], table_of(others), None)[0]
    back = merge(merge(table_of({}), table_of(others), None)[0], table_of(some), None)[0]

    assert forth.equals(back)


def test_a_bar_that_only_gains_its_count_is_revised() -> None:
    old = table_of({0: 1.0})
    new = to_table(to_frame(old).assign(bar_count=5.0))

    merged, report = merge(old, new, None)

    assert report == SaveReport(revised=1)
    assert merged.equals(new)

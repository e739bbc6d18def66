"""A series against a naive model: a dictionary of bars and a set of covered days."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import CorruptPart, InvalidBars, SourceMismatch, StoreError
from workbench.market.bars import to_frame, to_table
from workbench.market.coverage import Interval
from workbench.store import series as series_module
from workbench.store.merge import SaveReport
from workbench.store.parts import Provenance, write_part
from workbench.store.series import Series

ORIGIN = datetime(2025, 12, 20, tzinfo=UTC)
IB = Provenance("IB", "TRADES", use_rth=True)
DAYS = 50  # over two years and three months
ALL = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


def day(number: int) -> datetime:
    return ORIGIN + timedelta(days=number)


@dataclass(frozen=True)
class Save:
    closes: dict[int, float]
    cover: tuple[int, int] | None

    def run(self, series: Series) -> SaveReport:
        days = sorted(self.closes)
        prices = np.array([self.closes[number] for number in days], dtype=float)
        index = pd.DatetimeIndex([day(number) for number in days], dtype="datetime64[us, UTC]")
        frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close", "volume"), prices), index=index)
        covers = Interval(day(self.cover[0]), day(self.cover[1])) if self.cover else None
        with series.lock():
            return series.save(to_table(frame), IB, covers)


@st.composite
def saves(draw: st.DrawFn) -> Save:
    begin = draw(st.integers(0, DAYS - 2))
    end = draw(st.integers(begin + 1, DAYS))
    closes = draw(st.dictionaries(st.integers(begin, end - 1), st.sampled_from([1.0, 2.0]), max_size=5))
    return Save(closes, (begin, end) if draw(st.booleans()) else None)


def model_of(done: list[Save]) -> tuple[dict[int, float], set[int]]:
    bars: dict[int, float] = {}
    covered: set[int] = set()
    for save in done:
        span = set(range(*save.cover)) if save.cover else set()
        bars = {number: close for number, close in bars.items() if number not in span} | save.closes
        covered |= span
    return dict(sorted(bars.items())), covered


def content_of(series: Series) -> tuple[dict[int, float], set[int]]:
    frame, coverage = to_frame(series.load(*ALL, ["close"])), series.coverage()
    covered = {n for n in range(-400, 400) for span in coverage if span.begin <= day(n) < span.end}
    return {(stamp - ORIGIN).days: close for stamp, close in frame["close"].items()}, covered


@pytest.mark.parametrize("timeframe", ["1min", "1day"])
@settings(deadline=None, max_examples=25)
@given(done=st.lists(saves(), max_size=4), window=st.tuples(st.integers(0, DAYS), st.integers(0, DAYS)))
def test_any_saves_leave_what_a_dictionary_would_hold(
    timeframe: str, done: list[Save], window: tuple[int, int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        series = Series.at(Path(folder, "AAPL", f"{timeframe}.parquet"))

        for save in done:
            save.run(series)
            assert not save.run(series).changed  # twice is once

        bars, covered = model_of(done)
        assert content_of(series) == (bars, covered)
        begin, end = min(window), max(window)
        part = to_frame(series.load(day(begin), day(end), ["close"]))
        assert [(stamp - ORIGIN).days for stamp in part.index] == [n for n in bars if begin <= n < end]
        info = series.info()
        assert (info.bars, info.first, info.last) == (
            (len(bars), day(min(bars)), day(max(bars))) if bars else (0, None, None)
        )


@settings(deadline=None, max_examples=25)
@given(before=saves(), save=saves(), stop=st.integers(0, 3))
def test_a_save_that_stops_between_two_parts_and_runs_again_is_whole(before: Save, save: Save, stop: int) -> None:
    def failing(*arguments: object) -> None:
        if len(written) == stop:
            raise StoreError("the disk is full")
        written.append(arguments)
        write_part(*arguments)  # type: ignore[arg-type]

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        series, written = Series.at(Path(folder, "AAPL", "1min.parquet")), list[object]()
        before.run(series)
        patch.setattr(series_module, "write_part", failing)
        try:
            save.run(series)
        except StoreError:
            bars, covered = content_of(series)
            assert set(bars.items()) <= set(before.closes.items()) | set(save.closes.items())
            assert covered <= model_of([before, save])[1]
        patch.undo()

        save.run(series)

        assert content_of(series) == model_of([before, save])


def test_a_confirmed_empty_interval_is_covered_by_parts_without_bars(tmp_path: Path) -> None:
    series = Series.at(tmp_path / "AAPL" / "1min.parquet")

    Save({}, (0, 50)).run(series)

    assert [path.name for path in series.parts()] == ["2025-12.parquet", "2026-01.parquet", "2026-02.parquet"]
    assert list(series.coverage()) == [Interval(day(0), day(50))]
    assert series.info().bars == 0


def test_coverage_that_ends_with_a_month_makes_no_part_of_the_next(tmp_path: Path) -> None:
    series = Series.at(tmp_path / "AAPL" / "1min.parquet")

    Save({}, (0, 12)).run(series)

    assert day(12) == datetime(2026, 1, 1, tzinfo=UTC)
    assert [path.name for path in series.parts()] == ["2025-12.parquet"]


def test_bars_outside_of_what_they_cover_are_refused(tmp_path: Path) -> None:
    series = Series.at(tmp_path / "AAPL" / "1min.parquet")

    with pytest.raises(InvalidBars, match="lie outside"):
        Save({5: 1.0}, (0, 5)).run(series)
    assert series.parts() == []


def test_what_a_corrupt_part_anywhere_in_the_series_refuses_changes_nothing(tmp_path: Path) -> None:
    series = Series.at(tmp_path / "AAPL" / "1min.parquet")
    Save({0: 1.0, 40: 1.0}, (0, 50)).run(series)
    first, _, last = series.parts()
    whole = first.read_bytes()
    last.write_bytes(last.read_bytes()[:-9])
    broken = last.read_bytes()

    for save in (Save({0: 2.0}, None), Save({0: 2.0, 40: 2.0}, (0, 50)), Save({40: 2.0}, None)):
        with pytest.raises(CorruptPart, match=r"2026-0[12]"):
            save.run(series)

    assert first.read_bytes() == whole
    assert last.read_bytes() == broken


@pytest.mark.parametrize("other", [Provenance("replay", "TRADES", True), Provenance("IB", "TRADES", False)])
def test_a_series_has_one_provenance_in_all_of_its_parts(tmp_path: Path, other: Provenance) -> None:
    series = Series.at(tmp_path / "AAPL" / "1min.parquet")
    Save({0: 1.0}, None).run(series)
    table = series.load(*ALL, ["open", "high", "low", "close", "volume", "average", "bar_count"])

    with series.lock(), pytest.raises(SourceMismatch):
        series.save(table.slice(0, 0), other, Interval(day(100), day(101)))


def test_a_year_and_months_of_one_series_are_read_by_what_their_names_say(tmp_path: Path) -> None:
    series = Series.at(tmp_path / "AAPL" / "1min.parquet")
    Save({0: 1.0}, None).run(series)
    (part,) = series.parts()

    part.rename(part.with_name("2025.parquet"))

    assert series.load(day(0), day(1), ["close"]).num_rows == 1


def test_left_over_temporaries_are_swept_by_the_next_save_of_that_series_only(tmp_path: Path) -> None:
    series = Series.at(tmp_path / "AAPL" / "1min.parquet")
    series.folder.parent.mkdir()
    mine, another = (tmp_path / "AAPL" / f".{name}.parquet-2026-11-x.tmp" for name in ("1min", "1min-BID"))
    mine.write_bytes(b"half"), another.write_bytes(b"half")

    Save({0: 1.0}, None).run(series)

    assert not mine.exists()
    assert another.exists()

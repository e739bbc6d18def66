"""A series against a naive model: a dictionary of bars and a set of covered days."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import InvalidBars, SourceMismatch, StoreError
from workbench.market.bars import COLUMNS, to_frame, to_table
from workbench.market.coverage import Interval
from workbench.store import files
from workbench.store.footer import Provenance
from workbench.store.merge import SaveReport
from workbench.store.parts import ALWAYS
from workbench.store.series import Series

ORIGIN = datetime(2025, 12, 20, tzinfo=UTC)
IB = Provenance("IB", "TRADES", use_rth=True)
DAYS = 50  # over two years and three months


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


@dataclass(frozen=True)
class Fold:
    def run(self, series: Series) -> None:
        with series.lock():
            series.fold()


def content_of(series: Series) -> tuple[dict[int, float], set[int]]:
    frame, coverage = to_frame(series.load(*ALWAYS, ["close"])), series.coverage()
    covered = {n for n in range(-400, 400) for span in coverage if span.begin <= day(n) < span.end}
    return {(stamp - ORIGIN).days: close for stamp, close in frame["close"].items()}, covered


def series_in(folder: str | Path, timeframe: str = "1min") -> Series:
    return Series.at(Path(folder, "AAPL", f"{timeframe}.parquet"))


def names_of(series: Series) -> list[str]:
    return [part.path.name for part in series.parts()]


@pytest.mark.parametrize("timeframe", ["1min", "1day"])
@settings(deadline=None, max_examples=25)
@given(
    done=st.lists(saves() | st.just(Fold()), max_size=5), window=st.tuples(st.integers(0, DAYS), st.integers(0, DAYS))
)
def test_any_saves_and_folds_leave_what_a_dictionary_would_hold(
    timeframe: str, done: list[Save | Fold], window: tuple[int, int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        series = series_in(folder, timeframe)

        for step in done:
            step.run(series)
            if isinstance(step, Save):
                assert not step.run(series).changed  # twice is once

        bars, covered = model_of([step for step in done if isinstance(step, Save)])
        assert content_of(series) == (bars, covered)
        begin, end = min(window), max(window)
        part = to_frame(series.load(day(begin), day(end), ["close"]))
        assert [(stamp - ORIGIN).days for stamp in part.index] == [n for n in bars if begin <= n < end]
        info = series.info()
        assert (info.bars, info.first, info.last) == (
            (len(bars), day(min(bars)), day(max(bars))) if bars else (0, None, None)
        )


@settings(deadline=None, max_examples=25)
@given(st.lists(saves(), min_size=2, max_size=4), st.randoms())
def test_the_order_of_saves_of_different_days_does_not_matter(done: list[Save], chance: random.Random) -> None:
    apart, taken = [], set[int]()
    for save in done:
        days = set(save.closes) | set(range(*save.cover or (0, 0)))
        if not days & taken:
            apart.append(save)
            taken |= days
    shuffled = chance.sample(apart, len(apart))

    contents = []
    for order in (apart, shuffled):
        with tempfile.TemporaryDirectory() as folder:
            for save in order:
                save.run(series_in(folder))
            contents.append(content_of(series_in(folder)))

    assert contents[0] == contents[1]


SYNCS = [(files.os, name) for name in ("fsync", "fdatasync") if hasattr(os, name)]
STEPS = (*SYNCS, (Path, "open"), (Path, "replace"), (Path, "unlink"), (Path, "mkdir"))


def states_during(action: Callable[[], object], folder: Path, copies: Path) -> list[Path]:
    """Run an action; copy the folder before each step that it makes on the disk, and after the last."""
    states: list[Path] = []

    def copy() -> None:
        states.append(copies / str(len(states)))
        shutil.copytree(folder, states[-1])

    def watched(function: Callable[..., object]) -> Callable[..., object]:
        def step(*arguments: object, **options: object) -> object:
            if function is not Path.open or "xb" in arguments:
                copy()
            return function(*arguments, **options)

        return step

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in STEPS:
            patch.setattr(owner, name, watched(getattr(owner, name)))
        action()
    copy()
    return states


@settings(deadline=None, max_examples=10)
@given(before=saves(), step=saves() | st.just(Fold()))
def test_a_crash_at_any_step_leaves_the_old_or_the_new_and_the_same_step_once_more_completes_it(
    before: Save, step: Save | Fold
) -> None:
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as copies:
        original = series_in(folder)
        before.run(original)
        old = content_of(original)

        states = states_during(lambda: step.run(original), Path(folder), Path(copies))

        new = content_of(original)
        assert new == (model_of([before, step]) if isinstance(step, Save) else old)
        seen = [content_of(series_in(state)) for state in states]
        assert [content for content in seen if content not in (old, new)] == []
        assert seen == sorted(seen, key=lambda content: content == new and old != new)  # once new, never old again
        for state in states:
            step.run(series_in(state))
            assert content_of(series_in(state)) == new
            assert sorted(path.name for path in (state / "AAPL").glob(".*")) == sorted(
                path.name for path in (state / "AAPL").glob(".*") if path.name.endswith(".lock")
            )


def test_a_change_of_several_parts_makes_a_journal_and_one_of_a_single_part_none(tmp_path: Path) -> None:
    for number, save in enumerate((Save({0: 1.0, 40: 1.0}, None), Save({40: 2.0}, None))):
        series = series_in(tmp_path / "store")
        series.home.mkdir(parents=True, exist_ok=True)

        states = states_during(lambda: save.run(series), tmp_path / "store", tmp_path / str(number))  # noqa: B023

        assert any((state / "AAPL" / ".commit").exists() for state in states) == (number == 0)


def test_a_reader_of_a_folder_that_it_cannot_write_sees_what_a_dead_writer_had_decided(tmp_path: Path) -> None:
    series = series_in(tmp_path / "store")
    Save({0: 1.0, 40: 1.0}, (0, 50)).run(series)
    states = states_during(lambda: Save({0: 2.0, 40: 2.0}, None).run(series), tmp_path / "store", tmp_path / "states")

    half_done = [series_in(state) for state in states if (state / "AAPL" / ".commit").exists()]

    assert len(half_done) >= 3  # before the first rename, between the two, after the second
    for state in half_done:
        before = sorted(state.home.rglob("*"))
        assert content_of(state)[0] == {0: 2.0, 40: 2.0}
        assert state.info().bars == 2
        assert sorted(state.home.rglob("*")) == before


def test_years_that_have_passed_become_one_part_each_and_later_saves_go_there(tmp_path: Path) -> None:
    series = series_in(tmp_path)
    Save({0: 1.0, 20: 1.0, 400: 1.0, 440: 1.0}, (0, 450)).run(series)
    before = content_of(series)

    Fold().run(series)

    assert names_of(series) == ["2025.parquet", "2026.parquet", "2027-01.parquet", "2027-02.parquet", "2027-03.parquet"]
    assert content_of(series) == before
    Save({21: 5.0}, None).run(series)
    assert names_of(series)[:2] == ["2025.parquet", "2026.parquet"]
    assert content_of(series)[0] == {0: 1.0, 20: 1.0, 21: 5.0, 400: 1.0, 440: 1.0}


def test_parts_that_share_time_are_refused_by_name(tmp_path: Path) -> None:
    series = series_in(tmp_path)
    Save({0: 1.0}, None).run(series)
    (part,) = series.parts()

    shutil.copy(part.path, part.path.with_name("2025.parquet"))

    for act in (lambda: series.load(*ALWAYS, ["close"]), series.coverage, lambda: Save({1: 1.0}, None).run(series)):
        with pytest.raises(StoreError, match=r"2025\.parquet and 2025-12\.parquet|2025-12\.parquet and 2025\.parquet"):
            act()


def test_a_confirmed_empty_interval_is_covered_by_parts_without_bars(tmp_path: Path) -> None:
    series = series_in(tmp_path)

    Save({}, (0, 50)).run(series)

    assert names_of(series) == ["2025-12.parquet", "2026-01.parquet", "2026-02.parquet"]
    assert list(series.coverage()) == [Interval(day(0), day(50))]
    assert series.info().bars == 0


def test_coverage_that_ends_with_a_month_makes_no_part_of_the_next(tmp_path: Path) -> None:
    series = series_in(tmp_path)

    Save({}, (0, 12)).run(series)

    assert day(12) == datetime(2026, 1, 1, tzinfo=UTC)
    assert names_of(series) == ["2025-12.parquet"]


def test_bars_outside_of_what_they_cover_are_refused(tmp_path: Path) -> None:
    series = series_in(tmp_path)

    with pytest.raises(InvalidBars, match="lie outside"):
        Save({5: 1.0}, (0, 5)).run(series)
    assert series.parts() == []


@pytest.mark.parametrize(
    "other",
    [
        Provenance("replay", "TRADES", True),
        Provenance("IB", "TRADES", False),
        Provenance("IB", "TRADES", True, "round lots"),
    ],
)
def test_a_series_has_one_provenance_in_all_of_its_parts(tmp_path: Path, other: Provenance) -> None:
    series = series_in(tmp_path)
    Save({0: 1.0}, None).run(series)
    table = series.load(*ALWAYS, COLUMNS)

    with series.lock(), pytest.raises(SourceMismatch):
        series.save(table.slice(0, 0), other, Interval(day(100), day(101)))


def test_left_over_temporaries_are_swept_by_the_next_save_of_that_series_only(tmp_path: Path) -> None:
    series = series_in(tmp_path)
    series.folder.parent.mkdir()
    mine, another = (tmp_path / "AAPL" / f".{name}.parquet-2026-11-x.tmp" for name in ("1min", "1min-BID"))
    mine.write_bytes(b"half"), another.write_bytes(b"half")

    Save({0: 1.0}, None).run(series)

    assert not mine.exists()
    assert another.exists()

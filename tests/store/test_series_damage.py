"""Parts of a series that cannot be read: told, set aside, and lost until they are fetched again."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.store.test_series import IB, ORIGIN, Save, content_of, day, series_in
from workbench.errors import CorruptPart, SourceMismatch
from workbench.market.bars import COLUMNS, to_frame
from workbench.market.coverage import Coverage, Interval
from workbench.store.footer import Provenance
from workbench.store.parts import ALWAYS
from workbench.store.series import Series


def corrupt(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "cut":
        del data[-9:]
    else:  # a byte among the bars; the footer stays readable
        data[4 : 4 + 40] = bytes(byte ^ 255 for byte in data[4 : 4 + 40])
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["cut", "flipped"])
def test_a_part_that_cannot_be_read_is_an_error_to_readers_and_set_aside_by_a_writer(tmp_path: Path, how: str) -> None:
    """Its bars stay missing loudly: the rest can be read, its period cannot, until it was fetched again."""
    series = series_in(tmp_path)
    Save({0: 1.0, 20: 1.0, 45: 1.0}, (0, 50)).run(series)
    middle = series.parts()[1].path
    corrupt(middle, how)
    broken = middle.read_bytes()

    with pytest.raises(CorruptPart, match=r"2026-01\.parquet cannot be read"):
        series.load(*ALWAYS, ["close"])
    assert middle.read_bytes() == broken  # reading changes nothing

    report = Save({21: 3.0}, (20, 25)).run(series)

    (aside,) = report.set_aside
    assert aside.name.startswith(".corrupt-1min.parquet-2026-01-")
    assert aside.read_bytes() == broken
    assert content_of_span(series, 0, 12) == {0: 1.0}
    assert content_of_span(series, 20, 25) == {21: 3.0}
    assert content_of_span(series, 43, 50) == {45: 1.0}
    for begin, end in ((12, 25), (24, 26), (30, 43)):
        with pytest.raises(CorruptPart, match=r"were set aside.*fetch its period again: workbench check"):
            content_of_span(series, begin, end)
    assert series.coverage() == Coverage(
        [Interval(day(0), day(12)), Interval(day(20), day(25)), Interval(day(43), day(50))]
    )
    assert "could not be read" in series.info().problem

    Save({30: 4.0}, (12, 43)).run(series)  # fetched again

    assert content_of(series) == ({0: 1.0, 30: 4.0, 45: 1.0}, set(range(50)))
    assert series.info().problem == ""
    assert aside.exists()


def content_of_span(series: Series, begin: int, end: int) -> dict[int, float]:
    frame = to_frame(series.load(day(begin), day(end), ["close"]))
    return {(stamp - ORIGIN).days: close for stamp, close in frame["close"].items()}


def test_what_is_refused_sets_nothing_aside(tmp_path: Path) -> None:
    series = series_in(tmp_path)
    Save({0: 1.0, 40: 1.0}, (0, 50)).run(series)
    last = series.parts()[-1].path
    corrupt(last, "cut")
    broken = last.read_bytes()

    with series.lock(), pytest.raises(SourceMismatch):
        series.save(series.load(day(0), day(1), COLUMNS), Provenance("replay", "TRADES", True), None)

    assert last.read_bytes() == broken


def test_a_corrupt_month_keeps_its_year_from_being_folded_and_nothing_is_lost(tmp_path: Path) -> None:
    series = series_in(tmp_path)
    Save({0: 1.0, 20: 1.0, 30: 1.0, 400: 1.0}, None).run(series)
    corrupt(series.parts()[1].path, "flipped")
    before = {part.path.name: part.path.read_bytes() for part in series.parts()}

    with series.lock(), pytest.raises(CorruptPart, match="2026-01"):
        series.fold()

    after = {part.path.name: part.path.read_bytes() for part in series.parts()}
    assert {name: after[name] for name in after if name.startswith("2026")} == {
        name: before[name] for name in before if name.startswith("2026")
    }


@pytest.mark.parametrize("as_of", [None, datetime(2026, 1, 20, tzinfo=UTC)])
def test_what_a_part_without_footer_lost_ends_where_it_was_written_at_the_latest(
    tmp_path: Path, as_of: datetime | None
) -> None:
    series = series_in(tmp_path)
    Save({20: 1.0}, None).run(series)
    path = series.parts()[0].path
    corrupt(path, "cut")
    os.utime(path, (day(25).timestamp(), day(25).timestamp()))

    with series.lock():
        assert len(series.set_aside(IB, as_of).set_aside) == 1
        assert series.set_aside(IB, as_of).set_aside == ()

    ends = as_of or day(25)
    assert series.load(ends, ALWAYS[1], ["close"]).num_rows == 0
    with pytest.raises(CorruptPart):
        series.load(ends - timedelta(microseconds=1), ALWAYS[1], ["close"])
    Save({20: 1.0}, (12, (ends - ORIGIN).days)).run(series)
    assert content_of(series)[0] == {20: 1.0}


def test_where_files_have_no_second_name_the_corrupt_part_is_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    series = series_in(tmp_path)
    Save({20: 1.0}, None).run(series)
    corrupt(series.parts()[0].path, "cut")
    monkeypatch.setattr(Path, "hardlink_to", refuse)

    report = Save({21: 1.0}, None).run(series)

    assert report.set_aside[0].exists()
    with pytest.raises(CorruptPart):
        series.load(*ALWAYS, ["close"])

"""What a reader holds open is the folder as it was at one instant, whatever a writer does between any two steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from workbench.errors import StoreError
from workbench.market.bars import to_table
from workbench.store import folder
from workbench.store.footer import Provenance
from workbench.store.parts import ALWAYS, Part
from workbench.store.series import Series

IB = Provenance("IB", "TRADES", use_rth=True)
DAYS = pd.DatetimeIndex(["2025-11-05", "2025-12-05", "2026-01-05", "2026-02-05"], tz="UTC").as_unit("us")


def save(series: Series, price: float) -> None:
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close", "volume"), price), index=DAYS)
    with series.lock():
        series.save(to_table(frame), IB, None)


def fold(series: Series) -> None:
    with series.lock():
        series.fold()


def closes(series: Series) -> list[float]:
    return series.load(*ALWAYS, ["close"]).column("close").to_pylist()  # type: ignore[no-any-return]


@pytest.fixture
def series(tmp_path: Path) -> Series:
    found = Series.at(tmp_path / "AAPL" / "1min.parquet")
    save(found, 1.0)
    return found


@pytest.mark.parametrize("step", range(6))
@pytest.mark.parametrize("act", [lambda series: save(series, 2.0), fold], ids=["save", "fold"])
def test_a_writer_that_comes_between_two_steps_of_a_reader_is_seen_whole_or_not_at_all(
    series: Series, monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[Series], None]
) -> None:
    """The steps: listing the folder, opening each of the four parts, listing it again."""
    steps: list[str] = []
    opened, pending = folder.opened, folder.pending

    def come_between() -> None:
        steps.append("step")
        if len(steps) == step + 1:
            with monkeypatch.context() as patch:
                patch.setattr(folder, "opened", opened)
                patch.setattr(folder, "pending", pending)
                act(series)

    @contextmanager
    def watched_open(part: Part) -> Iterator[pa.NativeFile]:
        come_between()
        with opened(part) as file:
            yield file

    def watched_pending(home: Path) -> object:
        change = pending(home)
        come_between()
        return change

    monkeypatch.setattr(folder, "opened", watched_open)
    monkeypatch.setattr(folder, "pending", watched_pending)

    assert closes(series) in ([1.0] * 4, [2.0] * 4)
    assert len(steps) > step, "the writer came"


def test_a_folder_that_changes_all_the_time_is_an_error_at_last(
    series: Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "_ATTEMPTS", 3)
    monkeypatch.setattr(folder.PartFolder, "stands", lambda *_: False)

    for read in (lambda: closes(series), series.coverage):
        with pytest.raises(StoreError, match="changes all the time"):
            read()


def test_a_link_that_leads_nowhere_is_an_error_not_an_empty_month(
    series: Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = series.parts()[0].path
    part.unlink()
    part.symlink_to(part.with_name("elsewhere"))

    with pytest.raises(StoreError, match="leads nowhere"):
        closes(series)


def test_looking_at_a_few_days_opens_only_the_parts_of_these(series: Series, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[str] = []
    opened = folder.opened
    monkeypatch.setattr(folder, "opened", lambda part: (looked_at.append(part.path.name), opened(part))[1])

    table = series.load(datetime(2025, 12, 1, tzinfo=UTC), datetime(2026, 1, 6, tzinfo=UTC), ["close"])

    assert table.num_rows == 2
    assert looked_at == ["2025-12.parquet", "2026-01.parquet"]

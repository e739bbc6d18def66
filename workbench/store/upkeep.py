"""Keeping a store in order: months folded into years, and the database's catalogue rebuilt from the files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from workbench import html
from workbench.errors import StoreError
from workbench.store.catalog import forget, record, recorded_keys
from workbench.store.database import DatabaseManager
from workbench.store.series import Series


@dataclass(frozen=True, slots=True)
class CompactReport:
    """How many series were looked at, how many parts there are fewer, and what could not be folded."""

    series: int
    folded: int
    problems: tuple[str, ...]

    def _repr_html_(self) -> str:
        told = f"{self.series} series looked at, {self.folded} parts fewer"
        return html.card(told, *(html.note(one, state="bad") for one in self.problems))


@dataclass(frozen=True, slots=True)
class ReindexReport:
    """How many series were looked at, and what of them cannot be read: of that stands what was recorded before."""

    series: int
    problems: tuple[str, ...]

    def _repr_html_(self) -> str:
        told = f"{self.series} series recorded anew"
        return html.card(told, *(html.note(one, state="bad") for one in self.problems))


def compact(stored: Iterable[Series]) -> CompactReport:
    """Fold all that can be folded, and clear what dead writers left."""
    folded, looked_at, problems = 0, 0, list[str]()
    for series in stored:
        looked_at += 1
        try:
            with series.lock():
                folded += series.fold()
        except StoreError as error:
            problems.append(str(error))
    return CompactReport(looked_at, folded, tuple(problems))


def reindex(database: DatabaseManager, find_stored: Callable[[], Sequence[Series]]) -> ReindexReport:
    """Record every series anew, and forget those of which there are no files. Raises `StoreError`."""
    before, stored, problems = recorded_keys(database), find_stored(), list[str]()
    for series in stored:
        with series.lock():  # so that no save comes between reading and recording
            info, whole = series.readable_info(), not series.has_unreadable()
            if info.parts and whole:
                record(database, info)
        if info.problem:
            problems.append(f"{info.symbol} {info.timeframe}: {info.problem}")
    forget(database, before - {series.key for series in stored})
    return ReindexReport(len(stored), tuple(problems))

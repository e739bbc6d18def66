"""Merging new bars into stored ones: pure, and the same whatever the order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from workbench.market.coverage import Interval
from workbench.store.parts import stamps_of, to_micros


@dataclass(frozen=True, slots=True)
class SaveReport:
    """How a save changed a series, in bars."""

    added: int = 0
    revised: int = 0
    removed: int = 0
    unchanged: int = 0
    held_back: int = 0
    set_aside: tuple[Path, ...] = ()
    """Files that could not be read, under the names under which they are kept. Their bars have to be fetched again."""

    def __add__(self, other: SaveReport) -> SaveReport:
        return SaveReport(
            self.added + other.added,
            self.revised + other.revised,
            self.removed + other.removed,
            self.unchanged + other.unchanged,
            self.held_back + other.held_back,
            self.set_aside + other.set_aside,
        )

    @property
    def changed(self) -> bool:
        """Whether any bar differs from before."""
        return bool(self.added or self.revised or self.removed)


def merge(old: pa.Table, new: pa.Table, covers: Interval | None) -> tuple[pa.Table, SaveReport]:
    """Return `old` with `new` laid over it: where both have a bar, the new one stands.

    When `new` is all that there is within `covers`, old bars in there that it lacks are removed.
    """
    old_stamps, new_stamps = stamps_of(old), stamps_of(new)
    places = np.searchsorted(old_stamps, new_stamps)
    met = places < len(old_stamps)
    met[met] = old_stamps[places[met]] == new_stamps[met]
    renewed = np.zeros(len(old_stamps), dtype=bool)
    renewed[places[met]] = True
    gone = ~renewed & _inside(old_stamps, covers)
    same = _equal_rows(old.filter(pa.array(renewed)), new.filter(pa.array(met))) if met.any() else 0
    report = SaveReport(
        added=len(new_stamps) - int(met.sum()),
        revised=int(met.sum()) - same,
        removed=int(gone.sum()),
        unchanged=same,
    )
    kept = old.filter(pa.array(~(renewed | gone))) if renewed.any() or gone.any() else old
    return _joined(kept, new), report


def _joined(left: pa.Table, right: pa.Table) -> pa.Table:
    """Return the rows of both, which have no timestamp in common, in the order of time."""
    both = pa.concat_tables([left, right])
    stamps = stamps_of(both)
    if (stamps[1:] > stamps[:-1]).all():
        return both
    return both.take(pa.array(np.argsort(stamps, kind="stable")))


def _inside(stamps: np.ndarray, covers: Interval | None) -> np.ndarray:
    if covers is None:
        return np.zeros(len(stamps), dtype=bool)
    return (stamps >= to_micros(covers.begin)) & (stamps < to_micros(covers.end))


def _equal_rows(old: pa.Table, new: pa.Table) -> int:
    """Count the rows that are the same in every column; both have the same timestamps in the same order."""
    same = np.ones(old.num_rows, dtype=bool)
    for name in old.column_names[1:]:
        before, after = (table.column(name).to_numpy(zero_copy_only=False) for table in (old, new))
        same &= (before == after) | (np.isnan(before) & np.isnan(after))
    return int(same.sum())

"""What makes bars differ that were stored once and fetched again. Pure."""

from __future__ import annotations

import pandas as pd

from workbench.store.splits import FEWEST_BARS, Ratio, Suspicion, find_split

_UNIT_FACTOR = 4.0
"""No revision multiplies most volumes; a setting of TWS that turns shares into lots of 100, 40 or 10 does."""


def find_difference(old: pd.DataFrame, new: pd.DataFrame) -> Ratio | Suspicion | None:
    """Return a split, another unit of the volume, or what else there is to say of them; None where they agree."""
    split = find_split(old, new)
    if isinstance(split, Ratio) or (split is not None and split.is_of_all):
        return split
    return _other_unit(old, new) or split


def _other_unit(old: pd.DataFrame, new: pd.DataFrame) -> Suspicion | None:
    """Return what to say of volumes that differ as a whole where prices do not."""
    both = pd.concat({"old": old["volume"], "new": new["volume"]}, axis=1, join="inner")
    both = both[(both["old"] > 0) & (both["new"] > 0)]
    if len(both) < FEWEST_BARS:
        return None
    times = float((both["new"] / both["old"]).median())
    if 1 / _UNIT_FACTOR < times < _UNIT_FACTOR:
        return None
    return Suspicion(
        f"their prices agree, but IB's volumes are {times:.3g} times the stored ones, as when TWS is told to send lots "
        "instead of shares: look at its setting (workbench doctor tells which)",
        is_of_all=True,
    )

"""The watchlist: which of the ranked symbols are followed live. Pure.

Live bars cost market data lines, so the list has room for so many. A symbol at the edge must not come and go with each
small change of its score, for each coming is a subscription, a gap to fill, and a line that is busy: so what is on the
list counts `margin` points more than what is not. A newcomer takes a place only when it is better by more than that.
"""

from __future__ import annotations

from datetime import datetime
from math import isfinite

import pandas as pd

from workbench.errors import InvalidInput

MARGIN = 5.0
"""In points of the score, of which there are a hundred."""
_GIVEN = ("symbol", "side", "score")


def choose_watchlist(
    ranked: pd.DataFrame,
    previous: pd.DataFrame | None = None,
    *,
    at: datetime,
    capacity: int,
    margin: float = MARGIN,
    min_score: float = 0.0,
) -> pd.DataFrame:
    """Return the best `capacity` symbols, best first, each on its better side; as `save_watchlist` takes them.

    `ranked` has `symbol`, `side`, `score` and, where there are, `reasons`: a row a symbol and side, in any order.
    `previous` is the list before, with `symbol`, `side` and `since`. What stays on its side keeps its `since`; what
    comes, or has turned to the other side, is there since `at`. `margin` is what being on the list is worth, against
    newcomers and against `min_score`; equal scores stand by name. What is not ranked any more leaves.

    Raises `InvalidInput`.
    """
    if capacity < 1 or not (isfinite(margin) and margin >= 0):
        raise InvalidInput(
            f"a watchlist has room for one symbol at least ({capacity}) and a margin from 0 on ({margin})"
        )
    if at.tzinfo is None:
        raise InvalidInput(f"at: {at} has no time zone")
    before = _since(previous)
    candidates = _checked(ranked)
    keys = list(zip(candidates["symbol"], candidates["side"], strict=True))
    is_new = pd.Series([key not in before for key in keys], candidates.index, dtype=bool)
    worth = candidates["score"].where(is_new, candidates["score"] + margin)
    candidates = candidates.assign(worth=worth, new=is_new, since=[before.get(key, pd.Timestamp(at)) for key in keys])
    enough = candidates[worth >= min_score].sort_values(
        ["worth", "new", "symbol", "side"], ascending=[False, True, True, True]
    )
    chosen = enough.drop_duplicates("symbol").head(capacity)
    listed = chosen.sort_values(["score", "symbol"], ascending=[False, True], ignore_index=True)
    listed["since"] = pd.to_datetime(listed["since"], utc=True).astype("datetime64[us, UTC]")
    return listed.assign(rank=range(1, len(listed) + 1))[["rank", "symbol", "side", "score", "since", "reasons"]]


def _since(previous: pd.DataFrame | None) -> dict[tuple[str, str], pd.Timestamp]:
    if previous is None:
        return {}
    if lacking := [name for name in ("symbol", "side", "since") if name not in previous.columns]:
        raise InvalidInput(f"the previous watchlist has no column {', '.join(lacking)}")
    return {
        (symbol, side): pd.Timestamp(since)
        for symbol, side, since in zip(previous["symbol"], previous["side"], previous["since"], strict=True)
    }


def _checked(ranked: pd.DataFrame) -> pd.DataFrame:
    """Return symbol, side, score and reasons of what is ranked, or raise `InvalidInput`."""
    if lacking := [name for name in _GIVEN if name not in ranked.columns]:
        raise InvalidInput(f"what is ranked has no column {', '.join(lacking)}")
    unusable = ranked[~ranked["score"].map(isfinite)] if len(ranked) else ranked
    if len(unusable):
        row = unusable.iloc[0]
        raise InvalidInput(f"the score of {row['symbol']} ({row['side']}) is {row['score']}; leave it out, or score it")
    if (twice := ranked.duplicated(["symbol", "side"])).any():
        row = ranked[twice].iloc[0]
        raise InvalidInput(f"{row['symbol']} ({row['side']}) is ranked twice")
    reasons = ranked["reasons"] if "reasons" in ranked.columns else pd.Series([[] for _ in ranked.index], ranked.index)
    return ranked[list(_GIVEN)].assign(score=ranked["score"].astype("float64"), reasons=reasons)

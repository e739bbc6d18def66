"""What a check finds: where, what, and what to do about it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import pandas as pd

from workbench import html
from workbench.market.coverage import Interval
from workbench.market.sessions import EXCHANGE_ZONE

Kind = Literal[
    "unreadable", "gap", "stale", "missing", "pause", "duplicate", "broken", "off grid", "off hours", "held back",
    "print", "jump", "disagreement", "unsaved", "provisional", "built otherwise",
]  # fmt: skip
"""In the order in which they are worth looking at."""

_REFETCHED: frozenset[Kind] = frozenset(
    {"unreadable", "gap", "stale", "missing", "pause", "duplicate", "broken", "off grid", "held back", "print",
     "disagreement", "provisional"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a series, or looks so, in `[begin, end)` (UTC)."""

    symbol: str
    timeframe: str
    what_to_show: str
    kind: Kind
    begin: datetime
    end: datetime
    what: str
    step: str
    told_by: str = ""
    """The shorter timeframe that disagrees."""

    @property
    def interval(self) -> Interval:
        """Where it is."""
        return Interval(self.begin, self.end)

    @property
    def is_refetched(self) -> bool:
        """Whether fetching its interval again may mend it."""
        return self.kind in _REFETCHED

    def __str__(self) -> str:
        return f"{self.symbol} {self.timeframe} {self.kind}: {self.what}"


@dataclass(frozen=True, slots=True, repr=False)
class QualityReport:
    """What a check of the store found, series by series. `checked` counts the series."""

    findings: tuple[Finding, ...]
    checked: int

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def to_frame(self) -> pd.DataFrame:
        """Return the findings as a table, a row each; times are UTC."""
        names = ["symbol", "timeframe", "kind", "begin", "end", "what", "step"]
        return pd.DataFrame([[getattr(one, name) for name in names] for one in self.findings], columns=names)

    def _repr_html_(self) -> str:
        return html.card(str(self), html.table(self.to_frame()), state="good" if self.is_clean else "look")

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        if self.is_clean:
            return f"{self.checked} series checked, nothing found"
        kinds = Counter(one.kind for one in self.findings)
        counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        found = "1 finding" if len(self.findings) == 1 else f"{len(self.findings)} findings"
        return f"{self.checked} series checked, {found}: {counts}"


def tell_time(moment: datetime, *, is_daily: bool) -> str:
    """Return a bar's start as people read it: a session's date, or the exchange's clock."""
    return f"{moment:%Y-%m-%d}" if is_daily else f"{moment.astimezone(EXCHANGE_ZONE):%Y-%m-%d %H:%M}"

"""What a backfill did, series by series, and what to do about what failed."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from workbench import html
from workbench.errors import (
    BasisMismatch,
    Disconnected,
    InvalidBars,
    NoPermission,
    PacingViolation,
    RequestTimeout,
    SourceMismatch,
    Unavailable,
    UnknownContract,
    WorkbenchError,
)
from workbench.market.coverage import Interval
from workbench.store.merge import SaveReport

AGAIN = "run it again: it goes on from here"

_NEXT_STEPS: dict[type[WorkbenchError], str] = {
    UnknownContract: "correct it by workbench universe add, or remove it",
    NoPermission: "subscribe to its data at IB, or leave it out",
    RequestTimeout: "run it again later: it goes on from here, with shorter requests",
    Unavailable: "run it again later: it goes on from here",
    PacingViolation: "end what else fetches through this account, then run it again",
    Disconnected: "look at TWS or IB Gateway, then run it again: it goes on from here",
    BasisMismatch: "look at both; workbench rebuild fetches all of the symbol anew",
    SourceMismatch: "keep bars of another source in a data folder of their own",
    InvalidBars: "look at the bars that IB sent; run it again later",
}


@dataclass(frozen=True, slots=True)
class SeriesReport:
    """What a backfill did to one series. `error` is why it could not be finished.

    `empty` counts the requests to which IB said that it has nothing. `is_unfinished` when the backfill was ended before
    all was asked for. `without` are spans with whole sessions, after the oldest bar, of which IB said twice that it has
    nothing.
    """

    symbol: str
    timeframe: str
    requests: int = 0
    saved: SaveReport = field(default_factory=SaveReport)
    empty: int = 0
    error: WorkbenchError | None = None
    is_unfinished: bool = False
    without: tuple[Interval, ...] = ()

    @property
    def outcome(self) -> str:
        """What came of it, in a word or two."""
        if self.error is not None:
            return "failed"
        if self.is_unfinished:
            return "interrupted"
        if self.requests == 0:
            return "nothing missing"
        return "IB has nothing" if self.requests == self.empty else "complete"

    @property
    def next_step(self) -> str:
        """What to do about it; empty when nothing needs doing."""
        if self.error is not None:
            return next((step for kind, step in _NEXT_STEPS.items() if isinstance(self.error, kind)), AGAIN)
        if self.saved.held_back:
            return "look at the bars that were held back: they look wrong"
        if self.is_unfinished:
            return AGAIN
        return "was it halted or delisted? workbench check --fix asks again" if self.without else ""


@dataclass(frozen=True, slots=True, repr=False)
class BackfillReport:
    """What a backfill did, series by series, in the order in which they were named."""

    series: tuple[SeriesReport, ...]
    interrupted: bool = False
    notes: tuple[str, ...] = ()
    """Splits that were found, and stored bars that IB tells otherwise."""
    looks: int = 0
    """How many requests more it took to look for splits."""

    @property
    def failed(self) -> tuple[SeriesReport, ...]:
        """The series that could not be finished."""
        return tuple(report for report in self.series if report.error is not None)

    @property
    def requests(self) -> int:
        """How many requests were answered."""
        return sum(report.requests for report in self.series)

    @property
    def added(self) -> int:
        """How many bars are new in the store."""
        return sum(report.saved.added for report in self.series)

    @property
    def revised(self) -> int:
        """How many stored bars IB has revised since."""
        return sum(report.saved.revised for report in self.series)

    def to_frame(self) -> pd.DataFrame:
        """Return the report as a table, a row a series."""
        names = ["symbol", "timeframe", "outcome", "requests", "empty", "added", "revised", "removed", "held_back",
                 "error", "next_step"]  # fmt: skip
        return pd.DataFrame([_row(one) for one in self.series], columns=names)

    def _repr_html_(self) -> str:
        is_open = self.interrupted or any(one.next_step for one in self.series)
        state: html.State = "bad" if self.failed else "look" if is_open else "good"
        notes = [html.note(note, state="look") for note in self.notes]
        return html.card(self._summary(), *notes, html.table(self.to_frame()), state=state)

    def __repr__(self) -> str:
        lines = [f"{symbol} {', '.join(names)}: {error}" for (symbol, error), names in self._failures().items()]
        lines += [
            f"{one.symbol} {one.timeframe}: IB has nothing of {span}" for one in self.series for span in one.without
        ]
        lines += [f"could not be read, and is kept as {path}" for one in self.series for path in one.saved.set_aside]
        return "\n".join([self._summary(), *lines, *self.notes])

    def _failures(self) -> dict[tuple[str, str], list[str]]:
        """Return the timeframes that failed for one reason, by symbol and reason."""
        found: dict[tuple[str, str], list[str]] = {}
        for one in self.failed:
            found.setdefault((one.symbol, str(one.error)), []).append(one.timeframe)
        return found

    def _summary(self) -> str:
        text = f"{self.added:,} bars added to {len(self.series)} series by {self.requests} requests"
        if self.looks:
            text += f", after {self.looks} to look for splits"
        if self.revised:
            text += f"; {self.revised:,} revised by IB since"
        if self.failed:
            text += f"; failed: {len(self.failed)} series"
        return f"{text}; interrupted: call it again, it goes on from here" if self.interrupted else text


def _row(one: SeriesReport) -> tuple[object, ...]:
    saved = one.saved
    counts = (one.requests, one.empty, saved.added, saved.revised, saved.removed, saved.held_back)
    return one.symbol, one.timeframe, one.outcome, *counts, str(one.error or ""), one.next_step

"""What came of saving sessions: what differs from history, and what is still open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date

import pandas as pd

from workbench import html
from workbench.market.differences import Differences

COUNTS = ("bars", "equal", "price", "far", "volume", "missing", "extra", "partial")


@dataclass(frozen=True, slots=True)
class SavedSession:
    """A symbol's session. `heard` five-second bars were in the journal.

    `reason` says why it is open, that is why its bars stay in the journal; empty when it is saved. While the session
    still trades that is no failure (`is_due`). `provisional` counts the bars that were stored as they were built.
    """

    session: date
    symbol: str
    heard: int = 0
    differences: Mapping[str, Differences] = field(default_factory=dict)
    provisional: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""
    is_due: bool = True

    @property
    def is_saved(self) -> bool:
        """Whether the store has it and the journal does not need to."""
        return not self.reason

    def __str__(self) -> str:
        return f"{self.symbol} {self.session}: {self.reason or 'saved'}"


@dataclass(frozen=True, slots=True, repr=False)
class SessionReport:
    """What came of saving sessions, symbol by symbol. `note` says why there was nothing to do."""

    sessions: tuple[SavedSession, ...] = ()
    interrupted: bool = False
    note: str = ""

    @property
    def open(self) -> tuple[SavedSession, ...]:
        """What could not be saved yet, but for sessions that still trade."""
        return tuple(one for one in self.sessions if not one.is_saved and one.is_due)

    @property
    def saved(self) -> tuple[SavedSession, ...]:
        """What is saved."""
        return tuple(one for one in self.sessions if one.is_saved)

    @property
    def different(self) -> int:
        """How many built bars differ from history."""
        return sum(found.different for one in self.sessions for found in one.differences.values())

    def to_frame(self) -> pd.DataFrame:
        """Return the differences as a table: a row a session, symbol and timeframe."""
        rows = [
            {"session": one.session, "symbol": one.symbol, "timeframe": name}
            | asdict(found)
            | {"provisional": one.provisional.get(name, 0), "saved": one.is_saved}
            for one in self.sessions
            for name, found in one.differences.items()
        ]
        columns = ["session", "symbol", "timeframe", *COUNTS, "widest", "provisional", "saved"]
        return pd.DataFrame(rows, columns=columns)

    def open_frame(self) -> pd.DataFrame:
        """Return what is open as a table; sessions that still trade are in it."""
        waiting = [one for one in self.sessions if not one.is_saved]
        rows = [(one.session, one.symbol, one.heard, one.reason) for one in waiting]
        return pd.DataFrame(rows, columns=["session", "symbol", "live_bars", "reason"])

    def _repr_html_(self) -> str:
        state: html.State = "bad" if self.open else "look" if self.interrupted else "good" if self.sessions else "plain"
        return html.card(
            self._summary(), html.table(self.open_frame()), html.table(self.to_frame(), decimals=5), state=state
        )

    def __repr__(self) -> str:
        waiting = [str(one) for one in self.sessions if not one.is_saved]
        return "\n".join([self._summary(), *waiting])

    def _summary(self) -> str:
        if not self.sessions:
            return self.note or "nothing waits to be saved: the journal is empty"
        days = Counter(one.session for one in self.saved)
        told = [f"{day}: {count} {'symbol' if count == 1 else 'symbols'} saved" for day, count in days.items()]
        heard = sum(one.heard for one in self.saved)
        if days:
            told.append(f"{heard:,} live bars left the journal")
            told.append(f"{self.different:,} built bars differ from IB's history")
        if stored := sum(count for one in self.sessions for count in one.provisional.values()):
            told.append(f"{stored:,} bars stored provisionally")
        waiting = len(self.sessions) - len(self.saved)
        if waiting:
            told.append(f"{waiting} OPEN, still in the journal")
        if self.interrupted:
            told.append("interrupted: call it again, it goes on from here")
        return "; ".join(told)

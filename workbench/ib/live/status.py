"""How live bars are: what people are told, in values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf

from workbench import html
from workbench.ib.live.gaps import Gap

_MOST_NAMES = 3


def name_some(symbols: Sequence[str]) -> str:
    """Return symbols in words, however many they are.

    >>> name_some(["AAPL", "KO"]), name_some(["AAPL", "KO", "MSFT", "SPY", "TLT"])
    ('AAPL, KO', 'AAPL, KO, MSFT and 2 more')
    """
    names = ", ".join(symbols[:_MOST_NAMES])
    return names if len(symbols) <= _MOST_NAMES else f"{names} and {len(symbols) - _MOST_NAMES} more"


@dataclass(frozen=True, slots=True)
class StreamsStatus:
    """How live streams are. Ages are seconds of the session since the end of each symbol's newest bar."""

    wanted: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    """Symbols whose stream is not requested yet: of IB's limits, or of trouble."""
    refused: dict[str, str] = field(default_factory=dict)
    """Why IB refuses a symbol's stream."""
    ages: dict[str, float] = field(default_factory=dict)
    renewed: int = 0
    """How often a stream was requested again for its silence."""
    broken: int = 0
    """How many bars were dropped, for they were broken."""


@dataclass(frozen=True, slots=True)
class Unfilled:
    """A gap that could not be filled, and why."""

    symbol: str
    gap: Gap
    reason: str

    def __str__(self) -> str:
        begin, end = (datetime.fromtimestamp(at, UTC) for at in self.gap)
        return f"{self.symbol}: {self.gap.bars} five-second bars from {begin:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S} UTC"


@dataclass(slots=True)
class RecorderCounts:
    """What a recorder has done, in five-second bars."""

    received: int = 0
    repeated: int = 0
    filled: int = 0
    quiet: int = 0
    revised: int = 0
    """Replaced by what history tells, after IB had annulled a trade."""
    unfilled: list[Unfilled] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)
    """The symbols that are not recorded, for IB does not know them; and what it says."""


@dataclass(frozen=True, slots=True)
class LiveStatus:
    """How recording goes."""

    streams: StreamsStatus
    bars_a_second: float = 0.0
    open_gaps: int = 0
    """Five-second bars that are missing and still asked for."""
    counts: RecorderCounts | None = None
    history: str = ""
    """What of earlier sessions is still to come, or could not be fetched."""

    @property
    def oldest_age_s(self) -> float:
        """The seconds of the session that have passed since the newest bar of the symbol that is furthest behind."""
        return max(self.streams.ages.values(), default=0.0)

    @property
    def unfilled(self) -> list[Unfilled]:
        """The gaps that could not be filled."""
        return list(self.counts.unfilled) if self.counts else []

    def _repr_html_(self) -> str:
        ages = sorted(self.streams.ages.items(), key=lambda one: -one[1])
        waiting, refused = self.streams.waiting, self.streams.refused
        lines = [(symbol, "-" if age == inf else round(age), "live") for symbol, age in ages if symbol not in refused]
        lines += [(symbol, "", "waits") for symbol in waiting if symbol not in self.streams.ages]
        lines += [(symbol, "", f"refused: {why}") for symbol, why in refused.items()]
        state: html.State = "bad" if self.unfilled or refused else "look" if self.open_gaps or waiting else "good"
        missed = [html.note(f"not filled: {one}; {one.reason}", state="bad") for one in self.unfilled]
        table = html.rows(("symbol", "age, s", "stream"), lines, marks={"waits": "look"})
        return html.card(str(self), *missed, table, state=state if self.streams.wanted else "plain")

    @property
    def unknown(self) -> list[str]:
        """The symbols that are not recorded, for IB does not know them."""
        return list(self.counts.unknown) if self.counts else []

    def __str__(self) -> str:
        live = len(self.streams.wanted) - len(self.streams.waiting)
        known = [age for age in self.streams.ages.values() if age < inf]
        age = f"{max(known):.0f} s old" if known else "none yet"
        silent = [symbol for symbol, age in self.streams.ages.items() if age == inf] if known else []
        age += f", none yet of {name_some(silent)}" if silent else ""
        text = (
            f"{live} of {len(self.streams.wanted)} symbols live · {self.bars_a_second:.1f} bars/s · oldest data {age}"
        )
        text += f" · {self.open_gaps} bars missing" if self.open_gaps else " · no gaps"
        text += f" · {self.history}" if self.history else ""
        text += f" · IB does NOT KNOW {name_some(self.unknown)}" if self.unknown else ""
        text += f" · REFUSED for now: {name_some(list(self.streams.refused))}" if self.streams.refused else ""
        return text + (f" · {len(self.unfilled)} gaps NOT FILLED" if self.unfilled else "")

"""Historical bars that are kept up to date: the unfinished bar again and again, each bar once more when it ends.

Every update is read from the tape as history reads it, as of the same instant, so the last word on a bar is what
history says of it later; of a tape that corrects itself it is what was streamed. The one thing that differs is a bar
that has begun without a trade: IB sends it with volume, average and count -1 until one comes or the bar ends.

One pass a tick: what several subscriptions have in common is read and encoded once, and only the newest bar is read.

A week or a month is labelled by its last trading day so far, as history labels it; so with each new day a client
is told of a new bar. What a real gateway does there is on no record.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np

from workbench.errors import GatewayError
from workbench.gateway.answers import historical_update, update_bodies
from workbench.gateway.asof import AsOf, shown
from workbench.gateway.history import bars_between, begin_of_bar, stamps
from workbench.gateway.hours import hours
from workbench.gateway.realtime import Due
from workbench.gateway.tape import DAY, BarColumns, Instrument, Tape, streamed

NO_TRADES = -1


@dataclass(frozen=True, slots=True)
class Kept:
    """What one client wants kept up to date, and how its messages look."""

    instrument: Instrument
    size: int
    what_to_show: str
    use_rth: bool
    format_date: int
    zone: ZoneInfo
    lots: bool
    version: int


@dataclass(slots=True)
class _Progress:
    """How far a client has been told: the begin of its newest bar, and the message that told it.

    Nothing is told before `since`, in gateway time: until then its first answer is still under way.
    """

    kept: Kept
    begin: int
    since: float
    told: bytes = b""

    def told_of(self, req_id: int, bodies: list[bytes], begin: int) -> bytes:
        """Return the messages of all bars from the newest known one on, but for what was told already."""
        news = bodies[1:] if bodies[:1] == [self.told] else bodies
        self.begin, self.told = begin, bodies[-1] if bodies else self.told
        return b"".join([historical_update(req_id, body) for body in news])


class KeptUp:
    """All bars that one gateway keeps up to date."""

    def __init__(self, tape: Tape, every: int) -> None:
        self._tape = tape
        self._every = every
        self._wanted: dict[Hashable, dict[int, _Progress]] = defaultdict(dict)

    def keep(self, client: Hashable, req_id: int, kept: Kept, newest: int, *, since: float) -> None:
        """Go on after an answer whose last bar is labelled `newest`, and which arrives at `since`.

        What the tape needs for the series is made ready now: many new ones shall not hold up a tick.
        """
        begin = begin_of_bar(hours(), newest, kept.size, use_rth=kept.use_rth)
        with suppress(GatewayError):  # the tick reports it
            self._news(since).of(kept, begin)
        self._wanted[client][req_id] = _Progress(kept, begin, since)

    def holds(self, client: Hashable, req_id: int) -> bool:
        """Return whether these bars are kept up to date."""
        return req_id in self._wanted.get(client, {})

    def cancel(self, client: Hashable, req_id: int) -> None:
        """Keep them no longer."""
        del self._wanted[client][req_id]

    def forget(self, client: Hashable) -> None:
        """Keep nothing for a client that has gone."""
        self._wanted.pop(client, None)

    def skip(self, now: float) -> None:
        """Go on with the bar that is forming at `now`: those that ended before it are told to nobody.

        Bars of a day and more are few: they are told.
        """
        for wanted in self._wanted.values():
            for progress in wanted.values():
                if progress.kept.size < DAY:
                    progress.begin = max(progress.begin, math.ceil(now) - progress.kept.size)

    def next_due(self, now: float) -> float | None:
        """Return the gateway time of the next updates, or None when nobody wants any."""
        return (now // self._every + 1) * self._every if any(self._wanted.values()) else None

    def tick(self, now: float) -> Mapping[Hashable, Due]:
        """Return what has changed for each client as of `now`."""
        news = self._news(now)
        due: dict[Hashable, Due] = defaultdict(Due)
        for client, wanted in self._wanted.items():
            for req_id, progress in wanted.items():
                if now < progress.since:
                    continue
                try:
                    due[client].data += progress.told_of(req_id, *news.of(progress.kept, progress.begin))
                except GatewayError as error:
                    due[client].broken.append((req_id, error))
        return due

    def _news(self, now: float) -> _News:
        return _News(AsOf(streamed(self._tape, now), hours(), now))


class _News:
    """The bars of one tick: each series is read once and encoded once, however many want it."""

    def __init__(self, known: AsOf) -> None:
        self._known = known
        self._read = cache(self._bars)
        self.of = cache(self._encoded)
        """Return the bodies of all bars from `begin` on, and the begin of the last; nothing and `begin` without."""

    def _encoded(self, kept: Kept, begin: int) -> tuple[list[bytes], int]:
        bars = self._read(kept.instrument.key, kept.size, kept.use_rth, begin)
        if not len(bars):
            return [], begin
        bodies = update_bodies(
            stamps(bars.start, kept.zone, size=kept.size, format_date=kept.format_date),
            _without_trades(shown(bars, kept.what_to_show, kept.instrument.min_tick), self._known, kept),
            lots=kept.lots,
            version=kept.version,
        )
        return bodies, begin_of_bar(hours(), int(bars.start[-1]), kept.size, use_rth=kept.use_rth)

    def _bars(self, symbol: str, size: int, use_rth: bool, begin: int) -> BarColumns:  # noqa: FBT001
        return bars_between(self._known, symbol, size, begin, math.ceil(self._known.now), use_rth=use_rth)


def _without_trades(bars: BarColumns, known: AsOf, kept: Kept) -> BarColumns:
    """Mark a last bar that has begun and saw no trade yet."""
    last = int(bars.start[-1])
    if kept.size >= DAY or bars.count[-1] > 0 or known.span(last, kept.size, use_rth=kept.use_rth)[1] <= known.now:
        return bars
    rows = np.arange(len(bars)) == len(bars) - 1
    return replace(
        bars,
        volume=np.where(rows, NO_TRADES, bars.volume),
        average=np.where(rows, NO_TRADES, bars.average),
        count=np.where(rows, NO_TRADES, bars.count),
    )

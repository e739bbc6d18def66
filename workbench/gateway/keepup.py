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
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import chain, islice
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from workbench.errors import GatewayError
from workbench.gateway.aggregate import concatenate
from workbench.gateway.answers import historical_update, update_bodies
from workbench.gateway.asof import AsOf, shown
from workbench.gateway.history import bars_between, begin_of_bar, stamps
from workbench.gateway.hours import hours
from workbench.gateway.realtime import Due, Layout, by
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

    @property
    def series(self) -> Series:
        """What is read of the tape."""
        return Series(self.instrument.key, self.size, self.use_rth)

    @property
    def layout(self) -> Layout:
        """How its bars are encoded."""
        return Layout(self.what_to_show, self.instrument.min_tick, self.lots, self.version)


class Series(NamedTuple):
    """The bars of one symbol and size."""

    symbol: str
    size: int
    use_rth: bool


class Wish(NamedTuple):
    """What is kept up to date, from a begin on: what several subscriptions may have in common."""

    kept: Kept
    begin: int


class News(NamedTuple):
    """The bodies of all bars from the begin of a wish on, and where the next ones are looked for."""

    bodies: list[bytes]
    begin: int


@dataclass(slots=True)
class _Progress:
    """How far a client has been told: where its next bars are looked for, and the last message.

    Nothing is told before `since`, in gateway time: until then its first answer is still under way.
    """

    kept: Kept
    begin: int
    since: float
    told: bytes = b""

    def told_of(self, req_id: int, news: News) -> bytes:
        """Return the messages of all bars from the newest known one on, but for what was told already."""
        fresh = news.bodies[news.bodies[:1] == [self.told] :]
        self.begin, self.told = news.begin, news.bodies[-1] if news.bodies else self.told
        return b"".join([historical_update(req_id, body) for body in fresh])


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
        self._news({Wish(kept, begin)}, since)
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
        due: dict[Hashable, Due] = defaultdict(Due)
        waiting = [it for it in self._all() if it[2].since <= now]
        news = self._news({Wish(it.kept, it.begin) for _, _, it in waiting}, now)
        for client, req_id, progress in waiting:
            found = news[Wish(progress.kept, progress.begin)]
            if isinstance(found, GatewayError):
                due[client].broken.append((req_id, found))
            else:
                due[client].data += progress.told_of(req_id, found)
        return due

    def _all(self) -> Iterator[tuple[Hashable, int, _Progress]]:
        for client, wanted in self._wanted.items():
            for req_id, progress in wanted.items():
                yield client, req_id, progress

    def _news(self, wishes: set[Wish], now: float) -> dict[Wish, News | GatewayError]:
        """Return what each wish brings: a series is read once, and bars that look alike are encoded in one go."""
        read = cache(partial(_read, AsOf(streamed(self._tape, now), hours(), now)))
        news: dict[Wish, News | GatewayError] = {}
        bars: dict[Wish, BarColumns] = {}
        for wish in wishes:
            try:
                found, begin = read(wish.kept.series, wish.begin)
            except GatewayError as error:
                news[wish] = error
            else:
                news[wish] = News([], begin)
                bars |= {wish: found} if len(found) else {}
        for layout, alike in by(bars, lambda wish: wish.kept.layout).items():
            for wish, bodies in zip(alike, _encoded(alike, [bars[it] for it in alike], layout), strict=True):
                news[wish] = News(bodies, read(wish.kept.series, wish.begin)[1])
        return news


def _read(known: AsOf, series: Series, begin: int) -> tuple[BarColumns, int]:
    """Return the bars of a series from `begin` on, and where the next look-up begins.

    That is with the last bar while it is unfinished, else with the first that can still come: in a closed market, or
    where nobody trades for long, there is nothing to read again and again.
    """
    symbol, size, use_rth = series
    now = math.ceil(known.now)
    bars = bars_between(known, symbol, size, begin, now, use_rth=use_rth)
    if size >= DAY:
        return bars, begin_of_bar(hours(), int(bars.start[-1]), size, use_rth=use_rth) if len(bars) else begin
    if len(bars) and known.span(last := int(bars.start[-1]), size, use_rth=use_rth)[1] > known.now:
        return _without_trades(bars), last
    return bars, max(begin, now - size)


def _encoded(wishes: Sequence[Wish], bars: Sequence[BarColumns], layout: Layout) -> Iterator[list[bytes]]:
    """Return the bodies of each wish's bars, which have one layout."""
    texts = [
        stamps(it.start, wish.kept.zone, size=wish.kept.size, format_date=wish.kept.format_date)
        for wish, it in zip(wishes, bars, strict=True)
    ]
    together = shown(concatenate(*bars), layout.what_to_show, layout.min_tick)
    bodies = iter(update_bodies(list(chain.from_iterable(texts)), together, lots=layout.lots, version=layout.version))
    return (list(islice(bodies, len(it))) for it in bars)


def _without_trades(bars: BarColumns) -> BarColumns:
    """Mark an unfinished last bar that saw no trade yet."""
    if bars.count[-1] > 0 or bars.volume[-1] > 0:
        return bars
    rows = np.arange(len(bars)) == len(bars) - 1
    return replace(
        bars,
        volume=np.where(rows, NO_TRADES, bars.volume),
        average=np.where(rows, NO_TRADES, bars.average),
        count=np.where(rows, NO_TRADES, bars.count),
    )

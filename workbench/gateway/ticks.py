"""Market data: the ticks of a contract, made of the five-second bars on its tape.

A tape knows nothing finer than five seconds, so the ticks of a bar come together when it ends: its open, its high and
low, its close, with its volume divided among them. Whoever builds a bar from the last prices and sizes of those five
seconds gets the bar itself. The day's open, high, low and volume are those of the daily bar so far, in regular
trading hours.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from weakref import WeakValueDictionary

import numpy as np

from workbench.errors import GatewayError
from workbench.gateway import answers
from workbench.gateway.asof import AsOf
from workbench.gateway.hours import Hours, hours
from workbench.gateway.realtime import Due
from workbench.gateway.tape import DAY, BarColumns, Instrument, Tape, streamed
from workbench.gateway.texts import shortest_of
from workbench.gateway.windows import STEP

LIVE, FROZEN, DELAYED, DELAYED_FROZEN = 1, 2, 3, 4
"""Types of market data. Frozen ones are the last ones of a closed market."""

VENUE = "9c0001"
"""The name under which TWS describes the exchanges behind SMART; nothing can be asked by it here."""

PERMISSIONS = 3
"""Snapshots from all exchanges."""

QUOTE_SIZE = 300.0
"""Shares on either side of the quote: no tape knows them."""

LAST_PRICE_WITHIN = (900, DAY, 7 * DAY)
"""How far back the last price is looked for, nearest first."""

DAYS_BEFORE = 10 * DAY
"""How far back the last session's close is looked for."""

PRICES = {"bid": (1, 66), "ask": (2, 67), "last": (4, 68), "high": (6, 72), "low": (7, 73), "close": (9, 75),
          "open": (14, 76)}  # fmt: skip
SIZES = {"volume": (8, 74)}
TEXTS = {"last_time": (45, 88)}
"""The types of ticks, live and delayed, by how they are sent."""


@dataclass(frozen=True, slots=True)
class Tick:
    """One value that changed; prices of quotes and trades come with a size, in shares."""

    name: str
    value: float
    size: float = 0.0


@dataclass(frozen=True, slots=True)
class Layout:
    """How one subscriber's ticks are written."""

    instrument: Instrument
    version: int
    delayed: bool = False

    def messages(self, req_id: int, ticks: list[Tick]) -> bytes:
        """Return the messages of some ticks."""
        return b"".join([self._message(req_id, tick) for tick in ticks])

    def _message(self, req_id: int, tick: Tick) -> bytes:
        if tick.name in PRICES:
            kind = PRICES[tick.name][self.delayed]
            return answers.tick_price(req_id, kind, tick.value, self._quantity(tick.size))
        if tick.name in SIZES:
            return answers.tick_size(req_id, SIZES[tick.name][self.delayed], self._quantity(tick.value))
        return answers.tick_text(req_id, TEXTS[tick.name][self.delayed], str(int(tick.value)))

    def _quantity(self, shares: float) -> str:
        lots = self.instrument.sec_type == "STK"
        return shortest_of(float(answers.quantities(np.array([shares]), lots=lots, version=self.version)[0]))


@dataclass(frozen=True, slots=True)
class Day:
    """A session so far: what its daily bar would say, and the close of the session before."""

    begin: int = 0
    end: int = 0
    until: int = 0  # trading of the next session begins, before hours
    open: float = 0.0
    high: float = 0.0
    low: float = 0.0
    volume: float = 0.0
    before: float = 0.0

    @property
    def traded(self) -> bool:
        """Whether there was a trade in regular hours."""
        return self.open > 0

    def after(self, open_: float, high: float, low: float, volume: float) -> Day:
        """Return the day after one more bar with trades."""
        if not self.traded:
            return replace(self, open=open_, high=high, low=low, volume=volume)
        return replace(self, high=max(self.high, high), low=min(self.low, low), volume=self.volume + volume)

    def ticks(self, told: Day | None = None) -> list[Tick]:
        """Return what a client does not know that was `told` an earlier day or moment."""
        known = told or Day()
        fresh = [Tick(name, getattr(self, name)) for name in ("volume", "high", "low", "open")
                 if self.traded and getattr(self, name) != getattr(known, name)]  # fmt: skip
        return [*fresh, Tick("close", self.before)] if self.before and self.before != known.before else fresh


def day_at(known: AsOf, instrument: Instrument) -> Day:
    """Return the day of the newest session whose trading has begun, extended hours included."""
    calendar = known.calendar
    index = int(np.searchsorted(calendar.pre_opens, known.now, side="right")) - 1
    session = calendar[max(index, 0)]
    bars = known.bars(instrument.key, DAY, session.label - DAYS_BEFORE, session.label + 1, use_rth=True)
    today = bars.start == session.label
    before = bars.close[~today]
    following = calendar[min(index + 1, len(calendar) - 1)].pre_open
    day = Day(session.open, session.close, following, before=float(before[-1]) if len(before) else 0.0)
    if not today.any():
        return day
    return day.after(*[float(column[-1]) for column in (bars.open, bars.high, bars.low, bars.volume)])


def path(open_: float, high: float, low: float, close: float) -> list[float]:
    """Return the prices that a bar went through, each once in a row: first the extreme nearer to the open's side.

    >>> path(10.0, 12.0, 9.0, 11.0)
    [10.0, 9.0, 12.0, 11.0]
    """
    turns = (low, high) if close >= open_ else (high, low)
    return [price for price, _ in groupby((open_, *turns, close))]


def shares_of(volume: float, count: int) -> list[float]:
    """Divide a volume among so many trades, whole shares each, the rest with the last."""
    each = volume // count
    return [each] * (count - 1) + [volume - each * (count - 1)]


class Quotes:
    """The ticks of one contract from an instant on.

    What the tape needs for it is made ready now: many new ones shall not hold up a tick.
    """

    def __init__(self, known: AsOf, instrument: Instrument) -> None:
        self.instrument = instrument
        self._tape = known.tape
        self._calendar: Hours = known.calendar
        self._begin_at(int(known.now // STEP) * STEP)
        self._told = self._day
        streamed(self._tape, known.now).bars(
            instrument.key, STEP, self._following, self._following + STEP, use_rth=False
        )

    def skip(self, now: float) -> None:
        """Go on with the bar that starts at `now`; the next trade tells what the day has become in between."""
        self._begin_at(int(now // STEP) * STEP)

    def _begin_at(self, instant: int) -> None:
        self._following = instant
        self._day = day_at(AsOf(streamed(self._tape, instant), self._calendar, instant), self.instrument)

    def is_like(self, other: Quotes) -> bool:
        """Return whether the same ticks follow for both: then one does for all who want them."""
        return (self._following, self._day, self._told) == (other._following, other._day, other._told)

    def first(self) -> list[Tick]:
        """Return all that is known at the begin."""
        last = self._last_bar()
        if last is None:
            return self._day.ticks()
        price, start = last
        return [*self._quote(price), Tick("last", price), Tick("last_time", start), *self._day.ticks()]

    def until(self, now: float) -> list[Tick]:
        """Return the ticks of all bars that have ended since the last call."""
        end = int(now // STEP) * STEP
        if end < self._following:  # somebody turned the clock back
            self._begin_at(end)
            self._told = self._day
        bars = streamed(self._tape, end).bars(self.instrument.key, STEP, self._following, end, use_rth=False)
        self._following = end
        return [tick for row in _rows(bars) for tick in self._traded(*row)]

    def _traded(
        self, start: int, open_: float, high: float, low: float, close: float, volume: float, count: int
    ) -> Iterator[Tick]:
        if volume <= 0 and count <= 0:  # nobody traded
            return
        prices = path(open_, high, low, close)
        for price, size in zip(prices, shares_of(volume, len(prices)), strict=True):
            yield from self._quote(price)
            yield Tick("last", price, size)
        yield Tick("last_time", start)
        yield from self._counted(start, open_, high, low, volume)

    def _counted(self, start: int, open_: float, high: float, low: float, volume: float) -> Iterator[Tick]:
        if start >= self._day.until:
            self._day = day_at(AsOf(streamed(self._tape, start), self._calendar, start), self.instrument)
        if self._day.begin <= start < self._day.end:
            self._day = self._day.after(open_, high, low, volume)
        yield from self._day.ticks(self._told)
        self._told = self._day

    def _quote(self, price: float) -> list[Tick]:
        """Return bid and ask around a price, as far from it as those of history; an index has none."""
        if self.instrument.sec_type == "IND":
            return []
        half = self.instrument.min_tick / 2
        bid, ask = round(price - half, 6), round(price + half, 6)
        return [Tick("bid", bid, QUOTE_SIZE), Tick("ask", ask, QUOTE_SIZE)]

    def _last_bar(self) -> tuple[float, int] | None:
        """Return close and start of the last bar with trades, as far as it is near."""
        tape = streamed(self._tape, self._following)
        for span in LAST_PRICE_WITHIN:
            begin = self._following - span
            bars = tape.bars(self.instrument.key, STEP, begin, self._following, use_rth=False)
            traded = np.flatnonzero((bars.volume > 0) | (bars.count > 0))
            if len(traded):
                return float(bars.close[traded[-1]]), int(bars.start[traded[-1]])
        return None


def _rows(bars: BarColumns) -> Iterator[tuple[int, float, float, float, float, float, int]]:
    columns = (bars.start, bars.open, bars.high, bars.low, bars.close, bars.volume, bars.count)
    return zip(*[column.tolist() for column in columns], strict=True)


@dataclass(slots=True)
class _Stream:
    """One client's ticks: where they come from, how they are written, how far behind they are."""

    quotes: Quotes
    layout: Layout
    behind: int

    def news(self, now: float) -> list[Tick] | GatewayError:
        """Return the ticks until `now`, or why there are none."""
        try:
            return self.quotes.until(now - self.behind)
        except GatewayError as error:
            return error


class LiveTicks:
    """All subscriptions to market data of one gateway."""

    def __init__(self, tape: Tape, delay: int) -> None:
        self._tape = tape
        self._delay = delay
        self._streams: dict[Hashable, dict[int, _Stream]] = defaultdict(dict)
        self._shared: WeakValueDictionary[tuple[str, int], Quotes] = WeakValueDictionary()
        """The newest quotes by symbol and delay: who begins in the same five seconds needs none of its own."""

    def begin(
        self, client: Hashable, req_id: int, layout: Layout, now: float, *, kind: int = LIVE, snapshot: bool = False
    ) -> bytes:
        """Return the first messages; but for a snapshot, more follow as time passes."""
        behind = self._delay if layout.delayed else 0
        quotes = Quotes(AsOf(self._tape, hours(), now - behind), layout.instrument)
        stocks = layout.instrument.sec_type == "STK"
        head = (
            answers.tick_parameters(
                req_id, layout.instrument.min_tick, VENUE if stocks else "", PERMISSIONS if stocks else 0
            ),
            answers.market_data_type(req_id, kind),
            layout.messages(req_id, quotes.first()),
        )
        if snapshot:
            return b"".join((*head, answers.tick_snapshot_end(req_id)))
        shared = self._shared.get((layout.instrument.key, behind))
        if shared is None or not shared.is_like(quotes):
            self._shared[layout.instrument.key, behind] = shared = quotes
        self._streams[client][req_id] = _Stream(shared, layout, behind)
        return b"".join(head)

    def holds(self, client: Hashable, req_id: int) -> bool:
        """Return whether the subscription exists."""
        return req_id in self._streams.get(client, {})

    def cancel(self, client: Hashable, req_id: int) -> None:
        """End a subscription."""
        del self._streams[client][req_id]

    def forget(self, client: Hashable) -> None:
        """End all subscriptions of a client."""
        self._streams.pop(client, None)

    def skip(self, now: float) -> None:
        """Go on from `now`: the trades before it are told to nobody."""
        for quotes, behind in {(it.quotes, it.behind) for streams in self._streams.values() for it in streams.values()}:
            quotes.skip(now - behind)

    def next_due(self, now: float) -> float | None:
        """Return the gateway time at which ticks may come next, or None when nobody is subscribed."""
        return (now // STEP + 1) * STEP if any(self._streams.values()) else None

    def tick(self, now: float) -> Mapping[Hashable, Due]:
        """Return what has happened for each client until `now`."""
        due: dict[Hashable, Due] = defaultdict(Due)
        news: dict[Quotes, list[Tick] | GatewayError] = {}
        for client, streams in self._streams.items():
            for req_id, stream in streams.items():
                if stream.quotes not in news:
                    news[stream.quotes] = stream.news(now)
                found = news[stream.quotes]
                if isinstance(found, GatewayError):
                    due[client].broken.append((req_id, found))
                else:
                    due[client].data += stream.layout.messages(req_id, found)
        return due


def kind_told(wanted: int, now: float, *, subscribed: bool) -> int:
    """Return the type of the ticks that a client gets: live ones where they are paid for, frozen in a closed market."""
    frozen = wanted in (FROZEN, DELAYED_FROZEN) and not hours().touching(int(now), int(now) + 1, use_rth=False)
    if subscribed:
        return FROZEN if frozen else LIVE
    return DELAYED_FROZEN if frozen else DELAYED

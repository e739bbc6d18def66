"""Live five-second bars: who wants which, and what is due.

One pass a tick over all subscriptions of all clients: a symbol's bars are looked up and encoded once however many
clients want them, and each client gets one block of bytes. A bar stamped `t` is due at `t + 5`.

As IB does, a window in which nobody traded gets a bar as well: all four prices are the last one, volume is 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import numpy as np

from workbench.errors import GatewayError
from workbench.gateway.aggregate import concatenate, grid, nothing, select
from workbench.gateway.answers import realtime_bar, realtime_bodies
from workbench.gateway.asof import shown
from workbench.gateway.hours import hours
from workbench.gateway.tape import DAY, BarColumns, Floats, Instrument, Seconds, Tape

STEP = 5
LAST_PRICE_WITHIN = (900, DAY, 7 * DAY)
"""How far back the last price is looked for. A symbol without five-second bars in a week has none to repeat."""


@dataclass(frozen=True, slots=True)
class Feed:
    """What bars of one subscription look like. Equal feeds get the same bytes."""

    instrument: Instrument
    what_to_show: str
    use_rth: bool
    lots: bool
    version: int


@dataclass(slots=True)
class Subscription:
    """One client's wish; `following` is the start of the next bar it gets."""

    feed: Feed
    following: int


class Wish(NamedTuple):
    """A feed from a start on: what several subscriptions may have in common."""

    feed: Feed
    begin: int


@dataclass(slots=True)
class Due:
    """What a tick brings a client: bytes to send, and the subscriptions whose bars cannot be read."""

    data: bytearray = field(default_factory=bytearray)
    broken: list[tuple[int, GatewayError]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class LastPrice:
    """The last price before an instant, in epoch seconds."""

    before: int
    price: float | None


class LiveBars:
    """All subscriptions to live five-second bars of one gateway."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._subscriptions: dict[Hashable, dict[int, Subscription]] = defaultdict(dict)
        self._last_prices: dict[tuple[str, bool], LastPrice] = {}

    def subscribe(self, client: Hashable, req_id: int, feed: Feed, now: float) -> None:
        """Begin with the first bar that starts at or after `now`."""
        self._subscriptions[client][req_id] = Subscription(feed, -int(-now // STEP) * STEP)

    def holds(self, client: Hashable, req_id: int) -> bool:
        """Return whether the subscription exists."""
        return req_id in self._subscriptions.get(client, {})

    def cancel(self, client: Hashable, req_id: int) -> None:
        """End a subscription."""
        del self._subscriptions[client][req_id]

    def forget(self, client: Hashable) -> None:
        """End all subscriptions of a client."""
        self._subscriptions.pop(client, None)

    def next_due(self, now: float) -> float | None:
        """Return the gateway time at which bars may be due next, or None when nobody is subscribed."""
        return (now // STEP + 1) * STEP if any(self._subscriptions.values()) else None

    def tick(self, now: float) -> dict[Hashable, Due]:
        """Return what is due at `now` for each client, in order of time for each subscription."""
        end = int(now // STEP) * STEP
        behind = list(self._behind(end))
        bodies = self._bodies({Wish(it.feed, it.following) for _, _, it in behind}, end)
        due: dict[Hashable, Due] = defaultdict(Due)
        for client, req_id, subscription in behind:
            found = bodies[Wish(subscription.feed, subscription.following)]
            subscription.following = end
            if isinstance(found, GatewayError):
                due[client].broken.append((req_id, found))
            else:
                due[client].data += b"".join([realtime_bar(req_id, body) for body in found])
        return due

    def _behind(self, end: int) -> Iterator[tuple[Hashable, int, Subscription]]:
        for client, wanted in self._subscriptions.items():
            for req_id, subscription in wanted.items():
                if subscription.following < end:
                    yield client, req_id, subscription

    def _bodies(self, wishes: set[Wish], end: int) -> dict[Wish, list[bytes] | GatewayError]:
        """Return the encoded bars of each wish up to `end`; all bars of a layout are encoded in one go."""
        bars, bodies = self._looked_up(wishes, end)
        layouts = {(wish.feed.lots, wish.feed.version) for wish in bars}
        for lots, version in layouts:
            alike = [wish for wish in bars if (wish.feed.lots, wish.feed.version) == (lots, version)]
            together = concatenate(*[bars[wish] for wish in alike])
            encoded = iter(realtime_bodies(together, lots=lots, version=version))
            bodies |= {wish: list(islice(encoded, len(bars[wish]))) for wish in alike}
        return bodies

    def _looked_up(
        self, wishes: set[Wish], end: int
    ) -> tuple[dict[Wish, BarColumns], dict[Wish, list[bytes] | GatewayError]]:
        """Return the bars of each wish, and the errors of those whose tape cannot be read."""
        spans = {(wish.begin, wish.feed.use_rth) for wish in wishes}
        windows = {(begin, rth): trading_windows(begin, end, use_rth=rth) for begin, rth in spans}
        bars: dict[Wish, BarColumns] = {}
        errors: dict[Wish, list[bytes] | GatewayError] = {}
        for wish in wishes:
            feed = wish.feed
            try:
                dense = self._dense(feed, windows[wish.begin, feed.use_rth], end)
            except GatewayError as error:  # it costs its own subscribers only
                errors[wish] = error
            else:
                bars[wish] = shown(dense, feed.what_to_show, feed.instrument.min_tick)
        return bars, errors

    def _dense(self, feed: Feed, windows: Seconds, end: int) -> BarColumns:
        """Return a bar for each window of trading, from the first price on."""
        if not len(windows):
            return nothing()
        symbol, first = feed.instrument.key, int(windows[0])
        bars = self._tape.bars(symbol, STEP, first, end, use_rth=feed.use_rth)
        quiet_at_first = not len(bars) or bars.start[0] > first
        dense = fill(bars, windows, self._last_price(feed, first) if quiet_at_first else None)
        if len(dense):
            self._last_prices[symbol, feed.use_rth] = LastPrice(end, float(dense.close[-1]))
        return dense

    def _last_price(self, feed: Feed, before: int) -> float | None:
        """Return the last price before an instant, in or out of regular hours."""
        symbol = feed.instrument.key
        known = self._last_prices.get((symbol, feed.use_rth), LastPrice(0, None))
        if known.before == before:  # from tick to tick nothing is looked up
            return known.price
        for span in LAST_PRICE_WITHIN:
            bars = self._tape.bars(symbol, STEP, before - span, before, use_rth=False)
            if len(bars):
                return float(bars.close[-1])
        return None


def trading_windows(begin: int, end: int, *, use_rth: bool) -> Seconds:
    """Return the starts of all five-second windows of trading in `[begin, end)`."""
    starts = grid(hours(), hours().touching(begin, end, use_rth=use_rth), STEP, use_rth=use_rth)
    first, last = np.searchsorted(starts, [begin, end])
    return starts[first:last]


def fill(bars: BarColumns, windows: Seconds, before: float | None) -> BarColumns:
    """Return a bar for each window; where nobody traded it repeats the last price, `before` at first.

    Windows before the first known price have no bar.
    """
    if np.array_equal(bars.start, windows):
        return bars
    traded = select(bars, np.isin(bars.start, windows))
    quiet = np.setdiff1d(windows, traded.start)
    closes = np.append(traded.close, np.nan if before is None else before)
    last = closes[np.searchsorted(traded.start, quiet) - 1]  # index -1 is the last element: `before`
    known = ~np.isnan(last)
    both = concatenate(traded, _flat(quiet[known], last[known]))
    return select(both, np.argsort(both.start))


def _flat(starts: Seconds, prices: Floats) -> BarColumns:
    """Return bars in which nobody traded."""
    nobody = np.zeros(len(starts), dtype=np.int64)
    return BarColumns(starts, prices, prices, prices, prices, nobody.astype(np.float64), prices, nobody)

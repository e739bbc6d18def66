"""Live five-second bars: who wants which, and what is due.

One pass a tick over all subscriptions of all clients: the bars of all symbols are looked up together and encoded once
however many clients want them, and each client gets one block of bytes. A bar stamped `t` is due at `t + 5`.

What is streamed is what the tape has, bar by bar, so history agrees with it: in regular hours a window in which nobody
traded has a bar as well, with the last price and volume 0; before and after them it has none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np

from workbench.errors import GatewayError
from workbench.gateway.aggregate import select
from workbench.gateway.answers import realtime_bar, realtime_bodies
from workbench.gateway.asof import shown
from workbench.gateway.tape import BatchTape, Block, Instrument, Tape, streamed
from workbench.gateway.windows import STEP, joined_blocks

K = TypeVar("K")
W = TypeVar("W")


@dataclass(frozen=True, slots=True)
class Feed:
    """What bars of one subscription look like. Equal feeds get the same bytes."""

    instrument: Instrument
    what_to_show: str
    use_rth: bool
    lots: bool
    version: int

    def __hash__(self) -> int:  # all fields would be hashed for every bar that is sent
        return self.instrument.con_id

    @property
    def layout(self) -> Layout:
        """How its bars are encoded."""
        return Layout(self.what_to_show, self.instrument.min_tick, self.lots, self.version)


class Layout(NamedTuple):
    """What bars must share to be encoded in one go."""

    what_to_show: str
    min_tick: float
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


class LiveBars:
    """All subscriptions to live five-second bars of one gateway."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._subscriptions: dict[Hashable, dict[int, Subscription]] = defaultdict(dict)

    def subscribe(self, client: Hashable, req_id: int, feed: Feed, now: float) -> None:
        """Begin with the first bar that starts at or after `now`.

        What the tape needs for the symbol is made ready now: many new ones shall not hold up a tick.
        """
        with suppress(GatewayError):  # the tick reports it
            streamed(self._tape, now).bars(feed.instrument.key, STEP, int(now), int(now) + 1, use_rth=feed.use_rth)
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

    def skip(self, now: float) -> None:
        """Go on with the first bar that starts at or after `now`: what lies before is streamed to nobody."""
        for wanted in self._subscriptions.values():
            for subscription in wanted.values():
                subscription.following = -int(-now // STEP) * STEP

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
        """Return the encoded bars of each wish up to `end`: one look-up for all that begin alike."""
        bodies: dict[Wish, list[bytes] | GatewayError] = {}
        for (begin, use_rth), alike in by(wishes, lambda wish: (wish.begin, wish.feed.use_rth)).items():
            names = sorted({wish.feed.instrument.key for wish in alike})
            found, errors = _window(streamed(self._tape, end), names, begin, end, use_rth=use_rth)
            bodies |= {wish: errors[it] for wish in alike if (it := wish.feed.instrument.key) in errors}
            bodies |= _encoded([wish for wish in alike if wish not in bodies], names, found)
        return bodies


def by(wishes: Iterable[W], key: Callable[[W], K]) -> dict[K, list[W]]:
    """Return wishes in groups of equal keys."""
    groups: dict[K, list[W]] = defaultdict(list)
    for wish in wishes:
        groups[key(wish)].append(wish)
    return groups


def _window(
    tape: Tape, names: list[str], begin: int, end: int, *, use_rth: bool
) -> tuple[Block, dict[str, GatewayError]]:
    """Look up all symbols in one pass; one by one where that fails, so that a broken one costs the others nothing."""
    if isinstance(tape, BatchTape):
        with suppress(GatewayError):
            return tape.window(names, begin, end, use_rth=use_rth), {}
    parts: list[Block] = []
    errors: dict[str, GatewayError] = {}
    for place, name in enumerate(names):
        try:
            bars = tape.bars(name, STEP, begin, end, use_rth=use_rth)
        except GatewayError as error:
            errors[name] = error
        else:
            parts.append(Block(np.full(len(bars), place), bars))
    return joined_blocks(parts), errors


def _encoded(wishes: list[Wish], names: list[str], block: Block) -> dict[Wish, list[bytes]]:
    """Return the bodies of each wish; all bars of a layout are encoded in one go."""
    place_of = {name: place for place, name in enumerate(names)}
    bodies: dict[Wish, list[bytes]] = {}
    for layout, alike in by(wishes, lambda wish: wish.feed.layout).items():
        places = [place_of[wish.feed.instrument.key] for wish in alike]
        wanted = np.isin(block.place, places)
        bars = shown(select(block.bars, wanted), layout.what_to_show, layout.min_tick)
        encoded = realtime_bodies(bars, lots=layout.lots, version=layout.version)
        bounds = np.searchsorted(block.place[wanted], np.arange(len(names) + 1)).tolist()
        bodies |= {wish: encoded[bounds[it] : bounds[it + 1]] for wish, it in zip(alike, places, strict=True)}
    return bodies

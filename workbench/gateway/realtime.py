"""Live five-second bars: who wants which, and what is due.

One pass a tick over all subscriptions of all clients: the bars of all symbols are looked up together and encoded once
however many clients want them, and each client gets one block of bytes. A bar stamped `t` is due at `t + 5`.

What is streamed is what the tape has, bar by bar, so history agrees with it: in regular hours a window in which nobody
traded has a bar as well, with the last price and volume 0; before and after them it has none.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np

from workbench.errors import GatewayError
from workbench.gateway.aggregate import select
from workbench.gateway.answers import realtime_bars, realtime_bodies
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


class News(NamedTuple):
    """The bars of a feed that are due: their starts, and their bodies."""

    starts: Sequence[int]
    bodies: Sequence[bytes]


@dataclass(slots=True, eq=False)  # told apart by what they are: comparing feeds for every bar is dear
class Channel:
    """All subscriptions to one feed; `following` is the start of the next bar that it brings."""

    feed: Feed
    layout: Layout
    following: int
    begins: dict[tuple[Hashable, int], int] = field(default_factory=dict)
    """The start of the first bar of each subscription, by client and request id."""

    def tell(self, news: News | GatewayError, end: int, due: Mapping[Hashable, Due]) -> None:
        """Give the news to all who are subscribed, and go on from `end`."""
        for (client, req_id), begin in self.begins.items():
            if begin >= end:
                continue
            if isinstance(news, GatewayError):
                due[client].broken.append((req_id, news))
                continue
            known = bisect_left(news.starts, begin) if begin > self.following else 0
            due[client].data += realtime_bars(req_id, news.bodies[known:])
        self.following = end


@dataclass(slots=True)
class Due:
    """What a tick brings a client: bytes to send, and the subscriptions whose bars cannot be read."""

    data: bytearray = field(default_factory=bytearray)
    broken: list[tuple[int, GatewayError]] = field(default_factory=list)


class LiveBars:
    """All subscriptions to live five-second bars of one gateway."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._channels: dict[Feed, Channel] = {}
        self._held: dict[Hashable, dict[int, Channel]] = defaultdict(dict)

    def subscribe(self, client: Hashable, req_id: int, feed: Feed, now: float) -> None:
        """Begin with the first bar that starts at or after `now`.

        What the tape needs for the symbol is made ready now: many new ones shall not hold up a tick.
        """
        with suppress(GatewayError):  # the tick reports it
            streamed(self._tape, now).bars(feed.instrument.key, STEP, int(now), int(now) + 1, use_rth=feed.use_rth)
        begin = -int(-now // STEP) * STEP
        if feed not in self._channels:
            self._channels[feed] = Channel(feed, feed.layout, begin)
        channel = self._held[client][req_id] = self._channels[feed]
        channel.begins[client, req_id] = begin

    def holds(self, client: Hashable, req_id: int) -> bool:
        """Return whether the subscription exists."""
        return req_id in self._held.get(client, {})

    def cancel(self, client: Hashable, req_id: int) -> None:
        """End a subscription."""
        channel = self._held[client].pop(req_id)
        del channel.begins[client, req_id]
        if not channel.begins:
            del self._channels[channel.feed]

    def forget(self, client: Hashable) -> None:
        """End all subscriptions of a client."""
        for req_id in list(self._held.get(client, ())):
            self.cancel(client, req_id)
        self._held.pop(client, None)

    def skip(self, now: float) -> None:
        """Go on with the first bar that starts at or after `now`: what lies before is streamed to nobody."""
        for channel in self._channels.values():
            channel.following = -int(-now // STEP) * STEP
            channel.begins = dict.fromkeys(channel.begins, channel.following)

    def next_due(self, now: float) -> float | None:
        """Return the gateway time at which bars may be due next, or None when nobody is subscribed."""
        return (now // STEP + 1) * STEP if self._channels else None

    def tick(self, now: float) -> dict[Hashable, Due]:
        """Return what is due at `now` for each client, in order of time for each subscription."""
        end = int(now // STEP) * STEP
        due: dict[Hashable, Due] = defaultdict(Due)
        behind = [channel for channel in self._channels.values() if channel.following < end]
        for (begin, use_rth), alike in by(behind, lambda it: (it.following, it.feed.use_rth)).items():
            names = sorted({channel.feed.instrument.key for channel in alike})
            found, errors = _window(streamed(self._tape, end), names, begin, end, use_rth=use_rth)
            for channel, news in _news(alike, names, found):
                channel.tell(errors.get(channel.feed.instrument.key, news), end, due)
        return due


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


def _news(channels: Iterable[Channel], names: list[str], block: Block) -> Iterator[tuple[Channel, News]]:
    """Return what each channel brings; all bars of a layout are encoded in one go."""
    place_of = {name: place for place, name in enumerate(names)}
    for layout, alike in by(channels, lambda it: it.layout).items():
        places = [place_of[channel.feed.instrument.key] for channel in alike]
        wanted = np.isin(block.place, places)
        bars = shown(select(block.bars, wanted), layout.what_to_show, layout.min_tick)
        encoded, starts = realtime_bodies(bars, lots=layout.lots, version=layout.version), bars.start.tolist()
        bounds = np.searchsorted(block.place[wanted], np.arange(len(names) + 1)).tolist()
        for channel, place in zip(alike, places, strict=True):
            rows = slice(bounds[place], bounds[place + 1])
            yield channel, News(starts[rows], encoded[rows])

"""Split bars into shorter bars that aggregate to them exactly.

Every parent [P] becomes K children [P, K]: trades, volume, notional (ticks times shares), open, high, low and close of
the children give those of the parent to the last share and tick. Two rules keep this possible at every depth:

* a bar of fewer than four trades is flat, so whoever is not flat has trades for an open, a high, a low and a close;
* where the children's prices cannot carry the parent's notional, one child gets all that the parent had. That is
  always right, happens in thin trading only, and looks like the burst of trades it is.

Noise is keyed by the parent's start and length and by nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from workbench.gateway import noise
from workbench.gateway.noise import Floats, Hashes, Integers

Flags = npt.NDArray[np.bool_]

FLAT_BELOW = 4
WALK_OF_RANGE = 0.6  # standard deviation of a random walk over its range (Parkinson 1980: 1 / (2 sqrt(ln 2)))
EVENNESS = 3.0  # of trades and sizes within a parent; the noise added to it has mean 2
LONGEST_STRETCH = 3.0
JUMPING = 0.2  # chance of an open one tick above the close before it, and of one below
PURPOSES = np.arange(1, 8)[:, None, None]  # of a child's noise; hashed together: small arrays cost by the call
ROOM = 0.08  # share of the room between the children's bounds that their notionals stay away from


class Segment(IntEnum):
    """The three parts of a session, and so how activity is spread over them: rising, in a U shape, falling."""

    PRE = 0
    REGULAR = 1
    POST = 2


@dataclass(frozen=True, slots=True)
class Buckets:
    """Bars with at least one trade, in whole ticks and shares, and the segment that each belongs to."""

    start: Integers
    open: Integers
    high: Integers
    low: Integers
    close: Integers
    count: Integers
    volume: Integers
    notional: Integers
    begin: Integers  # of the segment, epoch seconds
    end: Integers
    segment: Integers
    listing: Integers  # its place among those that are built together

    def __len__(self) -> int:
        return len(self.start)

    def where(self, chosen: Flags | Integers | slice) -> Buckets:
        """Return the chosen rows."""
        return Buckets(*(getattr(self, f.name)[chosen] for f in fields(self)))


@dataclass(frozen=True, slots=True)
class Source:
    """Where the noise of some listings comes from, one element a listing, and how much of it is the market's."""

    own: Hashes
    market: Hashes  # an array of one
    correlation: Floats

    def children(self, parents: Buckets, step: int, width: int) -> tuple[Hashes, Hashes]:
        """Return the keys of each child from its own listing and from the market, [P, K]."""
        place = np.arange(width, dtype=np.int64)
        own = noise.keys(noise.keys(self.own, step)[parents.listing], parents.start)
        market = noise.keys(noise.keys(self.market, step), parents.start)
        return noise.keys(own[:, None], place), noise.keys(market[:, None], place)


def notional(opens: Integers, high: Integers, low: Integers, close: Integers, volume: Integers) -> Integers:
    """Return a plausible sum of price times volume for bars, between low times volume and high times volume."""
    average = 0.35 * (opens + close) + 0.15 * (high + low)
    return np.clip(np.rint(average * volume).astype(np.int64), low * volume, high * volume)


def split(parents: Buckets, step: int, width: int, source: Source) -> Buckets:
    """Return the children of `step` seconds that have trades, `width` or fewer of them for each parent, in order."""
    return _Split(parents, step, width, source).children()


class _Split:
    """One split, a matrix [P, K] for each column."""

    def __init__(self, parents: Buckets, step: int, width: int, source: Source) -> None:
        self.parents = parents
        self.start = parents.start[:, None] + step * np.arange(width)
        self.step = step
        key, self.market = source.children(parents, step, width)
        self.keys = noise.keys(key[None], PURPOSES)
        own = noise.normals(self._keys(1))
        shared = noise.normals(noise.keys(self.market, 1))
        correlation = source.correlation[parents.listing][:, None]
        self.z = correlation * shared + np.sqrt(1 - correlation * correlation) * own
        self.open_parent = parents.open[:, None]
        self.close_parent = parents.close[:, None]
        self.high_parent = parents.high[:, None]
        self.low_parent = parents.low[:, None]
        self.range = self.high_parent - self.low_parent

    def children(self) -> Buckets:
        burst = self._burst()
        self._share_trades(burst)
        self._share_volume()
        self._walk()
        self._place_bodies()
        self._place_wicks()
        carried = self._share_notional()
        self._keep_whole(~carried, burst)
        return self._flattened()

    def _keys(self, purpose: int) -> Hashes:
        return np.asarray(self.keys[purpose - 1])

    # -- trades and volume --

    def _burst(self) -> Integers:
        """Return the child that always trades: the first one of a segment, else one by chance."""
        chance = np.where(self._inside(), noise.uniforms(self._keys(2)), -1.0)
        return np.where(self.parents.start == self.parents.begin, 0, np.argmax(chance, axis=1))

    def _inside(self) -> Flags:
        return self.start < self.parents.end[:, None]

    def _share_trades(self, burst: Integers) -> None:
        count = self.parents.count
        together = np.minimum(count, FLAT_BELOW)
        busy = (noise.energies(self._keys(3)) + noise.energies(noise.keys(self.market, 3))) / 2
        clustering = (EVENNESS if self.step > 5 else 0.3) + busy
        weight = activity(self.parents, self.start + self.step // 2) * clustering * self._inside()
        self.count = _shared(count - together, weight)
        self.count[np.arange(len(count)), burst] += together
        self.trading = self.count > 0
        self.thick = self.count >= FLAT_BELOW

    def _share_volume(self) -> None:
        sizes = self.count * (EVENNESS + noise.energies(self._keys(4)))
        self.volume = self.count + _shared(self.parents.volume - self.parents.count, sizes)

    # -- prices --

    def _walk(self) -> None:
        """Walk from the parent's open to its close, one step a child, as far up and down as the parent went."""
        share = self.count / self.parents.count[:, None]
        inside = self._inside()
        variance = 0.35 * inside / np.sum(inside, axis=1, keepdims=True) + 0.65 * share
        spread = WALK_OF_RANGE * self.range * np.sqrt(variance)
        elapsed = np.cumsum(variance, axis=1)
        walked = np.cumsum(self.z * spread, axis=1)
        line = self.open_parent + (self.close_parent - self.open_parent) * elapsed
        end = line + walked - elapsed * walked[:, -1:]
        begin = np.concatenate([self.open_parent, end[:, :-1]], axis=1)
        moved, middle = np.square(end - begin), (begin + end) / 2
        above = middle + np.sqrt(moved + np.square(spread) * noise.energies(self._keys(6))) / 2
        below = middle - np.sqrt(moved + np.square(spread) * noise.energies(self._keys(7))) / 2
        begin, end, above, below = self._stretched([begin, end, above, below])
        self.upper = above - np.maximum(begin, end)
        self.lower = np.minimum(begin, end) - below
        natural = 0.7 * end + 0.15 * (above + below)
        self.end = _folded(end + self._bend(natural, elapsed), self.low_parent, self.high_parent)

    def _stretched(self, walks: list[Floats]) -> list[Floats]:
        """Stretch a walk, its highs and lows last, that stays short of the parent's high or low."""
        ceiling = np.maximum(self.open_parent, self.close_parent)
        floor = np.minimum(self.open_parent, self.close_parent)
        highest = np.max(np.where(self.thick, walks[-2], -np.inf), axis=1, keepdims=True)
        lowest = np.min(np.where(self.thick, walks[-1], np.inf), axis=1, keepdims=True)
        up = np.clip((self.high_parent - ceiling) / np.maximum(highest - ceiling, 0.01), 1, LONGEST_STRETCH) - 1
        down = np.clip((floor - self.low_parent) / np.maximum(floor - lowest, 0.01), 1, LONGEST_STRETCH) - 1
        return [x + up * np.maximum(x - ceiling, 0) - down * np.maximum(floor - x, 0) for x in walks]

    def _bend(self, natural: Floats, elapsed: Floats) -> Floats:
        """Return an arch that brings the walk's mean near to the parent's average price."""
        share = self.volume / self.parents.volume[:, None]
        arch = 4 * elapsed * (1 - elapsed)
        missing = self.parents.notional / self.parents.volume - np.cumsum(natural * share, axis=1)[:, -1]
        weight = np.maximum(np.cumsum(arch * share, axis=1)[:, -1], 0.25)
        return np.asarray((missing / weight)[:, None] * arch)

    def _place_bodies(self) -> None:
        """Give each child its open and close; a child of few trades is flat."""
        place = np.arange(self.count.shape[1])
        last = self.trading & (place == np.max(np.where(self.trading, place, -1), axis=1, keepdims=True))
        first = self.trading & (place == np.argmax(self.trading, axis=1)[:, None])
        close = np.where(last, self.close_parent, np.rint(self.end).astype(np.int64))
        self.close = np.where(first & ~self.thick, self.open_parent, close)
        self.open = np.where(self.thick, self._jumped(place), self.close)
        self.open = np.where(first, self.open_parent, self.open)

    def _jumped(self, place: Integers) -> Integers:
        """Return the close before each child, a tick off now and then."""
        latest = np.maximum.accumulate(np.where(self.trading, place, 0), axis=1)
        before = np.concatenate([latest[:, :1] * 0, latest[:, :-1]], axis=1)
        chance = noise.uniforms(self._keys(5))
        jump = (chance < JUMPING).astype(np.int64) - (chance > 1 - JUMPING)
        jumped = np.take_along_axis(self.close, before, axis=1) + jump
        return np.asarray(np.clip(jumped, self.low_parent, self.high_parent))

    def _place_wicks(self) -> None:
        """Give each child a high and a low, and the parent's high and low to one that reaches farthest."""
        body_high, body_low = np.maximum(self.open, self.close), np.minimum(self.open, self.close)
        upper = _saturated(self.upper, self.high_parent - body_high)
        lower = _saturated(self.lower, body_low - self.low_parent)
        self.high = body_high + np.where(self.thick, np.rint(upper).astype(np.int64), 0)
        self.low = body_low - np.where(self.thick, np.rint(lower).astype(np.int64), 0)
        _reach(self.high, np.where(self.thick, body_high + self.upper, -np.inf), self.high_parent, self.trading)
        _reach(self.low, np.where(self.thick, self.lower - body_low, -np.inf), self.low_parent, self.trading)

    # -- notional --

    def _share_notional(self) -> Flags:
        """Share the notional; return for which parents that was possible."""
        self._widen()
        natural = notional(self.open, self.high, self.low, self.close, self.volume)
        rest = self.parents.notional - np.sum(natural, axis=1)
        up, down = self.high * self.volume - natural, natural - self.low * self.volume
        room = np.where((rest > 0)[:, None], up, down)
        total = np.sum(room, axis=1)
        moved = _shared(np.minimum(np.abs(rest), total), room.astype(np.float64))
        self.notional = natural + np.sign(rest)[:, None] * moved
        return np.asarray((rest == 0) | (np.abs(rest) < 0.999 * total))

    def _widen(self) -> None:
        """Stretch highs or lows towards the parent's, just enough that the notional fits between them."""
        least, most = self._bounds()
        missing = np.where(self.thick, (self.high_parent - self.high) * self.volume, 0)
        short = self.parents.notional - (most - ROOM * (most - least))
        self.high = self.high + _stretch(short, missing, self.high_parent - self.high, self.thick)
        least, most = self._bounds()
        missing = np.where(self.thick, (self.low - self.low_parent) * self.volume, 0)
        over = least + ROOM * (most - least) - self.parents.notional
        self.low = self.low - _stretch(over, missing, self.low - self.low_parent, self.thick)

    def _bounds(self) -> tuple[Integers, Integers]:
        return np.sum(self.low * self.volume, axis=1), np.sum(self.high * self.volume, axis=1)

    def _keep_whole(self, whole: Flags, burst: Integers) -> None:
        """Give everything of the parents in `whole` to their burst child."""
        rows = np.flatnonzero(whole)  # few, most often none
        taker = np.arange(self.count.shape[1]) == burst[rows, None]
        for name in ("open", "high", "low", "close", "count", "volume", "notional"):
            getattr(self, name)[rows] = np.where(taker, getattr(self.parents, name)[rows, None], 0)
        self.trading = self.count > 0

    def _flattened(self) -> Buckets:
        rows, _ = np.nonzero(self.trading)
        columns = {
            name: getattr(self, name)[self.trading]
            for name in ("start", "open", "high", "low", "close", "count", "volume", "notional")
        }
        origin = {name: getattr(self.parents, name)[rows] for name in ("begin", "end", "segment", "listing")}
        return Buckets(**columns, **origin)


def activity(parents: Buckets, moment: Integers) -> Floats:
    """Return how busy a moment of a segment is, about 1 on average."""
    length = (parents.end - parents.begin)[:, None]
    x = np.clip((moment - parents.begin[:, None]) / length, 0, 1)
    segment = parents.segment[:, None]
    edge = np.square(np.square(2 * x - 1))
    steep = np.square(np.square(edge))
    u_shaped = 0.62 + 0.8 * edge + 1.6 * steep
    if np.all(segment == Segment.REGULAR):
        return np.asarray(u_shaped)
    near = np.where(segment == Segment.PRE, x, 1 - x)
    quiet = 0.15 + 2.2 * near * near * near
    return np.where(segment == Segment.REGULAR, u_shaped, quiet)


def _shared(total: Integers, weight: Floats) -> Integers:
    """Share whole numbers [P] by weights [P, K] by cumulative floors: the sums are exact and no share is negative."""
    running = np.cumsum(weight, axis=1)
    whole = running[:, -1:]
    reached = np.floor(running / np.where(whole > 0, whole, 1) * total[:, None]).astype(np.int64)
    reached = np.where(running >= whole, total[:, None], reached)
    return np.concatenate([reached[:, :1], reached[:, 1:] - reached[:, :-1]], axis=1)


def _folded(price: Floats, low: Integers, high: Integers) -> Floats:
    """Mirror prices at the bounds they cross."""
    span = np.maximum(high - low, 1)
    away = price - low
    beyond = (away < 0) | (away >= 2 * span)  # few: the others are their own remainder
    away[beyond] = np.mod(away[beyond], np.broadcast_to(2 * span, away.shape)[beyond])
    return np.asarray(np.minimum(low + np.minimum(away, 2 * span - away), high))


def _saturated(length: Floats, room: Integers) -> Floats:
    """Return lengths that come near to the room but never exceed it."""
    return np.asarray(length * room / np.sqrt(np.maximum(np.square(length) + np.square(room), 0.01)))


def _reach(price: Integers, score: Floats, bound: Integers, trading: Flags) -> None:
    """Set the price with the best score to the bound, in place, where no trading child is there yet."""
    rows = np.flatnonzero(~np.any((price == bound) & trading, axis=1))
    price[rows, np.argmax(score[rows], axis=1)] = bound[rows, 0]


def _stretch(short: Floats | Integers, missing: Integers, room: Integers, thick: Flags) -> Integers:
    """Return how far to move bounds so that the sum of `missing` gives `short`, never farther than `room`."""
    share = np.clip(short / np.maximum(np.sum(missing, axis=1), 1), 0, 1)
    moved = np.ceil(share[:, None] * room).astype(np.int64)
    return np.where(thick, np.minimum(moved, room), 0)

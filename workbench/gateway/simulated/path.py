"""The daily path of a simulated price, from the first session of the calendar on.

A path runs over weekdays, not over sessions: a holiday that a later calendar adds moves nothing but its own week.

The logarithm of a price is a slow trend plus beta times the market's deviation plus the symbol's own deviation. A
deviation is pulled back to zero over years, so that prices stay plausible for decades. Its returns come in regimes of 5
to 40 days that trend or swing back, with volatility that clusters. The whole is then conditioned to pass through the
reference price at 2025-01-02.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from workbench.gateway import noise
from workbench.gateway.noise import Floats, Hashes
from workbench.gateway.simulated.table import Listing
from workbench.gateway.tape import DAY, Seconds

FIRST_MONDAY = 7_305  # 1990-01-01, in days since the epoch
REFERENCE_DAY = 9_133  # 2025-01-02, in weekdays since the first Monday
WEEKDAYS = 15_660  # sixty years; no day depends on a later one, so more would not change these
MARKET_VOLATILITY = 0.009
GROWTH = 0.045 / 261  # a weekday, the slow trend
PULL = 0.9978  # of a deviation, a weekday: half of it is left after 15 months
PERSISTENCE = 0.97  # of volatility
SWING = 0.72  # of the swings in a reverting regime: half of one is left after two days
TRENDING = 0.55  # share of the regimes
DRIFT = 0.34  # the strongest trend, in daily standard deviations
SHORTEST, LONGEST = 5, 40

FEAR_PULL = 0.9
FEAR_OF_VOLATILITY, FEAR_OF_RETURNS = 0.17, -5.5


@dataclass(frozen=True, slots=True)
class Path:
    """Closes and what goes with them, one element a weekday since 1990-01-01."""

    close: Floats  # in ticks, not yet rounded
    volatility: Floats  # standard deviation of the day's return
    stress: Floats  # normal, slow: what the volatility is made of


@dataclass(frozen=True, slots=True)
class _Walk:
    returns: Floats
    deviation: Floats
    volatility: Floats
    stress: Floats


def weekdays(labels: Seconds) -> Seconds:
    """Return the place of each session on the paths, for labels at 00:00 UTC in epoch seconds."""
    day = labels // DAY - FIRST_MONDAY
    return np.asarray(day // 7 * 5 + np.minimum(day % 7, 4), dtype=np.int64)


@lru_cache(maxsize=512)  # of 375 kB each: 190 MB at most, where a market of so many is followed
def path(seed: int, listing: Listing) -> Path:
    """Return the whole daily path of a listing."""
    market = _market(seed)
    if listing.is_volatility:
        return _fear(market, listing)
    own = _walk(seed, listing.symbol, _own_volatility(listing))
    level = _conditioned(listing.beta * market.deviation + own.deviation, PULL)
    trend = GROWTH * (np.arange(WEEKDAYS) - REFERENCE_DAY)
    volatility = np.sqrt(np.square(listing.beta * market.volatility) + np.square(own.volatility))
    return Path(listing.price * 100 * noise.exp(trend + level), volatility, market.stress + own.stress)


def correlation(listing: Listing) -> float:
    """Return how much of a listing's movement is the market's, from -1 to 1."""
    return max(-0.95, min(0.97, listing.beta * MARKET_VOLATILITY / listing.volatility))


def _own_volatility(listing: Listing) -> float:
    shared = listing.beta * MARKET_VOLATILITY
    least = 0.0004 if listing.is_index else 0.0008
    return math.sqrt(max(listing.volatility * listing.volatility - shared * shared, least * least))


@lru_cache(maxsize=8)
def _market(seed: int) -> _Walk:
    return _walk(seed, "market", MARKET_VOLATILITY)


def _walk(seed: int, name: str, volatility: float) -> _Walk:
    """Return a walk of `WEEKDAYS` steps that is pulled back to zero."""
    days = noise.keys(noise.root(seed, "path " + name), np.arange(WEEKDAYS))
    stress = _pulled(noise.normals(noise.keys(days, 1)), PERSISTENCE) * math.sqrt(1 - PERSISTENCE * PERSISTENCE)
    today = volatility * noise.exp(0.5 * stress - 0.125)
    drift, swinging = _regimes(noise.root(seed, "regimes " + name))
    swings = _pulled(noise.normals(noise.keys(days, 2)), SWING) * swinging * today
    returns = today * (0.9 * noise.normals(noise.keys(days, 3)) + drift)
    return _Walk(returns, _pulled(returns, PULL) + swings, today, stress)


def _regimes(key: Hashes) -> tuple[Floats, Floats]:
    """Return the drift of each day and how far it swings, both in daily standard deviations."""
    regime = noise.keys(key, np.arange(WEEKDAYS // SHORTEST))
    lengths = SHORTEST + (noise.uniforms(noise.keys(regime, 1)) * (LONGEST + 1 - SHORTEST)).astype(np.int64)
    trending = noise.uniforms(noise.keys(regime, 2)) < TRENDING
    direction = 2 * noise.uniforms(noise.keys(regime, 3)) - 1
    drift = np.where(trending, DRIFT * direction, 0.0)
    return np.repeat(drift, lengths)[:WEEKDAYS], np.repeat(np.where(trending, 0.0, 0.55), lengths)[:WEEKDAYS]


def _fear(market: _Walk, listing: Listing) -> Path:
    """Return the path of the volatility index: it follows the market's volatility and jumps as the market falls."""
    jumps = _pulled(FEAR_OF_RETURNS * market.returns, FEAR_PULL)
    level = _conditioned(FEAR_OF_VOLATILITY * market.stress + jumps, PERSISTENCE)
    usual = np.full(WEEKDAYS, listing.volatility)
    return Path(listing.price * 100 * noise.exp(level), usual, market.stress)


def _pulled(steps: Floats, rest: float) -> Floats:
    """Return the running sum of `steps` of which `rest` is left at each further step."""
    level = 0.0
    return np.array([level := rest * level + step for step in steps.tolist()])  # each needs the one before it


def _conditioned(level: Floats, rest: float) -> Floats:
    """Return a pulled process given that it is zero on the reference day: its mean then decays to both sides."""
    distance = np.abs(np.arange(WEEKDAYS) - REFERENCE_DAY)
    decay = np.cumprod(np.full(WEEKDAYS, rest)) / rest
    return np.asarray(level - level[REFERENCE_DAY] * decay[distance])

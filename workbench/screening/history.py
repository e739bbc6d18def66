"""The screen over history: every hit, what came of it, and whether that is more than chance. Pure.

A hit is the bar at which a condition begins to hold, or the score reaches the threshold, on the clock of one timeframe:
that of the shortest bars unless another is chosen. It counts while the gates are open, and so does the base rate: what
any such bar brought, hit or not. What follows a hit is in `workbench.screening.outcomes`.

Three things would make an edge look larger than it is, and are dealt with. Hits of a symbol within N bars of another
tell the same path twice: of those only the first counts. Hits of many symbols on one day tell of one market: the
standard error is that of blocks of time, not of hits. A split would be a crash: series are cut where the price jumps
as after one. What remains: symbols that were chosen because they are still there make any long rule look good, but
the base rate as well; and of many conditions tried one looks good by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench import html
from workbench.indicators.batch import compute_runs
from workbench.indicators.suite import Floats
from workbench.market.sessions import session_calendar
from workbench.market.timeframes import TIMEFRAMES, parse_timeframe
from workbench.screening.conditions import SIDES, UNKNOWN, YES, Answers, answers
from workbench.screening.outcomes import Outcome, apart, outcomes
from workbench.screening.rules import Plan, Rule
from workbench.screening.screen import Scores, score
from workbench.screening.windows import Stamps, Window, ends_of, find_jumps, micros, moment_of

SCORE = "score"
"""The name of the hits of the total, beside the conditions'."""

_SESSION_S = 23_400
_EVER = 1_000_000

Bars = Callable[[str, Sequence[str]], Window]
"""Returns all bars of some symbols at a timeframe, as a window without an end."""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class ScreenHistory:
    """What a rule would have found, and what came of it.

    `hits` has a row a hit: `at` (the instant it was known), `symbol side what timeframe score`, and for each N
    `return_N adverse_N favourable_N` and `counts_N`, whether it is in the statistics. `stats` has a row a condition,
    side and N, all shares: `mean` of those that count beside `base_mean` of any bar, `edge` their difference and `se`
    its standard error over `blocks` of time; an edge of less than two or three of them is none. `jumps` says where
    series were cut.
    """

    timeframe: str
    bars: int
    hits: pd.DataFrame
    stats: pd.DataFrame
    jumps: pd.DataFrame

    def __repr__(self) -> str:
        return (
            f"{len(self.hits):,} hits in {self.bars:,} bars of {self.timeframe} with open gates; "
            f"{len(self.jumps)} series cut where the price jumps"
        )

    def _repr_html_(self) -> str:
        told = "edge: the mean above that of any bar; less than two or three standard errors (se) is none"
        return html.card(repr(self), html.table(self.stats, most=24, decimals=4), html.note(told))


@dataclass(frozen=True, slots=True, eq=False)
class _Study:
    """All bars of some symbols at one timeframe with the answers to each question; `owners` is whose a bar is."""

    window: Window
    pieces: Stamps
    owners: Stamps
    ends: Stamps
    states: Answers


def run_history(
    rule: Rule,
    bars: Bars,
    groups: Iterable[Sequence[str]],
    start: datetime,
    end: datetime,
    *,
    timeframe: str,
    horizons: Sequence[int],
    min_score: float,
) -> ScreenHistory:
    """Return the hits known in `[start, end)`, and their statistics; symbols are taken a group at a time."""
    tally = _Tally(timeframe, horizons)
    for symbols in groups:
        studies = {name: study(plan, bars(name, symbols)) for name, plan in rule.plans.items()}
        base = studies.get(timeframe) or _Bare.of(bars(timeframe, symbols))
        tally.jumps += _jumps(studies.values())
        scores, states = _as_known(rule, studies, base)
        inside = (base.ends >= micros(start)) & (base.ends < micros(end)) & scores.passes
        results = [outcomes(base.window.columns, base.pieces, count) for count in horizons]
        tally.count(inside, results)
        for what, name, row, held in _held(rule, scores, states, min_score):
            rows = np.flatnonzero(_begins(held, base.pieces) & inside)
            tally.add(what, name, row, rows, base, scores.total[row], results)
    return tally.told()


class _Bare:
    """Bars of a timeframe of which nothing is asked: they only keep the time."""

    @staticmethod
    def of(window: Window) -> _Study:
        return _Study(window, *_pieces(window), np.empty((0, len(window.stamps)), dtype=np.int8))


def study(plan: Plan, window: Window) -> _Study:
    """Return the answers to all questions of a plan at every bar."""
    pieces, owners, ends = _pieces(window)
    values = {**window.columns, **compute_runs(plan.suite, window.columns, pieces.tolist())}
    wanted = {one.name: one for asked in plan.questions for one in asked.columns}
    columns = {name: _earlier(values[one.column], pieces, one.bars) for name, one in wanted.items()}
    asked = answers({str(number): one.statement for number, one in enumerate(plan.questions)}, columns)
    states = [_within(asked[str(number)], pieces, one.within) for number, one in enumerate(plan.questions)]
    return _Study(window, pieces, owners, ends, np.array(states, dtype=np.int8).reshape(len(states), len(ends)))


def _pieces(window: Window) -> tuple[Stamps, Stamps, Stamps]:
    """Return where series begin or are cut, whose each bar is, and when it was complete."""
    jumps = [row for row, _ in find_jumps(window)]
    owners = np.repeat(np.arange(len(window.symbols)), np.diff(window.bounds))
    pieces = np.unique(np.concatenate([window.bounds, jumps]).astype(np.int64))
    return pieces, owners, ends_of(window.stamps, window.timeframe)


def _earlier(column: Floats, pieces: Stamps, bars: int) -> Floats:
    """Return a column as it was some bars earlier; NaN before a piece begins."""
    if not bars:
        return column
    found = np.full(len(column), np.nan)
    found[bars:] = column[:-bars]
    found[_firsts(pieces, bars, len(column))] = np.nan
    return found


def _within(asked: Answers, pieces: Stamps, bars: int) -> Answers:
    """Return whether the answer was yes within the newest `bars`; not known before a piece begins."""
    held = asked.copy()
    for back in range(1, bars):
        before = np.full(len(asked), UNKNOWN, dtype=np.int8)
        before[back:] = asked[:-back]
        before[_firsts(pieces, back, len(asked))] = UNKNOWN
        held = np.maximum(held, before)
    return held


def _firsts(pieces: Stamps, bars: int, rows: int) -> Stamps:
    """Return the first `bars` rows of each piece."""
    found = (pieces[:-1, None] + np.arange(bars)).ravel()
    return found[found < rows]


def _as_known(rule: Rule, studies: Mapping[str, _Study], base: _Study) -> tuple[Scores, dict[str, Answers]]:
    """Return scores and answers at each bar of the base: of each timeframe those of the newest complete bar then."""
    states, fresh = {}, {}
    for name, one in studies.items():
        newest = _newest(one, base)
        there = newest >= 0
        starts = np.where(there, one.window.stamps[newest], 0) if len(one.ends) else np.zeros(len(newest), np.int64)
        fresh[name] = there & (starts >= _fresh_from(base.ends, name, rule.stale_after))
        known = one.states[:, newest] if len(one.ends) else np.empty((len(one.states), len(newest)), dtype=np.int8)
        states[name] = np.where(fresh[name], known, UNKNOWN).astype(np.int8)
    return score(rule, states, fresh), states


def _newest(one: _Study, base: _Study) -> Stamps:
    """Return the row of the newest bar that was complete at each bar of the base, -1 where there was none."""
    found = np.full(len(base.ends), -1)
    for number in range(len(base.window.symbols)):
        rows, mine = base.window.of(number), one.window.of(number)
        at = np.searchsorted(one.ends[mine], base.ends[rows], side="right") - 1
        found[rows] = np.where(at >= 0, at + mine.start, -1)
    return found


def _fresh_from(moments: Stamps, timeframe: str, sessions: int) -> Stamps:
    """Return the start before which a bar is stale, at each moment; see `windows.fresh_from`."""
    if not len(moments):
        return moments
    calendar = session_calendar()
    numbers = calendar.recent(moment_of(int(moments.max())), _EVER)
    labels, begins, ends = calendar.edges(numbers)
    closed = np.searchsorted(ends, moments, side="right")
    at = (labels if parse_timeframe(timeframe).is_daily else begins)[np.maximum(closed - sessions, 0)]
    return np.where(closed > 0, at, 0)


def _held(
    rule: Rule, scores: Scores, states: Mapping[str, Answers], min_score: float
) -> Iterable[tuple[str, str, int, npt.NDArray[np.bool_]]]:
    """Give what may be hit: its name, its timeframe, the side's row, and the bars at which it holds."""
    for row in range(len(SIDES)):
        yield SCORE, "", row, scores.total[row] >= min_score
    for name in rule.weights:
        for number, one in enumerate(rule.plans[name].conditions):
            yield one.name, name, SIDES.index(one.side), states[name][number] == YES


def _begins(held: npt.NDArray[np.bool_], pieces: Stamps) -> npt.NDArray[np.bool_]:
    """Return the bars at which something begins to hold that did not at the bar before, in the same piece."""
    begins = np.zeros(len(held), dtype=bool)
    begins[1:] = held[1:] & ~held[:-1]
    begins[pieces[:-1][pieces[:-1] < len(held)]] = False  # what was before is not known
    return begins


def _jumps(studies: Iterable[_Study]) -> list[tuple[str, str, datetime]]:
    """Return where series are cut."""
    return [
        (one.window.symbols[one.owners[row]], one.window.timeframe, moment_of(one.window.stamps[row]))
        for one in studies for row in np.setdiff1d(one.pieces, one.window.bounds).tolist()
    ]  # fmt: skip


class _Tally:
    """Hits and base rates, group by group."""

    def __init__(self, timeframe: str, horizons: Sequence[int]) -> None:
        self.jumps: list[tuple[str, str, datetime]] = []
        self._timeframe, self._horizons = timeframe, tuple(horizons)
        self._bars = 0
        self._base = np.zeros((len(horizons), len(SIDES), 3))  # how many, their sum, how many above zero
        self._hits: list[pd.DataFrame] = []

    def count(self, inside: npt.NDArray[np.bool_], results: Sequence[Outcome]) -> None:
        """Count what any bar brought."""
        self._bars += int(inside.sum())
        for number, result in enumerate(results):
            gains = result.gain[:, inside]
            known = ~np.isnan(gains)
            self._base[number] += np.stack(
                [known.sum(axis=1), np.where(known, gains, 0).sum(axis=1), (gains > 0).sum(axis=1)], axis=1
            )

    def add(
        self, what: str, name: str, side: int, rows: Stamps, base: _Study, total: Floats, results: Sequence[Outcome]
    ) -> None:
        """Take in hits at some bars of the base."""
        owners, ends = base.owners[rows], base.ends[rows]
        symbols = np.array(base.window.symbols, dtype=object)[owners]
        told: dict[str, object] = {"at": ends.astype("datetime64[us]"), "symbol": symbols, "side": SIDES[side]}
        told |= {"what": what, "timeframe": name, "score": total[rows]}
        for bars, result in zip(self._horizons, results, strict=True):
            gain = result.gain[side, rows]
            whole = np.flatnonzero(~np.isnan(gain))
            counts = np.zeros(len(rows), dtype=bool)
            counts[whole] = apart(rows[whole], owners[whole], bars)
            told |= {f"return_{bars}": gain, f"adverse_{bars}": result.adverse[side, rows]}
            told |= {f"favourable_{bars}": result.favourable[side, rows], f"counts_{bars}": counts}
        self._hits.append(pd.DataFrame(told))

    def told(self) -> ScreenHistory:
        """Return all hits, oldest first, and the statistics."""
        hits = pd.concat(self._hits, ignore_index=True) if self._hits else pd.DataFrame()
        if len(self._hits):
            hits["at"] = hits["at"].dt.tz_localize("UTC")
            hits = hits.sort_values(["at", "symbol", "side", "what", "timeframe"], ignore_index=True)
        jumps = pd.DataFrame(sorted(self.jumps), columns=["symbol", "timeframe", "at"])
        return ScreenHistory(self._timeframe, self._bars, hits, self._stats(hits), jumps)

    def _stats(self, hits: pd.DataFrame) -> pd.DataFrame:
        rows = []
        groups = dict(list(hits.groupby(["what", "timeframe", "side"]))) if len(hits) else {}
        for what, name, side in sorted(groups, key=lambda key: _from_long_to_short(*map(str, key))):
            group = groups[what, name, side]
            for number, bars in enumerate(self._horizons):
                base = self._base[number, SIDES.index(side)]
                rows.append({"what": what, "timeframe": name, "side": side, "bars": bars, "hits": len(group)}
                            | _figures(group[group[f"counts_{bars}"]], bars, base, self._timeframe))  # fmt: skip
        return pd.DataFrame(rows)


def _from_long_to_short(what: str, timeframe: str, side: str) -> tuple[str, int, str]:
    return what, -TIMEFRAMES[timeframe].seconds if timeframe else 0, side


def _figures(hits: pd.DataFrame, bars: int, base: Floats, timeframe: str) -> dict[str, float]:
    gain = hits[f"return_{bars}"].to_numpy()
    count, base_mean = len(gain), base[1] / base[0] if base[0] else np.nan
    mean = gain.mean() if count else np.nan
    error, blocks = _standard_error(gain, hits["at"], bars, timeframe)
    return {
        "counted": count, "mean": mean, "median": np.median(gain) if count else np.nan,
        "wins": (gain > 0).mean() if count else np.nan,
        "adverse": hits[f"adverse_{bars}"].mean(), "favourable": hits[f"favourable_{bars}"].mean(),
        "base_mean": base_mean, "base_wins": base[2] / base[0] if base[0] else np.nan,
        "edge": mean - base_mean, "se": error, "blocks": blocks,
    }  # fmt: skip


def _standard_error(gain: Floats, at: pd.Series, bars: int, timeframe: str) -> tuple[float, int]:
    """Return the standard error of the mean, hits of a block of time taken for one draw, and how many blocks.

    A block is as many sessions as `bars` take. The formula is that of errors clustered by block.
    """
    if not len(gain):
        return np.nan, 0
    _, _, ends = session_calendar().edges(session_calendar().recent(at.max() + pd.Timedelta("4D"), _EVER))
    sessions = np.searchsorted(ends, pd.DatetimeIndex(at).as_unit("us").asi8)
    length = max(1, -(-bars * min(parse_timeframe(timeframe).seconds, _SESSION_S) // _SESSION_S))
    _, block = np.unique(sessions // length, return_inverse=True)
    blocks = int(block.max()) + 1
    if blocks < 2:
        return np.nan, blocks
    sums = np.bincount(block, weights=gain - gain.mean())
    return float(np.sqrt((sums**2).sum() * blocks / (blocks - 1)) / len(gain)), blocks

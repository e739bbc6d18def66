"""The screen over a store: what `desk.screen` and `desk.screen_history` do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta

from workbench.errors import InvalidInput
from workbench.market.bars import REQUIRED
from workbench.market.coverage import as_utc
from workbench.market.sessions import EXCHANGE_ZONE, parse_bound
from workbench.market.timeframes import TIMEFRAMES, parse_timeframe
from workbench.screening.history import ScreenHistory, run_history
from workbench.screening.loading import all_bars, from_panel, from_store
from workbench.screening.rules import Rule
from workbench.screening.screen import ScreenResult, run_screen
from workbench.screening.windows import Window
from workbench.store.historical import HistoricalDataManager

Moment = str | date | datetime

_TOGETHER = 50
"""Symbols whose whole history is in memory at a time."""


def screen_store(
    store: HistoricalDataManager,
    rule: Rule,
    symbols: Sequence[str],
    *,
    as_of: Moment | None,
    now: datetime,
    top: int | None = None,
) -> ScreenResult:
    """Return the ranked list of stored symbols as of a moment, of now without one.

    A date alone is the end of that date on the exchange's clock: its session counts. Raises `InvalidInput`.
    """
    if not symbols:
        raise InvalidInput("a screen needs symbols: the universe is empty")
    if top is not None and top < 1:
        raise InvalidInput(f"top is how many rows are wanted, at least 1, not {top}")
    moment = now if as_of is None else parse_as_of(as_of)
    if moment > now:
        raise InvalidInput(f"as of {moment:%Y-%m-%d %H:%M} UTC lies in the future; nothing is known of it")
    windows = from_panel(store, symbols) if as_of is None else from_store(store, symbols)
    return run_screen(rule, symbols, windows, moment, top)


def screen_store_history(
    store: HistoricalDataManager,
    rule: Rule,
    symbols: Sequence[str],
    start: Moment,
    end: Moment,
    *,
    timeframe: str,
    horizons: Sequence[int],
    min_score: float | None,
    on_group: Callable[[int], None] = lambda _done: None,
) -> ScreenHistory:
    """Return all hits known in `[start, end)` and what came of them; dates are the exchange's.

    `on_group` is told how many symbols are done.
    """
    begin, until = (parse_bound(one, TIMEFRAMES["1min"]) for one in (start, end))
    if until <= begin:
        raise InvalidInput(f"the end {until} does not lie after the begin {begin}")
    if not horizons or any(isinstance(bars, bool) or not isinstance(bars, int) or bars < 1 for bars in horizons):
        raise InvalidInput(f"horizons are whole numbers of bars, such as (1, 5, 20), not {horizons!r}")
    if not symbols:
        raise InvalidInput("a screen needs symbols: the universe is empty")
    clock = str(parse_timeframe(timeframe)) if timeframe else _shortest(store, rule, symbols)

    def bars(name: str, some: Sequence[str]) -> Window:
        return all_bars(store.load_many(some, name, columns=REQUIRED), name, some)

    groups = [symbols[at : at + _TOGETHER] for at in range(0, len(symbols), _TOGETHER)]

    def told() -> Iterator[Sequence[str]]:
        for number, group in enumerate(groups):
            yield group
            on_group(min(len(symbols), (number + 1) * _TOGETHER))

    threshold = rule.alert_score if min_score is None else min_score
    return run_history(rule, bars, told(), begin, until, timeframe=clock, horizons=tuple(horizons), min_score=threshold)


def _shortest(store: HistoricalDataManager, rule: Rule, symbols: Sequence[str]) -> str:
    """Return the shortest of the rule's timeframes of which something is stored."""
    for name in sorted(rule.weights, key=lambda name: TIMEFRAMES[name].seconds):
        if any(store.version(symbol, name) for symbol in symbols):
            return name
    raise InvalidInput(f"no {', '.join(rule.weights)} bars of these symbols are stored; run workbench backfill")


def parse_as_of(as_of: Moment) -> datetime:
    """Return the instant that a user means; a date alone is its end on the exchange's clock.

    >>> parse_as_of("2026-11-20").isoformat()
    '2026-11-21T05:00:00+00:00'
    >>> parse_as_of("2026-11-20T15:30-05:00").isoformat()
    '2026-11-20T20:30:00+00:00'
    """
    if isinstance(as_of, datetime):
        return as_utc(as_of)
    is_date = isinstance(as_of, date) or len(str(as_of).strip()) <= len("2026-11-20")
    moment = parse_bound(as_of, TIMEFRAMES["1min"])
    if not is_date:
        return moment
    local = moment.astimezone(EXCHANGE_ZONE)
    return (local.replace(tzinfo=None) + timedelta(days=1)).replace(tzinfo=EXCHANGE_ZONE).astimezone(moment.tzinfo)

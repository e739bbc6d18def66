"""Filling one series: what is still open, and what each answer settles. It decides; `runner.py` does.

At first a few requests are under way; each whole answer doubles how many may be, after one that falls short they go one
by one. Nobody knows in advance where a listing begins; requests for nothing shall not go by the dozen.

That IB has nothing of whole sessions is believed where no bar lies before them: the listing had not begun. After older
bars it is doubted: asked once more when all else is done, believed then, and told in the report. As long as it is not
known which of the two it is, nothing is covered by it: a backfill that is killed meanwhile asks for it again.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice

import pandas as pd

from workbench.errors import RequestRefused, WorkbenchError
from workbench.ib.backfill.report import SeriesReport
from workbench.ib.pacing import SMALL_BARS_S
from workbench.ib.plan import HistoryRequest, plan_requests, settled
from workbench.market.coverage import Coverage, Interval
from workbench.market.sessions import EXCHANGE_ZONE, SessionCalendar, parse_bound
from workbench.market.timeframes import Timeframe
from workbench.store.merge import SaveReport

MOST_TIMEOUTS = 5
"""So many in a row without an answer in between, and the series is given up; each halves what is asked for."""
_BEFORE_ALL, _AFTER_ALL = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_AT_FIRST, _MOST_UNDER_WAY = 4, 64


class SeriesFill:
    """The filling of one series up to the newest bar that is complete.

    `wanted` is None when no bar is complete yet. Bars from `final` on are stored, and asked for again the next time.
    `size` tells how many bars a request may ask for.
    """

    def __init__(
        self,
        symbol: str,
        timeframe: Timeframe,
        wanted: Interval | None,
        final: datetime,
        calendar: SessionCalendar,
        size: Callable[[Timeframe], int],
    ) -> None:
        self.symbol, self.timeframe, self.wanted, self.final = symbol, timeframe, wanted, final
        self.error: WorkbenchError | None = None
        self.saved = SaveReport()
        self.answered = self.empty = 0
        self.first_bar: datetime | None = None
        """The start of the oldest bar that is known, of those stored and those that come."""
        self.left = 0
        """About how many requests are still to be answered."""
        self._calendar, self._size = calendar, size
        self._open = Coverage()
        self._under_way: list[HistoryRequest] = []
        self._allowed, self._timeouts, self._lost = _AT_FIRST, 0, 0
        self._empty = self._asked_again = self._unbelieved = Coverage()
        self._is_short = self._has_asked_head = self._has_changed = False

    @property
    def is_small(self) -> bool:
        """Whether IB's limits on small bars hold."""
        return self.timeframe.seconds <= SMALL_BARS_S

    @property
    def has_lost_some(self) -> bool:
        """Whether stored bars turned out to be unreadable, and nothing is under way: look again what is missing."""
        return self._lost > 0 and not self._under_way and self.error is None

    @property
    def has_turn(self) -> bool:
        """Whether a request may be taken now."""
        return len(self._open) > 0 and len(self._under_way) < self._allowed

    @property
    def weight(self) -> float:
        """About how many bars are open: the longest work is begun first."""
        return sum((gap.end - gap.begin).total_seconds() for gap in self._open) / self.timeframe.seconds

    def add(self, saved: SaveReport) -> None:
        """Count what a save did."""
        self.saved += saved
        self._lost += len(saved.set_aside)

    def look_again(self, missing: Coverage) -> None:
        """Say what is missing after all; the newest bars were asked for before."""
        self._lost = 0
        self.open(self._open | missing.clip(_BEFORE_ALL, self.final))

    def open(self, missing: Coverage) -> None:
        """Say what is missing."""
        self._open = missing
        self.left = len(self._under_way) + len(self.plan())

    def plan(self) -> list[HistoryRequest]:
        """Return the requests that are still to be sent, newest first."""
        return list(plan_requests(self._open, self.timeframe, self._calendar, bars=self._size(self.timeframe)))

    def take(self) -> HistoryRequest | None:
        """Return the next request and count it as under way; None when what is still open holds no session."""
        for request in plan_requests(self._open, self.timeframe, self._calendar, bars=self._size(self.timeframe)):
            self._open = _without(self._open, _covers(request))
            self._under_way.append(request)
            return request
        self.open(Coverage())
        return None

    def settle(self, request: HistoryRequest, bars: pd.DataFrame) -> list[tuple[Interval, bool]]:
        """Take an answer; return the spans of it to save, and whether each is covered thereby.

        Of spans of which IB has nothing `believed` tells later.

        Raises `RequestRefused` when the answer has nothing of what was asked for.
        """
        covers, first = _covers(request), None if bars.empty else bars.index[0].to_pydatetime()
        limit = self.final
        if bars.attrs.get("delayed") and not bars.empty:  # the newest bars are still to come
            limit = min(limit, bars.index[-1].to_pydatetime())
        settles = settled(request, first, limit=limit)
        if settles is None and covers.begin < limit:
            raise RequestRefused(f"IB's answer for {covers} begins at {first}, after all that was asked for")
        self.answered, self._timeouts = self.answered + 1, 0
        self.empty += first is None
        self._go_on(request, settles)
        if first is not None:
            self.first_bar = min(self.first_bar or first, first)
            self._empty, self._unbelieved = _without(self._empty, covers), _without(self._unbelieved, covers)
        elif settles is not None:
            self._empty |= Coverage([settles])
            self._unbelieved |= Coverage([settles])
            return []
        unsettled = covers.clip(limit, covers.end)
        return [(span, span is settles) for span in (settles, unsettled) if span is not None]

    def believed(self) -> list[Interval]:
        """Return spans of which IB has nothing, to be covered now.

        Everything before them is settled and no bar lies there, or IB has said it twice.
        """
        pending = [gap.begin for gap in self._open] + [_covers(request).begin for request in self._under_way]
        oldest = min(pending, default=_AFTER_ALL)
        if self.error is not None:
            return []
        spans = [span for span in self._unbelieved if span.end <= oldest and not self._is_doubted(span)]
        for span in spans:
            self._unbelieved = _without(self._unbelieved, span)
        return spans

    def _go_on(self, request: HistoryRequest, settles: Interval | None) -> None:
        """Open again what an answer left open at its begin, and let more requests go, or fewer."""
        covers = _covers(request)
        falls_short = settles is not None and settles.begin > covers.begin
        if settles is not None and falls_short:
            self._reopen(Interval(covers.begin, settles.begin))
        self._is_short = falls_short or self.empty > 0
        self._allowed = 1 if self._is_short else min(2 * self._allowed, _MOST_UNDER_WAY)

    def done(self, request: HistoryRequest) -> None:
        """Count a request as no longer under way."""
        self._under_way.remove(request)
        if self.error is None and not self._under_way and not self._open:
            self._ask_again()
        self.left = len(self._under_way) + len(self.plan()) if self._has_changed else self.left - 1
        self._has_changed = False

    def _ask_again(self) -> None:
        """Open again what IB shall say twice."""
        for span in filter(self._is_doubted, self._empty):
            self._asked_again |= Coverage([span])
            self._reopen(span)

    def _is_doubted(self, span: Interval) -> bool:
        """Tell whether IB's word that it has nothing of a span is not to be believed yet."""
        return self._is_strange(span) and len(self._asked_again.missing(span)) > 0

    def _is_strange(self, span: Interval) -> bool:
        """Tell whether a span holds whole sessions after the oldest bar.

        IB's head timestamp does not count: bars of a length may begin years after it.
        """
        later = span.clip(self.first_bar, _AFTER_ALL) if self.first_bar else None
        if later is None:
            return False
        sessions = self._calendar.during(later.begin, later.end, self.timeframe)
        if self.timeframe.is_daily:
            return len(sessions) > 0
        return any(one.begin >= later.begin and one.end <= later.end for one in sessions)

    def timed_out(self, request: HistoryRequest, error: WorkbenchError) -> None:
        """Open again what was not answered in time, or give up."""
        self._timeouts += 1
        if self._timeouts >= MOST_TIMEOUTS:
            self.fail(error)
        else:
            self.put_back(request)

    def put_back(self, request: HistoryRequest) -> None:
        """Open again what was asked for but not answered."""
        if self.error is None:
            self._reopen(_covers(request))

    def fail(self, error: WorkbenchError) -> None:
        """Give up for this reason; the first one stays."""
        self.error = self.error or error
        self._open, self._has_changed = Coverage(), True

    @property
    def wants_head(self) -> bool:
        """Whether it is worth asking since when IB has data: an answer fell short, and much lies before it."""
        if not self._is_short or self._has_asked_head:
            return False
        return len(list(islice(plan_requests(self._open, self.timeframe, self._calendar), 2))) > 1

    def bound(self, head: datetime | None) -> list[Interval]:
        """Return what of the open past lies before IB's first data: it is empty. None says that IB does not tell."""
        self._has_asked_head = True
        if head is None:
            return []
        first = parse_bound(head.astimezone(EXCHANGE_ZONE).date(), self.timeframe)
        empty = list(self._open.clip(_BEFORE_ALL, min(first, self.final)))
        self._open, self._has_changed = self._open.clip(first, _AFTER_ALL), True
        return empty

    def report(self) -> SeriesReport:
        """Return what came of it."""
        return SeriesReport(
            self.symbol,
            str(self.timeframe),
            self.answered,
            self.saved,
            self.empty,
            self.error,
            is_unfinished=len(self._open) > 0 or len(self._unbelieved) > 0,
            without=tuple(filter(self._is_strange, self._empty)),
        )

    def _reopen(self, span: Interval) -> None:
        self._open, self._has_changed = self._open | Coverage([span]), True


def _covers(request: HistoryRequest) -> Interval:
    assert request.covers is not None  # noqa: S101  planned requests say what they cover
    return request.covers


def _without(held: Coverage, span: Interval) -> Coverage:
    return held.clip(_BEFORE_ALL, span.begin) | held.clip(span.end, _AFTER_ALL)

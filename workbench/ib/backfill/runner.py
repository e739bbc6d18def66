"""A backfill under way: which series asks next, how many requests are in hand, and how it ends."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import NoReturn

import pandas as pd
from tqdm import tqdm

from workbench.errors import IBError, NoPermission, RequestTimeout, UnknownContract, WorkbenchError
from workbench.ib.backfill.fill import SeriesFill
from workbench.ib.backfill.shelf import Shelf
from workbench.ib.backfill.sizes import RequestSizes
from workbench.ib.connection import IBDataManager
from workbench.ib.plan import HistoryRequest
from workbench.market.bars import empty_bars
from workbench.market.coverage import Interval

logger = logging.getLogger(__name__)

_IN_HAND = 100
"""Requests of each kind, small bars and longer ones, that wait for their turn, are under way or being saved."""
_OF_THE_SYMBOL = (UnknownContract, NoPermission)
"""What IB refuses for the sake of the symbol, whatever is asked of it."""
_GRACE_S = 3.0
"""How long Ctrl-C waits for answers that are on their way."""


class Run:
    """A backfill under way. It lives on a loop of its own; the store is used on other threads.

    Of a symbol that is not `known` to be answered one request goes ahead, and the others wait for what comes of it: a
    symbol that IB refuses is asked for once, not once for each timeframe.
    """

    def __init__(
        self,
        ib: IBDataManager,
        fills: Sequence[SeriesFill],
        shelf: Shelf,
        sizes: RequestSizes,
        bar: tqdm[NoReturn],
        savers: ThreadPoolExecutor,
        known: Collection[str] = (),
    ) -> None:
        self.is_stopping = False
        self._ib, self._fills, self._shelf, self._sizes, self._bar, self._savers = ib, fills, shelf, sizes, bar, savers
        self._fetching: set[asyncio.Task[None]] = set()
        self._locks = {id(fill): asyncio.Lock() for fill in fills}
        self._heads: dict[str, asyncio.Task[datetime | None]] = {}
        self._known, self._refused = set(known), dict[str, IBError]()
        self._doors: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._shown = {id(fill): (fill.left, fill.answered) for fill in fills}

    async def all(self) -> None:
        """Fill all series. Small bars have a lane of their own: they wait for minutes, longer ones need not."""
        async with asyncio.TaskGroup() as lanes:
            for is_small in (True, False):
                lanes.create_task(self._drive([fill for fill in self._fills if fill.is_small is is_small]))

    async def stop(self) -> None:
        """Begin nothing new, take what comes within moments, and let the rest go."""
        self.is_stopping = True
        if self._fetching:
            await asyncio.wait(self._fetching, timeout=_GRACE_S)
        for task in self._fetching:
            task.cancel()

    async def _drive(self, fills: Sequence[SeriesFill]) -> None:
        """Keep as many requests in hand as there may be, of the series with most to do first."""
        ready = [(-fill.weight, number) for number, fill in enumerate(fills) if fill.has_turn]
        heapq.heapify(ready)
        queued = {number for _, number in ready}
        begun: set[int] = set()
        in_hand: dict[asyncio.Task[None], int] = {}
        while True:
            while ready and len(in_hand) < _IN_HAND and not self.is_stopping:
                number = heapq.heappop(ready)[1]
                queued.discard(number)
                if number not in begun:
                    begun.add(number)
                    with recorded(fills[number]):
                        fills[number].open(self._shelf.missing(fills[number]))  # another process may have fetched it
                if request := fills[number].take():
                    in_hand[asyncio.create_task(self._answer(fills[number], request))] = number
                    self._queue(fills, number, ready, queued)
            if not in_hand:
                return
            done, _ = await asyncio.wait(in_hand, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                self._queue(fills, in_hand.pop(task), ready, queued)
                if not task.cancelled():
                    task.result()

    def _queue(
        self, fills: Sequence[SeriesFill], number: int, ready: list[tuple[float, int]], queued: set[int]
    ) -> None:
        if number not in queued and fills[number].has_turn:
            queued.add(number)
            heapq.heappush(ready, (-fills[number].weight, number))

    async def _answer(self, fill: SeriesFill, request: HistoryRequest) -> None:
        """Fetch and save one answer."""
        try:
            with recorded(fill):
                bars = await self._fetched(fill, request)
                if bars is not None:
                    await self._taken(fill, request, bars)
        except asyncio.CancelledError:
            fill.put_back(request)
            raise
        finally:
            fill.done(request)
            if fill.has_lost_some:
                with recorded(fill):
                    fill.look_again(self._shelf.missing(fill))
            self._show_progress(fill)
        with recorded(fill):
            await self._save(fill, empty_bars(), [(span, True) for span in fill.believed()])

    def _show_progress(self, fill: SeriesFill) -> None:
        """Move the bar of progress by what has changed of a series since it was last looked at."""
        left, answered = self._shown[id(fill)]
        self._shown[id(fill)] = fill.left, fill.answered
        self._bar.total += fill.left + fill.answered - left - answered
        self._bar.update(fill.answered - answered)

    async def _fetched(self, fill: SeriesFill, request: HistoryRequest) -> pd.DataFrame | None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  it runs in one
        self._fetching.add(task)
        try:
            return await self._introduced(fill.symbol, request)
        except RequestTimeout as error:
            await asyncio.to_thread(self._sizes.timed_out, request)
            fill.timed_out(request, error)
            return None
        finally:
            self._fetching.discard(task)

    async def _introduced(self, symbol: str, request: HistoryRequest) -> pd.DataFrame:
        """Fetch, but of a symbol of which nothing is known yet one at a time; raise what IB has refused it for."""
        if symbol not in self._known:
            async with self._doors[symbol]:
                if symbol in self._refused:
                    raise self._refused[symbol]
                if symbol not in self._known:
                    return await self._ahead(symbol, request)
        return await self._sent(symbol, request)

    async def _ahead(self, symbol: str, request: HistoryRequest) -> pd.DataFrame:
        """Fetch what tells whether the symbol is answered; unless IB refuses it, the others go on."""
        try:
            bars = await self._sent(symbol, request)
        except _OF_THE_SYMBOL as error:
            self._refused[symbol] = error
            raise
        except BaseException:
            self._known.add(symbol)
            raise
        self._known.add(symbol)
        return bars

    async def _sent(self, symbol: str, request: HistoryRequest) -> pd.DataFrame:
        prices = self._shelf.prices
        return await self._ib.fetch_async(symbol, request, what_to_show=prices.what_to_show, use_rth=prices.use_rth)

    async def _taken(self, fill: SeriesFill, request: HistoryRequest, bars: pd.DataFrame) -> None:
        """Save what an answer settles, then ask since when there is any, where that is worth it."""
        await self._save(fill, bars, fill.settle(request, bars))
        if seconds := bars.attrs.get("answer_s"):
            timeout_s = self._ib.config.request_timeout_s
            await asyncio.to_thread(self._sizes.answered, request, seconds, timeout_s)
        if fill.wants_head and not self.is_stopping:
            empty = fill.bound(await self._head(fill.symbol))
            await self._save(fill, empty_bars(), [(span, True) for span in empty])

    async def _save(self, fill: SeriesFill, bars: pd.DataFrame, spans: Sequence[tuple[Interval, bool]]) -> None:
        if not spans:
            return
        loop = asyncio.get_running_loop()
        async with self._locks[id(fill)]:
            fill.add(await loop.run_in_executor(self._savers, self._shelf.save, fill, bars, spans))

    async def _head(self, symbol: str) -> datetime | None:
        """Return since when IB has data of a symbol, asked once; None when it does not tell."""
        if symbol not in self._heads:
            self._heads[symbol] = asyncio.create_task(self._asked_head(symbol))
        return await asyncio.shield(self._heads[symbol])

    async def _asked_head(self, symbol: str) -> datetime | None:
        prices = self._shelf.prices
        try:
            return await self._ib.fetch_head_timestamp_async(symbol, prices.what_to_show, use_rth=prices.use_rth)
        except IBError as error:
            logger.info("%s; asking for bars instead", error)
            return None


@contextmanager
def recorded(fill: SeriesFill) -> Iterator[None]:
    """Keep an error for the report: one failing series never stops the others."""
    try:
        yield
    except WorkbenchError as error:
        fill.fail(error)

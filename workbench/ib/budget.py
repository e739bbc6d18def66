"""The budget of requests at work: who waits for a turn, and the ledger that the processes of a machine share.

`pacing.py` decides what may go; here is a ledger to decide on (in memory, or in the database, where all processes that
use the same gateway and account book), and the waiting. Whatever waits is looked at together: one look at the ledger
lets go all that may, gives back the places of what has ended, and tells when the next look is worth it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from typing import NamedTuple, Protocol

from workbench.ib.dial import IBConnectionConfig
from workbench.ib.pacing import MARGIN_S, SMALL_BARS_S, Ask, Booking, Granted, Limit, Pacer, cold_until, limits_for
from workbench.store.bookings import BookingRow, booking_page, load_request_sizes, save_request_size
from workbench.store.database import DatabaseManager

logger = logging.getLogger(__name__)

Clock = Callable[[], float]
"""Gives the time, in seconds, in which the limits run."""

_LOOK_AGAIN_S = 0.25
"""How soon to look whether other processes have given back places."""
_WORTH_TELLING_S = 5.0


class Ledger(Protocol):
    """What was sent, and what was learned of a gateway."""

    def grant(self, asks: Sequence[Ask], released: Collection[str], clock: Clock) -> Granted:
        """Give back places, then let of these go what may be sent now.

        The clock is read when nobody else can book any more: what was booked meanwhile lies before.
        """

    def cool_down(self, now: float) -> None:
        """Let nothing be sent for a while: IB has reported a violation."""

    def sizes(self) -> dict[str, int]:
        """Return how many bars a request may ask for, by timeframe, as far as was learned."""

    def remember_size(self, timeframe: str, bars: int) -> None:
        """Keep how many bars a request may ask for."""


class MemoryLedger:
    """A ledger for this process alone."""

    def __init__(self, pacer: Pacer) -> None:
        self._pacer, self._sizes = pacer, dict[str, int]()
        self._lock = threading.Lock()

    def grant(self, asks: Sequence[Ask], released: Collection[str], clock: Clock) -> Granted:
        """Give back places, then let of these go what may be sent now."""
        with self._lock:
            self._pacer.release(released)
            return self._pacer.grant(asks, clock())

    def cool_down(self, now: float) -> None:
        """Let nothing be sent for a while: IB has reported a violation."""
        with self._lock:
            self._pacer.cool_down(now)

    def sizes(self) -> dict[str, int]:
        """Return how many bars a request may ask for, by timeframe, as far as was learned."""
        return dict(self._sizes)

    def remember_size(self, timeframe: str, bars: int) -> None:
        """Keep how many bars a request may ask for."""
        self._sizes[timeframe] = bars


class DatabaseLedger:
    """A ledger that all processes share which use the same database, gateway and account."""

    def __init__(
        self,
        database: DatabaseManager,
        gateway: str,
        account: str,
        limits: Sequence[Limit],
        *,
        hold_s: float,
        stretch: float = 1.0,
    ) -> None:
        self._database, self._gateway, self._account = database, gateway, account
        self._limits, self._hold_s, self._stretch = limits, hold_s, stretch

    @classmethod
    def of(cls, database: DatabaseManager, config: IBConnectionConfig, account: str) -> DatabaseLedger:
        """Return the ledger of an account behind a gateway."""
        host = "127.0.0.1" if config.host == "localhost" else config.host
        limits = limits_for(config.market_data_lines)
        return cls(
            database, f"{host}:{config.port}", account, limits, hold_s=config.hold_s, stretch=config.gateway_speed
        )

    def grant(self, asks: Sequence[Ask], released: Collection[str], clock: Clock) -> Granted:
        """Give back places, then let of these go what may be sent now."""
        with booking_page(self._database, self._gateway, self._account) as page:
            now = clock()
            page.release(released, now)
            booked = [_to_booking(row) for row in self._rows(page.rows, now)]
            pacer = Pacer(
                self._limits, hold_s=self._hold_s, stretch=self._stretch, booked=booked, cold_until=page.cold_until
            )
            granted = pacer.grant(asks, now)
            page.add([_to_row(booking) for booking in granted.bookings.values()])
        return granted

    def cool_down(self, now: float) -> None:
        """Let nothing be sent for a while: IB has reported a violation."""
        with booking_page(self._database, self._gateway, self._account) as page:
            page.cool_down(cold_until(now))

    def sizes(self) -> dict[str, int]:
        """Return how many bars a request may ask for, by timeframe, as far as was learned."""
        return load_request_sizes(self._database, self._gateway)

    def remember_size(self, timeframe: str, bars: int) -> None:
        """Keep how many bars a request may ask for."""
        save_request_size(self._database, self._gateway, timeframe, bars)

    def _rows(self, rows: Callable[..., list[BookingRow]], now: float) -> list[BookingRow]:
        margin_s = 2 * MARGIN_S * self._stretch
        longest_s = max((limit.window_s for limit in self._limits), default=0.0)
        return rows(now, small_s=SMALL_BARS_S, small_window_s=longest_s + margin_s, window_s=1.0 + margin_s)


class _Waiting(NamedTuple):
    """Who waits for a turn."""

    ask: Ask
    turn: asyncio.Future[Booking]


class Budget:
    """The turns of one connection. It lives on the connection's loop; the ledger may be shared and may be slow.

    `speed` is how many seconds of the gateway's time pass in one: only a built-in gateway has another than 1, and its
    limits run in its time.
    """

    def __init__(self, ledger: Ledger, *, speed: float = 1.0, clock: Clock = time.time) -> None:
        self._ledger, self._speed, self._clock = ledger, speed, clock
        self._waiting: deque[_Waiting] = deque()
        self._released: list[str] = []
        self._task: asyncio.Task[None] | None = None
        self._stir = asyncio.Event()

    @asynccontextmanager
    async def turn(self, ask: Ask) -> AsyncIterator[None]:
        """Wait until IB's limits allow the request; while the block runs it holds one of the places."""
        waiting = _Waiting(ask, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._wake()
        try:
            booking = await waiting.turn
        except BaseException:
            self._give_up(waiting)
            raise
        try:
            yield
        finally:
            self._released.append(booking.token)
            self._wake()

    async def cool_down(self) -> None:
        """Let nothing be sent for a while: IB has reported a violation."""
        await asyncio.to_thread(self._ledger.cool_down, self._now())
        self._wake()

    def _now(self) -> float:
        return self._clock() * self._speed

    def _wake(self) -> None:
        self._stir.set()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._serve())

    def _give_up(self, waiting: _Waiting) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)
        elif waiting.turn.done() and not waiting.turn.cancelled() and waiting.turn.exception() is None:
            self._released.append(waiting.turn.result().token)
            self._wake()

    async def _serve(self) -> None:
        """Let go whatever may, until nothing waits and nothing is to be given back."""
        while self._waiting or self._released:
            self._stir.clear()
            looked_at = list(self._waiting)
            released, self._released = self._released, []
            try:
                granted = await asyncio.to_thread(
                    self._ledger.grant, [one.ask for one in looked_at], released, self._now
                )
            except Exception as error:  # noqa: BLE001  whoever waits raises it
                self._fail(looked_at, error)
                continue
            self._hand_out(looked_at, granted)
            if self._waiting:
                await self._sleep(granted)

    def _hand_out(self, looked_at: Sequence[_Waiting], granted: Granted) -> None:
        for position, booking in granted.bookings.items():
            waiting = looked_at[position]
            if waiting.turn.cancelled():
                self._released.append(booking.token)
                continue
            self._waiting.remove(waiting)
            waiting.turn.set_result(booking)

    def _fail(self, looked_at: Sequence[_Waiting], error: Exception) -> None:
        for waiting in looked_at:
            if not waiting.turn.done():
                self._waiting.remove(waiting)
                waiting.turn.set_exception(error)

    async def _sleep(self, granted: Granted) -> None:
        """Sleep until a look is worth it: something new waits or has ended, or the limits allow more."""
        seconds = max(0.0, granted.again - self._now()) / self._speed
        if granted.crowded:
            seconds = min(seconds, _LOOK_AGAIN_S)
        if seconds > _WORTH_TELLING_S:
            logger.info("IB's limits: %d requests wait, the next may go in %.0f s", len(self._waiting), seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stir.wait()


def _to_booking(row: BookingRow) -> Booking:
    ask = Ask(row.contract, row.exchange, row.what_to_show, row.bar_seconds, row.rest, row.messages)
    return Booking(row.token, ask, row.sent, row.held_until)


def _to_row(booking: Booking) -> BookingRow:
    return BookingRow(booking.token, booking.sent, booking.held_until, **asdict(booking.ask))

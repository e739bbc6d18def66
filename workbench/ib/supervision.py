"""A connection that is kept: made anew when it ends, tested when it is silent, and known to be well or not.

TWS restarts every night, loses IB, moves to another port, or leaves a socket open that nobody serves any more. The link
notices, dials again (at first at once, then less and less often), and tells whoever listens; requests wait for it.
Everything here runs on the loop of the connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from workbench.errors import ConnectionFailed, Disconnected, RequestTimeout
from workbench.ib.dial import IBConnectionConfig, dial_any, hang_up, source_of
from workbench.ib.health import (
    STREAM_TROUBLE,
    Connected,
    Dropped,
    Event,
    Health,
    StreamsRenewed,
    Told,
    describe_change,
    new_port,
)
from workbench.ib.history import Desk
from workbench.ib.loop import cancelled
from workbench.ib.pacing import messages_a_second
from workbench.ib.resets import reset_end

if TYPE_CHECKING:
    import ib_insync

logger = logging.getLogger(__name__)

T = TypeVar("T")
Listener = Callable[[Event, Health], None]
"""Called on the thread of the connection with each event and the health after it; it must not block."""

GRACE_S = 5.0
"""How long a request that was under way during an outage is still waited for when the outage is over."""

_LONGEST_PAUSE_S = 30.0
_CURRENT_TIME_SPACING_S = 1.1  # IB ignores a second question within one second, and ib_insync then waits for ever
_CURRENT_TIME_TIMEOUT_S = 10.0
_CURRENT_TIME_TRIES = 5
_ABOUT_NO_REQUEST = -1


class Link:
    """The one lasting connection of a manager."""

    def __init__(self, config: IBConnectionConfig, listeners: list[Listener]) -> None:
        self.health = Health()
        self.account = self.source = ""
        """The account and where its bars come from, as the connection told that was made last."""
        self.version = 0
        """The version of the protocol that was agreed on with its server."""
        self.dials = 0
        """How many connections were made so far."""
        self.closed = False
        self._config, self._listeners = config, listeners
        self._configured_port = config.port
        self._desk: Desk | None = None
        self._dialing = asyncio.Lock()
        self._changed = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._clock_lock = asyncio.Lock()
        self._clock_asked = -_CURRENT_TIME_SPACING_S
        self._clock_read: tuple[float, datetime] | None = None  # loop time, the gateway's time

    async def open(self) -> None:
        """Connect, and stay connected until `close`. Raises `ConnectionFailed`, saying what to check."""
        await self.dial()
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """End the connection; whatever is under way fails with `Disconnected`."""
        self.closed = True
        if self._keeper is not None:
            await cancelled([self._keeper])
        self._drop()

    async def dial(self) -> None:
        """Connect now, unless connected. Raises `ConnectionFailed`."""
        async with self._dialing:
            if self.health.connected or self.closed:
                return
            told: list[tuple[int, int, str]] = []
            ib = await self._dialed(told)
            account = next(iter(ib.managedAccounts()), "")
            if self.account not in ("", account):
                logger.warning("%s: this is another account now, %s instead of %s", self._config, account, self.account)
            self.account, self.source, self.version = account, source_of(account), ib.client.serverVersion()
            ib.client.MaxRequests = messages_a_second(self._config.market_data_lines)  # the budget keeps less
            self._desk, self.dials = Desk(ib, self.source), self.dials + 1
            ib.errorEvent += self._on_error
            ib.disconnectedEvent += self._drop
            self._happened(Connected())
            for request_id, code, text in told:
                self._on_error(request_id, code, text, None)

    @property
    def is_ready(self) -> bool:
        """Whether requests may be sent."""
        now = asyncio.get_running_loop().time()
        return self._desk is not None and self.health.asks_from(now) <= now

    async def ready(self) -> None:
        """Return when requests may be sent; raise `Disconnected` when we are patient no longer."""
        await self._await(lambda: self.is_ready)

    async def _await(self, holds: Callable[[], bool]) -> None:
        loop = asyncio.get_running_loop()
        while not holds():
            patient_until = self.health.since + self._config.patience_s
            if loop.time() >= patient_until:
                raise Disconnected(self._lament())
            with suppress(TimeoutError):
                async with asyncio.timeout_at(min(self.health.asks_from(loop.time()), patient_until)):
                    await self._changed.wait()

    @property
    def desk(self) -> Desk:
        """Where requests are sent. Raises `Disconnected` when there is no connection."""
        if self._desk is None:
            raise Disconnected(self._lament())
        return self._desk

    async def answer(self, asking: Coroutine[Any, Any, T], what: str) -> T:
        """Return the answer to a request that was just sent.

        One that was under way during an outage may never be answered: some time after the outage it is given up.
        """
        request = asyncio.ensure_future(asking)
        giving_up = asyncio.ensure_future(self._outage_is_over(asyncio.get_running_loop().time()))
        try:
            await asyncio.wait({request, giving_up}, return_when=asyncio.FIRST_COMPLETED)
            if not request.done():
                raise Disconnected(f"{what}: not answered during an outage")
            return request.result()
        finally:
            await cancelled([request, giving_up])

    async def doubt(self, sent: float) -> str:
        """Return why an answer to a request sent then may not be taken for final; nothing when it may."""
        end = None
        if self.health.believes(sent) and self._config.reset_region is not None:
            try:
                end = reset_end(await self.current_time(), self._config.reset_region)
            except (RequestTimeout, Disconnected):
                return "the gateway does not tell its time"
        if not self.health.believes(sent):  # asked last: a notice may come a moment after the answer that it explains
            return f"meanwhile {self.health.trouble or 'IB was out of reach'}"
        return f"IB resets its servers until {end:%a %H:%M %Z}" if end else ""

    async def current_time(self) -> datetime:
        """Return the gateway's time (UTC), at most about a second old and never ahead of it."""
        for _ in range(_CURRENT_TIME_TRIES):
            await self._await(lambda: self.health.connected)
            with suppress(Disconnected):  # while it was asked; the connection is made anew
                return await self._read_clock()
        return await self._read_clock()

    async def _read_clock(self) -> datetime:
        loop = asyncio.get_running_loop()
        async with self._clock_lock:
            if self._clock_read and loop.time() - self._clock_read[0] < _CURRENT_TIME_SPACING_S:
                return self._clock_read[1]
            await asyncio.sleep(self._clock_asked + _CURRENT_TIME_SPACING_S - loop.time())
            told = await self._tell_time()
            self._clock_read = (loop.time(), told)
            return told

    def streams_renewed(self) -> None:
        """Know that whoever has live streams has requested them again, or seen that they flow."""
        self._happened(StreamsRenewed())

    async def _tell_time(self) -> datetime:
        ib, self._clock_asked = self.desk.ib, asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(min(_CURRENT_TIME_TIMEOUT_S, self._config.timeout)):
                told = await ib.reqCurrentTimeAsync()
        except TimeoutError as error:
            raise RequestTimeout(f"{self._config} did not tell its time; restart TWS or IB Gateway") from error
        except ConnectionError as error:
            raise Disconnected(f"{self._config}: the connection ended") from error
        return told.astimezone(UTC)

    async def _dialed(self, told: list[tuple[int, int, str]]) -> ib_insync.IB:
        """Dial the port that TWS has told last; where it is not, the one that is configured."""
        try:
            return await dial_any(self._config, told)
        except ConnectionFailed:
            if self._config.port == self._configured_port:
                raise
        ib = await dial_any(replace(self._config, port=self._configured_port), told)
        self._config = replace(self._config, port=self._configured_port)
        return ib

    async def _keep(self) -> None:
        while True:
            if self.health.connected:
                await self._watch()
            else:
                await self._dial_again()

    async def _dial_again(self) -> None:
        """Dial until there is a connection, less and less often, and never in step with other programs."""
        loop, begun = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        pauses = wait_random_exponential(multiplier=0.5, max=_LONGEST_PAUSE_S)
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(Exception), wait=pauses, before_sleep=self._tell_failure
        ):
            with attempt:
                await self.dial()
        logger.warning("%s: connected again after %.0f s", self._config, loop.time() - begun)

    def _tell_failure(self, state: RetryCallState) -> None:
        if state.attempt_number == 1 and state.outcome is not None:
            logger.warning("%s. Trying again until it is there", state.outcome.exception())

    async def _watch(self) -> None:
        """Return when the connection has ended; end it when the gateway is silent and does not answer either."""
        desk = self.desk
        while self._desk is desk:
            heard = desk.messages
            if await self._ends_within(desk, self._config.watchdog_s):
                return
            if desk.messages == heard and not await self._gives_a_sign_of_life():
                logger.warning("%s is silent and answers nothing; hanging up", self._config)
                self._drop()

    async def _ends_within(self, desk: Desk, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._desk is desk:
                    await self._changed.wait()
        return self._desk is not desk

    async def _gives_a_sign_of_life(self) -> bool:
        try:
            await self._read_clock()
        except RequestTimeout:
            return False
        except Disconnected:  # it has ended, and that is known
            return True
        return True

    async def _outage_is_over(self, sent: float) -> None:
        """Return when an outage that befell a request sent then is over, and a while more."""
        while True:
            while self.health.believes(sent) or not self.health.is_well:
                await self._changed.wait()
            await asyncio.sleep(GRACE_S)
            if self.health.is_well:
                return

    def _drop(self) -> None:
        """Let the connection go, from whichever side it ended."""
        desk, self._desk, self._clock_read = self._desk, None, None
        if desk is None:
            return
        desk.ib.errorEvent -= self._on_error
        desk.ib.disconnectedEvent -= self._drop
        hang_up(desk.ib)
        desk.end_all()
        self._happened(Dropped())

    def _on_error(self, request_id: int, code: int, text: str, _contract: object) -> None:
        if request_id != _ABOUT_NO_REQUEST and code not in STREAM_TROUBLE:
            return
        told = Told(code, text)
        if port := new_port(told):
            logger.warning("%s moves to port %d (IB code %d); following it", self._config, port, code)
            self._config = replace(self._config, port=port)
        self._happened(told)

    def _happened(self, event: Event) -> None:
        before, self.health = self.health, self.health.after(event, asyncio.get_running_loop().time())
        if (change := describe_change(before, self.health)) and not self.closed:
            # What a code begins is told with its cause and next step by whoever explains codes; the rest only here.
            is_explained = isinstance(event, Told) and bool(self.health.trouble)
            logger.log(logging.INFO if is_explained else logging.WARNING, "%s: %s", self._config, change)
        self._changed.set()
        self._changed = asyncio.Event()
        for listener in list(self._listeners):
            try:
                listener(event, self.health)
            except Exception:  # theirs: it must not end the connection of all others
                logger.exception("a listener to the connection failed at %s", event)

    def _lament(self) -> str:
        what = self.health.trouble or "there is no connection to the gateway"
        return (
            f"{self._config}: {what}. Look whether TWS or IB Gateway runs, is logged in and shows its connections "
            "green; the workbench goes on trying to reach it, and the same request may be repeated then"
        )

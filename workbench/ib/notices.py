"""What a gateway tells beside data: logged with its cause and next step, heard in order, waited for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from workbench.ib.codes import Reaction, describe, explain
from workbench.ib.health import Connected, Event, Health, Told

if TYPE_CHECKING:
    import ib_insync

logger = logging.getLogger(__name__)

Notice = tuple[object, int, str]
"""What it is about (a contract, or None), IB's code, its text."""


class NoticeLog:
    """Logs what a gateway tells about no request, with its cause and what to do.

    TWS repeats itself every few seconds while IB is away: each code is told once, until something is well again.
    """

    def __init__(self) -> None:
        self._told: set[int] = set()

    def __call__(self, event: Event, _health: Health) -> None:
        """Hear an event of the connection."""
        if isinstance(event, Connected):
            self._told.clear()
        if not isinstance(event, Told) or event.code in self._told:
            return
        row = explain(event.code, event.text)
        level = logging.WARNING
        if row and row.reaction in (Reaction.INFORM, Reaction.RESUME):
            level = logging.INFO if self._told else logging.DEBUG  # good news is news after bad
        logger.log(level, "IB code %d: %s", event.code, describe(event.code, event.text))
        self._told = set() if row and row.reaction is Reaction.RESUME else self._told | {event.code}


class Notices:
    """What the gateway tells, in order, from when this is made until it is closed."""

    def __init__(self, ib: ib_insync.IB) -> None:
        self._ib = ib
        self._heard: list[Notice] = []
        self._waiting: list[tuple[Callable[[object, int, str], bool], asyncio.Future[Notice]]] = []
        ib.errorEvent += self._hear

    def __iter__(self) -> Iterator[Notice]:
        return iter(self._heard)

    def first(self, fits: Callable[[object, int, str], bool]) -> asyncio.Future[Notice]:
        """Return a future of the first notice that fits, be it heard already or still to come."""
        future: asyncio.Future[Notice] = asyncio.get_running_loop().create_future()
        heard = next((notice for notice in self._heard if fits(*notice)), None)
        if heard:
            future.set_result(heard)
        else:
            self._waiting.append((fits, future))
        return future

    def close(self) -> None:
        """Hear no more."""
        self._ib.errorEvent -= self._hear

    def _hear(self, _request_id: int, code: int, text: str, about: object) -> None:
        self._heard.append((about, code, text))
        for fits, future in self._waiting:
            if not future.done() and fits(about, code, text):
                future.set_result((about, code, text))


async def first_of(seconds: float, *futures: asyncio.Future[Any]) -> asyncio.Future[Any] | None:
    """Return the first of the futures that is done in time, and give up the others."""
    done, waiting = await asyncio.wait(futures, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for future in waiting:
        future.cancel()
    return next((future for future in futures if future in done), None)


def refusal_of(contract: object) -> Callable[[object, int, str], bool]:
    """Return what recognises the refusal of a request for this contract."""
    return lambda about, code, text: about is contract and is_refusal(about, code, text)


def is_refusal(_about: object, code: int, text: str) -> bool:
    """Return whether nothing comes of a request that was told this."""
    row = explain(code, text)
    return row is None or (row.error is not None and row.reaction is not Reaction.MARKED)

"""Asking IB until there is an answer: what may pass is waited out and asked again, what is final is raised at once.

A request waits for the way to IB to be well, then for its turn within IB's limits. What comes of it is believed as far
as the way was well all the while: "no data", "unknown contract" and the like count for nothing when IB was out of
reach meanwhile, or when it resets its servers.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from workbench.errors import (
    Disconnected,
    IBError,
    PacingViolation,
    RequestTimeout,
    Unavailable,
    UnreadableAnswer,
)
from workbench.ib.budget import Budget
from workbench.ib.history import Desk
from workbench.ib.pacing import Ask
from workbench.ib.supervision import Link

logger = logging.getLogger(__name__)

T = TypeVar("T")
Once = Callable[[Desk], Coroutine[Any, Any, T]]
"""One request, sent when it is awaited."""

_TRIES: dict[type[IBError], int] = {PacingViolation: 4, Unavailable: 4, UnreadableAnswer: 3, Disconnected: 10}
"""How often a request is sent when it ends so; whatever else it ends in is raised at once."""

_PAUSE_S = 1.0
"""Before the second try of what IB cannot serve now; twice as long before each further one."""


async def ask_until_answered(link: Link, budget: Budget, ask: Ask, once: Once[T]) -> T:
    """Return the answer to a request, repeated as long as what it ends in may pass."""
    ends = Counter[type[IBError]]()
    while True:
        await link.ready()
        try:
            async with budget.turn(ask):
                if link.is_ready:  # IB may have been lost while the limits were waited for
                    return await _believed(link, once, f"{ask.what_to_show} of {ask.contract}")
        except IBError as error:
            ends[type(error)] += 1
            if ends[type(error)] >= _TRIES.get(type(error), 1):
                raise
            logger.debug("%s; repeating it", error)
            await _pause(budget, error, ends[type(error)])


async def _believed(link: Link, once: Once[T], what: str) -> T:
    """Return the answer to a request; what IB says in trouble, or while it is reset, is not final."""
    sent = asyncio.get_running_loop().time()
    try:
        return await link.answer(once(link.desk), what)
    except RequestTimeout as error:
        if link.health.believes(sent):
            raise
        raise Disconnected(f"{error}; IB was out of reach meanwhile") from error
    except IBError as error:
        if error.permanent and (doubt := await link.doubt(sent)):
            raise Unavailable(f"{error}. That is not taken as final: {doubt}") from error
        raise


async def _pause(budget: Budget, error: IBError, tries: int) -> None:
    if isinstance(error, PacingViolation):
        await budget.cool_down()
    elif isinstance(error, Unavailable):
        await asyncio.sleep(_PAUSE_S * 2 ** (tries - 1))

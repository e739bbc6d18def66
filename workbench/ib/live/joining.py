"""History joins live: what is there of earlier sessions at once, what has to be fetched in the background."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from datetime import datetime
from queue import SimpleQueue

from workbench.errors import WorkbenchError
from workbench.ib.connection import IBDataManager
from workbench.ib.live.past import Past, Seed
from workbench.ib.live.status import name_some

logger = logging.getLogger(__name__)

_AT_ONCE = 5
"""So many symbols are fetched together: the recorder's own gaps must not wait for long, nor `close`."""
_PATIENCE_S = 10.0


class Joining:
    """Hands the bars before the running session over, from `add` on, until `close`."""

    def __init__(self, past: Past, ib: IBDataManager, seed: Seed) -> None:
        self._past, self._ib, self._seed = past, ib, seed
        self._asked: SimpleQueue[list[str]] = SimpleQueue()
        self._left, self._counting = 0, threading.Lock()
        self._problems: dict[str, str] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="join", daemon=True)
        self._thread.start()

    def add(self, symbols: Sequence[str], now: datetime) -> None:
        """Hand over what is there of these symbols, then fetch what is missing and hand over all."""
        self._past.seed(symbols, now, self._seed)
        self.renew(symbols)

    def renew(self, symbols: Sequence[str]) -> None:
        """Fetch what is missing before the running session and hand over all, in the background."""
        with self._counting:
            self._left += len(symbols)
        for first in range(0, len(symbols), _AT_ONCE):
            self._asked.put(list(symbols[first : first + _AT_ONCE]))

    def close(self) -> None:
        """Fetch nothing more; what is under way is waited for, but not for long."""
        self._closing.set()
        self._asked.put([])
        self._thread.join(_PATIENCE_S)

    def status(self) -> str:
        """Return what is still to come, or failed, in words; nothing when all is joined."""
        if self._problems:
            return f"history of {name_some(list(self._problems))} NOT JOINED"
        return f"{self._left} symbols wait for history" if self._left else ""

    def _run(self) -> None:
        while (symbols := self._asked.get()) and not self._closing.is_set():
            self._join(symbols)
            with self._counting:
                self._left -= len(symbols)

    def _join(self, symbols: list[str]) -> None:
        """Fetch and hand over; a failure is told, and live bars go on without what it has left out."""
        try:
            now = self._ib.current_time()
            problems = self._past.fetch(self._ib, symbols, now)
            self._past.seed(symbols, now, self._seed)
        except WorkbenchError as error:
            problems = dict.fromkeys(symbols, str(error))
        except Exception as error:
            logger.exception("bars before this session could not be joined")
            problems = dict.fromkeys(symbols, repr(error))
        for symbol in symbols:
            self._problems.pop(symbol, None)
        if problems and not self._closing.is_set():
            first, reason = next(iter(problems.items()))
            names = name_some(list(problems))
            logger.warning("bars before this session are not whole of %s; %s %s", names, first, reason)
            self._problems |= problems

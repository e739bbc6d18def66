"""A live session that follows the watchlist: whoever replaces it, the streams change by the difference."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from workbench.errors import Disconnected, IBError, StoreError
from workbench.ib.live.session import LiveSession
from workbench.market.names import as_names

logger = logging.getLogger(__name__)

EVERY_S = 2.0


class WatchlistFollower:
    """Lets a session record some symbols always, and after these the ones that `read` returns, until `stop`.

    `read` is called every few seconds on a thread of its own: one small query. What cannot be read, or cannot be
    recorded for another process has it, is told once and tried again; meanwhile the streams stay as they are. A symbol
    that leaves the list has its stream ended; its bars stay.
    """

    def __init__(
        self,
        session: LiveSession,
        read: Callable[[], Sequence[str]],
        *,
        always: str | Sequence[str] = (),
        every_s: float = EVERY_S,
    ) -> None:
        self._session, self._read, self._every_s = session, read, every_s
        self._always = as_names(always)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="watchlist follower", daemon=True)
        self._trouble = ""
        self.symbols: list[str] = []

    def __repr__(self) -> str:
        state = "following" if self._thread.is_alive() else "stopped"
        return f"WatchlistFollower({state}; {', '.join(self.symbols) or 'no symbols'})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Self:
        """Begin to record what is on the list now, and to follow it. Raises `AlreadyRecorded`, `StoreError`."""
        self.symbols = self._wanted()
        self._session.start(self.symbols)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Follow no more; what is recorded goes on."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _follow(self) -> None:
        while not self._stopping.wait(self._every_s) and self._session.is_running:
            try:
                self._look()
                self._trouble = ""
            except Disconnected:
                return  # the session has ended, and says why
            except (StoreError, IBError) as error:
                if str(error) != self._trouble:
                    logger.warning("the watchlist is not followed for now: %s", error)
                self._trouble = str(error)

    def _look(self) -> None:
        wanted = self._wanted()
        if wanted == self.symbols:
            return
        self._session.update(wanted)
        come, gone = set(wanted) - set(self.symbols), set(self.symbols) - set(wanted)
        self.symbols = wanted
        logger.info("the watchlist has %d symbols, %d new, %d gone", len(wanted), len(come), len(gone))

    def _wanted(self) -> list[str]:
        return as_names([*self._always, *self._read()])

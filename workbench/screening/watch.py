"""The fine screen beside the live bars: a thread that judges what has changed, and tells who turns.

An alert is a row in the database, a line in the log, and a call of `on_alert`. A bar that is made anew tells nobody
twice, and in the database an alert is there once, whoever saves it. Live bars never wait for it: what has changed is
put on a queue.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from queue import Empty, SimpleQueue

import pandas as pd

from workbench import html
from workbench.errors import StoreError
from workbench.screening.conditions import SIDES, Side
from workbench.screening.live import LiveScreen, RowsOf, Turn
from workbench.screening.rules import Rule
from workbench.screening.screen import ScreenResult
from workbench.store.database import DatabaseManager

logger = logging.getLogger(__name__)

OnAlert = Callable[[Turn], object]

_STOP: list[tuple[str, str]] = []


class ScreenWatch:
    """The fine screen over what is recorded here; `desk.watch`.

        desk.watch.start(on_alert=print)
        desk.live.start(desk.db.load_watchlist_symbols())
        desk.watch.result(top=20)

    `rows_of` gives the complete bars of a series, `symbols` what is followed now: who is not any more, as when the
    watchlist was replaced, is forgotten.
    """

    def __init__(
        self,
        rule: Callable[[], Rule],
        rows_of: RowsOf,
        symbols: Callable[[], Sequence[str]],
        database: Callable[[], DatabaseManager],
    ) -> None:
        self._open_rule, self._rows_of, self._followed, self._open_database = rule, rows_of, symbols, database
        self._changes: SimpleQueue[Iterable[tuple[str, str]]] = SimpleQueue()
        self._screen: LiveScreen | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._told: set[tuple[object, ...]] = set()
        self.error: BaseException | None = None
        """What has ended the watch; None when nothing did."""
        self.took_s = 0.0
        """How long it took to judge the newest changes."""

    def __repr__(self) -> str:
        state = "running" if self.is_running else f"ended by {self.error!r}" if self.error else "not running"
        return f"ScreenWatch({state}, {len(self._screen.symbols) if self._screen else 0} symbols)"

    def _repr_html_(self) -> str:
        steps = [("desk.watch.start(on_alert=print)", "judges at each complete bar"),
                 ("desk.watch.result(top=20)", "the ranked list as it is now")]  # fmt: skip
        return html.card(repr(self), html.steps(steps), state="bad" if self.error else "plain")

    @property
    def is_running(self) -> bool:
        """Whether changes are judged."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, on_alert: OnAlert = lambda _turn: None) -> None:
        """Judge what is followed live from now on, and tell `on_alert` who turns. A watch that runs is begun anew."""
        self.stop()
        self.error, self._screen = None, LiveScreen(self._open_rule())
        self._changes = SimpleQueue()
        self.tell([(symbol, name) for symbol in self._followed() for name in self._screen.rule.plans])
        self._thread = threading.Thread(target=self._run, args=(self._changes, on_alert), name="screen", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; what has changed until now is judged."""
        if self._thread is not None:
            self._changes.put(_STOP)
            self._thread.join()
            self._thread = None

    def tell(self, changed: Iterable[tuple[str, str]]) -> None:
        """Say which series have changed, by symbol and timeframe; returns at once."""
        screen = self._screen
        some = [one for one in changed if screen is not None and one[1] in screen.rule.plans]
        if some:
            self._changes.put(some)

    def result(self, top: int | None = None) -> ScreenResult | None:
        """Return the ranked list as of the newest complete bar; None before the first."""
        with self._lock:
            if self._screen is None:
                return None
            self._keep_followed(self._screen)
            return self._screen.result(top)

    @property
    def as_of(self) -> datetime | None:
        """When the newest bar was complete; None before the first."""
        return self._screen.as_of if self._screen is not None else None

    def scores(self) -> dict[str, tuple[Side, float, bool]]:
        """Return each symbol's better side, its score, and whether the gates let it through; as of the newest bar."""
        with self._lock:
            scores = self._screen.scores() if self._screen is not None else None
            if self._screen is None or scores is None:
                return {}
            best = scores.total.argmax(axis=0).tolist()
            return {
                symbol: (SIDES[side], float(scores.total[side, at]), bool(scores.passes[at]))
                for at, (symbol, side) in enumerate(zip(self._screen.symbols, best, strict=True))
            }

    def _keep_followed(self, screen: LiveScreen) -> set[str]:
        """Forget who is not followed any more, and return who is; once recording has ended, nothing is forgotten."""
        followed = set(self._followed())
        if followed:
            screen.keep(followed)
        return followed

    def _run(self, changes: SimpleQueue[Iterable[tuple[str, str]]], on_alert: OnAlert) -> None:
        try:
            while (some := _drain(changes)) is not None:
                self._take(some, on_alert)
        except BaseException as error:
            logger.exception("the screen over live bars has failed; nobody is told of turns any more")
            self.error = error

    def _take(self, changed: Iterable[tuple[str, str]], on_alert: OnAlert) -> None:
        assert self._screen is not None  # noqa: S101  it was there first
        begun = time.perf_counter()
        with self._lock:
            followed = self._keep_followed(self._screen)
            some = [one for one in changed if not followed or one[0] in followed]
            turns = self._screen.take(some, self._rows_of)
        self.took_s = time.perf_counter() - begun
        for turn in turns:
            what = (turn.at, turn.symbol, turn.side, turn.timeframe, turn.condition)
            if what not in self._told:  # its bar was made anew, and may have changed the score
                self._told.add(what)
                self._alert(turn, on_alert)
        self._update_watchlist({symbol for symbol, _ in changed})

    def _alert(self, turn: Turn, on_alert: OnAlert) -> None:
        logger.warning("%s", turn)
        try:
            self._open_database().save_alert(
                turn.symbol, turn.side, turn.condition, str(turn),
                at=turn.at, timeframe=turn.timeframe, score=turn.score,
            )  # fmt: skip
        except StoreError as error:
            logger.warning("an alert is not saved (%s): %s", turn, error)
        try:
            on_alert(turn)
        except Exception:
            logger.exception("on_alert failed with %s", turn)

    def _update_watchlist(self, symbols: set[str]) -> None:
        """Give those that are on the watchlist their new scores."""
        assert self._screen is not None  # noqa: S101  it was there first
        scores = self._screen.scores()
        if scores is None:
            return
        rows = [
            (symbol, side, float(scores.total[row, at]))
            for at, symbol in enumerate(self._screen.symbols) if symbol in symbols for row, side in enumerate(SIDES)
        ]  # fmt: skip
        try:
            frame = pd.DataFrame(rows, columns=["symbol", "side", "score"])
            self._open_database().update_watchlist_scores(frame, at=self._screen.as_of)
        except StoreError as error:
            logger.warning("the watchlist keeps its older scores for now: %s", error)


def _drain(changes: SimpleQueue[Iterable[tuple[str, str]]]) -> list[tuple[str, str]] | None:
    """Return all that has changed, once there is something; None at the end."""
    found = changes.get()
    if found is _STOP:
        return None
    some = list(found)
    while True:
        try:
            more = changes.get_nowait()
        except Empty:
            return some
        if more is _STOP:
            changes.put(_STOP)
            return some
        some += more

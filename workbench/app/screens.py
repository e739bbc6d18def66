"""The screen, and the watchlist that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from workbench.app.parts import DeskParts
from workbench.ib.backfill import (
    Bound,
)
from workbench.ib.live.following import WatchlistFollower
from workbench.market.names import as_names
from workbench.screening.watchlist import MARGIN, choose_watchlist
from workbench.store.quality import known_until

if TYPE_CHECKING:
    import pandas as pd

    from workbench.screening.history import ScreenHistory
    from workbench.screening.screen import ScreenResult


class Screens(DeskParts):
    """Jobs of the screen."""

    def screen(
        self,
        symbols: str | Sequence[str] = (),
        *,
        as_of: Bound = None,
        top: int | None = None,
        save: bool = False,
        **changes: Any,
    ) -> ScreenResult:
        """Return the ranked list of what is stored, as of any moment; without symbols, of the whole universe.

            desk.screen(top=20, weights={"1day": 0.6, "1hour": 0.4})

        A date alone is the end of that date in New York; without `as_of` it is now, or, of simulated bars, where they
        end. `changes` overrule `[screen]` of the settings: `weights={"1day": 1}`, `conditions={"gap": "open < low_1"}`,
        `gates={"price": "close > 10"}`, `bars`, `trend_discount` and others; see `workbench.screening.rules`. `save`
        keeps the list in the database.
        """
        from workbench.screening.desk import screen_store

        names = as_names(symbols) or list(self.universe)
        result = screen_store(self.store, self._rule(changes), names, as_of=as_of, now=known_until(self.store), top=top)
        if save:
            self.db.save_screening_results(result.to_records())
        return result

    def screen_history(
        self,
        start: str | date | datetime,
        end: str | date | datetime,
        symbols: str | Sequence[str] = (),
        *,
        timeframe: str = "",
        horizons: Sequence[int] = (1, 5, 20),
        min_score: float | None = None,
        progress: bool = True,
        **changes: Any,
    ) -> ScreenHistory:
        """Return every hit of the screen in `[start, end)`, and what price did over the next bars, by condition.

            desk.screen_history("2025-01-01", "2026-01-01", horizons=(1, 5)).stats

        Bars are counted on the clock of `timeframe`, the shortest of the rule that is stored unless given. The total
        is hit where it reaches `min_score`, else the rule's `alert_score`. `changes` are those of `screen`. How hits
        are counted, and what the figures mean, is in `workbench.screening.history`.
        """
        from workbench.screening.desk import screen_store_history

        names = as_names(symbols) or list(self.universe)
        with tqdm(disable=not progress, unit="symbols", desc="screen", total=len(names)) as bar:
            return screen_store_history(
                self.store,
                self._rule(changes),
                names,
                start,
                end,
                timeframe=timeframe,
                horizons=horizons,
                min_score=min_score,
                on_group=lambda done: bar.update(done - bar.n),
            )

    def update_watchlist(
        self,
        ranked: pd.DataFrame,
        *,
        at: datetime | None = None,
        capacity: int | None = None,
        margin: float = MARGIN,
        min_score: float = 0.0,
    ) -> pd.DataFrame:
        """Choose the watchlist among what a screen has ranked, save it in the place of the one before, and return it.

            desk.update_watchlist(desk.screen().table)

        See `choose_watchlist` for the arguments; `at` is now unless given, `capacity` the account's market data lines.
        """
        moment, before = at or datetime.now(UTC), self.db.load_latest_watchlist()
        room = self.settings.ib.market_data_lines if capacity is None else capacity
        chosen = choose_watchlist(ranked, before, at=moment, capacity=room, margin=margin, min_score=min_score)
        self.db.save_watchlist(chosen, at=moment)
        return chosen

    def follow_watchlist(self, always: str | Sequence[str] = ()) -> WatchlistFollower:
        """Record live what is on the watchlist, and always some symbols first, however the list is replaced meanwhile.

            desk.follow_watchlist(always=["SPY"])

        Returns what follows it; its `stop` lets the streams be. Raises `AlreadyRecorded`.
        """
        if self._follower is not None:
            self._follower.stop()
        self._follower = WatchlistFollower(self.live, self.db.load_watchlist_symbols, always=always)
        return self._follower.start()

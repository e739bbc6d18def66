"""What a cell asks for: bars, indicators, charts, the watchlist."""

from __future__ import annotations

import logging
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, overload

from workbench.app.parts import DeskParts
from workbench.errors import InvalidInput, NothingStored
from workbench.ib.health import Health
from workbench.market.bars import empty_bars
from workbench.market.names import as_names
from workbench.market.sessions import parse_bound, session_calendar
from workbench.market.spans import Bound, Last, cut
from workbench.market.timeframes import TIMEFRAMES, parse_timeframe

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from workbench.display.board import Board
    from workbench.display.charts import Chart
    from workbench.display.explorer import Explorer
    from workbench.display.form import NotebookForm
    from workbench.display.live import LiveChart


logger = logging.getLogger(__name__)


class Looking(DeskParts):
    """Jobs that look at what is stored and change nothing."""

    def bars(
        self, symbol: str, timeframe: str = "15min", *, start: Bound = None, end: Bound = None, last: Last = None
    ) -> pd.DataFrame:
        """Return stored bars, indexed by their start in UTC: `open high low close volume average bar_count`.

            desk.bars("AAPL", "15min", last="60d")
            desk.bars("SPY", "1day", start="2025-01-01", end="2026-01-01")

        `start` and `end` bound `[start, end)`; a date alone is that date in New York. `last` is a number of bars, or a
        span such as `60d 8w 6mo 2y` that ends with the newest stored bar's date. Bars that are being recorded are in
        `desk.live.bars`. Raises `NothingStored`; warns where the store begins after `start`.
        """
        bars = self.store.load_bars(symbol, timeframe) if self._is_stored(symbol, timeframe) else empty_bars()
        if bars.empty:
            raise self._nothing_stored(symbol, timeframe)
        self._warn_of_a_late_begin(symbol, timeframe, start)
        return self._not_empty(cut(bars, timeframe, start, end, last), bars, symbol, timeframe)

    @overload
    def chart(
        self, symbol: str, timeframe: str = ..., *, live: Literal[False] = ..., start: Bound = ..., end: Bound = ...,
        last: Last = ..., **choices: Any,
    ) -> Chart: ...  # fmt: skip

    @overload
    def chart(self, symbol: str, timeframe: str = ..., *, live: Literal[True], **choices: Any) -> LiveChart: ...

    def chart(
        self,
        symbol: str,
        timeframe: str = "15min",
        *,
        live: bool = False,
        start: Bound = None,
        end: Bound = None,
        last: Last = 260,
        **choices: Any,
    ) -> Chart | LiveChart:
        """Return a chart of the stored bars; with `live` one that moves with the live journal, whoever records.

            desk.chart("AAPL", "15min", last="10d", panels=["stoch", "rsi"], style="dark")

        `start`, `end` and `last` are those of `bars`. `choices` are those of `price_chart`, live those of `LiveChart`:
        panels, overlays, style, and others. Raises `NothingStored`, not live: there bars may be still to come.
        """
        from workbench.display.charts import price_chart

        if live:
            return self.feed.open(symbol, timeframe, **({"source": self.store.source} | choices))
        if not self._is_stored(symbol, timeframe):
            raise self._nothing_stored(symbol, timeframe)
        study = self.indicators.calculate_indicators_cached(symbol, timeframe)
        shown = self._not_empty(cut(study, timeframe, start, end, last), study, symbol, timeframe)
        given = {"symbol": symbol, "timeframe": timeframe, "source": self.store.source}
        return price_chart(shown, **(given | choices))

    def board(self, symbols: str | Sequence[str] = (), **choices: Any) -> Board:
        """Return the board: watchlist, four charts that move, alerts and status; it shows what is recorded, anywhere.

            board = desk.board(["AAPL", "MSFT"], follow_watchlist=True)
            board.start()  # or its button: record here

        `choices` are those of `Board`: timeframes, follow_watchlist, viewer (record nothing, connect to nothing),
        panels, last, style, height. A workbench has one board: another one closes the one before.
        """
        from workbench.display.board import Board, BoardParts, History
        from workbench.store.journal import LiveJournal

        if self._board is not None:
            self._board.close()
        settings = self.settings
        parts = BoardParts(
            self.live,
            self.feed,
            LiveJournal(self.db),
            self.db,
            History(lambda names, now, seed: self._past().seed(names, now, seed), self.store.version),
            self._rule,
            self.indicators.suite,
            self.universe.contract,
            health=lambda: self._ib.health if self._ib is not None else Health(),
            gateway=lambda: "" if self._ib is None or settings.uses_built_in_gateway else str(self._ib.config),
            source=self._source,
            lines=settings.ib.market_data_lines,
            speed=settings.gateway.speed if settings.uses_built_in_gateway else settings.ib.gateway_speed,
        )
        self._board = Board(parts, symbols, **choices)
        return self._board

    def _source(self) -> str:
        """Return where bars come from, as far as it is known without asking."""
        told = self._ib.source if self._ib is not None and self._ib.connected else self.store.source
        return told or ("built-in gateway (SIMULATED)" if self.settings.uses_built_in_gateway else "")

    def form(self, notebook: str) -> NotebookForm:
        """Return the parameters of a notebook as a form, with a button that runs it headlessly with what is filled in.

            desk.form("01-backfill-history")

        `notebook` is a name as `workbench run` takes it. Raises `UnknownNotebook`.
        """
        from workbench.display.form import NotebookForm
        from workbench.pipeline.notebooks import find_notebook

        folder, runs, secrets = self.settings.notebooks_dir, self.settings.runs_dir, self.settings.secrets
        return NotebookForm(find_notebook(notebook, folder), runs, secrets=secrets)

    def watchlist(self) -> pd.DataFrame:
        """Return the watchlist, the first rank first, with each symbol's side, score and reasons.

        desk.update_watchlist(desk.screen().table)
        desk.watchlist()
        """
        listed = self.db.load_latest_watchlist()
        if listed.empty:
            logger.warning("the watchlist is empty; to fill it: desk.update_watchlist(desk.screen().table)")
        return listed

    def _is_stored(self, symbol: str, timeframe: str) -> bool:
        return len(self.store.coverage(symbol, timeframe)) > 0 or self.store.known_info(symbol, timeframe).bars > 0

    def _nothing_stored(self, symbol: str, timeframe: str) -> NothingStored:
        """Return the error, with what is stored of the symbol, or of one that is spelt alike."""
        stored: dict[str, list[str]] = {}
        for info in self.store.series():
            if info.bars and info.what_to_show == "TRADES":
                stored.setdefault(info.symbol, []).append(info.timeframe)
        if symbol in stored:
            return NothingStored(symbol, timeframe, f"stored of {symbol}: {', '.join(stored[symbol])}")
        near = get_close_matches(symbol, stored, n=3)
        return NothingStored(symbol, timeframe, f"did you mean {' or '.join(near)}?" if near else "")

    def _not_empty(self, chosen: pd.DataFrame, all_of_it: pd.DataFrame, symbol: str, timeframe: str) -> pd.DataFrame:
        if chosen.empty:
            first, last = all_of_it.index[0], all_of_it.index[-1]
            known = f"in that interval; it has bars from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"
            raise NothingStored(symbol, timeframe, known)
        return chosen

    def _warn_of_a_late_begin(self, symbol: str, timeframe: str, start: Bound) -> None:
        """Say so where sessions lie between the begin that is asked for and the first that is stored."""
        held = next(iter(self.store.coverage(symbol, timeframe)), None)
        if start is None or held is None:
            return
        length = parse_timeframe(timeframe)
        if session_calendar().during(parse_bound(start, length), held.begin, length):
            logger.warning(
                "%s %s is stored from %s on only; for what is before: desk.backfill(%r, %r, since=%r)",
                symbol, timeframe, f"{held.begin:%Y-%m-%d}", symbol, timeframe, str(start),
            )  # fmt: skip

    def explore(self, symbol: str = "", timeframe: str = "15min", **choices: Any) -> Explorer:
        """Return a chart of a stored series with controls to choose another.

            desk.explore("AAPL", "1hour")

        `choices` are those of `Explorer`: panels, last, style.
        """
        from workbench.display.explorer import Explorer

        stored = [info for info in self.store.series() if info.what_to_show == "TRADES" and info.bars]
        symbols = [*as_names(symbol), *dict.fromkeys(info.symbol for info in stored)]
        lengths = [name for name in TIMEFRAMES if name in {info.timeframe for info in stored}]
        if not symbols or not lengths:
            raise InvalidInput("nothing is stored yet; run the notebook 01-backfill-history, or workbench backfill")
        chosen = [timeframe, *lengths] if timeframe in lengths else lengths
        study = self.indicators.calculate_indicators_cached
        return Explorer(
            study, list(dict.fromkeys(symbols)), list(dict.fromkeys(chosen)), source=self.store.source, **choices
        )

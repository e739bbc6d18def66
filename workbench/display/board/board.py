"""The board: what a trader has before him while the market is open.

It follows the live journal, whoever records: this kernel, when its Start was pressed, or another process. Three threads
serve it, so that none of its parts waits for another, nor for a cell: one takes what has come to the table, one tells
the status twice a second, and one does what the buttons ask for, which may take as long as IB takes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import inf
from queue import SimpleQueue
from typing import Any, Literal

import ipywidgets
import pandas as pd

from workbench.display.board.market import History, Market
from workbench.display.board.panel import BoardPanel
from workbench.display.board.paper import BoardPicture
from workbench.display.board.status import Facts, Status, closed_until, is_whole, judge_status
from workbench.display.board.table import Cells, Ranked, columns_of, row_of, setup_of
from workbench.display.live import LiveChart, LiveFeed
from workbench.display.theme import THEMES
from workbench.errors import InvalidInput, StoreError, WorkbenchError
from workbench.ib.health import Health
from workbench.ib.live.session import LiveSession
from workbench.indicators.suite import Indicator
from workbench.market.names import as_names
from workbench.market.sessions import EXCHANGE_ZONE
from workbench.market.timeframes import parse_timeframe
from workbench.screening.rules import Rule
from workbench.screening.watch import ScreenWatch
from workbench.store.database import DatabaseManager
from workbench.store.holders import this_process
from workbench.store.journal import LiveJournal

logger = logging.getLogger(__name__)

TIMEFRAMES = ("1day", "4hour", "1hour", "15min")
LOOK_S, BEAT_S = 0.25, 0.5
_AROUND_S, _SCORE_S = 2.0, 1.0
_MOST_ALERTS = 50


@dataclass(frozen=True, slots=True)
class BoardParts:
    """What a board is made of; `app` hands it in. `gateway` and `source` are for people."""

    live: LiveSession
    feed: LiveFeed
    journal: LiveJournal
    database: DatabaseManager
    history: History
    rule: Callable[[], Rule]
    suite: Sequence[Indicator]
    check_symbol: Callable[[str], object]
    health: Callable[[], Health]
    gateway: Callable[[], str]
    source: Callable[[], str]
    lines: int
    speed: float


class Board(ipywidgets.Box):  # type: ignore[misc]
    """Watchlist, charts, alerts and status in one widget; `desk.board(…)` makes one.

        board = desk.board(["AAPL", "MSFT"])
        board.start()            # or its button: record here
        board.stop()

    `symbols` are shown always, before those of the watchlist when that is followed. A `viewer` connects to nothing and
    only shows what another process records, as `workbench live` does.
    """

    _is_open = False  # until all of it is there: a widget is closed when it is forgotten, half made ones too

    def __init__(
        self,
        parts: BoardParts,
        symbols: str | Sequence[str] = (),
        *,
        timeframes: str | Sequence[str] = TIMEFRAMES,
        follow_watchlist: bool = False,
        viewer: bool = False,
        panels: str | Sequence[str] = ("stoch", "macd"),
        last: int = 90,
        style: Literal["auto", "light", "dark"] = "auto",
        height: int = 300,
    ) -> None:
        self._parts, self._viewer = parts, viewer
        self._always = as_names(symbols)
        for symbol in self._always:
            parts.check_symbol(symbol)
        self._timeframes = tuple(dict.fromkeys(parse_timeframe(name).name for name in as_names(timeframes)))
        if not self._timeframes or "5sec" in self._timeframes:
            raise InvalidInput("a board has charts from 1min to 1day; name some of these timeframes")
        self._choices: dict[str, Any] = {
            "panels": panels,
            "last": last,
            "style": style,
            "height": height,
            "compact": True,
        }
        self._following, self._records = follow_watchlist, False
        self._columns = columns_of(self._timeframes)
        self._ranked: dict[str, Ranked] = {}
        self._scores: dict[str, float] = {}
        self._scores_before: dict[str, float] = {}
        self._scored: datetime | None = None
        self._holders: dict[str, str] = {}
        self._gone: dict[str, str] = {}
        self._lines_used, self._last_alert = 0, 0
        self._alerts: list[dict[str, str]] = []
        self._trouble_since: float | None = None
        self._stopped = ""
        self._looked_at = self._begun_at = time.monotonic()
        self._around_at = self._scored_at = -inf
        self._stopping = threading.Event()
        self._orders: SimpleQueue[Mapping[str, Any] | None] = SimpleQueue()
        self.market = Market(
            parts.journal, parts.history, parts.suite, self._timeframes, speed=parts.speed, on_bars=self._on_bars
        )
        self.watch = ScreenWatch(
            parts.rule, self.market.complete_rows, lambda: self.market.symbols, lambda: parts.database
        )
        self.panel = BoardPanel(
            self._orders.put, columns=setup_of(self._timeframes), selected="", following=follow_watchlist,
            viewer=viewer, running=False, busy="", told="", alerts=[], always=self._always, style=style,
            themes={name: _colours(name) for name in THEMES},
        )  # fmt: skip
        self.charts: list[LiveChart] = []
        self._grid = ipywidgets.Box()
        self._grid.add_class("workbench-board-charts")
        super().__init__(children=[self.panel, self._grid])
        self.add_class("workbench-board")
        self._threads = [
            threading.Thread(target=work, name=f"board {name}", daemon=True)
            for name, work in (("look", self._look_on), ("beat", self._beat_on), ("orders", self._serve))
        ]
        self._begin()

    def _begin(self) -> None:
        self.watch.start()
        symbols = self._wanted()
        self.market.follow(symbols)
        if symbols:
            self.select(symbols[0])
        for thread in self._threads:
            thread.start()
        self._is_open = True

    def __repr__(self) -> str:
        return f"<Board {self.status}>"

    # -- what a cell may ask for

    @property
    def symbols(self) -> list[str]:
        """The symbols that are shown."""
        return self.market.symbols

    @property
    def selected(self) -> str:
        """The symbol of the charts."""
        return str(self.panel.values["selected"])

    @property
    def status(self) -> Status:
        """How everything is, as of now."""
        return judge_status(self._facts())

    @property
    def table(self) -> pd.DataFrame:
        """The table as a frame, a row a symbol."""
        names = [column.name for column in self._columns]
        return pd.DataFrame(self.panel.rows, columns=names).set_index("symbol")

    def start(self) -> None:
        """Record the symbols here, from now on. Raises `AlreadyRecorded`, `IBError`."""
        if self._viewer:
            raise InvalidInput("this board is a viewer and records nothing; desk.board(…, viewer=False) makes another")
        symbols = self._wanted()
        if not symbols:
            raise InvalidInput("there is no symbol to record; add one, or follow the watchlist")
        self._parts.live.start(symbols)
        self._records = True
        self._around_at = -inf

    def stop(self) -> None:
        """Record here no more; what is recorded elsewhere goes on."""
        self._records = False
        self._parts.live.stop()
        self._around_at = -inf

    def follow(self, following: bool = True) -> None:  # noqa: FBT001, FBT002  as a switch
        """Show the symbols of the watchlist as well, as it is replaced, or do not."""
        self._following = following
        self.panel.put(following=following)
        self._apply()

    def add(self, symbol: str) -> None:
        """Show a symbol, and record it when the board records."""
        (name,) = as_names(symbol.strip().upper()) or [""]
        self._parts.check_symbol(name)
        if name not in self._always:
            self._always = [*self._always, name]
        self._apply()

    def remove(self, symbol: str) -> None:
        """Show a symbol no more."""
        self._always = [one for one in self._always if one != symbol]
        self._apply()
        if symbol in self.market.symbols:
            raise InvalidInput(f"{symbol} is on the watchlist; it stays as long as that is followed")

    def select(self, symbol: str) -> None:
        """Let the charts show a symbol."""
        if self.charts:
            self._parts.feed.turn_all(self.charts, symbol)
        else:
            self.charts = [self._parts.feed.open(symbol, name, **self._choices) for name in self._timeframes]
            self._grid.children = self.charts
        self.panel.put(selected=symbol)

    def stream(self, minutes: float) -> None:
        """Let it run for so many minutes; for headless runs, whose cells follow one another."""
        self._stopping.wait(60 * minutes)

    def wait(self, timeout_s: float = 60.0) -> bool:
        """Wait until each symbol has live bars, all of the session and its history; return whether that came about.

        While the market is closed nothing is waited for.
        """
        end = time.monotonic() + timeout_s
        while time.monotonic() < end and not self._stopping.wait(0.1):
            facts = self._facts()
            if facts.symbols and is_whole(facts):
                return True
            if facts.stopped or (closed_until(facts.now) and not facts.opening):
                return False
        return False

    def picture(self, style: str = "light") -> BoardPicture:
        """Return the board as it is now, to stay so: for executed notebooks and paper."""
        charts = [chart.static(style, size=(7.0, 4.4)).to_png() for chart in self.charts if not chart.bars.empty]
        rows = sorted(self.panel.rows, key=lambda row: (row[0] is None, row[0]))
        return BoardPicture(self.status, self._columns, rows, list(self._alerts), charts)

    def close(self) -> None:
        """End it all: what it records, its threads, its widgets."""
        if not self._is_open:
            return
        self._is_open = False
        self._stopping.set()
        self._orders.put(None)
        for thread in self._threads:
            if thread is not threading.current_thread() and thread.is_alive():
                thread.join()
        self.watch.stop()
        if self._records:
            self.stop()
        for widget in (*self.charts, self._grid, self.panel):
            widget.close()
        super().close()

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Give the live form, and what is there now for readers without a kernel."""
        given = super()._repr_mimebundle_(**options) or {}
        data, metadata = given if isinstance(given, tuple) else (given, {})
        html = self.picture("dark" if self._choices["style"] == "dark" else "light")._repr_html_()
        return {**data, "text/html": html}, metadata

    # -- the table

    def _look_on(self) -> None:
        try:
            while not self._stopping.wait(LOOK_S):
                self._look()
        except Exception as error:
            logger.exception("the board has stopped")
            self._stopped = f"{type(error).__name__}: {error}"

    def _look(self) -> None:
        try:
            if time.monotonic() - self._around_at >= _AROUND_S:
                self._look_around()
            changed = self.market.look()
            self._looked_at = time.monotonic()
        except StoreError as error:
            logger.warning("the board waits: %s", error)
            return
        if time.monotonic() - self._scored_at >= _SCORE_S:
            self._scored_at = time.monotonic()
            self._rank()
            changed = set(self.market.stocks)  # ages change as well
        ages = self.market.ages(self._now())
        stocks = self.market.stocks
        rows: dict[str, Cells] = {
            symbol: row_of(stocks[symbol], self._ranked.get(symbol, Ranked()), self._timeframes, ages[symbol])
            for symbol in changed if symbol in stocks and symbol in ages
        }  # fmt: skip
        self.panel.put_rows(rows, self.market.symbols)

    def _look_around(self) -> None:
        """Look at what changes slowly: who is shown, who records, which alerts there are."""
        self._apply()
        self._hold()
        self._take_alerts()
        self._around_at = time.monotonic()

    def _wanted(self) -> list[str]:
        listed = self._parts.database.load_watchlist_symbols() if self._following else []
        return as_names([*self._always, *listed])

    def _apply(self) -> None:
        """Show who is wanted, and record them where this board records."""
        symbols, live = self._wanted(), self._parts.live
        if symbols != self.market.symbols:
            self.market.follow(symbols)
            self.panel.put(always=self._always)
            self.panel.put_rows({}, symbols)
        if self._records and live.is_running and symbols and set(symbols) != set(live.symbols):
            live.update(symbols)
        if symbols and self.selected not in symbols:
            self.select(symbols[0])

    def _hold(self) -> None:
        """Know who records what, and whose recorder has died."""
        now, held = datetime.now(UTC), self._parts.journal.recorders()
        dead = {one.holder.token for one in {hold.holder.token: hold for hold in held}.values() if one.holder.is_gone()}
        alive = [one for one in held if one.holder.token not in dead and one.until > now]
        shown = set(self.market.symbols)
        if not self._holders:
            self._begun_at = time.monotonic()  # nobody was there who could bring bars
        self._holders = {one.symbol: one.holder.name for one in alive if one.symbol in shown}
        self._gone = {one.symbol: one.holder.name for one in held if one not in alive and one.symbol in shown}
        self._lines_used = len(alive)

    def _take_alerts(self) -> None:
        since = datetime.fromtimestamp(self._now() or time.time(), UTC) - timedelta(hours=24)
        found = self._parts.database.alerts(since=since, after_id=self._last_alert)
        if found.empty:
            return
        self._last_alert = int(found["id"].max())
        moments = pd.DatetimeIndex(found["at"]).tz_convert(EXCHANGE_ZONE).strftime("%a %H:%M")
        columns = (moments, found["symbol"], found["side"], found["message"])
        names = ("time", "symbol", "side", "text")
        told = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        self._alerts = [*reversed(told), *self._alerts][:_MOST_ALERTS]
        self.panel.put(alerts=self._alerts)

    def _on_bars(self, changed: set[tuple[str, str]]) -> None:
        self.watch.tell(changed)

    def _rank(self) -> None:
        """Take the scores of the screen, and rank those that pass."""
        as_of, scores = self.watch.as_of, self.watch.scores()
        if as_of != self._scored:  # what was opened meanwhile may have another score for it has other bars
            before = {symbol: score for symbol, score in self._scores.items() if symbol not in self.market.opened}
            self._scored, self._scores_before = as_of, before
            self.market.opened.clear()
        self._scores = {symbol: score for symbol, (_, score, _) in scores.items()}
        ranked = [one for one, (_, score, passes) in scores.items() if passes and score > 0]
        ranks = {one: at for at, one in enumerate(sorted(ranked, key=lambda one: (-scores[one][1], one)), start=1)}
        self._ranked = {
            symbol: Ranked(
                ranks.get(symbol),
                side if score > 0 else "",
                score,
                score - self._scores_before[symbol] if symbol in self._scores_before else None,
            )
            for symbol, (side, score, _) in scores.items()
        }

    # -- the status

    def _beat_on(self) -> None:
        while not self._stopping.wait(BEAT_S):
            live = self._parts.live
            self.panel.put(status=judge_status(self._facts()).to_dict(), running=self._records and live.is_running)

    def _now(self) -> float | None:
        """Return the gateway's time: as it tells it, else as the newest bars do."""
        told = self._parts.live.now()
        return told if told is not None else self.market.now()

    def _facts(self) -> Facts:
        live, market, now = self._parts.live, self.market, self._now()
        recording, health, moment = live.is_running, self._parts.health(), time.monotonic()
        trouble = health.trouble if recording or health.connected else ""
        self._trouble_since = (self._trouble_since or moment) if trouble else None
        status = live.status() if recording else None
        return Facts(
            symbols=tuple(market.symbols),
            source=self._parts.source(),
            viewer=self._viewer,
            recording=recording,
            wanted=self._records,
            error=str(live.error or ""),
            connected=health.connected,
            trouble=trouble,
            trouble_s=moment - self._trouble_since if self._trouble_since else 0.0,
            gateway=self._parts.gateway(),
            now=now,
            speed=self._parts.speed,
            rate=market.rate(),
            ages=market.ages(now),
            silent_s=moment - max(market.heard_at, self._begun_at),
            holes=sum(stock.missing for stock in list(market.stocks.values())),
            unfilled=len(status.unfilled) if status else 0,
            waiting=status.streams.waiting if status else (),
            refused=status.streams.refused if status else {},
            history=status.history if status else "",
            opening=market.opening,
            holders=self._holders,
            gone=self._gone,
            own=this_process().name,
            lines=self._parts.lines,
            lines_used=self._lines_used,
            stuck_s=moment - self._looked_at,
            stopped=self._stopped,
        )

    # -- the buttons

    def _serve(self) -> None:
        """Do what the buttons ask for, one after the other; an error is shown on the board."""
        while (order := self._orders.get()) is not None:
            kind, value = str(order.get("kind")), order.get("value")
            self.panel.put(busy=kind, told="")
            self.panel.put(busy="", told=self._obey(kind, value))

    def _obey(self, kind: str, value: Any) -> str:
        """Carry out an order; return what went wrong."""
        orders: dict[str, Callable[[], None]] = {
            "start": self.start,
            "stop": self.stop,
            "follow": lambda: self.follow(bool(value)),
            "add": lambda: self.add(str(value)),
            "remove": lambda: self.remove(str(value)),
            "select": lambda: self.select(str(value)),
        }
        try:
            orders[kind]()
        except WorkbenchError as error:
            return str(error)
        except Exception as error:
            logger.exception("the board could not %s", kind)
            return f"{kind} failed: {type(error).__name__}: {error}"
        return ""


def _colours(style: str) -> dict[str, str]:
    """Return the colours that the page needs."""
    theme = THEMES[style]
    names = ("paper", "ink", "faint", "grid", "shade", "up", "down", "fast", "warning")
    return {name: getattr(theme, name) for name in names}

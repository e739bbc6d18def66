"""The workbench: settings in, parts out. The only place that wires everything."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, overload

from tqdm.auto import tqdm

from workbench.errors import ConnectionFailed, InvalidInput, SourceMismatch
from workbench.gateway.process import GatewayProcess
from workbench.ib.backfill import (
    DEFAULT_TIMEFRAMES,
    Backfill,
    BackfillReport,
    Bound,
    plan_backfill,
    rebuild_symbol,
    repair,
)
from workbench.ib.budget import DatabaseLedger, Ledger
from workbench.ib.closing import SessionReport, save_sessions
from workbench.ib.closing.save import Parts
from workbench.ib.connection import IBDataManager
from workbench.ib.dial import IBConnectionConfig
from workbench.ib.doctor import Check, DoctorReport, examine
from workbench.ib.live.following import WatchlistFollower
from workbench.ib.live.past import Past
from workbench.ib.live.session import LiveSession
from workbench.ib.qualification import Outcome, qualify
from workbench.indicators.cache import IndicatorCache
from workbench.indicators.define import parse_indicators
from workbench.indicators.engine import IndicatorEngine
from workbench.indicators.suite import SUITE
from workbench.market.bars import empty_bars
from workbench.market.coverage import Interval
from workbench.market.names import as_names
from workbench.market.qualification import Qualification
from workbench.market.sessions import parse_session
from workbench.market.timeframes import TIMEFRAMES
from workbench.market.universe import Universe, compare, complete, default_universe
from workbench.pipeline.health import HEALTH_FILE
from workbench.pipeline.jobs import to_jobs
from workbench.pipeline.manager import DataPipelineManager, Desk
from workbench.pipeline.notify import make_teller
from workbench.pipeline.recorder import RecorderKeeper
from workbench.screening.watchlist import MARGIN, choose_watchlist
from workbench.settings import GatewaySettings, Settings, load_settings
from workbench.store.closings import Closings
from workbench.store.database import DatabaseManager
from workbench.store.historical import HistoricalDataManager
from workbench.store.journal import LiveJournal
from workbench.store.quality import QualityReport, check_store, known_until
from workbench.store.quality.live import find_live
from workbench.store.rebuild import RebuildEvent
from workbench.store.runs import JobRuns
from workbench.store.universes import current_universe, load_qualifications, read_universe, save_qualifications

if TYPE_CHECKING:
    import pandas as pd

    from workbench.display.charts import Chart
    from workbench.display.explorer import Explorer
    from workbench.display.live import LiveChart, LiveFeed
    from workbench.screening.history import ScreenHistory
    from workbench.screening.rules import Rule
    from workbench.screening.screen import ScreenResult
    from workbench.screening.watch import ScreenWatch

logger = logging.getLogger(__name__)

_QUALIFIED_AT_ONCE = 200


def open_workbench(
    gateway: str = "", *, data_dir: str | Path | None = None, settings: Settings | None = None
) -> Workbench:
    """Open a workbench with the settings of the working folder; use it as a context manager, or close it.

    `gateway` (`127.0.0.1:7497`, or `built-in`) and `data_dir` overrule the settings. Nothing is connected yet: the
    first use of `.ib` does that, and starts the built-in gateway when no other is configured. What is stored can be
    read without.
    """
    return Workbench(settings or load_settings(gateway=gateway, data_dir=data_dir), gateway=gateway)


class Workbench:
    """The parts of a workbench: `.ib`, `.store`, `.db`, `.indicators`, `.live`, `.pipeline`; and the jobs over them."""

    def __init__(self, settings: Settings, *, gateway: str = "") -> None:
        self.settings = settings
        self._named_gateway = gateway
        self._opening = threading.RLock()
        self._gateway: GatewayProcess | None = None
        self._ib: IBDataManager | None = None
        self._follower: WatchlistFollower | None = None

    def __repr__(self) -> str:
        connection = repr(self._ib) if self._ib else "not connected"
        return f"Workbench(data in {self.settings.market_dir}, {connection})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close what was opened: the scheduler, the connection, the built-in gateway, the database."""
        if "pipeline" in self.__dict__:
            self.pipeline.stop()
        if "feed" in self.__dict__:
            self.feed.close()
        if self._follower is not None:
            self._follower.stop()
        if "live" in self.__dict__:
            self.live.stop()
        if "watch" in self.__dict__:
            self.watch.stop()
        if self._ib is not None:
            self._ib.disconnect()
            self._ib = None
        if self._gateway is not None:
            self._gateway.close()
            self._gateway = None
        if "db" in self.__dict__:
            self.db.close()

    @property
    def ib(self) -> IBDataManager:
        """The connection to IB, or to the built-in gateway; made when first used, and again when it was lost."""
        manager = self._manager()
        manager.connect()
        return manager

    def _manager(self) -> IBDataManager:
        """Return the one object of the connection, connected or not; the built-in gateway runs from now on."""
        with self._opening:
            if self._ib is None:
                self._ib = IBDataManager(self._config(), universe=self.universe, open_ledger=self._open_ledger)
            return self._ib

    @cached_property
    def db(self) -> DatabaseManager:
        """The database."""
        return DatabaseManager(self.settings.database.get_secret_value())

    @cached_property
    def store(self) -> HistoricalDataManager:
        """The bars on disk."""
        return HistoricalDataManager(
            self.settings.market_dir / "historical", universe=self.universe, database=self.db, update=self._update
        )

    @cached_property
    def indicators(self) -> IndicatorEngine:
        """The specification's suite, the indicators of the settings, and a cache of what was computed."""
        return IndicatorEngine(
            (*SUITE, *parse_indicators(self.settings.indicators)),
            load=lambda symbol, timeframe: self.store.load_bars(symbol, timeframe),
            version=lambda symbol, timeframe: self.store.version(symbol, timeframe),
            cache=IndicatorCache(folder=self.settings.market_dir / "cache" / "indicators"),
        )

    @cached_property
    def live(self) -> LiveSession:
        """Live bars in the background: `desk.live.start(["AAPL"])`."""
        return LiveSession(self._own_ib, lambda: LiveJournal(self.db), self._past, self._on_bars)

    @cached_property
    def watch(self) -> ScreenWatch:
        """The screen over live bars: `desk.watch.start(on_alert=print)`, before or after `desk.live.start(…)`."""
        from workbench.screening.watch import ScreenWatch

        return ScreenWatch(self._rule, self.live.complete_rows, lambda: self.live.symbols, lambda: self.db)

    def _on_bars(self, changed: Collection[tuple[str, str]]) -> None:
        """Tell who has to know that live bars are complete; on the recorder's thread."""
        if "watch" in self.__dict__:
            self.watch.tell(changed)

    def _past(self) -> Past:
        """Return what live bars reach back to."""
        return Past(self.store, LiveJournal(self.db), self.closings)

    def _own_ib(self) -> IBDataManager:
        self._refuse_foreign_source()
        return self.ib

    def _stored(self, symbol: str, timeframe: str) -> pd.DataFrame:
        """Return the bars that are stored, if any."""
        is_there = len(self.store.coverage(symbol, timeframe)) > 0
        return self.store.load_bars(symbol, timeframe) if is_there else empty_bars()

    @cached_property
    def feed(self) -> LiveFeed:
        """What brings the live journal's bars to charts."""
        from workbench.display.live import LiveFeed

        return LiveFeed(LiveJournal(self.db), self.indicators, self._stored)

    @overload
    def chart(self, symbol: str, timeframe: str = ..., *, live: Literal[False] = ..., **choices: Any) -> Chart: ...

    @overload
    def chart(self, symbol: str, timeframe: str = ..., *, live: Literal[True], **choices: Any) -> LiveChart: ...

    def chart(self, symbol: str, timeframe: str = "15min", *, live: bool = False, **choices: Any) -> Chart | LiveChart:
        """Return a chart of the stored bars; with `live` one that moves with the live journal, whoever records.

        `choices` are those of `price_chart`, live those of `LiveChart`: panels, overlays, last, style, and others.
        """
        from workbench.display.charts import price_chart

        if live:
            return self.feed.open(symbol, timeframe, **({"source": self.store.source} | choices))
        study = self.indicators.calculate_indicators_cached(symbol, timeframe)
        given = {"symbol": symbol, "timeframe": timeframe, "source": self.store.source, "last": 260}
        return price_chart(study, **(given | choices))

    def explore(self, symbol: str = "", timeframe: str = "15min", **choices: Any) -> Explorer:
        """Return a chart of a stored series with controls to choose another; `choices` are those of `Explorer`."""
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

    def _rule(self, changes: Mapping[str, Any] | None = None) -> Rule:
        """Return the rule of the settings, with some changes."""
        from workbench.screening.rules import parse_rule

        return parse_rule(self.settings.screen, self.indicators.suite, **(changes or {}))

    @cached_property
    def universe(self) -> Universe:
        """The contracts, as the database has them.

        At first these are those of `universe.csv` in the data folder, or else of the list that comes with the package.
        """
        path = self.settings.data_dir / "universe.csv"
        listed = read_universe(path) if path.is_file() else None
        universe = current_universe(self.db, lambda: listed or default_universe())
        if listed is not None and (changes := compare(universe, complete(listed, universe))):
            logger.warning(
                "%s is not the universe of the database any more (in the file: %s). To take it: workbench universe "
                "import %s. Else remove the file, or renew it: workbench universe export %s", path, changes, path, path
            )  # fmt: skip
        return universe

    def follow_watchlist(self, always: str | Sequence[str] = ()) -> WatchlistFollower:
        """Record live what is on the watchlist, and always some symbols first, however the list is replaced meanwhile.

        Returns what follows it; its `stop` lets the streams be. Raises `AlreadyRecorded`.
        """
        if self._follower is not None:
            self._follower.stop()
        self._follower = WatchlistFollower(self.live, self.db.load_watchlist_symbols, always=always)
        return self._follower.start()

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

        See `choose_watchlist` for the arguments; `at` is now unless given, `capacity` the account's market data lines.
        """
        moment, before = at or datetime.now(UTC), self.db.load_latest_watchlist()
        room = self.settings.ib.market_data_lines if capacity is None else capacity
        chosen = choose_watchlist(ranked, before, at=moment, capacity=room, margin=margin, min_score=min_score)
        self.db.save_watchlist(chosen, at=moment)
        return chosen

    def qualify(self, symbols: str | Sequence[str] = (), *, progress: bool = True) -> dict[str, Outcome]:
        """Ask IB for contracts of the universe, or for all, and keep in the database what is thought of each.

        Returns it by symbol: a `Qualification`, or the `IBError` for which IB could not say; then what was known stays.
        """
        universe, source = self.universe, self.ib.source
        if unlisted := [symbol for symbol in as_names(symbols) if symbol not in universe]:
            raise InvalidInput(
                f"{', '.join(unlisted)} not in the universe; workbench universe add {' '.join(unlisted)}"
            )
        contracts = [universe[symbol] for symbol in as_names(symbols) or list(universe)]
        known, told = load_qualifications(self.db, source), dict[str, Outcome]()
        with tqdm(disable=not progress, unit="contracts", desc="qualify", total=len(contracts)) as bar:
            for begin in range(0, len(contracts), _QUALIFIED_AT_ONCE):
                outcomes = qualify(self.ib, contracts[begin : begin + _QUALIFIED_AT_ONCE], known)
                found = {one: what for one, what in outcomes.items() if isinstance(what, Qualification)}
                save_qualifications(self.db, found, source, datetime.now(UTC))
                told |= {contract.symbol: outcome for contract, outcome in outcomes.items()}
                bar.update(len(outcomes))
        self.__dict__.pop("universe", None)  # primary exchanges may have become known
        return told

    def plan_backfill(
        self,
        symbols: str | Sequence[str] = (),
        timeframes: str | Sequence[str] = DEFAULT_TIMEFRAMES,
        *,
        since: Bound = None,
        until: Bound = None,
        what_to_show: str = "TRADES",
        use_rth: bool = True,
        overlap: bool = False,
    ) -> Backfill:
        """Find out what is missing, without symbols of the whole universe: look at `forecast`, then call `run`.

        See `workbench.ib.backfill.plan_backfill` for the arguments.
        """
        self._refuse_foreign_source()
        return plan_backfill(
            self.ib,
            self.store,
            as_names(symbols) or list(self.universe),
            timeframes,
            since=since,
            until=until,
            what_to_show=what_to_show,
            use_rth=use_rth,
            overlap=overlap,
        )

    def backfill(
        self,
        symbols: str | Sequence[str] = (),
        timeframes: str | Sequence[str] = DEFAULT_TIMEFRAMES,
        *,
        since: Bound = None,
        until: Bound = None,
        what_to_show: str = "TRADES",
        use_rth: bool = True,
        progress: bool = True,
    ) -> BackfillReport:
        """Fetch and store what is missing; without symbols, of the whole universe.

        See `workbench.download_historical_universe` for `since` and `until`.
        """
        planned = self.plan_backfill(
            symbols, timeframes, since=since, until=until, what_to_show=what_to_show, use_rth=use_rth
        )
        return planned.show_and_run() if progress else planned.run(progress=False)

    def check(
        self,
        symbols: str | Sequence[str] = (),
        timeframes: str | Sequence[str] = (),
        *,
        since: Bound = None,
        as_of: Bound = None,
        progress: bool = True,
    ) -> QualityReport:
        """Look for what is wrong with the stored bars of some series, or of all. Nothing is connected or changed.

        Nothing that ended before `since` is told; nothing from `as_of` on is expected: else from now on, or, of
        bars of the built-in gateway, from the end of the newest on.
        """
        until = known_until(self.store, as_of)
        with tqdm(disable=not progress, unit="series", desc="check", total=0) as bar:

            def on_series(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            names, lengths = as_names(symbols), as_names(timeframes)
            report = check_store(self.store, names, lengths, since=since, as_of=until, on_series=on_series)
        live = find_live(self.store, self.closings, names, lengths, since=since, as_of=until)
        return replace(report, findings=(*report.findings, *live))

    @cached_property
    def closings(self) -> Closings:
        """The sessions that were saved, with how live bars differ from history, and those that wait in the journal."""
        return Closings(self.db)

    def save_session(
        self,
        session: str | date | None = None,
        symbols: str | Sequence[str] = (),
        *,
        provisional: bool = False,
        progress: bool = True,
    ) -> SessionReport:
        """Save the live sessions that have ended: fetch IB's history of them, compare, then empty the journal.

        Without `session` (its date) all that have ended on the gateway's clock. What IB's history does not give stays
        in the journal, and the report says why; with `provisional` it is stored as it was built.
        """
        wanted = None if session is None else parse_session(session)
        self._refuse_foreign_source()
        parts = Parts(self.ib, self.store, LiveJournal(self.db), self.closings)
        return save_sessions(
            parts, session=wanted, symbols=as_names(symbols), provisional=provisional, progress=progress
        )

    @cached_property
    def runs(self) -> JobRuns:
        """The record of the scheduler's runs."""
        return JobRuns(self.db)

    @cached_property
    def pipeline(self) -> DataPipelineManager:
        """The scheduler of the jobs that `workbench.toml` names: `desk.pipeline.start()`, and `stop()`."""
        settings = self.settings
        given = settings.pipeline
        named = ["--gateway", self._named_gateway] if self._named_gateway else []
        keeper = RecorderKeeper(
            [sys.executable, "-m", "workbench", "live", *given.record_symbols, "--follow-watchlist", *named],
            settings.market_dir / "logs" / "recorder.log",
            before_open=given.record_before_open,
            after_close=given.record_after_close,
        )
        now, speed = self._clock()
        working = Desk(
            settings.notebooks_dir,
            settings.runs_dir,
            now,
            make_teller([url.get_secret_value() for url in given.notify]),
            secrets=settings.secrets,
            parameters={"gateway": self._named_gateway} if self._named_gateway else {},
            keep=timedelta(days=given.keep_days),
            speed=speed,
            recorder=keeper if given.record_live else None,
            health=settings.market_dir / HEALTH_FILE,
        )
        return DataPipelineManager(to_jobs(settings.jobs), self.runs, working)

    def _clock(self) -> tuple[Callable[[], datetime], float]:
        """Return the clock of the jobs and its speed: a simulated gateway's own, else the machine's."""
        speed = self.settings.ib.gateway_speed
        if self.settings.uses_built_in_gateway:
            return partial(datetime.now, UTC), 1.0  # each notebook starts one of its own, as of now
        try:
            if self.ib.source == "IB":
                return partial(datetime.now, UTC), 1.0
        except ConnectionFailed as error:
            logger.warning("the jobs follow this machine's clock: %s", error)
            return partial(datetime.now, UTC), 1.0
        return lambda: self.ib.current_time(), speed

    def repair(self, report: QualityReport, *, progress: bool = True) -> list[BackfillReport]:
        """Fetch again what a check found wrong, and just that."""
        self._refuse_foreign_source()  # connects, before anything is taken out of the coverage

        def backfill(
            symbol: str, timeframe: str, within: Interval, *, what_to_show: str, use_rth: bool
        ) -> BackfillReport:
            return self.backfill(
                [symbol],
                [timeframe],
                since=within.begin,
                until=within.end,
                what_to_show=what_to_show,
                use_rth=use_rth,
                progress=progress,
            )

        return repair(self.store, report.findings, backfill)

    def rebuild(self, symbol: str, *, progress: bool = True) -> RebuildEvent:
        """Fetch all that is stored of a symbol anew and let it take the place of the old, as one step.

        A backfill does so by itself where it finds a split; this is for what it only reports.
        """
        self._refuse_foreign_source()
        return rebuild_symbol(self.ib, self.store, symbol, progress=progress)

    def doctor(
        self,
        *,
        count_lines: bool = False,
        on_step: Callable[[str], None] = lambda _label: None,
        on_check: Callable[[Check], None] = lambda _check: None,
    ) -> DoctorReport:
        """Examine the gateway, over a connection of its own, and keep the answers in `doctor.jsonl` beside the data.

        It takes half a minute while the market is open. See `workbench.ib.doctor.examine` for the arguments.
        """
        report = examine(
            self._manager().config,
            universe=self.universe,
            open_ledger=self._open_ledger,
            count_lines=count_lines,
            on_step=on_step,
            on_check=on_check,
        )
        if self.settings.uses_built_in_gateway:
            report = replace(report, gateway="built-in gateway")  # its port is another one each time
        return report.kept(self.settings.market_dir / "doctor.jsonl")

    def _refuse_foreign_source(self) -> None:
        """Keep simulated bars out of the data folder that is meant for IB's, unless that was chosen for them."""
        is_foreign = self.ib.source != "IB" and not self.settings.uses_built_in_gateway
        if is_foreign and "data_dir" not in self.settings.model_fields_set:
            raise SourceMismatch(
                f"{self.ib.config} is no gateway of IB's but a {self.ib.source}; its bars do not belong in "
                f"{self.settings.data_dir}. Choose a folder for them: data_dir in workbench.toml, WORKBENCH_DATA_DIR, "
                "or workbench.open(gateway, data_dir=…)"
            )

    def _update(self, symbol: str, timeframe: str) -> BackfillReport:
        """Fill one series from the begin of what is stored up to now, holes and all, the last session once more."""
        held = next(iter(self.store.coverage(symbol, timeframe)), None)
        planned = self.plan_backfill([symbol], [timeframe], since=held.begin if held else None, overlap=True)
        report = planned.run(progress=False)
        for failed in report.series:
            if failed.error:
                raise failed.error
        return report

    def _open_ledger(self, account: str) -> Ledger:
        """Return where all processes book that use the same database, gateway and account."""
        assert self._ib is not None  # noqa: S101  it asks
        return DatabaseLedger.of(self.db, self._ib.config, account)

    def _config(self) -> IBConnectionConfig:
        ib, embedded = self.settings.ib, self.settings.uses_built_in_gateway
        if embedded:
            self._gateway = GatewayProcess(gateway_arguments(self.settings.gateway))
            host, port = self._gateway.host, self._gateway.port
        else:
            host, port = ib.host or "127.0.0.1", ib.port or 7497
        return IBConnectionConfig(
            host,
            port,
            ib.client_id,
            ib.timeout,
            ib.readonly,
            ib.request_timeout_s,
            paced=not embedded,
            market_data_lines=ib.market_data_lines,
            gateway_speed=self.settings.gateway.speed if embedded else ib.gateway_speed,
            patience_s=ib.patience_s,
            watchdog_s=ib.watchdog_s,
            reset_region=None if embedded else ib.reset_region,  # our own gateway is never reset
        )


def load_current_universe() -> Universe:
    """Return the contracts of the universe, by symbol, with the settings of the working folder."""
    with open_workbench() as desk:
        return desk.universe


def fetch_current_watchlist() -> pd.DataFrame:
    """Return the watchlist, the first rank first, with the settings of the working folder."""
    with open_workbench() as desk:
        return desk.db.load_latest_watchlist()


def gateway_arguments(settings: GatewaySettings) -> list[str]:
    """Return the settings of the built-in gateway as arguments of its command."""
    arguments = ["--tape", settings.tape, "--speed", str(settings.speed), "--seed", str(settings.seed)]
    return [*arguments, "--start", settings.start] if settings.start else arguments

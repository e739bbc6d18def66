"""The parts of a workbench, each made when it is first used, and closed with it."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from workbench.errors import ConnectionFailed, SourceMismatch
from workbench.gateway.process import GatewayProcess
from workbench.ib.backfill import BackfillReport, plan_backfill
from workbench.ib.budget import DatabaseLedger, Ledger
from workbench.ib.connection import IBDataManager
from workbench.ib.dial import IBConnectionConfig
from workbench.ib.live.following import WatchlistFollower
from workbench.ib.live.past import Past
from workbench.ib.live.session import LiveSession
from workbench.indicators.cache import IndicatorCache
from workbench.indicators.define import parse_indicators
from workbench.indicators.engine import IndicatorEngine
from workbench.indicators.suite import SUITE
from workbench.market.bars import empty_bars
from workbench.market.universe import Universe, compare, complete, default_universe
from workbench.pipeline.health import HEALTH_FILE
from workbench.pipeline.jobs import to_jobs
from workbench.pipeline.manager import DataPipelineManager, Desk
from workbench.pipeline.notify import make_teller
from workbench.pipeline.recorder import RecorderKeeper
from workbench.settings import GatewaySettings, Settings
from workbench.store.closings import Closings
from workbench.store.database import DatabaseManager
from workbench.store.historical import HistoricalDataManager
from workbench.store.journal import LiveJournal
from workbench.store.runs import JobRuns
from workbench.store.universes import current_universe, read_universe

if TYPE_CHECKING:
    import pandas as pd

    from workbench.display.board import Board
    from workbench.display.live import LiveFeed
    from workbench.screening.rules import Rule
    from workbench.screening.watch import ScreenWatch

logger = logging.getLogger(__name__)


class DeskParts:
    """What a workbench consists of."""

    def __init__(self, settings: Settings, *, gateway: str = "") -> None:
        self.settings = settings
        self._named_gateway = gateway
        self._opening = threading.RLock()
        self._gateway: GatewayProcess | None = None
        self._ib: IBDataManager | None = None
        self._follower: WatchlistFollower | None = None
        self._board: Board | None = None

    def close(self) -> None:
        """Close what was opened: the scheduler, the connection, the built-in gateway, the database."""
        if "pipeline" in self.__dict__:
            self.pipeline.stop()
        if self._board is not None:
            self._board.close()
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

    @property
    def known_ib(self) -> IBDataManager | None:
        """The connection, connected or not; None where nothing has needed one yet."""
        return self._ib

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

    @cached_property
    def closings(self) -> Closings:
        """The sessions that were saved, with how live bars differ from history, and those that wait in the journal."""
        return Closings(self.db)

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

    def _rule(self, changes: Mapping[str, Any] | None = None) -> Rule:
        """Return the rule of the settings, with some changes."""
        from workbench.screening.rules import parse_rule

        return parse_rule(self.settings.screen, self.indicators.suite, **(changes or {}))

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
        self._refuse_foreign_source()
        begin = held.begin if held else None
        planned = plan_backfill(self.ib, self.store, [symbol], [timeframe], since=begin, overlap=True)
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


def gateway_arguments(settings: GatewaySettings) -> list[str]:
    """Return the settings of the built-in gateway as arguments of its command."""
    arguments = ["--tape", settings.tape, "--speed", str(settings.speed), "--seed", str(settings.seed)]
    return [*arguments, "--start", settings.start] if settings.start else arguments

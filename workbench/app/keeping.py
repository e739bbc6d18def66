"""Filling the store, and keeping it right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime

from tqdm.auto import tqdm

from workbench.app.parts import DeskParts
from workbench.errors import InvalidInput
from workbench.ib.backfill import (
    DEFAULT_TIMEFRAMES,
    Backfill,
    BackfillReport,
    Bound,
    plan_backfill,
    rebuild_symbol,
    repair,
)
from workbench.ib.closing import SessionReport, save_sessions
from workbench.ib.closing.save import Parts
from workbench.ib.qualification import Outcome, qualify
from workbench.market.coverage import Interval
from workbench.market.names import as_names
from workbench.market.qualification import Qualification
from workbench.market.sessions import parse_session
from workbench.store.journal import LiveJournal
from workbench.store.quality import QualityReport, check_store, known_until
from workbench.store.quality.live import find_live
from workbench.store.rebuild import RebuildEvent
from workbench.store.universes import load_qualifications, save_qualifications

_QUALIFIED_AT_ONCE = 200


class Keeping(DeskParts):
    """Jobs that fetch, check and mend what is stored."""

    def qualify(self, symbols: str | Sequence[str] = (), *, progress: bool = True) -> dict[str, Outcome]:
        """Ask IB for contracts of the universe, or for all, and keep in the database what is thought of each.

            desk.qualify(["AAPL", "PLTR"])

        Returns it by symbol: a `Qualification`, or the `IBError` for which IB could not say; then what was known stays.
        """
        universe, source = self.universe, self.ib.source
        if unlisted := [symbol for symbol in as_names(symbols) if symbol not in universe]:
            raise InvalidInput(
                f"not in the universe: {', '.join(unlisted)}; workbench universe add {' '.join(unlisted)}"
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

            plan = desk.plan_backfill(["AAPL", "MSFT"], "1min", since="2026-01-02")

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

            desk.backfill(["AAPL", "MSFT"], ["15min", "1day"], since="2025-01-02")

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

            desk.check(["AAPL"], "15min")

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

    def repair(self, report: QualityReport, *, progress: bool = True) -> list[BackfillReport]:
        """Fetch again what a check found wrong, and just that.

            desk.repair(desk.check())

        What is told the same way twice stays a finding: decide about it by `workbench review`.
        """
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

            desk.rebuild("LDOS")

        A backfill does so by itself where it finds a split; this is for what it only reports.
        """
        self._refuse_foreign_source()
        return rebuild_symbol(self.ib, self.store, symbol, progress=progress)

    def save_session(
        self,
        session: str | date | None = None,
        symbols: str | Sequence[str] = (),
        *,
        provisional: bool = False,
        progress: bool = True,
    ) -> SessionReport:
        """Save the live sessions that have ended: fetch IB's history of them, compare, then empty the journal.

            desk.save_session("2026-11-20")

        Without `session` (its date) all that have ended on the gateway's clock. What IB's history does not give stays
        in the journal, and the report says why; with `provisional` it is stored as it was built.
        """
        wanted = None if session is None else parse_session(session)
        self._refuse_foreign_source()
        parts = Parts(self.ib, self.store, LiveJournal(self.db), self.closings)
        return save_sessions(
            parts, session=wanted, symbols=as_names(symbols), provisional=provisional, progress=progress
        )

"""The database: SQLite by default, PostgreSQL by its URL."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Self, TypeVar
from uuid import uuid4

import pandas as pd
from sqlalchemy import Connection, event, select
from sqlalchemy.exc import SQLAlchemyError
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from workbench import html
from workbench.errors import StoreError
from workbench.market.names import as_names
from workbench.store import schema, screenings, watchlists
from workbench.store.engine import insert_into, is_transient, make_engine, parse_url, secrets_of
from workbench.store.rows import parse_instant, refuse_repeated, to_frame, to_rows
from workbench.store.tables import alerts, coarse_screening_results, historical_data_metadata, watchlist_realtime

__all__ = ["DatabaseManager", "insert_into"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_PATIENCE_S = 10.0
"""For how long what fails for a reason that passes is tried again."""


class DatabaseManager:
    """The tables of a workbench, brought up to date when first opened.

    `url` is a SQLAlchemy URL such as `sqlite:///data/trading.db` or `postgresql+psycopg://…`. Its password never
    appears in an error or a repr. Timestamps go in and come out with their zone, UTC. What fails for a reason that
    passes (a lock, a server that restarts) is tried again for ten seconds. `applied` are the revisions that opening it
    has brought; with `upgrade=False` nothing is made or changed. Raises `InvalidSettings` for a URL that is none,
    `StoreError` when the database does not answer.
    """

    def __init__(self, url: str, *, upgrade: bool = True) -> None:
        parsed = parse_url(url)
        self._shown = parsed.set(query={}).render_as_string(hide_password=True)
        self._secrets = secrets_of(parsed)
        with self._translated("could not be opened"):
            self._engine = make_engine(parsed, create=upgrade)
            try:
                self.applied = self._retried(self._upgrade) if upgrade else []
            except BaseException:
                self.close()
                raise

    def __repr__(self) -> str:
        return f"DatabaseManager({self._shown})"

    def _repr_html_(self) -> str:
        try:
            status = self.schema_status()
        except StoreError as error:
            return html.card(
                "Database", html.facts({"where": self.url}), html.note(str(error), state="bad"), state="bad"
            )
        told = {"where": self.url, "revision": status.revision, "pending": status.pending}
        return html.card("Database", html.facts(told), html.rows(("table", "rows"), status.tables.items()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where it is, without the password and without options, one of which may be a secret."""
        return self._shown

    def close(self) -> None:
        """Close all connections; one that another thread still uses, when that is done."""
        event.listen(self._engine.pool, "checkin", lambda _connection, record: record.invalidate())
        self._engine.dispose()

    def schema_status(self) -> schema.SchemaStatus:
        """Return the revision of the schema, what is pending, and how many rows each table has."""
        return self.run(lambda connection: schema.read_status(connection, self._shown), reading=True)

    def load_series_metadata(self) -> pd.DataFrame:
        """Return what is stored, a row a series, as recorded by the last save of each."""
        table = historical_data_metadata
        query = select(table).order_by(table.c.symbol, table.c.timeframe)
        return self.run(lambda connection: to_frame(connection.execute(query).mappings(), table.columns), reading=True)

    def save_screening_results(self, results: pd.DataFrame) -> str:
        """Save what a coarse screen found, and return the id of its run.

        Columns: `as_of`, `symbol`, `side` (long or short), `score`; and, where known, `scores` (a dict, by timeframe),
        `reasons` (a list), `run_id` (else a new one), `created_at` (else now). A run that is saved again is replaced.
        Raises `InvalidInput`, naming the row; then nothing is saved.
        """
        run_id, what = uuid4().hex, "screening results"
        defaults = {"run_id": run_id, "scores": {}, "reasons": [], "created_at": datetime.now(UTC)}
        rows = to_rows(results, coarse_screening_results.columns, what=what, defaults=defaults)
        refuse_repeated(rows, ("run_id", "symbol", "side"), what=what)
        self.run(lambda connection: screenings.replace_results(connection, rows))
        return str(rows[-1]["run_id"]) if rows else run_id

    def load_screening_results(
        self,
        run_id: str | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        symbols: str | Collection[str] = (),
    ) -> pd.DataFrame:
        """Return the results of a run, or of all with `since <= as_of < until`; else of the newest run.

        The best come first, runs in the order in which they were made.
        """
        names = as_names(symbols)
        return self.run(
            lambda connection: screenings.load_results(connection, run_id, since=since, until=until, symbols=names),
            reading=True,
        )

    def save_watchlist(self, watchlist: pd.DataFrame, *, at: datetime | None = None) -> None:
        """Replace the watchlist in one transaction, and add it to the history; readers see the one or the other.

        Columns: `symbol`, `side`, `score`; and, where known, `rank` (else the order of the rows), `since` (else `at`),
        `reasons` (a list), `updated_at` (else `at`). `at` is when the list was chosen, now unless given; a list that is
        saved again for the same moment is replaced in the history too. Without rows the watchlist becomes empty.
        Raises `InvalidInput`, naming the row; then the watchlist stays as it is.
        """
        moment = datetime.now(UTC) if at is None else parse_instant(at)
        given = watchlist.drop(columns="timestamp", errors="ignore")
        if "rank" not in given.columns:
            given = given.assign(rank=range(1, len(given) + 1))
        defaults = {"since": moment, "reasons": [], "updated_at": moment, "timestamp": moment}
        rows = to_rows(given, watchlist_realtime.columns, what="watchlist", defaults=defaults)
        refuse_repeated(rows, ("symbol",), what="watchlist")
        refuse_repeated(rows, ("rank",), what="watchlist")
        self.run(lambda connection: watchlists.replace_watchlist(connection, rows, moment))

    def load_latest_watchlist(self) -> pd.DataFrame:
        """Return the watchlist, the first rank first."""
        return self.run(watchlists.load_watchlist, reading=True)

    def load_watchlist_symbols(self) -> list[str]:
        """Return the symbols of the watchlist, the first rank first: for whoever looks often."""
        return self.run(watchlists.load_watchlist_symbols, reading=True)

    def load_watchlist_history(
        self, *, since: datetime | None = None, until: datetime | None = None, symbols: str | Collection[str] = ()
    ) -> pd.DataFrame:
        """Return the watchlists that were chosen in `since <= timestamp < until`, oldest first."""
        names = as_names(symbols)
        return self.run(
            lambda connection: watchlists.load_watchlist_history(connection, since=since, until=until, symbols=names),
            reading=True,
        )

    def update_watchlist_scores(self, scores: pd.DataFrame, *, at: datetime | None = None) -> int:
        """Give symbols of the watchlist a new score, in their place; return how many are on it, on the same side.

        Columns: `symbol`, `side`, `score`; and, where they have changed, `reasons`. Ranks stay. `at` is when they were
        scored, now unless given. Raises `InvalidInput`, naming the row.
        """
        moment = datetime.now(UTC) if at is None else parse_instant(at)
        table = watchlist_realtime
        columns = [table.c.symbol, table.c.side, table.c.score, table.c.reasons, table.c.updated_at]
        rows = to_rows(scores, columns, what="scores", defaults={"reasons": None, "updated_at": moment})
        return self.run(lambda connection: watchlists.update_scores(connection, rows))

    def save_alert(
        self,
        symbol: str,
        side: str,
        kind: str,
        message: str,
        *,
        at: datetime,
        timeframe: str = "",
        score: float | None = None,
    ) -> int:
        """Save an alert and return its id; one of the same moment, symbol, side, kind and timeframe is saved once."""
        given = pd.DataFrame(
            [[at, symbol, side, kind, timeframe, score, message]],
            columns=["at", "symbol", "side", "kind", "timeframe", "score", "message"],
            dtype=object,
        )
        (row,) = to_rows(given, alerts.columns, what="alert")
        return self.run(lambda connection: screenings.add_alert(connection, row))

    def alerts(
        self, *, since: datetime | None = None, after_id: int = 0, symbols: str | Collection[str] = ()
    ) -> pd.DataFrame:
        """Return alerts in the order in which they were saved: from a moment on, or those after an id."""
        names = as_names(symbols)
        return self.run(
            lambda connection: screenings.load_alerts(connection, since=since, after_id=after_id, symbols=names),
            reading=True,
        )

    def run(self, work: Callable[[Connection], T], *, reading: bool = False) -> T:
        """Run `work` as one transaction, and once more when it fails for a reason that passes. For this package.

        When a connection is lost, nobody knows whether the transaction was committed: twice must be once.
        """

        def once() -> T:
            with self._begun(reading=reading) as connection, connection.get_transaction():  # type: ignore[union-attr]
                return work(connection)

        with self._translated("failed"):
            return self._retried(once)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Run what the block does as one transaction; on SQLite it waits for other writers first. For this package.

        Only its begin is tried again; `run` does that for the whole.
        """
        with self._translated("failed"):
            begun = self._retried(lambda: self._begun(reading=False))
            with begun as connection, begun.get_transaction():  # type: ignore[union-attr]
                yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Read what the block reads as of one moment, without waiting for writers. For this package."""
        with self._translated("failed"):
            begun = self._retried(lambda: self._begun(reading=True))
            with begun as connection, begun.get_transaction():  # type: ignore[union-attr]
                yield connection

    def _upgrade(self) -> list[str]:
        return schema.upgrade(self._engine, self._shown)

    def _begun(self, *, reading: bool) -> Connection:
        """Return a connection whose transaction has begun."""
        connection = self._engine.connect().execution_options(reading=reading)
        try:
            connection.begin()
        except BaseException:
            connection.close()
            raise
        return connection

    def _retried(self, work: Callable[[], T]) -> T:
        return Retrying(
            retry=retry_if_exception(is_transient),
            stop=stop_after_delay(_PATIENCE_S),
            wait=wait_random_exponential(multiplier=0.05, max=1.0),
            before_sleep=self._tell_retry,
            reraise=True,
        )(work)

    def _tell_retry(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        logger.warning("the database %s failed and is asked again: %s", self._shown, self._reason(error))

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, OSError) as error:
            cause = None if any(secret in str(error) for secret in self._secrets) else error
            raise StoreError(f"the database {self._shown} {what}: {self._reason(error)}") from cause

    def _reason(self, error: BaseException | None) -> str:
        """Return the first line of what the driver says, without secrets."""
        lines = str(getattr(error, "orig", None) or error).splitlines()
        reason = lines[0] if lines else type(error).__name__
        for secret in self._secrets:
            reason = reason.replace(secret, "***")
        return reason

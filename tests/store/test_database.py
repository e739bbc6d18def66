from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from workbench.errors import InvalidSettings, StoreError
from workbench.store.catalog import record
from workbench.store.database import DatabaseManager
from workbench.store.schema import revisions
from workbench.store.seriesinfo import SeriesInfo
from workbench.store.tables import historical_data_metadata

START, END = datetime(2020, 1, 2, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC)


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def save(database: DatabaseManager, bars: int = 7, first: datetime = START) -> None:
    record(database, SeriesInfo("SPY", "1day", "TRADES", bars=bars, first=first, last=END, fetched_at=END))


def test_the_schema_is_the_specifications_sql() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]

    table = " ".join(str(CreateTable(historical_data_metadata).compile(dialect=dialect)).split())
    indexes = sorted(str(CreateIndex(index).compile(dialect=dialect)) for index in historical_data_metadata.indexes)

    assert table == (
        "CREATE TABLE historical_data_metadata ( id SERIAL NOT NULL, symbol VARCHAR(10) NOT NULL, "
        "timeframe VARCHAR(10) NOT NULL, start_date TIMESTAMP WITHOUT TIME ZONE NOT NULL, "
        "end_date TIMESTAMP WITHOUT TIME ZONE NOT NULL, bar_count INTEGER NOT NULL, "
        "last_updated TIMESTAMP WITHOUT TIME ZONE NOT NULL, PRIMARY KEY (id), UNIQUE (symbol, timeframe) )"
    )
    assert indexes == [
        "CREATE INDEX idx_metadata_symbol ON historical_data_metadata (symbol)",
        "CREATE INDEX idx_metadata_updated ON historical_data_metadata (last_updated DESC)",
    ]


def test_a_series_is_recorded_once_and_renewed(database_url: str) -> None:
    with DatabaseManager(database_url) as database:
        save(database, bars=7)
        save(database, bars=8)
        rows = database.load_series_metadata()

    assert rows[["symbol", "timeframe", "bar_count"]].to_numpy().tolist() == [["SPY", "1day", 8]]
    assert rows["start_date"].item() == START
    assert rows["end_date"].item() == END
    assert rows["last_updated"].item() == END


def test_the_folder_of_a_new_database_is_made(tmp_path: Path) -> None:
    with DatabaseManager(url_of(tmp_path / "new" / "folder" / "trading.db")) as database:
        assert database.load_series_metadata().empty


def test_a_recorded_series_can_be_removed_and_no_rows_have_the_columns(database_url: str) -> None:
    with DatabaseManager(database_url) as database:
        save(database)
        record(database, SeriesInfo("SPY", "1day", "TRADES"))
        rows = database.load_series_metadata()

    assert rows.empty
    assert list(rows) == ["id", "symbol", "timeframe", "start_date", "end_date", "bar_count", "last_updated"]


def test_instants_are_kept_in_utc_and_naive_ones_refused(database_url: str) -> None:
    with DatabaseManager(database_url) as database:
        eastern = START.astimezone(timezone(timedelta(hours=-5)))
        save(database, first=eastern)
        assert database.load_series_metadata()["start_date"].item() == START
        with pytest.raises(StoreError, match="no time zone"):
            save(database, first=START.replace(tzinfo=None))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://user:geheim@127.0.0.1:1/name",
        "postgresql+psycopg://user@127.0.0.1:1/name?password=geheim",
        "postgresql://user:ge/heim@127.0.0.1/name",
        "mysql://user:geheim@127.0.0.1/name",
        "geheim",
        "",
    ],
)
def test_no_error_shows_the_password(url: str) -> None:
    with pytest.raises((InvalidSettings, StoreError)) as caught:
        DatabaseManager(url)

    shown, error = "", caught.value
    while error is not None:
        shown, error = shown + str(error), error.__cause__  # type: ignore[assignment]
    assert "geheim" not in shown
    assert "heim@" not in shown


def test_a_database_shows_itself_without_the_options_that_may_hold_a_password(tmp_path: Path) -> None:
    with DatabaseManager(url_of(tmp_path / "trading.db") + "?timeout=77") as database:
        assert repr(database) == f"DatabaseManager({url_of(tmp_path / 'trading.db')})"


@pytest.mark.parametrize("database", ["file/trading.db", "folder"])
def test_a_database_that_cannot_be_opened_is_named(tmp_path: Path, database: str) -> None:
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "folder").mkdir()

    with pytest.raises(StoreError, match=f"{database} could not be opened"):
        DatabaseManager(url_of(tmp_path / database))


def test_a_file_that_is_no_database_is_an_error_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "trading.db").write_text("not a database at all, but somebody's notes" * 100)

    with pytest.raises(StoreError, match="not a database"):
        DatabaseManager(url_of(tmp_path / "trading.db"))
    assert (tmp_path / "trading.db").read_text().startswith("not a database at all")


_WRITER = """
import sys
from datetime import UTC, datetime
import alembic.command, alembic.config
from workbench.store.catalog import record
from workbench.store.database import DatabaseManager
from workbench.store.schema import revisions
from workbench.store.seriesinfo import SeriesInfo
when = datetime(2026, 11, 20, tzinfo=UTC)
print("ready", flush=True)
sys.stdin.readline()
with DatabaseManager(sys.argv[1]) as database:
    print(len(database.applied))
    for number in range(10):
        info = SeriesInfo(f"S{sys.argv[2]}", "1day", "TRADES", bars=number, first=when, last=when, fetched_at=when)
        record(database, info)
        database.load_series_metadata()
"""


def test_of_processes_that_open_a_new_database_at_once_one_upgrades_it_and_all_write_to_it(database_url: str) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER, database_url, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    ready = [writer.stdout.readline() for writer in writers if writer.stdout]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    applied = sorted(int(writer.communicate()[0]) for writer in writers)

    assert ready == ["ready\n"] * 3
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert applied == [0, 0, len(revisions())]
    with DatabaseManager(database_url) as database:
        rows = database.load_series_metadata()
    assert rows[["symbol", "bar_count"]].to_numpy().tolist() == [["S0", 9], ["S1", 9], ["S2", 9]]


def test_a_connection_in_use_when_the_database_is_closed_is_closed_after_its_use(database_url: str) -> None:
    with DatabaseManager(database_url) as database:
        before = database._engine.pool
        database.run(lambda _connection: database.close(), reading=True)

    assert [record.dbapi_connection for record in list(before._pool.queue)] == [None]  # type: ignore[attr-defined]

"""What fails for a reason that passes is tried again; what would fail again is not."""

from __future__ import annotations

import logging
import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, insert, text

from workbench.errors import StoreError
from workbench.store.database import DatabaseManager
from workbench.store.tables import alerts

ALERT = {"symbol": "KO", "side": "long", "kind": "turn", "timeframe": "", "message": "KO turned"}
AT = datetime(2026, 11, 20, 15, tzinfo=UTC)


def test_a_transaction_whose_connection_the_server_ends_is_run_again(
    postgresql_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    runs: list[int] = []

    def work(connection: Connection) -> int:
        connection.execute(insert(alerts).values(ALERT | {"at": AT}))
        runs.append(1)
        if len(runs) == 1:
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return len(runs)

    with DatabaseManager(postgresql_url) as database, caplog.at_level(logging.WARNING):
        assert database.run(work) == 2
        assert len(database.alerts()) == 1

    assert "failed and is asked again: terminating connection" in caplog.text


def test_connections_that_died_while_nobody_used_them_are_replaced(postgresql_url: str) -> None:
    with DatabaseManager(postgresql_url) as database:
        database.alerts()
        others = create_engine(postgresql_url)
        with others.begin() as connection:
            mine = "pid <> pg_backend_pid() AND datname = current_database()"
            connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}"))
        others.dispose()

        with database.transaction() as connection:
            connection.execute(insert(alerts).values(ALERT | {"at": AT}))

        assert len(database.alerts()) == 1


def test_of_two_transactions_that_wait_for_each_other_both_are_done(postgresql_url: str) -> None:
    meeting, tries = threading.Barrier(2, timeout=30), list[int]()

    def locking(first: int, second: int) -> None:
        met: list[bool] = []

        def work(connection: Connection) -> None:
            tries.append(first)
            connection.execute(text(f"SELECT pg_advisory_xact_lock({first})"))
            if not met:
                met.append(True)
                meeting.wait()
            connection.execute(text(f"SELECT pg_advisory_xact_lock({second})"))

        database.run(work)

    with DatabaseManager(postgresql_url) as database:
        other = threading.Thread(target=locking, args=(2, 1))
        other.start()
        locking(1, 2)
        other.join(30)

    assert len(tries) == 3


def test_a_database_that_is_locked_for_a_moment_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("workbench.store.engine._BUSY_MS", 1)
    with DatabaseManager(f"sqlite:///{tmp_path / 'trading.db'}") as database, caplog.at_level(logging.WARNING):
        holder = sqlite3.connect(tmp_path / "trading.db", isolation_level=None, check_same_thread=False)
        holder.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.3, lambda: holder.execute("ROLLBACK"))
        release.start()

        database.save_alert(**ALERT, at=AT)  # type: ignore[arg-type]

        release.join()
        holder.close()
        assert len(database.alerts()) == 1
    assert "database is locked" in caplog.text


def test_what_would_fail_again_is_not_tried_again(database_url: str) -> None:
    runs: list[int] = []

    def work(connection: Connection) -> None:
        runs.append(1)
        for _ in range(2):
            connection.execute(insert(alerts).values(ALERT | {"at": AT}))

    with DatabaseManager(database_url) as database:
        with pytest.raises(StoreError, match=r"(?i)unique"):
            database.run(work)
        assert database.alerts().empty

    assert runs == [1]

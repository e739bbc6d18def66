"""A password in DATABASE_URL: whatever fails, and however it is shown, nobody sees it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import pytest
from sqlalchemy import create_engine, text

from tests.conftest import GUARDED_USER
from workbench.errors import InvalidSettings, StoreError
from workbench.settings import Settings
from workbench.store.database import DatabaseManager
from workbench.store.engine import parse_url, secrets_of

SECRET = "ge-h3im!"
QUOTED = "ge-h3im%21"


def url_of(server: str, *, user: str = GUARDED_USER, password: str = QUOTED, name: str = "postgres") -> str:
    """Return the URL of a database of the test's server, for a user with a password."""
    return f"{server.replace('tester@', f'{user}:{password}@')}{name}"


@pytest.fixture
def server(postgresql_server: str) -> str:
    """A server that asks the guarded user for a password, which is SECRET."""
    engine = create_engine(postgresql_server + "postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        if not connection.execute(text(f"SELECT 1 FROM pg_roles WHERE rolname = '{GUARDED_USER}'")).scalar():
            connection.execute(text(f"CREATE ROLE {GUARDED_USER} SUPERUSER LOGIN PASSWORD '{SECRET}'"))
    engine.dispose()
    return postgresql_server


def shown(error: BaseException) -> str:
    """Return all that a traceback, a log or a notebook would show of an error."""
    return "".join(traceback.format_exception(error)) + repr(error) + str(error)


def assert_hidden(told: str) -> None:
    assert SECRET not in told
    assert QUOTED not in told


def test_a_database_that_needs_a_password_works_and_never_shows_it(
    server: str, postgresql_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    name = postgresql_url.rpartition("/")[2]
    with caplog.at_level(logging.DEBUG), DatabaseManager(url_of(server, name=name)) as database:
        database.save_alert("KO", "long", "turn", "KO turned", at=datetime.now(UTC))
        with pytest.raises(StoreError) as caught:
            database.run(lambda connection: connection.execute(text("SELECT no_such_column FROM alerts")))
        told = repr(database) + str(database) + database.url + repr(database.schema_status())

    assert f"{GUARDED_USER}:***@" in told
    assert "no_such_column" in str(caught.value)
    assert len(caplog.records) > 3
    assert_hidden(told + shown(caught.value) + caplog.text)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"password": "wrong-" + QUOTED}, "password authentication failed"),
        ({"user": "nobody"}, 'role "nobody" does not exist'),
        ({"name": "nowhere"}, 'database "nowhere" does not exist'),
    ],
)
def test_what_the_server_refuses_is_named_without_the_password(
    server: str, change: dict[str, str], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(StoreError, match=reason) as caught:
        DatabaseManager(url_of(server, **change))

    assert_hidden(shown(caught.value) + caplog.text)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{QUOTED}@no-such-host.invalid/trading",
        f"postgres://me:{QUOTED}@127.0.0.1:1/trading",
        f"postgresql+psycopg://me@127.0.0.1:1/trading?password={SECRET}",
        f"postgresql+psycopg://me:{QUOTED}@127.0.0.1:1/trading?connect_timeout=soon",
        f"postgresql+psycopg://me:{QUOTED}@127.0.0.1:1/trading?no_such_option={SECRET}",
        f"postgresql+psycopg2://me:{QUOTED}@127.0.0.1:1/trading",
        f"postgresql:/me:{QUOTED}@127.0.0.1/trading",
        f"postgresql://me:{QUOTED}@127.0.0.1:port/trading",
        f"mysql://me:{QUOTED}@127.0.0.1/trading",
        f"{QUOTED}",
        f"sqlite://me:{QUOTED}@host/",
    ],
)
def test_a_url_that_leads_nowhere_is_an_error_without_the_password(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises((StoreError, InvalidSettings)) as caught:
        DatabaseManager(url)

    assert_hidden(shown(caught.value) + caplog.text)
    assert_hidden(repr(Settings(database_url=url)) + str(Settings(database_url=url)))


def test_secrets_are_the_password_and_options_that_sound_like_one() -> None:
    url = parse_url(f"postgresql://me:{QUOTED}@desk/trading?sslpassword=other&application_name=me")

    assert secrets_of(url) == [SECRET, "other"]


def test_commands_and_notebooks_do_not_show_it(server: str, postgresql_url: str, tmp_path: Path) -> None:
    name = postgresql_url.rpartition("/")[2]
    (tmp_path / "workbench.toml").write_text(f'notebooks_dir = "{tmp_path.as_posix()}"\n')
    code = (
        "import os\nimport workbench as wb\nfrom workbench.store.database import DatabaseManager\n"
        "desk = wb.open()\nprint(desk.settings, desk.db, desk)\n"
        "try:\n    desk.db.run(lambda connection: connection.exec_driver_sql('SELECT nothing FROM nowhere'))\n"
        "except wb.WorkbenchError:\n    get_ipython().showtraceback()\n"
        f"DatabaseManager(os.environ['DATABASE_URL'].replace('{GUARDED_USER}:', '{GUARDED_USER}:wrong-'))"
    )
    cells = [nbformat.v4.new_markdown_cell("# A desk"), nbformat.v4.new_code_cell(code)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "01-show-desk.ipynb")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WORKBENCH_")}

    def command(*arguments: str, url: str) -> tuple[int, str]:
        ran = subprocess.run(
            [sys.executable, "-m", "workbench", *arguments],
            cwd=tmp_path, env=environment | {"DATABASE_URL": url}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return ran.returncode, ran.stdout + ran.stderr

    good, wrong = url_of(server, name=name), url_of(server, name=name, password=f"wrong-{QUOTED}")
    told = [
        command("db", "status", url=good),
        command("db", "status", url=wrong),
        command("run", "01-show-desk", url=good),
    ]

    assert [code for code, _ in told] == [1, 1, 1]  # an empty database, refused; no such table and refused
    assert f"{GUARDED_USER}:***@" in told[0][1]
    assert "password authentication failed" in told[1][1]
    written = [path.read_text() for path in (tmp_path / "papermill_runs").rglob("*") if path.is_file()]
    assert any("nowhere" in text for text in written)
    assert any("password authentication failed" in text for text in written)
    assert_hidden("".join([text for _, text in told] + written))

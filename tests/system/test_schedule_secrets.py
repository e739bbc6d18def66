"""Nothing secret is in anything that a run leaves, though a notebook tells all it knows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from tests.conftest import GUARDED_USER
from tests.pipeline.scheduling import day, scheduler, toml, whole_notebooks, workbench, write_notebook
from tests.store.test_secrets import QUOTED, SECRET, url_of

HOOK = "json://127.0.0.1:9/hooks/h00k-hunter22"
TOKEN = "h00k-hunter22"
OPEN = "import os, traceback\nimport workbench as wb\ndesk = wb.open()\nprint(os.environ, desk.settings, desk.db)"
TELL = "print(os.environ['DATABASE_URL'], desk.settings.database.get_secret_value(), desk.settings.secrets)"
RECORD = "wb.record('url', os.environ['DATABASE_URL'])\nwb.record('hook', os.environ['WORKBENCH_PIPELINE__NOTIFY'])"
KNOCK = """
import psycopg
try:
    psycopg.connect(os.environ['DATABASE_URL'].replace('+psycopg', '').replace('/t_', '/none_'))
except Exception:
    traceback.print_exc()
"""
POST = """
from urllib.request import urlopen
try:
    urlopen(os.environ['WORKBENCH_PIPELINE__NOTIFY'][2:-2].replace('json', 'http'))
except Exception:
    traceback.print_exc()
"""
FAIL = """
from sqlalchemy import text
url = os.environ['DATABASE_URL']
desk.db.run(lambda connection: connection.execute(text(f"SELECT no_such_column, '{url}' FROM alerts")))
"""


@pytest.fixture
def guarded_url(postgresql_server: str, postgresql_url: str) -> str:
    """The URL of an empty database on a server that asks for a password."""
    engine = create_engine(postgresql_server + "postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        if not connection.execute(text(f"SELECT 1 FROM pg_roles WHERE rolname = '{GUARDED_USER}'")).scalar():
            connection.execute(text(f"CREATE ROLE {GUARDED_USER} SUPERUSER LOGIN PASSWORD '{SECRET}'"))
    engine.dispose()
    return url_of(postgresql_server, name=postgresql_url.rpartition("/")[2])


@pytest.mark.timeout(300)
def test_a_password_and_a_webhook_are_nowhere_in_what_runs_leave(tmp_path: Path, guarded_url: str) -> None:
    write_notebook(tmp_path / "notebooks", "01-tells", OPEN, TELL, RECORD, KNOCK, POST, FAIL)
    (tmp_path / "workbench.toml").write_text(toml(['[jobs.tells]\nnotebook = "01"\nat = "10:00"\n']))
    secret = {"DATABASE_URL": guarded_url, "WORKBENCH_PIPELINE__NOTIFY": json.dumps([HOOK])}
    with (
        day("2026-11-20T09:58:00", guarded_url) as market,
        scheduler(tmp_path, market.port, **secret) as process,
    ):
        market.pass_by("2026-11-20T10:00")
        process.terminate()
        assert process.wait(60) == 0
        rows = market.runs.load()

    shown = [
        workbench(tmp_path, *command, WORKBENCH_IB__PORT=market.port, **secret)
        for command in (("runs", "1"), ("status", "--check"))
    ]
    left = {
        **{
            str(path): path.read_text()
            for path in tmp_path.rglob("*")
            if path.suffix in (".ipynb", ".html", ".json", ".log")
        },
        "rows": json.dumps(rows.to_dict("records"), default=str),
        "shown": "".join(one.stdout + one.stderr for one in shown),
    }
    executed = whole_notebooks(tmp_path / "papermill_runs")
    assert set(rows["outcome"]) == {"failed"}
    assert "no_such_column" in left["rows"]
    assert "does not exist" in left[rows["output_path"][0]]
    assert "Connection refused" in left[rows["output_path"][0]]
    assert "nobody could be told" in left[str(tmp_path / "schedule.log")]
    assert len(executed) == 1
    assert all("***" in left[name] for name in left if "papermill_runs" in name)
    assert {"pipeline-health.json", "schedule.log"} < {Path(name).name for name in left}
    for where, what in left.items():
        for secret_one in (SECRET, QUOTED, guarded_url, HOOK, TOKEN):
            assert secret_one not in what, where

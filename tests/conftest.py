"""What tests share: where the real bars are, and databases of both kinds."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree, which
from uuid import uuid4

import hypothesis
import pytest

hypothesis.settings.register_profile("no clock", hypothesis.settings(), deadline=None)  # no test fails on a time
hypothesis.settings.load_profile("no clock")

GUARDED_USER = "guarded"
"""Whoever comes to the PostgreSQL server by this name needs a password; there is no such role until a test makes it."""


def pytest_configure() -> None:
    """Hear Ctrl-C, and let the processes that tests start hear it: a shell starts its background jobs deaf to it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers() -> int:
    """Return how many tests run at a time: one more than there are cores, since many wait for a socket or a process."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that have a time limit of their own: a long one that comes last is waited for by all."""
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)


@pytest.fixture(scope="session")
def real_bars() -> Path:
    """Return the folder of real market bars, or skip where the machine has none."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("WORKBENCH_TEST_BARS", default))
    if not (folder / "manifest.csv").is_file():
        pytest.skip(f"no real bars at {folder}; set WORKBENCH_TEST_BARS to the folder that holds manifest.csv")
    return folder


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """Return the URL of a real PostgreSQL server of our own, up to its database's name."""
    programs = _postgresql_programs()
    if programs is None:
        reason = "no PostgreSQL server here; install one (Debian: apt-get install postgresql)"
        (pytest.fail if os.environ.get("WORKBENCH_REQUIRE_POSTGRESQL") else pytest.skip)(reason)
    user = "postgres" if os.geteuid() == 0 else None  # the server refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="workbench-postgresql-"))
    folder.chmod(0o777)
    port = _free_port()
    run = {"user": user, "cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
    cluster = ["-D", str(folder / "cluster")]
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories= -c fsync=off"
    subprocess.run([programs / "initdb", *cluster, "-U", "tester", "-A", "trust"], check=True, **run)  # type: ignore[call-overload]
    rules = folder / "cluster" / "pg_hba.conf"
    rules.write_text(f"host all {GUARDED_USER} 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
    subprocess.run([programs / "pg_ctl", *cluster, "-w", "-o", options, "start"], check=True, **run)  # type: ignore[call-overload]
    try:
        yield f"postgresql+psycopg://tester@127.0.0.1:{port}/"
    finally:
        subprocess.run([programs / "pg_ctl", *cluster, "-m", "immediate", "stop"], check=True, **run)  # type: ignore[call-overload]
        rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgresql_url(postgresql_server: str) -> str:
    """Return the URL of an empty PostgreSQL database."""
    from sqlalchemy import create_engine, text

    name = f"t_{uuid4().hex}"
    engine = create_engine(postgresql_server + "postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return postgresql_server + name


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database, once of each kind."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql_url"))
    return f"sqlite:///{tmp_path / 'trading.db'}"


def _postgresql_programs() -> Path | None:
    """Return the folder that holds initdb; Debian keeps it off the path."""
    on_path = which("initdb")
    folders = [Path(on_path).parent] if on_path else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(folders) if (folder / "initdb").exists()), None)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])

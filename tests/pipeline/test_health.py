"""How the scheduler does, as its status line and as monitoring reads it; and who is told of failures."""

from __future__ import annotations

import http.server
import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from workbench.errors import InvalidSettings
from workbench.pipeline.health import PipelineStatus, read_troubles, write_health
from workbench.pipeline.notify import make_teller
from workbench.store.holders import this_process

NOW = datetime(2026, 11, 23, 17, 30, tzinfo=UTC)
STATUS = PipelineStatus(
    NOW, ("screen",), ((NOW + timedelta(minutes=30), "screen"), (NOW + timedelta(hours=18), "update")), ("save",)
)


def test_the_status_line_tells_the_time_what_comes_what_runs_and_what_failed() -> None:
    assert str(STATUS) == (
        "Mon 12:30:00 New York · FAILED: save · running: screen · next: screen 13:00, update Tue 06:30"
    )


def test_a_scheduler_at_work_without_failures_has_no_troubles(tmp_path: Path) -> None:
    path = tmp_path / "new" / "health.json"
    write_health(path, PipelineStatus(NOW, (), (), ()), this_process())

    assert read_troubles(path, datetime.now(UTC)) == []


def test_failures_and_a_scheduler_that_is_not_heard_of_are_troubles(tmp_path: Path) -> None:
    path = tmp_path / "health.json"
    write_health(path, STATUS, this_process())

    (failed,) = read_troubles(path, datetime.now(UTC))
    silent, _ = read_troubles(path, datetime.now(UTC) + timedelta(seconds=75))

    assert failed == "save failed; workbench runs --job save says why"
    assert "was last heard of at" in silent


@pytest.mark.parametrize("text", ["", "{", "[]", '{"written": "x", "failing": []}', '{"written": "2026-11-23"}'])
def test_a_file_that_cannot_be_read_is_a_trouble(tmp_path: Path, text: str) -> None:
    path = tmp_path / "health.json"
    path.write_text(text)

    [trouble] = read_troubles(path, NOW)

    assert "cannot be read" in trouble


def test_without_a_file_there_is_no_scheduler(tmp_path: Path) -> None:
    assert "workbench schedule" in read_troubles(tmp_path / "health.json", NOW)[0]


def test_a_webhook_is_told() -> None:
    heard: list[dict[str, str]] = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        make_teller([f"json://127.0.0.1:{server.server_port}/hook"])("screen failed", "in cell In [2]")
        server.shutdown()

    [told] = heard
    assert (told["title"], told["message"]) == ("workbench: screen failed", "in cell In [2]")


def test_who_cannot_be_told_is_an_error_in_the_log_without_the_secret(caplog: pytest.LogCaptureFixture) -> None:
    make_teller(["json://127.0.0.1:9/hunter22"])("screen failed", "why")

    assert "nobody could be told: screen failed" in caplog.text
    assert "hunter22" not in "".join(one.getMessage() for one in caplog.records if one.name.startswith("workbench"))


def test_a_url_that_is_none_is_refused_by_its_number() -> None:
    with pytest.raises(InvalidSettings, match="number 2 is no URL") as caught:
        make_teller(["json://localhost/x", "hunter22"])

    assert "hunter22" not in str(caught.value)

"""The doctor at gateways in many guises, over real sockets: what is wrong is named, what is well is not accused."""

from __future__ import annotations

import _thread
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.ib.conftest import at
from workbench.gateway.behaviour import Behaviour
from workbench.gateway.clock import GatewayClock
from workbench.gateway.faults import (
    Close,
    CompetingSession,
    ConnectivityLost,
    Corrupt,
    Drop,
    Fault,
    Refuse,
    Stall,
    Tell,
    When,
)
from workbench.gateway.rulebook import Rulebook
from workbench.gateway.rules import LINES, RULES
from workbench.gateway.server import GatewayServer
from workbench.gateway.serving import running
from workbench.gateway.simulated import SimulatedTape
from workbench.ib.dial import IBConnectionConfig
from workbench.ib.doctor import examine
from workbench.ib.doctor.checks import Check, State
from workbench.ib.doctor.report import DoctorReport

MORNING, SUNDAY = "2026-11-20T10:07:00", "2026-11-22T12:00:00"
AS_IB = Fault(When("managedAccounts", times=0), Corrupt(2, "DU1234567"))
"""The built-in gateway passes itself off as one of IB's."""


@contextmanager
def gateway(*faults: Fault, start: str = MORNING, speed: float = 1.0, **options: Any) -> Iterator[GatewayServer]:
    begin = at(start)
    with running(SimulatedTape(1, start=int(begin)), GatewayClock(begin, speed), faults=faults, **options) as served:
        yield served


def examined(server: GatewayServer, **changes: Any) -> DoctorReport:
    asked = {name: changes.pop(name) for name in ("count_lines", "on_step", "on_check") if name in changes}
    return examine(IBConnectionConfig(server.host, server.port, paced=False, **changes), **asked)


def no_thread_but(before: set[threading.Thread]) -> bool:
    """Return whether only threads from before are left, or left after the moment that an ended one still takes."""
    deadline = time.monotonic() + 10
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    return not set(threading.enumerate()) - before


def check(report: DoctorReport, name: str) -> Check:
    return next(one for one in report.checks if one.name == name)


@pytest.fixture(scope="module")
def healthy() -> DoctorReport:
    """The report on a gateway that is well, in the morning of a session; at ten times real time."""
    with gateway(speed=10) as server:
        return examined(server)


def test_a_healthy_gateway_has_no_problem_and_nothing_to_look_at(healthy: DoctorReport) -> None:
    assert {one.name: one.state for one in healthy.checks if one.state is not State.OK} == {
        "market data lines": State.UNKNOWN
    }
    assert healthy.is_well


def test_the_answers_are_those_of_this_gateway(healthy: DoctorReport) -> None:
    answers = healthy.answers

    assert answers["server version"] == "176"
    assert answers["market"] == "open"
    assert [answers[name] for name in ("AAPL (stock)", "SPY (etf)", "VIX (index)", "live bars")] == ["live"] * 4
    assert answers["1hour bars"] == "09:30, 10:00, 11:00, …, 15:00"
    assert answers["4hour bars"] == "09:30, 12:00"
    assert answers["volume unit"] == "shares"
    assert answers["history"].startswith("2016-11-")


def test_on_a_sunday_what_cannot_be_known_is_not_claimed() -> None:
    with gateway(start=SUNDAY) as server:
        begun = time.monotonic()
        report = examined(server)

    assert report.is_well
    assert check(report, "market").answer == "closed"
    for name in ("live bars", "volume unit"):
        assert check(report, name).state is State.UNKNOWN
        assert "closed" in check(report, name).found
    assert check(report, "volume unit").answer == "history shares"
    assert check(report, "AAPL (stock)").answer == "live"  # the last quotes of a closed market
    assert time.monotonic() - begun < 60


def test_a_half_day_among_the_sessions_is_cut_as_expected() -> None:
    with gateway(start="2026-12-01T08:00:00") as server:
        report = examined(server)

    for name in ("1hour bars", "4hour bars"):
        assert check(report, name).state is State.OK
        assert "a half day" in check(report, name).found


def test_an_account_without_live_data_is_told_what_it_lacks() -> None:
    with gateway(behaviour=Behaviour(market_data=False)) as server:
        report = examined(server)

    assert [check(report, name).answer for name in ("AAPL (stock)", "SPY (etf)", "VIX (index)")] == ["delayed"] * 3
    assert check(report, "AAPL (stock)").state is State.LOOK
    assert "Client Portal" in check(report, "AAPL (stock)").remedy
    assert check(report, "live bars").answer == "none"
    assert "IB code 10089" in check(report, "live bars").found
    assert report.is_well


def test_a_sample_without_any_permission_is_a_problem_and_the_others_are_not() -> None:
    text = "Historical Market Data Service error message:No market data permissions for CBOE IND"
    faults = [
        Fault(When("reqHistoricalData", symbol="VIX", times=0), Refuse(code=162, text=text)),
        Fault(
            When("reqMktData", symbol="VIX", times=0), Refuse(code=354, text="Requested market data is not subscribed.")
        ),
    ]
    with gateway(*faults, start=SUNDAY) as server:
        report = examined(server)

    assert check(report, "VIX (index)").state is State.PROBLEM
    assert "IB code 162" in check(report, "VIX (index)").found
    assert "Client Portal" in check(report, "VIX (index)").found
    assert not report.is_well
    assert [one.name for one in report.checks if one.state is State.PROBLEM] == ["VIX (index)"]


def test_a_competing_session_is_named() -> None:
    with gateway(Fault(When(), CompetingSession(3600.0)), speed=10) as server:
        report = examined(server)

    assert "IB code 10197" in check(report, "live bars").found
    assert check(report, "AAPL (stock)").answer == "refused"


def test_bars_cut_elsewhere_are_a_problem() -> None:
    """Hours that begin before the open, and four hours that are three."""
    bar_size, use_rth = 16, 18
    faults = [
        Fault(When("reqHistoricalData", containing="1 hour", times=0), Corrupt(use_rth, "0")),
        Fault(When("reqHistoricalData", containing="4 hours", times=0), Corrupt(bar_size, "3 hours")),
    ]
    with gateway(*faults, start=SUNDAY) as server:
        report = examined(server)

    assert check(report, "1hour bars").state is State.PROBLEM
    assert "IB cuts them at 04:00, 05:00" in check(report, "1hour bars").found
    assert check(report, "4hour bars").state is State.PROBLEM
    assert "IB cuts them at 09:30, 12:00, 15:00; the workbench at 09:30, 12:00" in check(report, "4hour bars").found
    assert check(report, "15min bars").state is State.OK


def test_an_end_that_is_not_taken_as_utc_is_a_problem() -> None:
    end = 15
    with gateway(
        Fault(When("reqHistoricalData", containing="20261120-21:00:00", times=0), Corrupt(end, "20261120-16:00:00")),
        start=SUNDAY,
    ) as server:
        report = examined(server)

    assert check(report, "time zone").state is State.PROBLEM
    assert "15:45 UTC" in check(report, "time zone").found


def test_volumes_in_lots_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client of an older version is told lots, of history and of live bars."""
    from ib_insync import Client

    monkeypatch.setattr(Client, "MaxClientVersion", 174)
    with gateway(speed=10) as server:
        report = examined(server)

    assert check(report, "volume unit").answer == "lots"
    assert check(report, "volume unit").state is State.LOOK
    assert "dual-mode" in check(report, "volume unit").remedy


def test_live_bars_in_another_unit_than_history_are_a_problem() -> None:
    """Live bars of one share each; their twins have thousands. Only the factor of lots is taken for lots."""
    volume = 8
    with gateway(Fault(When("realtimeBar", times=0), Corrupt(volume, "1")), speed=10) as server:
        report = examined(server)

    assert check(report, "volume unit").state in (State.LOOK, State.PROBLEM)
    assert check(report, "volume unit").answer.startswith("history shares")


def test_free_market_data_lines_are_counted_within_ibs_limits() -> None:
    rules = [replace(rule, limit=40) if rule is LINES else rule for rule in RULES]
    with gateway(rulebook=Rulebook(rules), start=SUNDAY) as server:
        report = examined(server, count_lines=True)

    assert check(report, "market data lines").answer == "40"


def test_lines_that_were_counted_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.ib.doctor.examination._MESSAGE_S", 0.001)
    with gateway(rulebook=Rulebook([replace(LINES, limit=5)]), start=SUNDAY) as server:
        reports = [examined(server, count_lines=True) for _ in range(2)]

    assert [check(report, "market data lines").answer for report in reports] == ["5", "5"]


def test_more_lines_than_symbols_are_at_least_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.ib.doctor.examination._MESSAGE_S", 0.001)
    with gateway(start=SUNDAY) as server:
        report = examined(server, count_lines=True)

    assert check(report, "market data lines").answer.endswith("+")


def test_a_clock_that_is_off_is_told() -> None:
    with gateway(AS_IB, start=SUNDAY) as server:
        report = examined(server)

    assert check(report, "clock").state is State.PROBLEM
    assert "NTP" in check(report, "clock").remedy


def test_a_clock_that_agrees_is_well() -> None:
    with running(SimulatedTape(1, start=int(time.time())), GatewayClock(), faults=[AS_IB]) as server:
        report = examined(server)

    assert check(report, "clock").state is State.OK
    assert "agree" in check(report, "clock").found


@pytest.mark.parametrize("refuses", [True, False])
def test_whether_tws_itself_is_read_only_is_told(*, refuses: bool) -> None:
    with gateway(AS_IB, start=SUNDAY, behaviour=Behaviour(refuses_order_lists=refuses)) as server:
        report = examined(server)

    assert check(report, "read-only").answer == ("yes" if refuses else "no")
    assert check(report, "read-only").state is (State.OK if refuses else State.LOOK)


def test_a_tws_that_says_nothing_about_orders_is_not_taken_for_either() -> None:
    with gateway(AS_IB, Fault(When("reqOpenOrders", times=0), Drop()), start=SUNDAY) as server:
        report = examined(server)

    assert check(report, "read-only").state is State.UNKNOWN


def test_a_gateway_that_has_lost_ib_is_told_at_once_and_nothing_else_is_claimed() -> None:
    with gateway(Fault(When("reqCurrentTime"), ConnectivityLost(3600.0)), start=SUNDAY) as server:
        report = examined(server)

    assert check(report, "IB's servers").state is State.PROBLEM
    assert not report.is_well
    others = [one for one in report.checks if one.name in ("AAPL (stock)", "15min bars", "history", "time zone")]
    assert {one.state for one in others} == {State.UNKNOWN}


@pytest.mark.parametrize("message", ["reqCurrentTime", "reqExecutions"])
def test_a_farm_that_is_away_is_told_whether_it_was_lost_before_the_connecting_or_after(message: str) -> None:
    """TWS says it right after the handshake, while ib_insync still asks for positions and executions."""
    lost = Tell(2105, "HMDS data farm connection is broken:ushmds")
    with gateway(Fault(When(message), lost), start=SUNDAY) as server:
        report = examined(server)

    assert check(report, "IB's servers").state is State.PROBLEM
    assert "history" in check(report, "IB's servers").found


def test_a_connection_that_ends_in_the_middle_leaves_what_was_found() -> None:
    with gateway(Fault(When("reqMktData", symbol="SPY"), Close()), start=SUNDAY) as server:
        seen: list[Check] = []
        report = examined(server, on_check=seen.append)

    assert tuple(seen) == report.checks
    assert check(report, "AAPL (stock)").state is State.OK
    assert (report.checks[-1].name, report.checks[-1].state) == ("connection", State.PROBLEM)
    assert "the rest was left out" in report.checks[-1].found
    assert not report.is_well


def test_a_gateway_that_falls_silent_is_given_up_after_two_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.ib.doctor.examination._STEP_S", 1.0)
    with gateway(Fault(When("reqMktData", symbol="SPY"), Stall()), start=SUNDAY) as server:
        report = examined(server)

    assert check(report, "AAPL (stock)").state is State.OK
    assert "no answer within 1 s" in check(report, "SPY (etf)").found
    assert "no longer answers" in report.checks[-1].found


def test_who_does_not_listen_gets_one_problem_and_its_remedy() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        report = examine(IBConnectionConfig(port=free.getsockname()[1]))

    assert [(one.name, one.state, one.answer) for one in report.checks] == [("connection", State.PROBLEM, "refused")]
    assert "Enable ActiveX and Socket Clients" in report.checks[0].remedy


def test_who_accepts_and_says_nothing_is_waited_for_no_longer_than_is_set() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        report = examine(IBConnectionConfig(port=mute.getsockname()[1], timeout=0.3))

    assert report.checks[0].answer == "silent"
    assert "dialog" in report.checks[0].remedy


def test_a_web_server_is_no_gateway() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            with closing(client):
                client.recv(64)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        report = examine(IBConnectionConfig(port=server.getsockname()[1]))
        thread.join()

    assert report.checks[0].answer == "other"
    assert "HTTP/1.1 400 Bad Request" in report.checks[0].found


def test_a_gateway_too_old_is_not_connected_to() -> None:
    payload = b"76\x0020261120 10:07:00 EST\0"
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            with closing(client):
                client.recv(64)
                client.sendall(len(payload).to_bytes(4, "big") + payload)
                client.recv(64)

        thread = threading.Thread(target=serve)
        thread.start()
        report = examine(IBConnectionConfig(port=server.getsockname()[1]))
        thread.join()

    assert [one.state for one in report.checks] == [State.OK, State.PROBLEM]
    assert "Update TWS" in report.checks[1].remedy


def test_a_gateway_that_greets_but_lets_nobody_in_is_a_problem() -> None:
    with gateway(Fault(When("nextValidId", times=0), Drop()), start=SUNDAY) as server:
        report = examined(server, timeout=0.5)

    assert report.checks[-1].state is State.PROBLEM
    assert "did not answer within" in report.checks[-1].found


def test_ctrl_c_ends_it_and_keeps_what_was_found() -> None:
    def interrupt(label: str) -> None:
        if label.startswith("SPY"):
            _thread.interrupt_main()  # what Ctrl-C does

    before = set(threading.enumerate())
    with gateway(start=SUNDAY) as server:
        report = examined(server, on_step=interrupt)

    assert report.interrupted
    assert not report.is_well
    assert check(report, "AAPL (stock)").state is State.OK
    assert no_thread_but(before)


def test_the_doctor_leaves_no_thread_and_no_connection() -> None:
    before = set(threading.enumerate())
    with gateway(start=SUNDAY) as server:
        examined(server)

        deadline = time.monotonic() + 10
        while server.status().clients and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not server.status().clients

    assert no_thread_but(before)


def test_a_report_is_kept_line_by_line_and_read_back(healthy: DoctorReport, tmp_path: Path) -> None:
    path = tmp_path / "new" / "doctor.jsonl"

    healthy.kept(path)
    healthy.kept(path)

    kept = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(kept) == 2
    assert kept[0] == json.loads(healthy.to_json())
    assert {one["name"]: one["answer"] for one in kept[0]["checks"] if one["answer"]} == healthy.answers


def test_a_notebook_shows_a_table_with_nothing_unescaped() -> None:
    report = DoctorReport("x", healthy_time(), (Check("a<b", State.LOOK, "<script>", "do & see"),))

    shown = report._repr_html_()

    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert "do &amp; see" in shown
    assert "→ do & see" in repr(report)


def healthy_time() -> Any:
    from datetime import UTC, datetime

    return datetime(2026, 11, 22, tzinfo=UTC)

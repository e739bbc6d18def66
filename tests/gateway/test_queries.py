"""History of an account that sees the market late, and live data of a tape that has none."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.gateway.test_replay import minutes, save
from workbench.gateway.behaviour import Behaviour
from workbench.gateway.effects import Send
from workbench.gateway.protocol import GatewayConnection
from workbench.gateway.replay import ReplayTape
from workbench.gateway.shared import Gateway
from workbench.gateway.simulated import SimulatedTape
from workbench.gateway.wire import GREETING, FrameReader, Value, encode, fields, frame

AAPL = ("0", "AAPL", "STK", "", "0.0", "", "", "SMART", "", "USD", "", "")
LATE = 900


@cache
def tape() -> SimulatedTape:
    return SimulatedTape(seed=1)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("America/New_York")).timestamp())


NOON = at("2026-11-20 12:00:02")


def asked(gateway: Gateway, request: bytes, now: float) -> list[list[str]]:
    connection, reader = GatewayConnection(gateway), FrameReader()
    connection.receive(GREETING + frame(b"v157..176") + encode(71, 2, 1, None), now)
    for effect in connection.receive(request, now):
        assert isinstance(effect, Send)
        reader.feed(effect.data)
    return [fields(payload) for payload in reader.frames()]


def history(
    size: str = "1 min", duration: str = "1 D", *, end: str = "", what: str = "TRADES", keep: bool = False
) -> bytes:
    return encode(20, 5, *AAPL, 0, end, size, duration, 1, what, 2, keep, None)


def bars(message: Sequence[str]) -> list[list[str]]:
    assert message[0] == "17"
    return [list(message[i : i + 8]) for i in range(5, len(message), 8)]


def of_late_account(request: bytes, now: float = NOON) -> list[list[str]]:
    return asked(Gateway(tape(), behaviour=Behaviour(market_data=False)), request, now)


@pytest.mark.parametrize("size", ["5 secs", "1 min", "1 hour", "1 day"])
def test_who_has_no_live_data_sees_history_as_it_was_a_quarter_of_an_hour_ago(size: str) -> None:
    warning, late = of_late_account(history(size))
    (before,) = asked(Gateway(tape()), history(size), NOON - LATE)

    assert warning[3:5] == ["2188", "Up-to-the-second historical data requires additional subscription for the API."]
    assert bars(late) == bars(before)


def test_what_lies_within_the_quarter_of_an_hour_is_no_data_after_the_same_warning() -> None:
    warning, refusal = of_late_account(history("1 min", "600 S"))

    assert (warning[3], refusal[3]) == ("2188", "162")
    assert "returned no data" in refusal[4]


@pytest.mark.parametrize(
    ("end", "now"),
    [
        ("20261120-16:45:00", NOON),  # fifteen minutes ago, and earlier
        ("20261120-15:00:00", NOON),
        ("20261119-21:00:00", NOON),
        ("", at("2026-11-20 16:15:00")),  # all of the session is old enough
        ("", at("2026-11-22 12:00:00")),  # a Sunday
    ],
)
def test_history_that_is_old_enough_is_whole_and_without_a_warning(end: str, now: int) -> None:
    assert of_late_account(history(end=end), now) == asked(Gateway(tape()), history(end=end), now)


def test_a_schedule_is_not_late() -> None:
    assert [it[0] for it in of_late_account(history("1 day", what="SCHEDULE"))] == ["106"]


def test_who_has_no_live_data_keeps_no_bars_up_to_date() -> None:
    gateway = Gateway(tape(), behaviour=Behaviour(market_data=False))

    answers = asked(gateway, history(keep=True), NOON)

    assert [it[3] for it in answers] == ["2188", "162"]
    assert "No market data permissions for NASDAQ STK" in answers[1][4]
    assert gateway.next_due(NOON) is None


LIVE_BARS = encode(50, 3, 7, *AAPL, 5, "TRADES", 1, None)


def live_ticks(**options: Value) -> bytes:
    asked_for = {"snapshot": 0} | options
    return encode(1, 11, 7, *AAPL, 0, "", asked_for["snapshot"], 0, None)


@pytest.mark.parametrize(
    ("request_of", "code"),
    [(LIVE_BARS, "420"), (live_ticks(), "354"), (live_ticks(snapshot=1), "354")],
    ids=["bars", "ticks", "snapshot"],
)
def test_what_a_tape_cannot_stream_is_refused_with_the_reason(tmp_path: Path, request_of: bytes, code: str) -> None:
    save(tmp_path / "AAPL" / "1min.parquet", minutes("2026-11-16 09:30", 390))
    gateway = Gateway(ReplayTape(tmp_path))

    (refusal,) = asked(gateway, request_of, at("2026-11-16 10:00"))

    assert refusal[2:4] == ["7", code]
    assert refusal[4].endswith("The tape has no five-second bars of AAPL; give it AAPL/5sec.parquet to stream")
    assert gateway.next_due(at("2026-11-16 10:00")) is None


@pytest.mark.parametrize("what", ["MIDPOINT", "BID", "ASK"])
def test_an_index_has_no_live_quotes_as_it_has_none_in_history(what: str) -> None:
    vix = ("0", "VIX", "IND", "", "0.0", "", "", "CBOE", "", "USD", "", "")

    (live,) = asked(Gateway(tape()), encode(50, 3, 7, *vix, 5, what, 1, None), NOON)
    (told,) = asked(Gateway(tape()), encode(20, 5, *vix, 0, "", "5 secs", "60 S", 1, what, 2, 0, None), NOON)

    assert (live[3], told[3]) == ("420", "162")


def test_bars_of_such_a_tape_are_kept_up_to_date_by_its_minutes(tmp_path: Path) -> None:
    save(tmp_path / "AAPL" / "1min.parquet", minutes("2026-11-16 09:30", 390))
    gateway, now = Gateway(ReplayTape(tmp_path)), at("2026-11-16 10:00:30")

    (first,) = asked(gateway, history("1 hour", keep=True), now)
    ((_, update),) = gateway.tick(now + 30)

    reader = FrameReader()
    reader.feed(update)
    *_, message = [fields(payload) for payload in reader.frames()]
    assert bars(first)[-1][0] == str(at("2026-11-16 09:30"))
    assert (message[3], message[9]) == (str(at("2026-11-16 10:00")), "100")

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.gateway.behaviour import Behaviour, DatesIn
from workbench.gateway.effects import Effect, Hangup, Ignored, Send
from workbench.gateway.protocol import GatewayConnection
from workbench.gateway.rulebook import Rulebook
from workbench.gateway.shared import Gateway
from workbench.gateway.simulated import SimulatedTape
from workbench.gateway.wire import GREETING, FrameReader, Value, encode, fields, frame

NEW_YORK = ZoneInfo("America/New_York")
NOW = datetime(2026, 11, 20, 11, 0, 2, tzinfo=NEW_YORK).timestamp()
AAPL = ("0", "AAPL", "STK", "", "0.0", "", "", "SMART", "", "USD", "", "")


@cache
def tape() -> SimulatedTape:
    return SimulatedTape(seed=1)


def messages(effects: Sequence[Effect]) -> list[list[str]]:
    reader = FrameReader()
    for effect in effects:
        if isinstance(effect, Send):
            reader.feed(effect.data)
    return [fields(payload) for payload in reader.frames()]


def greeting(versions: bytes = b"v157..176") -> bytes:
    return GREETING + frame(versions)


def connected(gateway: Gateway | None = None, client_id: int = 1, versions: bytes = b"v157..176") -> GatewayConnection:
    connection = GatewayConnection(gateway or Gateway(tape()))
    connection.receive(greeting(versions) + encode(71, 2, client_id, None), NOW)
    return connection


def ask(*texts: Value, connection: GatewayConnection | None = None) -> list[list[str]]:
    return messages((connection or connected()).receive(encode(*texts), NOW))


def history(req_id: int = 5, **changes: Value) -> bytes:
    asked = {"size": "1 min", "duration": "1 D", "what": "TRADES", "end": ""} | changes
    return encode(
        20, req_id, *AAPL, 0, asked["end"], asked["size"], asked["duration"], 1, asked["what"], 2, 0, None
    )  # fmt: skip


# The handshake


@pytest.mark.parametrize(
    ("offered", "version"),
    [
        (b"v157..176", "176"),  # ib_insync
        (b"v157..178", "178"),  # ib_async
        (b"v100..157", "157"),  # ibapi 9.81
        (b"v100..225", "178"),  # ibapi 10.46
        (b"v157..176 +PACEAPI", "176"),
        (b"v100..100", "100"),
    ],
)
def test_the_version_is_the_clients_newest_and_at_most_178(offered: bytes, version: str) -> None:
    (answer,) = messages(GatewayConnection(Gateway(tape())).receive(greeting(offered), NOW))

    assert answer == [version, "20261120 11:00:02 Eastern Standard Time"]


@pytest.mark.parametrize(
    "stream",
    [greeting(b"v50..99"), greeting(b"hello"), greeting(b""), b"GET / HTTP/1.1\r\n", GREETING + b"\xff\xff\xff\xff"],
)
def test_what_is_no_tws_client_is_hung_up_on(stream: bytes) -> None:
    effects = GatewayConnection(Gateway(tape())).receive(stream, NOW)

    assert [type(effect) for effect in effects] == [Hangup]


def test_starting_tells_accounts_the_next_id_and_the_farms() -> None:
    connection = GatewayConnection(Gateway(tape()))
    connection.receive(greeting(), NOW)

    answers = messages(connection.receive(encode(71, 2, 1, None), NOW))

    assert answers[:2] == [["15", "1", "SIMULATED-1-R1"], ["9", "1", "1"]]
    assert [(texts[2], texts[3]) for texts in answers[2:]] == [("-1", "2104"), ("-1", "2106"), ("-1", "2158")]


def test_nothing_is_answered_before_the_client_started_and_starting_twice_is_ignored() -> None:
    connection = GatewayConnection(Gateway(tape()))

    early = connection.receive(greeting() + encode(49, 1), NOW)
    again = connected().receive(encode(71, 2, 2, None), NOW)

    assert [type(effect) for effect in early] == [Send, Ignored]
    assert [type(effect) for effect in again] == [Ignored]


def test_a_client_id_in_use_is_326_and_a_hang_up_and_is_free_again_later() -> None:
    gateway = Gateway(tape())
    first = connected(gateway, 3)
    second = GatewayConnection(gateway)
    second.receive(greeting(), NOW)

    refused = second.receive(encode(71, 2, 3, None), NOW)
    first.close()
    third = connected(gateway, 3)

    assert messages(refused)[0][2:4] == ["-1", "326"]
    assert isinstance(refused[-1], Hangup)
    assert ask(49, 1, connection=third) == [["49", "1", str(int(NOW))]]


def test_the_hang_up_of_a_refused_client_leaves_the_holder_of_the_id_alone() -> None:
    gateway = Gateway(tape())
    holder = connected(gateway, 3)
    refused = GatewayConnection(gateway)
    refused.receive(greeting() + encode(71, 2, 3, None), NOW)

    refused.close()

    late = GatewayConnection(gateway)
    assert isinstance(late.receive(greeting() + encode(71, 2, 3, None), NOW)[-1], Hangup)
    assert ask(49, 1, connection=holder)


# Requests


def test_the_account_is_empty_and_every_list_ends() -> None:
    assert ask(61, 1) == [["62", "1"]]
    assert ask(5, 1) == ask(16, 1) == [["53", "1"]]
    assert ask(99, 0) == [["102"]]
    assert ask(6, 2, 1, "SIMULATED-1-R1") == [["8", "1", "11:00"], ["54", "1", "SIMULATED-1-R1"]]
    assert ask(6, 2, 0, "SIMULATED-1-R1") == []
    assert ask(76, 1, 9, "SIMULATED-1-R1", None, 0) == [["74", "1", "9"]]
    assert ask(62, 1, 9, "All", "NetLiquidation") == [["64", "1", "9"]]
    assert ask(7, 3, 9, 0, None, None, None, None, None, None) == [["55", "1", "9"]]
    assert ask(8, 1, 1) == [["9", "1", "1"]]
    assert ask(17, 1) == [["15", "1", "SIMULATED-1-R1"]]


@pytest.mark.parametrize("order", [(3, 11, *AAPL), (4, 1, 11), (58, 1), (21, 2, 11)])
def test_every_order_is_refused_as_read_only(order: tuple[Value, ...]) -> None:
    ((*_, code, text, _),) = ask(*order)

    assert code == "321"
    assert text.endswith("The API interface is currently in Read-Only mode.")


def test_accepted_and_unknown_messages_have_no_answer() -> None:
    assert connected().receive(encode(59, 1, 3), NOW) == []
    assert connected().receive(encode(15, 1, 1), NOW) == []
    assert connected().receive(encode(9999, 1, "x"), NOW) == [Ignored("9999 1 x")]


def test_contract_details_end_with_message_52_and_an_unknown_contract_is_only_an_error() -> None:
    found = ask(9, 8, 4, *AAPL, 0, None, None, None)
    missing = ask(9, 8, 4, 0, "NOPE", *AAPL[2:], 0, None, None, None)

    assert [texts[0] for texts in found] == ["10", "52"]
    assert found[0][1:4] == ["4", "AAPL", "STK"]
    assert [texts[:4] for texts in missing] == [["4", "2", "4", "200"]]


def test_a_historical_answer_is_one_message_with_the_bars_of_the_tape() -> None:
    ((message_id, req_id, _, _, count, *texts),) = messages(connected().receive(history(), NOW))

    assert (message_id, req_id, count, len(texts)) == ("17", "5", "90", 90 * 8)
    first = tape().bars("AAPL", 60, int(texts[0]), int(texts[0]) + 1, use_rth=True)
    assert [float(text) for text in texts[1:5]] == [first.open[0], first.high[0], first.low[0], first.close[0]]


def test_the_warning_of_an_implied_zone_comes_before_the_bars() -> None:
    answers = messages(connected().receive(history(end="20261119 16:00:00"), NOW))

    assert [texts[0] for texts in answers] == ["4", "17"]
    assert answers[0][3] == "2174"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"size": "1 sec"}, "321"),
        ({"what": "X"}, "321"),
        ({"end": "now"}, "10314"),
        ({"end": "19850101-00:00:00"}, "162"),
    ],
)
def test_a_refused_request_is_one_error_with_its_id(changes: dict[str, Value], code: str) -> None:
    ((message_id, _, req_id, found, *_),) = messages(connected().receive(history(77, **changes), NOW))

    assert (message_id, req_id, found) == ("4", "77", code)


def test_head_timestamp_is_answered_and_its_cancel_is_silent() -> None:
    ((*head, value),) = ask(87, 8, *AAPL, 0, 1, "TRADES", 2)

    assert head == ["88", "8"]
    assert int(value) == tape().head("AAPL", use_rth=True)
    assert ask(90, 8) == []


def test_cancelling_what_is_not_there_is_told() -> None:
    assert ask(25, 1, 9)[0][2:5] == ["9", "366", "No historical data query found for ticker id:9"]
    assert ask(51, 1, 9)[0][2:5] == ["9", "300", "Can't find EId with tickerId:9"]


def market_data(req_id: int = 9, *, generic: str = "", snapshot: int = 0) -> bytes:
    return encode(1, 11, req_id, *AAPL, 0, generic, snapshot, 0, None)


def without_subscription() -> Gateway:
    return Gateway(tape(), behaviour=Behaviour(market_data=False))


def test_ticks_begin_with_what_is_known_and_follow_the_market() -> None:
    gateway = Gateway(tape())
    connection = connected(gateway)

    first = messages(connection.receive(market_data(), NOW))
    ((_, data),) = gateway.tick(NOW + 5)
    after = messages([Send(data)])

    assert [texts[0] for texts in first[:2]] == ["81", "58"]
    assert {texts[3] for texts in first if texts[0] == "1"} == {"1", "2", "4", "6", "7", "9", "14"}
    assert {"4", "8"} <= {texts[3] for texts in after}
    assert connection.receive(encode(2, 2, 9), NOW + 6) == []
    assert gateway.next_due(NOW + 6) is None
    assert messages(connection.receive(encode(2, 2, 9), NOW + 6))[0][2:5] == [
        "9",
        "300",
        "Can't find EId with tickerId:9",
    ]


def test_a_snapshot_ends_at_once_and_has_no_generic_ticks() -> None:
    assert ask_raw(market_data(snapshot=1))[-1] == ["57", "1", "9"]
    assert ask_raw(market_data(snapshot=1, generic="233"))[0][2:4] == ["9", "321"]
    assert ask_raw(market_data(generic="233"))[0][0] == "81"


def test_live_ticks_and_bars_need_a_subscription() -> None:
    for asked in (market_data(), encode(50, 3, 9, *AAPL, 5, "TRADES", 1, None)):
        assert ask_raw(asked, without_subscription())[0][2:4] == ["9", "10089"]


def test_without_a_subscription_delayed_ticks_come_with_a_warning() -> None:
    connection = connected(without_subscription())
    assert connection.receive(encode(59, 1, 3), NOW) == []

    warning, _, kind, *ticks = messages(connection.receive(market_data(), NOW))

    assert warning[2:4] == ["9", "10167"]
    assert kind == ["58", "1", "9", "3"]
    assert {int(texts[3]) for texts in ticks} == {66, 67, 68, 72, 73, 74, 75, 76, 88}


def test_an_id_of_ticks_is_not_used_twice() -> None:
    connection = connected()
    connection.receive(market_data(), NOW)

    assert messages(connection.receive(market_data(), NOW))[0][2:4] == ["9", "102"]


def test_an_id_of_ticks_is_none_of_live_bars_either() -> None:
    """A market data line is counted by it."""
    connection = connected()
    connection.receive(market_data(), NOW)

    assert ask(50, 3, 9, *AAPL, 5, "TRADES", 1, None, connection=connection)[0][2:4] == ["9", "102"]


def kept_up(req_id: int = 5, *, size: str = "1 min") -> bytes:
    return encode(20, req_id, *AAPL, 0, None, size, "1 D", 1, "TRADES", 2, 1, None)


def test_bars_are_kept_up_to_date_until_they_are_cancelled() -> None:
    gateway = Gateway(tape())
    connection = connected(gateway)

    (first,) = messages(connection.receive(kept_up(), NOW + 5))
    ((_, data),) = gateway.tick(NOW + 9)
    (update,) = messages([Send(data)])
    (cancelled,) = messages(connection.receive(encode(25, 1, 5), NOW + 10))

    assert (first[0], update[0]) == ("17", "90")
    assert update[3] == first[-8]  # the unfinished bar
    assert cancelled[2:] == [
        "5",
        "162",
        "Historical Market Data Service error message:API historical data query cancelled: 5",
        "",
    ]
    assert gateway.tick(NOW + 60) == []


def test_an_id_of_bars_kept_up_to_date_is_not_used_twice() -> None:
    connection = connected()
    connection.receive(kept_up(), NOW)

    assert messages(connection.receive(history(5), NOW))[0][2:4] == ["5", "322"]


def test_bars_kept_up_to_date_hold_one_of_the_fifty_places() -> None:
    connection = connected(Gateway(tape(), rulebook=Rulebook()))
    for req_id in range(50):
        assert messages(connection.receive(kept_up(req_id, size="1 hour"), NOW + req_id))[0][0] == "17"

    assert messages(connection.receive(history(99), NOW + 60))[0][2:4] == ["99", "322"]
    connection.receive(encode(25, 1, 7), NOW + 61)
    assert messages(connection.receive(history(99), NOW + 62))[0][0] == "17"


@pytest.mark.parametrize(("versions", "message"), [(b"v157..164", "4"), (b"v157..165", "106")])
def test_a_schedule_is_known_from_165_on(versions: bytes, message: str) -> None:
    asked = encode(20, 5, *AAPL, 0, "", "1 day", "5 D", 1, "SCHEDULE", 1, 0, None)

    assert messages(connected(versions=versions).receive(asked, NOW))[0][0] == message


def test_symbols_are_matched() -> None:
    ((message, req_id, count, *rest),) = ask(81, 5, "RY")

    assert (message, req_id, count) == ("79", "5", "2")
    assert {(rest[3], rest[4]), (rest[11], rest[12])} == {("NYSE", "USD"), ("TSE", "CAD")}


def test_an_ambiguous_contract_has_details_and_no_data() -> None:
    royal = ("0", "RY", "STK", "", "0.0", "", "", "SMART", "", "", "", "")

    details = ask(9, 8, 5, *royal, 0, "", "", "")
    refused = ask(20, 5, *royal, 0, "", "1 day", "5 D", 1, "TRADES", 1, 0, None)

    assert [texts[0] for texts in details] == ["10", "10", "52"]
    assert refused[0][2:5] == ["5", "200", "The contract description specified for RY is ambiguous."]


def test_a_security_is_found_by_its_isin() -> None:
    found = ask(9, 8, 5, *([""] * 12), 0, "ISIN", "CA7800871021", "")

    assert [texts[0] for texts in found] == ["10", "10", "52"]


def test_the_time_is_told_once_a_second() -> None:
    connection = connected()
    told = [bool(connection.receive(encode(49, 1), NOW + after)) for after in (0, 0.5, 0.99, 1.0, 1.5, 2.0)]

    assert told == [True, False, False, True, False, True]


def test_the_second_between_two_questions_for_the_time_is_a_real_one() -> None:
    real = iter([100.0, 100.9, 101.0])
    paused = connected(Gateway(tape(), real_time=lambda _: next(real)))

    assert [bool(paused.receive(encode(49, 1), NOW)) for _ in range(3)] == [True, False, True]


def test_there_are_no_more_clients_than_tws_serves() -> None:
    gateway = Gateway(tape())
    clients = [connected(gateway, client_id) for client_id in range(32)]

    refused = GatewayConnection(gateway)
    effects = refused.receive(greeting() + encode(71, 2, 99, None), NOW)
    assert isinstance(effects[-1], Hangup)
    refused.close()
    clients[3].close()

    assert connected(gateway, 99).receive(encode(61, 1), NOW)


def test_lists_of_orders_can_be_refused_as_tws_refuses_them_in_read_only_mode() -> None:
    connection = connected(Gateway(tape(), behaviour=Behaviour(refuses_order_lists=True)))

    for message in (encode(5, 1), encode(16, 1), encode(99, 0)):
        assert messages(connection.receive(message, NOW))[0][2:4] == ["-1", "321"]
    assert messages(connection.receive(encode(61, 1), NOW)) == [["62", "1"]]


def test_a_market_data_line_is_free_again_after_a_snapshot_and_after_a_cancel() -> None:
    connection = connected(Gateway(tape(), rulebook=Rulebook()))
    codes = [messages(connection.receive(market_data(9, snapshot=1), NOW + after))[0][0] for after in range(101)]
    assert set(codes) == {"81"}

    for req_id in range(100):
        connection.receive(market_data(req_id), NOW + 200 + req_id)
    assert messages(connection.receive(market_data(100), NOW + 301))[0][2:4] == ["100", "101"]
    connection.receive(encode(2, 2, 7), NOW + 302)
    assert messages(connection.receive(market_data(100), NOW + 303))[0][0] == "81"


@pytest.mark.parametrize("wish", [market_data(), kept_up()])
def test_a_client_that_goes_leaves_nothing_to_send(wish: bytes) -> None:
    gateway = Gateway(tape())
    connection = connected(gateway)
    connection.receive(wish, NOW)
    assert gateway.next_due(NOW) is not None

    connection.close()

    assert gateway.next_due(NOW) is None
    assert gateway.tick(NOW + 60) == []


@pytest.mark.parametrize(
    ("dates_in", "first"),
    [
        ("instrument", "20261120 08:30:00 US/Central"),
        ("operator", "20261120 15:30:00 Europe/Zurich"),
        ("UTC", "20261120 14:30:00 UTC"),
    ],
)
def test_texts_of_time_are_in_the_zone_that_the_gateway_is_set_to(dates_in: DatesIn, first: str) -> None:
    gateway = Gateway(tape(), behaviour=Behaviour(dates_in=dates_in, operator_zone="Europe/Zurich"))
    index = ("0", "VIX", "IND", "", "0.0", "", "", "CBOE", "", "USD", "", "")

    asked = encode(20, 5, *index, 0, "", "1 hour", "1 D", 1, "TRADES", 1, 1, None)

    (answer,) = messages(connected(gateway).receive(asked, NOW))
    ((_, data),) = gateway.tick(NOW + 5)
    *_, update = messages([Send(data)])

    assert answer[5] == first
    assert update[3].split()[-1] == first.split()[-1]


def ask_raw(data: bytes, gateway: Gateway | None = None) -> list[list[str]]:
    return messages(connected(gateway).receive(data, NOW))


def test_a_message_that_cannot_be_read_is_320_and_a_hang_up() -> None:
    effects = connected().receive(encode(25, 1, "AAPL") + encode(49, 1), NOW)

    assert messages(effects)[0][2:4] == ["-1", "320"]
    assert [type(effect) for effect in effects] == [Send, Hangup]


def test_errors_follow_the_negotiated_version() -> None:
    old, new = connected(versions=b"v100..157"), connected(versions=b"v157..178")

    assert len(ask(51, 1, 9, connection=old)[0]) + 1 == len(ask(51, 1, 9, connection=new)[0])


# Live bars


def test_live_bars_come_with_the_ticks_until_they_are_cancelled() -> None:
    gateway = Gateway(tape())
    connection = connected(gateway)
    assert ask(50, 3, 6, *AAPL, 5, "TRADES", 1, None, connection=connection) == []

    ((receiver, data),) = gateway.tick(NOW + 13)  # 11:00:15
    texts = messages([Send(data)])

    assert receiver is connection
    assert [(it[0], it[2], int(it[3]) - int(NOW)) for it in texts] == [("50", "6", 3), ("50", "6", 8)]
    assert ask(51, 1, 6, connection=connection) == []
    assert gateway.tick(NOW + 60) == []


def test_streamed_bars_are_the_bars_of_later_history() -> None:
    gateway = Gateway(tape())
    connection = connected(gateway)
    ask(50, 3, 6, *AAPL, 5, "TRADES", 1, None, connection=connection)

    ((_, data),) = gateway.tick(NOW + 123)
    streamed = [texts[3:] for texts in messages([Send(data)])]
    effects = connection.receive(history(size="5 secs", duration="120 S"), NOW + 123)

    (answer,) = messages(effects)
    later = [answer[5:][index : index + 8] for index in range(0, len(answer) - 5, 8)]
    assert streamed == [row for row in later if int(row[0]) > NOW]


def test_several_clients_get_their_own_bars() -> None:
    gateway = Gateway(tape())
    clients = [connected(gateway, number) for number in range(3)]
    for number, client in enumerate(clients[:2]):
        ask(50, 3, 6 + number, *AAPL, 5, "TRADES", 1, None, connection=client)

    ticked = gateway.tick(NOW + 8)

    assert [(client, messages([Send(data)])[0][2]) for client, data in ticked] == [
        (clients[0], "6"),
        (clients[1], "7"),
    ]


def test_a_request_id_in_use_and_an_unknown_kind_of_bar_are_refused() -> None:
    connection = connected()
    ask(50, 3, 6, *AAPL, 5, "TRADES", 1, None, connection=connection)

    assert ask(50, 3, 6, *AAPL, 5, "TRADES", 1, None, connection=connection)[0][3] == "102"
    assert ask(50, 3, 7, *AAPL, 5, "YIELD", 1, None, connection=connection)[0][3] == "321"
    assert ask(50, 3, 8, 0, "NOPE", *AAPL[2:], 5, "TRADES", 1, None, connection=connection)[0][3] == "200"


# Laws


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(min_value=0), max_size=20))
def test_any_slicing_of_a_conversation_gives_the_same_answers(cuts: list[int]) -> None:
    stream = greeting() + encode(71, 2, 1, None) + encode(61, 1) + history(duration="1800 S") + encode(49, 1)
    edges = [0, *sorted(cut % len(stream) for cut in cuts), len(stream)]
    connection = GatewayConnection(Gateway(tape()))

    sliced = [effect for begin, end in pairwise(edges) for effect in connection.receive(stream[begin:end], NOW)]

    assert sliced == GatewayConnection(Gateway(tape())).receive(stream, NOW)


@settings(deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_whatever_break_the_conversation(data: bytes, framed: bool) -> None:
    connection = connected()

    effects = connection.receive(frame(data) if framed else data, NOW)

    assert all(isinstance(effect, Send | Hangup | Ignored) for effect in effects)


def test_nothing_is_answered_after_the_hang_up() -> None:
    connection = connected()
    connection.receive(encode(25, 1, "AAPL"), NOW)

    assert connection.receive(encode(49, 1), NOW) == []

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.gateway import effects
from workbench.gateway.effects import ComeBack, Effect, GoAway, Hangup, MovePort, Send
from workbench.gateway.faults import (
    Action,
    Bust,
    ClientIdStuck,
    Close,
    ConnectivityLost,
    ConnectivityRestored,
    Corrupt,
    Delay,
    Dribble,
    Drop,
    Duplicate,
    Fault,
    Garbage,
    LiveUpdatesFailed,
    PortReset,
    Refuse,
    Reorder,
    Reset,
    Restart,
    Silence,
    Split,
    Stall,
    Tell,
    Truncate,
    WeekendReset,
    When,
    WrongLength,
)
from workbench.gateway.faults.engine import FaultEngine, Order
from workbench.gateway.faults.script import action_names
from workbench.gateway.wire import FrameReader, encode, fields

NEW_YORK = ZoneInfo("America/New_York")
BARS = ["50", "3", "7", "0", "AAPL", "STK", "", "0", "", "", "SMART", "", "USD", "", "", "5", "TRADES", "1", ""]
KEPT = ["20", "8", "0", "AAPL", *[""] * 17, "1", ""]


class Asker:
    """A client whose every message is answered by an echo of its fields as message 49, its first as message 15."""

    version = 176

    def __init__(self) -> None:
        self.taken: list[list[str]] = []

    def take(self, texts: list[str], now: float) -> Iterator[Effect]:
        self.taken.append(texts)
        yield Send(encode(15 if texts[:1] == ["71"] else 49, *texts))

    def symbol_of(self, con_id: str) -> str:
        return {"265598": "AAPL"}.get(con_id, "")


def engine_with(action: Action, **when: Any) -> FaultEngine:
    return FaultEngine([Fault(When(**when), action)])


def started(engine: FaultEngine, client_id: int = 1, now: float = 0) -> Asker:
    client = Asker()
    engine.outgoing(client, [Send(encode(176, "today"))], now)
    engine.outgoing(client, engine.received(client, ["71", "2", str(client_id), ""], now), now)
    client.taken.clear()
    return client


def ask(engine: FaultEngine, client: Asker, texts: list[str], now: float = 0) -> list[Order]:
    return engine.outgoing(client, engine.received(client, texts, now), now)


def send(engine: FaultEngine, client: Asker, *texts: Any, now: float = 0) -> list[Order]:
    return engine.outgoing(client, [Send(encode(*texts))], now)


def effects_of(orders: Iterable[Order]) -> list[Effect]:
    return [effect for _, effect in orders]


def data_of(orders: Iterable[Order]) -> bytes:
    return b"".join(it.data for it in effects_of(orders) if isinstance(it, Send))


def messages(orders: Iterable[Order]) -> list[list[str]]:
    reader = FrameReader()
    reader.feed(data_of(orders))
    return [fields(payload) for payload in reader.frames()]


# Without faults


def test_without_faults_the_very_same_effects_come_back_and_nothing_is_ever_due() -> None:
    engine, client = FaultEngine(), Asker()
    sent = [Send(encode(49, 1) * 100), Hangup("bye")]

    assert [it is there for it, there in zip(effects_of(engine.outgoing(client, sent, 0)), sent, strict=True)]
    assert engine.next_due() is None
    assert engine.tick(1e9) == []


def test_a_spent_script_leaves_the_engine_as_if_it_never_was() -> None:
    engine = engine_with(Drop(), message="currentTime")
    client = started(engine)
    send(engine, client, 49, 1, 5)

    block = Send(encode(49, 1, 6))
    assert engine.outgoing(client, [block], 1)[0][1] is block


# Bytes


MESSAGE = encode(49, 1, 12345)


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (Split(5), [MESSAGE[:5], MESSAGE[5:10], MESSAGE[10:]]),
        (Truncate(keep=0.5), [encode(49, 1)]),
        (Truncate(keep=0.5, honest=False), [MESSAGE[:9]]),
        (Truncate(keep=0), [b"\0\0\0\0"]),
        (WrongLength(by=2), [b"\0\0\0\x0d" + MESSAGE[4:]]),
        (WrongLength(by=-1000), [b"\0\0\0\0" + MESSAGE[4:]]),
    ],
)
def test_the_bytes_of_a_message_are_sent_as_the_fault_says(action: Action, expected: list[bytes]) -> None:
    engine = engine_with(action, message="currentTime")
    client = started(engine)

    assert [it.data for it in effects_of(send(engine, client, 49, 1, 12345)) if isinstance(it, Send)] == expected


def test_garbage_is_the_same_for_the_same_seed() -> None:
    noises = set()
    for seed in (1, 1, 2):
        engine = engine_with(Garbage(size=32, seed=seed), message="currentTime")
        data = data_of(send(engine, started(engine), 49, 1, 12345))
        assert data.endswith(MESSAGE)
        assert len(data) == 32 + len(MESSAGE)
        noises.add(data)
    assert len(noises) == 2


def test_a_dribble_sends_a_byte_at_a_time_and_nothing_overtakes_it() -> None:
    engine = engine_with(Dribble(every=1), message="currentTime")
    client = started(engine)

    first = send(engine, client, 49, 1, now=10)
    behind = send(engine, client, 62, 1, now=11.5)

    assert data_of(first) == b"\0"
    assert data_of(behind) == b"\0"
    assert engine.next_due() == 12
    assert data_of(engine.tick(1e9)) == (encode(49, 1) + encode(62, 1))[2:]


def test_a_stall_holds_everything_back_and_then_all_comes_in_order() -> None:
    engine = engine_with(Stall(seconds=30), after=5)
    client = started(engine)
    engine.tick(5)

    assert send(engine, client, 49, 1, now=6) + send(engine, client, 49, 2, now=34) == []
    assert messages(engine.tick(35)) == [["49", "1"], ["49", "2"]]


def test_after_a_stall_for_ever_nothing_is_kept() -> None:
    engine = engine_with(Stall())
    client = started(engine)
    for _ in range(1000):
        assert send(engine, client, 49, 1) == []

    assert engine.next_due() is None
    assert len(engine._lines[client]._queue) == 0


@pytest.mark.parametrize(("action", "kind"), [(Close(keep=0.5), Hangup), (Reset(keep=0.5), effects.Reset)])
def test_the_end_of_a_connection_comes_within_the_message_and_nothing_after_it(action: Action, kind: type) -> None:
    engine = engine_with(action, message="currentTime")
    client = started(engine)

    begin, end = effects_of(send(engine, client, 49, 1, 12345))

    assert begin == Send(MESSAGE[:7])
    assert isinstance(end, kind)
    assert send(engine, client, 49, 1) == []


# Messages


def test_a_duplicate_a_corrupt_field_and_a_lost_message() -> None:
    for action, expected in [
        (Duplicate(times=2), [["49", "1", "9"]] * 3),
        (Corrupt(2, "x"), [["49", "1", "x"]]),
        (Corrupt(-1, "x"), [["49", "1", "x"]]),
        (Corrupt(3, "x"), [["49", "1", "9"]]),
        (Drop(), []),
    ]:
        engine = engine_with(action, message="currentTime")
        assert messages(send(engine, started(engine), 49, 1, 9)) == expected


def test_a_delayed_message_is_overtaken() -> None:
    engine = engine_with(Delay(10), message="currentTime")
    client = started(engine)

    assert send(engine, client, 49, 1) == []
    assert messages(send(engine, client, 62, 1, now=9)) == [["62", "1"]]
    assert engine.next_due() == 10
    assert messages(engine.tick(10)) == [["49", "1"]]


def test_a_reordered_message_goes_after_the_next_or_alone_in_time() -> None:
    for later, expected in [(0.5, [["62", "1"], ["49", "1"]]), (2, [["49", "1"], ["62", "1"]])]:
        engine = engine_with(Reorder(within=1), message="currentTime")
        client = started(engine)
        orders = send(engine, client, 49, 1) + engine.tick(later) + send(engine, client, 62, 1, now=later)
        assert messages(orders) == expected


def test_messages_that_are_all_reordered_are_swapped_in_pairs() -> None:
    engine = engine_with(Reorder(within=float("inf")), message="currentTime", times=0)
    client = started(engine)

    orders = [it for number in range(6) for it in send(engine, client, 49, 1, number)]

    assert [texts[2] for texts in messages(orders)] == ["1", "0", "3", "2", "5", "4"]


def test_messages_that_are_delayed_for_ever_are_not_kept() -> None:
    engine = engine_with(Delay(float("inf")), message="sent", times=0)
    client = started(engine)
    for _ in range(100):
        send(engine, client, 49, 1)
        ask(engine, client, ["49", "1"])

    assert engine.next_due() is None
    assert engine._lines[client]._answers == []


def test_a_late_request_is_taken_when_its_time_has_come() -> None:
    engine = engine_with(Delay(10), message="reqCurrentTime")
    client = started(engine)

    assert ask(engine, client, ["49", "1"]) == []
    assert client.taken == []
    assert messages(engine.tick(10)) == [["49", "49", "1"]]


def test_a_request_is_lost_repeated_or_corrupted_before_it_is_taken() -> None:
    for action, taken in [(Drop(), []), (Duplicate(), [["8", "1"]] * 2), (Corrupt(1, "?"), [["8", "?"]])]:
        engine = engine_with(action, message="reqIds")
        client = started(engine)
        ask(engine, client, ["8", "1"])
        assert client.taken == taken


# When


def test_a_fault_counts_its_own_messages_only() -> None:
    engine = engine_with(Drop(), message="realtimeBar", symbol="AAPL", nth=2, times=2)
    client = started(engine)
    ask(engine, client, BARS)
    ask(engine, client, [*BARS[:2], "9", "0", "MSFT", *BARS[5:]])

    passed = [bool(send(engine, client, 50, 3, req_id, "1")) for req_id in (7, 9, 7, 9, 7, 7)]

    assert passed == [True, True, False, True, False, True]


def test_any_message_sent_counts_from_a_time_on() -> None:
    engine = FaultEngine([Fault(When("sent", after=10, nth=2), Drop())], now=100)
    client = started(engine, now=100)

    assert [bool(send(engine, client, 49, 1, now=now)) for now in (101, 109, 110, 111, 112)] == [
        True, True, True, False, True,
    ]  # fmt: skip


def test_the_handshake_can_be_met_before_the_client_has_an_id() -> None:
    engine = engine_with(Drop(), message="handshake")

    assert engine.outgoing(Asker(), [Send(encode(176, "today"))], 0) == []


def test_a_daily_fault_strikes_each_day_on_the_clock_of_the_exchange() -> None:
    saturday = datetime(2026, 3, 7, 0, 0, tzinfo=NEW_YORK).timestamp()  # the clocks change on Sunday
    engine = FaultEngine([Fault(When(daily="00:15", weekdays="Sat Sun Mon", times=3), WeekendReset(1))], saturday)
    struck: list[str] = []

    while (due := engine.next_due()) is not None:
        engine.tick(due)
        struck.append(f"{datetime.fromtimestamp(due, NEW_YORK):%a %H:%M:%S}")

    assert struck[::2] == ["Sat 00:15:00", "Sun 00:15:00", "Mon 00:15:00"]
    assert struck[1::2] == ["Sat 00:15:01", "Sun 00:15:01", "Mon 00:15:01"]


def test_a_contract_that_is_named_by_its_id_alone_has_its_symbol() -> None:
    engine = engine_with(Drop(), message="reqRealTimeBars", symbol="AAPL")
    client = started(engine)

    for con_id in ("1", "265598"):
        ask(engine, client, [*BARS[:3], con_id, "", *BARS[5:]])

    assert [texts[3] for texts in client.taken] == ["1"]


# The session


def test_a_lost_connectivity_is_told_again_and_again() -> None:
    engine = engine_with(ConnectivityLost(20, every=6), after=10)
    client = started(engine)

    told = [(now, it[3]) for now in range(40) for it in messages(engine.tick(now))]

    assert told == [(10, "1100"), (16, "1100"), (22, "1100"), (28, "1100"), (30, "1102")]
    assert client.taken == []


def test_a_dead_stream_is_silent_until_it_is_requested_again() -> None:
    engine = engine_with(Bust(), after=10)
    client = started(engine)
    ask(engine, client, BARS)
    assert messages(send(engine, client, 50, 3, 7, "bar")) == [["50", "3", "7", "bar"]]

    (told,) = messages(engine.tick(10))
    silent = send(engine, client, 50, 3, 7, "bar", now=15)
    cancelled = ask(engine, client, ["51", "1", "7"], now=16) and send(engine, client, 50, 3, 7, "bar", now=16)
    ask(engine, client, BARS, now=17)

    assert told[:4] == ["4", "2", "7", "10225"]
    assert silent == []
    assert cancelled
    assert messages(send(engine, client, 50, 3, 7, "bar", now=20)) == [["50", "3", "7", "bar"]]


def test_streams_that_are_gone_are_cancelled_and_their_client_is_not_told() -> None:
    engine = engine_with(ConnectivityRestored(data="lost"), after=10)
    client = started(engine)
    ask(engine, client, BARS)
    ask(engine, client, KEPT)

    told = messages(engine.tick(10))

    assert [it[3] for it in told] == ["1101", "2104", "2106", "2158"]
    assert client.taken[2:] == [["51", "1", "7"], ["25", "1", "8"]]


def test_a_stream_that_is_gone_is_told_nothing_more() -> None:
    engine = FaultEngine([Fault(When(after=10), ConnectivityRestored(data="lost")), Fault(When(after=20), Bust())])
    client = started(engine)
    ask(engine, client, BARS)
    engine.tick(10)

    assert engine.tick(20) == []


def test_only_updates_of_history_end_with_10182() -> None:
    engine = engine_with(LiveUpdatesFailed(), after=10)
    client = started(engine)
    ask(engine, client, BARS)
    ask(engine, client, KEPT)
    ask(engine, client, [*KEPT[:1], "9", *KEPT[2:21], "0", ""])

    assert [it[2:4] for it in messages(engine.tick(10))] == [["8", "10182"]]


def test_outages_overlap_and_each_ends_in_its_time() -> None:
    engine = FaultEngine([Fault(When(after=10), ConnectivityLost(20)), Fault(When(after=15), Silence(30))])
    client = started(engine)
    ask(engine, client, BARS)
    told = []

    for now in range(0, 60, 5):
        told += [(now, it[3] if it[0] == "4" else "bar") for it in messages(engine.tick(now))]
        told += [(now, "bar") for _ in send(engine, client, 50, 3, 7, "bar", now=now)]

    assert [it for it in told if it[1] != "bar"] == [(10, "1100"), (30, "1102")]
    assert [now for now, what in told if what == "bar"] == [0, 5, 45, 50, 55]


def test_an_answer_that_is_under_way_when_ib_is_lost_does_not_arrive() -> None:
    engine = engine_with(ConnectivityLost(20), after=10)
    client = started(engine)
    engine.tick(10)

    assert send(engine, client, 17, 5, "begin", "end", 0, now=11) == []
    assert messages(send(engine, client, 49, 1, now=12)) == [["49", "1"]]
    assert len(messages(send(engine, client, 17, 6, "begin", "end", 0, now=30))) == 2


def test_a_long_jump_of_the_clock_misses_nothing() -> None:
    engine = FaultEngine([Fault(When(after=10), ConnectivityLost(20)), Fault(When(after=15), Silence(30))])
    client = started(engine)

    assert [it[3] for it in messages(engine.tick(1e6))] == ["1100"]
    assert [it[3] for it in messages(engine.tick(2e6))] == ["1102"]
    assert engine.next_due() is None
    assert messages(send(engine, client, 49, 1, now=2e6)) == [["49", "1"]]


def test_a_kept_id_is_refused_and_free_again_in_time() -> None:
    engine = engine_with(ClientIdStuck(60), client=4, after=10)
    client, other = started(engine, 4), started(engine, 5)
    orders = engine.tick(10)
    engine.forget(client)
    again = Asker()

    told, end = effects_of(ask(engine, again, ["71", "2", "4", ""], now=69))
    assert [(who, type(it)) for who, it in orders] == [(client, effects.Reset)]
    assert isinstance(told, Send)
    assert b"\x00326\x00" in told.data
    assert isinstance(end, Hangup)
    assert again.taken == []
    assert messages(send(engine, other, 49, 1, now=69))

    late = Asker()
    ask(engine, late, ["71", "2", "4", ""], now=70)
    assert late.taken == [["71", "2", "4", ""]]


def test_a_restart_goes_away_and_comes_back_in_time() -> None:
    engine = engine_with(Restart(60), after=10)

    assert engine.tick(10) == [(None, GoAway())]
    assert engine.next_due() == 70
    assert engine.tick(70) == [(None, ComeBack())]
    assert engine.next_due() is None


def test_a_move_is_told_with_the_port_that_was_taken() -> None:
    engine = engine_with(PortReset(0), after=10)
    client = started(engine)

    assert engine.tick(10) == [(None, MovePort(0))]
    told, end = effects_of(engine.moved(4321, 11))
    assert isinstance(told, Send)
    assert told.data.endswith(b"new port - 4321\0\0")
    assert isinstance(end, Hangup)
    assert client.taken == []


def test_a_client_that_floods_with_ids_is_remembered_in_part_only() -> None:
    engine = FaultEngine()
    client = started(engine)
    for number in range(10_000):
        list(engine.received(client, [*BARS[:2], str(number), *BARS[3:]], 0))

    line = engine._lines[client]
    assert max(len(line.streams), len(line.symbols)) == 4096


# Laws


harmless: st.SearchStrategy[Action] = st.one_of(
    st.builds(Dribble, every=st.floats(0, 1)),
    st.builds(Split, size=st.integers(1, 20), every=st.floats(0, 1)),
    st.builds(Stall, seconds=st.floats(0, 100)),
    st.builds(Corrupt, field=st.integers(50, 99)),
)
places = st.builds(
    When,
    message=st.sampled_from(["sent", "currentTime", "reqCurrentTime", "received"]),
    nth=st.integers(1, 5),
    times=st.integers(0, 3),
    after=st.none() | st.floats(0, 20),
)
blocks = st.lists(st.lists(st.text(alphabet="abc\t é", max_size=8), max_size=4), min_size=1, max_size=3)


@given(st.lists(st.builds(Fault, places, harmless), max_size=4), st.lists(st.tuples(blocks, st.floats(0, 10))))
def test_faults_that_only_slice_or_wait_never_change_the_messages(
    script: list[Fault], conversation: list[tuple[list[list[str]], float]]
) -> None:
    engine, now = FaultEngine(script), 0.0
    client = started(engine)
    engine.tick(1e5)
    orders: list[Order] = []
    expected: list[list[str]] = []
    for block, pause in conversation:
        now += pause
        data = b"".join(encode(49, *texts) for texts in block)
        expected += [["49", *texts] for texts in block] + [["49", "49", "1"]]
        orders += engine.outgoing(client, [Send(data), *engine.received(client, ["49", "1"], now)], now)
    orders += engine.tick(1e9)

    assert messages(orders) == expected


anything: st.SearchStrategy[Action] = st.sampled_from(
    [kind() for kind in action_names().values() if kind not in (Corrupt, Refuse, Tell)]
    + [Corrupt(2, "\x00"), Corrupt(-1), Tell(2110, "\x00")]
)


@given(
    st.lists(st.builds(Fault, places | st.builds(When, after=st.floats(0, 50)), anything), max_size=6),
    st.lists(
        st.tuples(st.sampled_from([BARS, KEPT, ["49", "1"], ["51", "1", "7"], ["", "\x00"], []]), st.floats(0, 30))
    ),
)
def test_no_script_makes_the_engine_fail_or_be_due_for_ever(
    script: list[Fault], conversation: list[tuple[list[str], float]]
) -> None:
    engine, now = FaultEngine(script), 0.0
    client, other = started(engine), started(engine, 2)
    for texts, pause in conversation:
        now += pause
        ask(engine, client, texts, now)
        send(engine, other, 50, 3, 7, "1", now=now)

    for _ in range(20_000):  # a dribble is due byte by byte
        if (due := engine.next_due()) is None:
            return
        engine.tick(due)
    pytest.fail("something is due for ever")


@given(st.lists(st.builds(Fault, places, harmless), max_size=3), st.floats(0, 100))
def test_what_is_due_is_told_and_then_never_due_again(script: list[Fault], now: float) -> None:
    engine = FaultEngine(script)
    client = started(engine)
    send(engine, client, 49, 1, now=now)

    for _ in range(1000):
        if (due := engine.next_due()) is None:
            break
        engine.tick(due)

    assert engine.next_due() is None

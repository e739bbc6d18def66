"""Whatever a client sends, the gateway answers with effects of its protocol, in bounded memory.

`make soak` runs the same for minutes: WORKBENCH_FUZZ_EXAMPLES says how many conversations.
"""

from __future__ import annotations

import os
import random
import tracemalloc
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from itertools import product
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.gateway.effects import Effect, Hangup, Reset, Send
from workbench.gateway.history import MOST_BARS
from workbench.gateway.layouts import UNVERSIONED, VERSIONED, MalformedField, parse
from workbench.gateway.protocol import GatewayConnection
from workbench.gateway.shared import Gateway
from workbench.gateway.simulated import SimulatedTape
from workbench.gateway.wire import GREETING, MAX_FRAME, FrameReader, encode, fields, frame, join

NEW_YORK = ZoneInfo("America/New_York")
NOW = datetime(2026, 11, 20, 11, 0, 2, tzinfo=NEW_YORK).timestamp()
EXAMPLES = int(os.environ.get("WORKBENCH_FUZZ_EXAMPLES", "60"))
LONGEST_ANSWER = 128 * MOST_BARS  # bytes: no bar takes more
EFFECTS = get_args(Effect)

SPY = ["0", "SPY", "STK", "", "0.0", "", "", "SMART", "", "USD", "", ""]
VIX = ["0", "VIX", "IND", "", "", "", "", "CBOE", "", "USD", "", ""]
VALID = [
    ["20", "5", *SPY, "0", "", "1 min", "1 D", "1", "TRADES", "2", "0", ""],
    ["20", "6", *SPY, "0", "", "5 secs", "60 S", "0", "BID", "1", "1", ""],
    ["20", "7", *VIX, "0", "20261120-15:00:00", "1 day", "1 M", "1", "TRADES", "1", "0", ""],
    ["20", "7", *SPY, "0", "", "1 day", "2 W", "1", "SCHEDULE", "1", "0", ""],
    ["9", "8", "1", *SPY, "0", "", "", ""],
    ["9", "8", "1", "756733", *[""] * 14],
    ["50", "3", "9", *SPY, "5", "TRADES", "1", ""],
    ["87", "11", *SPY, "0", "1", "TRADES", "2"],
    ["1", "11", "12", *SPY, "0", "233", "0", "0", ""],
    ["81", "13", "AP"],
    ["6", "2", "1", "DU1"],
    *[[str(number), "1", "5"] for number in sorted({*VERSIONED, *UNVERSIONED})],
]
"""A message of each kind, as fields."""

NASTY = [
    "", "0", "-1", "1", "5", "7", "-0", "9" * 9, "9" * 19, "-" + "9" * 19, "9" * 400, "9" * 5000, "1e308", "1e-308",
    "nan", "-inf", "0x10", "1_0", " 1", "٣", "true", "null", "é", "\U0001f4a5", "\x01\x7f", "a" * 70_000, "%s", "\\N",
    "\\u0000", "../../etc/passwd", "SPY", "VIX", "AAPL", "BRK B", "1 secs", "5 secs", "1 min", "8 hours", "1 day", "1W",
    "1M", "1 mins", "0 D", "-5 D", "68 Y", "69 Y", "999999 S", "86400 S", "365 D", "52 W", "12 M", "٣ D",
    "9999999999 D", "TRADES", "BID_ASK", "ADJUSTED_LAST", "SCHEDULE", "20261120-15:00:00", "00010101-00:00:00",
    "99991231-23:59:59", "19691231-23:59:59", "20260230-00:00:00", "20261120 25:61:61", "20261120 09:30:00 US/Eastern",
    "20261120 09:30:00 GMT", "20261101 01:30:00 America/New_York", "20261120 09:30:00 Pacific/Kiritimati", "09:30:00",
    "20261120 09:30:00 ../etc/localtime", "20261120 09:30:00 A/B/C",
]  # fmt: skip
"""Texts that a field may be replaced by."""


@cache
def tape() -> SimulatedTape:
    return SimulatedTape(seed=1)


def started(gateway: Gateway, client_id: int, versions: bytes = b"v157..176") -> GatewayConnection:
    connection = GatewayConnection(gateway)
    connection.receive(GREETING + frame(versions) + encode(71, 2, client_id, None), NOW)
    return connection


texts = st.one_of(st.sampled_from(NASTY), st.integers().map(str), st.text(max_size=12).map(lambda it: it.strip("\0")))


@st.composite
def messages(draw: st.DrawFn) -> list[str]:
    """A valid message, mutated field by field."""
    message = list(draw(st.sampled_from(VALID)))
    for place, text in draw(st.lists(st.tuples(st.integers(0, 25), texts), max_size=3)):
        message[place % len(message)] = text
    return message[: draw(st.integers(1, len(message)))] if draw(st.integers(0, 9)) == 0 else message


def encoded(message: Sequence[str]) -> bytes:
    return frame("".join(text + "\0" for text in message).encode("utf-8", errors="surrogatepass"))


garbage = st.one_of(
    st.binary(max_size=60),
    st.binary(max_size=60).map(frame),
    st.integers(0, 2**32 - 1).map(lambda length: length.to_bytes(4, "big")),
    st.sampled_from([b"", frame(b""), frame(b"\0"), frame(b"\0" * 5000), frame(b"71\0"), GREETING]),
)
sent = st.one_of(messages().map(encoded), messages().map(encoded), messages().map(encoded), garbage)


class Conversation:
    """Some clients of one gateway; whoever is hung up on comes again."""

    def __init__(self, versions: Sequence[bytes]) -> None:
        self.gateway = Gateway(tape())
        self.now = NOW
        self.versions = versions
        self.clients = [started(self.gateway, number, it) for number, it in enumerate(versions)]
        self.readers = [FrameReader(limit=1 << 30) for _ in versions]

    def receive(self, number: int, data: bytes) -> None:
        effects = self.clients[number].receive(data, self.now)
        assert all(isinstance(effect, EFFECTS) for effect in effects)
        for effect in effects:
            if isinstance(effect, Send):
                self._read(number, effect.data)
        if any(isinstance(effect, Hangup | Reset) for effect in effects):
            assert self.clients[number].receive(encode(49, 1), self.now) == []
            self.clients[number].close()
            self.clients[number] = started(self.gateway, number, self.versions[number])

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for connection, data in self.gateway.tick(self.now):
            self._read(self.clients.index(connection), data)

    def _read(self, number: int, data: bytes) -> None:
        """Take what is sent for whole messages, each with an id."""
        assert len(data) <= LONGEST_ANSWER
        self.readers[number].feed(data)
        for payload in self.readers[number].frames():
            assert fields(payload)[0].isdigit()


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    versions=st.lists(st.sampled_from([b"v100..157", b"v157..176", b"v100..225"]), min_size=1, max_size=3),
    script=st.lists(st.tuples(st.integers(0, 2), sent, st.sampled_from([0.0, 0.0, 0.7, 5.0, 90.0])), max_size=12),
)
def test_any_conversation_has_only_effects_of_the_protocol(versions, script) -> None:
    conversation = Conversation(versions)

    for number, data, seconds in script:
        conversation.receive(number % len(versions), data)
        if seconds:
            conversation.pass_time(seconds)


@settings(max_examples=4 * EXAMPLES)
@given(message=st.one_of(messages(), st.lists(texts, max_size=30)))
def test_a_request_is_read_or_its_field_is_named(message: list[str]) -> None:
    payload = "".join(text + "\0" for text in message).encode("utf-8", errors="surrogatepass")

    unreadable = None
    try:
        parse(fields(payload))
    except MalformedField as error:
        unreadable = str(error)

    assert unreadable is None or unreadable in fields(payload)


@settings(max_examples=4 * EXAMPLES)
@given(message=st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))))
def test_reading_what_was_written_gives_the_same_fields(message: list[str]) -> None:
    payload = join(message)

    assert fields(payload) == message


@pytest.mark.parametrize("message", VALID, ids=lambda message: message[0])
def test_every_field_of_every_message_may_hold_anything(message: list[str]) -> None:
    conversation = Conversation([b"v157..176"])

    for place, field in product(range(1, len(message)), NASTY[:24]):
        conversation.receive(0, encoded([*message[:place], field, *message[place + 1 :]]))


@pytest.mark.parametrize(
    ("duration", "size"), [("68 Y", "1 secs"), ("68 Y", "1 min"), ("365 D", "5 secs"), ("86400 S", "1 secs")]
)
def test_a_request_for_millions_of_bars_is_refused_before_any_is_made(duration: str, size: str) -> None:
    connection = started(Gateway(tape()), 1)

    (effect,) = connection.receive(
        encoded(["20", "5", *SPY, "0", "", size, duration, "1", "TRADES", "2", "0", ""]), NOW
    )

    assert isinstance(effect, Send)
    assert fields(effect.data[4:])[:4] == ["4", "2", "5", "162"]


def test_a_long_hostile_conversation_keeps_its_memory() -> None:
    rng = random.Random(7)
    conversation = Conversation([b"v157..176"] * 3)

    def talk(count: int) -> None:
        for _ in range(count):
            message = list(rng.choice(VALID))
            if rng.random() < 0.6:
                message[rng.randrange(len(message))] = rng.choice(NASTY[:60])
            if message[0] in ("20", "50", "1"):
                message[1 if message[0] == "20" else 2] = str(rng.randrange(1 << 40))  # an id never seen before
            conversation.receive(rng.randrange(3), encoded(message))
        conversation.pass_time(5)
        for number in range(3):  # what is held is held by a client: they go
            conversation.receive(number, b"\xff\xff\xff\xff")

    talk(300)  # caches are filled
    tracemalloc.start()
    talk(100)
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(4):
        talk(100)
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert after - before < 30 << 20
    assert peak < 200 << 20


def test_an_unfinished_message_holds_no_more_than_its_limit() -> None:
    connection = started(Gateway(tape()), 1)
    tracemalloc.start()

    hung_up = False
    effects: list[Effect] = []
    connection.receive(MAX_FRAME.to_bytes(4, "big"), NOW)
    for _ in range(64):
        effects += connection.receive(b"\xff" * 65_536, NOW)
        hung_up = hung_up or any(isinstance(effect, Hangup) for effect in effects)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert hung_up
    assert peak < 16 * MAX_FRAME

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.gateway.wire import GREETING, MAX_FRAME, FrameReader, MalformedStream, ascii7, encode, fields, frame

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
MESSAGES = st.lists(st.lists(TEXTS, min_size=1).filter(lambda texts: texts[-1] != ""), min_size=1)


def read_in_slices(stream: bytes, cuts: list[int], **options: object) -> list[list[str]]:
    reader = FrameReader(**options)
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    found = []
    for begin, end in pairwise(edges):
        reader.feed(stream[begin:end])
        found += [fields(payload) for payload in reader.frames()]
    return found


@given(MESSAGES, st.lists(st.integers(min_value=0)))
def test_any_slicing_of_the_bytes_gives_the_same_messages(messages: list[list[str]], cuts: list[int]) -> None:
    stream = b"".join(encode(*texts) for texts in messages)

    assert read_in_slices(stream, cuts) == messages


@given(st.lists(st.integers(min_value=0)))
def test_any_slicing_of_the_greeting_gives_the_same_messages(cuts: list[int]) -> None:
    stream = GREETING + frame(b"v157..176") + encode(71, 2, 1, None) + encode(49, 1)

    assert read_in_slices(stream, cuts, greeting=GREETING) == [["v157..176"], ["71", "2", "1", ""], ["49", "1"]]


def test_byte_by_byte_is_like_all_at_once() -> None:
    stream = encode(9, 1, 42) + encode(15, 1, "DU1")

    assert read_in_slices(stream, list(range(len(stream)))) == [["9", "1", "42"], ["15", "1", "DU1"]]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_reads_back_as_the_same_float(value: float) -> None:
    (text,) = fields(encode(value)[4:])

    assert float(text).hex() == value.hex()


def test_values_are_written_as_tws_clients_read_them() -> None:
    assert encode(4, True, False, None, 0.5, "a")[4:] == b"4\x001\x000\x00\x000.5\x00a\x00"


@given(TEXTS)
def test_escaped_text_is_seven_bit_and_unescapes_to_itself(text: str) -> None:
    escaped = ascii7(text)

    assert escaped.isascii()
    assert "\0" not in escaped
    assert escaped.encode().decode("unicode-escape") == text


def test_a_prefix_beyond_the_limit_ends_the_stream_after_what_came_before() -> None:
    reader = FrameReader()
    reader.feed(encode(49, 1) + (MAX_FRAME + 1).to_bytes(4, "big"))
    frames = reader.frames()

    assert fields(next(frames)) == ["49", "1"]
    with pytest.raises(MalformedStream, match=str(MAX_FRAME + 1)):
        next(frames)


def test_who_takes_one_message_at_a_time_gets_each_once() -> None:
    reader = FrameReader()
    reader.feed(encode(1) + encode(2))

    assert [fields(next(reader.frames())) for _ in range(2)] == [["1"], ["2"]]
    assert list(reader.frames()) == []


def test_the_largest_message_passes() -> None:
    reader = FrameReader()
    reader.feed(frame(b"x" * MAX_FRAME))

    assert [len(payload) for payload in reader.frames()] == [MAX_FRAME]


@pytest.mark.parametrize("stream", [b"GET / HTTP/1.1\r\n", b"API", b"APX", b"\0\0\0\x02API"])
def test_a_stream_without_the_greeting_is_refused_as_soon_as_it_shows(stream: bytes) -> None:
    reader = FrameReader(greeting=GREETING)
    reader.feed(stream)

    if stream == b"API":
        assert list(reader.frames()) == []
    else:
        with pytest.raises(MalformedStream, match="greeting"):
            list(reader.frames())


def test_an_empty_message_has_no_fields_but_a_trailing_empty_field_counts() -> None:
    assert fields(b"") == []
    assert fields(b"1\0\0") == ["1", ""]

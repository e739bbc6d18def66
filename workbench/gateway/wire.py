"""The bytes of the TWS protocol: frames, fields, text.

A message is a frame: four bytes with the length (big-endian, unsigned), then the payload. A payload is fields,
each ended by one NUL. Cutting is incremental: however the network slices the bytes, the same messages come out,
and each byte is copied a constant number of times.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

PREFIX = 4
GREETING = b"API\0"
MAX_FRAME = 1 << 20  # no request of a client is near it; a longer prefix is garbage or hostile

Value = int | float | str | None


class MalformedStream(Exception):
    """Bytes that no TWS client sends. The stream cannot be followed any further."""


class FrameReader:
    r"""An incremental cutter of a byte stream into payloads.

    >>> reader = FrameReader()
    >>> reader.feed(encode(49, 1) + b"\0\0")
    >>> [fields(payload) for payload in reader.frames()]
    [['49', '1']]
    """

    def __init__(self, *, greeting: bytes = b"", limit: int = MAX_FRAME) -> None:
        self._buffer = bytearray()
        self._greeting = greeting
        self.limit = limit
        """The longest payload that is taken; the reader's owner may change it."""

    def feed(self, data: bytes) -> None:
        """Add received bytes."""
        self._buffer += data

    def frames(self) -> Iterator[bytes]:
        """Yield the complete payloads and keep the rest.

        Raises MalformedStream, after all payloads before the offending bytes were given.
        """
        position = 0
        try:
            position = self._greeted()
            while (end := self._end_of_frame(position)) is not None:
                payload = bytes(self._buffer[position + PREFIX : end])
                position = end  # before the payload is given: who stops here does not get it again
                yield payload
        finally:
            del self._buffer[:position]

    def _greeted(self) -> int:
        """Return the number of bytes of a greeting that has arrived completely."""
        expected = self._greeting
        if not expected.startswith(self._buffer[: len(expected)]):
            raise MalformedStream("the stream does not begin with the greeting of a TWS client")
        if len(self._buffer) < len(expected):
            return 0
        self._greeting = b""
        return len(expected)

    def _end_of_frame(self, position: int) -> int | None:
        """Return where the frame at `position` ends, or None while it has not arrived completely."""
        if self._greeting or len(self._buffer) < position + PREFIX:
            return None
        length = int.from_bytes(self._buffer[position : position + PREFIX], "big")
        if length > self.limit:
            raise MalformedStream(f"a message of {length} bytes; {self.limit} is the most")
        end = position + PREFIX + length
        return end if end <= len(self._buffer) else None


def fields(payload: bytes) -> list[str]:
    r"""Return the fields of a payload.

    >>> fields(b"9\0001\00042\0")
    ['9', '1', '42']
    """
    texts = payload.decode("utf-8", errors="backslashreplace").split("\0")
    if texts[-1] == "":
        texts.pop()
    return texts


def encode(*values: Value) -> bytes:
    r"""Return the frame of a message. None is an empty field, a bool is 1 or 0.

    >>> encode(4, True, None, 0.01)
    b'\x00\x00\x00\n4\x001\x00\x000.01\x00'
    """
    return frame(join(map(text_of, values)))


def frame(payload: bytes) -> bytes:
    """Return a payload with its length before it."""
    return len(payload).to_bytes(PREFIX, "big") + payload


def join(texts: Iterable[str]) -> bytes:
    """Return the payload of fields that are text already, each ended by NUL."""
    return "\0".join([*texts, ""]).encode()


def text_of(value: Value) -> str:
    """Return a field's text; a float in the shortest form that reads back as the same float."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    return repr(value) if isinstance(value, float) else str(value)


def ascii7(text: str) -> str:
    r"""Return text in seven-bit ASCII with `\u` escapes, as names and errors are sent since version 153.

    A backslash is escaped too: clients run `unicode-escape` over the text, and a stray one breaks them.

    >>> ascii7("Nestlé")
    'Nestl\\u00e9'
    """
    return "".join([_escaped(letter) for letter in text])


def _escaped(letter: str) -> str:
    if " " <= letter <= "~" and letter != "\\":
        return letter
    code = ord(letter)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"

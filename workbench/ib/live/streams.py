"""Live five-second bars as they come over the wire: message 50, read strictly.

ib_insync keeps every bar for ever, takes an empty field for 0, and requests a stream again by itself. So the streams
that are opened here are unknown to it: the fields of their messages are taken from its decoder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from math import inf, nan
from typing import TYPE_CHECKING, NamedTuple

from workbench.errors import UnreadableAnswer
from workbench.ib.translate import to_ib_contract
from workbench.market.aggregate.live import STEP_S
from workbench.market.contracts import Contract
from workbench.store.journal import LiveBar

if TYPE_CHECKING:
    import ib_insync

_REALTIME_BAR = 50
_FIELDS = 11
"""Message id, version, request id, start, open, high, low, close, volume, average, count."""
_UNKNOWN = -1.0


class _Stream(NamedTuple):
    """Who wants the messages of a stream."""

    on_fields: Callable[[Sequence[str]], None]
    on_error: Callable[[int, str], None]


class Streams:
    """The live streams of one connection, by their ids. It lives on the connection's loop."""

    def __init__(self, ib: ib_insync.IB) -> None:
        self._ib = ib
        self._open: dict[str, _Stream] = {}
        handlers = ib.client.decoder.handlers
        handlers[_REALTIME_BAR] = self._taking(handlers[_REALTIME_BAR])
        ib.errorEvent += self._on_error

    def open(
        self,
        contract: Contract,
        what_to_show: str,
        *,
        on_fields: Callable[[Sequence[str]], None],
        on_error: Callable[[int, str], None],
    ) -> int:
        """Request live bars of regular trading hours; return the id under which they come."""
        number = self._ib.client.getReqId()
        self._open[str(number)] = _Stream(on_fields, on_error)
        use_rth = True
        self._ib.client.reqRealTimeBars(number, to_ib_contract(contract), STEP_S, what_to_show, use_rth, [])
        return number

    def close(self, number: int) -> None:
        """End a stream, where the connection still stands; what is under way of it is not heard any more."""
        if self._open.pop(str(number), None) is not None and self._ib.isConnected():
            self._ib.client.cancelRealTimeBars(number)

    def _taking(self, others: Callable[[Sequence[str]], None]) -> Callable[[Sequence[str]], None]:
        def take(fields: Sequence[str]) -> None:
            stream = self._open.get(fields[2]) if len(fields) > 2 else None
            (stream.on_fields if stream else others)(fields)

        return take

    def _on_error(self, number: int, code: int, text: str, _contract: object) -> None:
        if stream := self._open.get(str(number)):
            stream.on_error(code, text)


def read_live_bar(symbol: str, fields: Sequence[str]) -> LiveBar:
    """Return the bar of a message. Raises `UnreadableAnswer` when it breaks a rule of the protocol or of bars.

    What IB does not know it marks by -1 (volume, count) or 0 (the average of an index): as in history, volume becomes
    0, the others NaN.

    >>> read_live_bar("AAPL", "50 3 7 1795184700 10 11 9 10.5 300 10.2 4".split())
    LiveBar(symbol='AAPL', timestamp=1795184700, open=10.0, high=11.0, low=9.0, close=10.5, volume=300.0, ...)
    """
    try:
        if len(fields) != _FIELDS:
            raise ValueError(f"{len(fields)} fields, not {_FIELDS}")
        start = int(fields[3])
        first, high, low, close, volume, average, count = map(float, fields[4:])
        if start % STEP_S or not (0 < low <= first <= high < inf and low <= close <= high):
            raise ValueError("such a bar cannot be")
        if not ((0 <= volume < inf or volume == _UNKNOWN) and abs(average) < inf and _UNKNOWN <= count < inf):
            raise ValueError("such a volume, average or count cannot be")
        datetime.fromtimestamp(start, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise UnreadableAnswer(
            f"a live bar of {symbol} is broken ({error}) and was not used: {list(fields)}"
        ) from error
    return LiveBar(
        symbol,
        start,
        first,
        high,
        low,
        close,
        0.0 if volume == _UNKNOWN else volume,
        average if average > 0 else nan,
        count if count >= 0 else nan,
    )

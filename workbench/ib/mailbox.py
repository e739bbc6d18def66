"""Messages of one connection, handed to whoever has asked, by the id of the request; all others go to ib_insync.

ib_insync answers a time-out, a refusal and a message that it could not read alike, keeps every live bar for ever, and
takes an empty field for 0. So what answers our own requests is taken from its decoder as the fields that IB sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from workbench.ib.codes import Reaction, explain

if TYPE_CHECKING:
    import ib_insync

OnFields = Callable[[Sequence[str]], None]
OnError = Callable[[int, str], None]

_ID_PLACES = {17: 1, 88: 1, 50: 2}
"""Message ids, and which of their fields has the request's: historical data, head timestamp, a live bar."""
_GOES_ON = (Reaction.INFORM, Reaction.MARKED, Reaction.RESUME)
_WARNINGS = range(2100, 2200)


class _Box(NamedTuple):
    """Who wants what comes of a request."""

    on_fields: OnFields
    on_error: OnError


class Mailbox:
    """The requests of one connection that wait for messages. It lives on the connection's loop."""

    def __init__(self, ib: ib_insync.IB) -> None:
        self.ib = ib
        self._boxes: dict[str, _Box] = {}
        handlers = ib.client.decoder.handlers
        for message_id, place in _ID_PLACES.items():
            handlers[message_id] = self._taking(place, handlers[message_id])
        ib.errorEvent += self._on_error

    def open(self, on_fields: OnFields, on_error: OnError) -> int:
        """Return a new request's id; what IB tells of it is given to the two from now on."""
        number = self.ib.client.getReqId()
        self._boxes[str(number)] = _Box(on_fields, on_error)
        return number

    def close(self, number: int) -> bool:
        """Let what still comes of a request be dropped; return whether IB can be told so, and was not yet."""
        return self._boxes.pop(str(number), None) is not None and self.ib.isConnected()

    def _taking(self, place: int, others: OnFields) -> OnFields:
        """Return a handler of messages that takes those which answer our requests and leaves the others."""

        def take(fields: Sequence[str]) -> None:
            box = self._boxes.get(fields[place]) if len(fields) > place else None
            (box.on_fields if box else others)(fields)

        return take

    def _on_error(self, number: int, code: int, text: str, _contract: object) -> None:
        if box := self._boxes.get(str(number)):
            box.on_error(code, text)


def goes_on(code: int, text: str) -> bool:
    """Return whether a request that is told this code still gets its answer."""
    row = explain(code, text)
    return code in _WARNINGS or (row is not None and row.reaction in _GOES_ON)

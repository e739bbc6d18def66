"""One connection under faults: what it is owed, in which order and when.

A `Line` is the state machine of one client's outgoing bytes. It takes whole messages and gives back pieces with their
times; later pieces never overtake earlier ones, but for messages that a fault delays.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from workbench.gateway.effects import Effect, Hangup, Reset, Send
from workbench.gateway.faults import Action, OnBytes
from workbench.gateway.faults.episodes import Episode
from workbench.gateway.faults.stream import Corrupt, Delay, Drop, Duplicate, Piece, Refuse, Reorder
from workbench.gateway.messages import CANCELS, STREAMS, Message, streams
from workbench.gateway.refusals import Notice
from workbench.gateway.wire import PREFIX, frame

KNOWN_REQUESTS = 4096  # of each client; enough for any that lives, and a bound for one that floods


class Stream(NamedTuple):
    """What keeps coming under a request's id: by the message that stands for it, and of which symbol."""

    kind: str
    symbol: str
    request: str


class Late(NamedTuple):
    """Something that waits for its time; `swapped` goes as soon as another message has gone."""

    due: float
    data: bytes
    swapped: bool = False


def kept_back(payload: bytes, actions: list[Action], waiting: list[Late], now: float) -> list[Late] | None:
    """Return what waits when a message does too, or None when it goes on.

    A message that is to be swapped goes on when another already waits for it: the two are the pair.
    """
    for action in actions:
        if isinstance(action, Delay):
            return [*waiting, Late(now + action.seconds, payload)] if action.seconds < math.inf else waiting
        if isinstance(action, Reorder) and not any(it.swapped for it in waiting):
            return [*waiting, Late(now + action.within, payload, swapped=True)]
    return None


def altered(payload: bytes, actions: list[Action]) -> list[bytes]:
    """Return the messages that come of one, in their order."""
    payloads = [payload]
    for action in actions:
        if isinstance(action, Drop | Duplicate | Corrupt):
            payloads = [it for one in payloads for it in action.alter(one)]
    return payloads


@dataclass(slots=True)
class Line:
    """What a client is owed, and what is known of it."""

    version: int = 0
    client_id: int | None = None
    greeted: bool = False
    over: bool = False
    streams: dict[int, Stream] = field(default_factory=dict)
    dead: set[int] = field(default_factory=set)
    symbols: dict[int, str] = field(default_factory=dict)
    next_message: list[Action] = field(default_factory=list)
    """What befalls the next message that is sent."""
    requests: list[Late] = field(default_factory=list)
    """Requests that are late, as payloads."""
    _answers: list[Late] = field(default_factory=list)
    _queue: deque[tuple[float, Effect]] = field(default_factory=deque)
    _free_at: float = -math.inf

    @property
    def is_clear(self) -> bool:
        """Whether messages may pass untouched."""
        return (
            not (self.over or self.dead or self.next_message or self.requests or self._answers or self._queue)
            and self._free_at == -math.inf
        )

    def track(self, message: Message) -> None:
        """Know which streams the client has, and of which symbol each request is, to find it by the answers."""
        if message.req_id is None:
            return
        if message.symbol:
            self.symbols[message.req_id] = message.symbol
        if streams(message):
            self.streams[message.req_id] = Stream(STREAMS[message.name], message.symbol, message.name)
            self.dead.discard(message.req_id)
        elif message.name in CANCELS.values():
            self.close_stream(message.req_id)
        if len(self.symbols) > KNOWN_REQUESTS:
            self.symbols.pop(next(iter(self.symbols)))
        if len(self.streams) > KNOWN_REQUESTS:
            self.close_stream(next(iter(self.streams)))

    def meant(self, episode: Episode) -> list[int]:
        """Return the ids of the streams that an episode is about."""
        known = self.streams.items()
        return [it for it, stream in known if stream.kind in episode.streams and episode.is_about(stream.symbol)]

    def close_stream(self, req_id: int) -> None:
        """Forget a stream."""
        self.streams.pop(req_id, None)
        self.dead.discard(req_id)

    def send(self, payload: bytes, actions: list[Action], now: float) -> None:
        """Take a message for the client, and what befalls it."""
        if (late := kept_back(payload, actions, self._answers, now)) is not None:
            self._answers = late
            return
        shape = next((it for it in actions if isinstance(it, OnBytes)), None)
        for one in altered(payload, actions):
            data = frame(one)
            self.put(shape.pieces(data) if shape else [Piece(Send(data))], now)
        self._release([it for it in self._answers if it.swapped], now)

    def put(self, pieces: list[Piece], now: float) -> None:
        """Queue pieces behind all that is queued."""
        for piece in pieces:
            self._free_at = max(now, self._free_at) + piece.gap
            if self._free_at < math.inf:  # what comes after for ever need not be kept
                self._queue.append((self._free_at, piece.effect))

    def pop(self, now: float) -> list[Effect]:
        """Return what is due, in order."""
        self._release(sorted(it for it in self._answers if it.due <= now), now)
        effects: list[Effect] = []
        while self._queue and self._queue[0][0] <= now and not self.over:
            effects.append(self._queue.popleft()[1])
            self.over = isinstance(effects[-1], Hangup | Reset)
        if self.over:
            self._queue.clear()
        if self._free_at <= now:
            self._free_at = -math.inf
        return effects

    def pop_requests(self, now: float) -> list[bytes]:
        """Return the late requests whose time has come, in order."""
        due = sorted(it for it in self.requests if it.due <= now)
        self.requests = [it for it in self.requests if it.due > now]
        return [it.data for it in due]

    def next_due(self) -> float:
        """Return when something is due; infinity when nothing is."""
        queued = self._queue[0][0] if self._queue else math.inf
        return min([queued, *[it.due for it in self._answers], *[it.due for it in self.requests]])

    def _release(self, late: list[Late], now: float) -> None:
        self._answers = [it for it in self._answers if it not in late]
        for it in late:
            self.put([Piece(Send(frame(it.data)))], now)


def cut(data: bytes) -> list[bytes]:
    """Return the payloads of whole messages."""
    payloads, at = [], 0
    while at < len(data):
        end = at + PREFIX + int.from_bytes(data[at : at + PREFIX], "big")
        payloads.append(data[at + PREFIX : end])
        at = end
    return payloads


def refusals(actions: list[Action], symbol: str) -> list[Notice]:
    """Return the words in which a request for a symbol is refused."""
    return [it.notice(symbol) for it in actions if isinstance(it, Refuse)]

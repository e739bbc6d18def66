"""The faults at work: a pure engine between the protocol and the shell.

The protocol hands in each message that arrives (`received`), the shell everything that leaves (`outgoing`), and what
comes back is to be obeyed. Nothing waits here: what is to happen later has a time, and `tick` returns it then.
Without faults an outgoing message passes through untouched and unread.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Protocol

from workbench.gateway import answers
from workbench.gateway.effects import Effect, Hangup, Send
from workbench.gateway.effects import Reset as ResetEffect
from workbench.gateway.faults import Action, Close, Fault, OnBytes, OnMessages, OnSession, Reset, Stall
from workbench.gateway.faults.connectivity import because, port_reset
from workbench.gateway.faults.episodes import Fate, Running
from workbench.gateway.faults.line import Line, altered, cut, kept_back, refusals
from workbench.gateway.faults.stream import Piece
from workbench.gateway.faults.triggers import Trigger, ready, struck
from workbench.gateway.messages import ANSWERED, CANCELS, HANDSHAKE, LIVE, Message, answer, integer, request
from workbench.gateway.refusals import ID_IN_USE, NO_REQUEST, Notice
from workbench.gateway.wire import fields, join

Order = tuple["Client | None", Effect]
"""An effect and whom it is for; None is the gateway itself."""

CANCEL_IDS = {"cancelRealTimeBars": "51", "cancelHistoricalData": "25", "cancelMktData": "2"}


class Client(Protocol):
    """What the engine knows of a connection."""

    version: int

    def take(self, texts: list[str], now: float) -> Iterator[Effect]:
        """Answer a message that has passed."""

    def symbol_of(self, con_id: str) -> str:
        """Return the symbol of a contract that is asked for by its id alone."""


class FaultEngine:
    """All faults of one gateway, and what they have done to each of its connections.

    `now` is the gateway time from which a script counts.
    """

    def __init__(self, faults: Iterable[Fault] = (), now: float = 0.0) -> None:
        self._triggers: list[Trigger] = [ready(fault, now) for fault in faults]
        self._running: list[Running] = []
        self._lines: dict[Client, Line] = {}
        self._orders: list[Order] = []
        self._is_stirred = bool(self._triggers)
        """Whether anything may befall anybody: while not, messages are not even looked at."""

    def inject(self, fault: Fault, now: float) -> None:
        """Add a fault to a running script; `When.after` counts from now on."""
        self._triggers.append(ready(fault, now))
        self._is_stirred = True

    def received(self, client: Client, texts: list[str], now: float) -> Iterator[Effect]:
        """Take a message's fields; hand on what passes and return what it is answered."""
        line = self._line(client)
        message = request(texts, client.symbol_of)
        if message.name == "startApi" and line.client_id is None:
            line.client_id = integer(texts, 2)
        if not self._is_stirred:
            line.track(message)
            yield from client.take(texts, now)
            return
        self._catch_up(now)
        actions = self._actions(message, line, now)
        notice, passes = self._verdict(message, line, refusals(actions, message.symbol))
        if notice:
            yield Send(answers.error(NO_REQUEST if message.req_id is None else message.req_id, notice, client.version))
        if notice is ID_IN_USE:
            yield Hangup(f"a fault keeps client id {line.client_id} in use")
        if passes:
            line.track(message)
            yield from self._take(client, line, texts, actions, now)

    def outgoing(self, client: Client, effects: Iterable[Effect], now: float) -> list[Order]:
        """Take what is for a client; return what is to be done now, for it or for anyone."""
        line = self._line(client)
        if not self._is_stirred:
            line.greeted = True
            return [(client, effect) for effect in effects]
        self._catch_up(now)
        self._pass_on(line, effects, now)
        return self.tick(now)

    def tick(self, now: float) -> list[Order]:
        """Return what is due at `now`, for the gateway and for each client in order."""
        if not self._is_stirred:
            return []
        self._catch_up(now)
        for client, line in list(self._lines.items()):
            for payload in line.pop_requests(now):
                self._pass_on(line, client.take(fields(payload), now), now)
        orders, self._orders = self._orders, []
        for client, line in self._lines.items():
            orders += [(client, effect) for effect in line.pop(now)]
        self._is_stirred = bool(self._triggers or self._running) or not all(it.is_clear for it in self._lines.values())
        return orders

    def next_due(self) -> float | None:
        """Return the gateway time at which something may be due, or None."""
        if not self._is_stirred:
            return None
        if self._orders:
            return 0.0
        times = [it.due for it in self._triggers if not it.fault.when.message and self._has_whom_to_strike(it.fault)]
        times += [min(it.until, it.again) for it in self._running]
        times += [line.next_due() for line in self._lines.values() if not line.is_clear]
        return min((it for it in times if it < math.inf), default=None)

    def moved(self, port: int, now: float) -> list[Order]:
        """Tell every client that the gateway has moved to another port, and end their connections."""
        for line in self._started(None):
            self._tell(line, NO_REQUEST, (port_reset(port),), now)
            line.put([Piece(Hangup(f"a fault moves the gateway to port {port}"))], now)
        self._is_stirred = True
        return self.tick(now)

    def forget(self, client: Client) -> None:
        """Forget a client that has gone."""
        self._lines.pop(client, None)

    def _line(self, client: Client) -> Line:
        line = self._lines.get(client)
        if line is None:
            line = self._lines[client] = Line()
        line.version = client.version
        return line

    # What strikes

    def _catch_up(self, now: float) -> None:
        """Let everything strike and end whose time has come, in the order of time."""
        while ended := [it for it in self._running if it.until <= now]:
            first = min(ended, key=lambda it: it.until)
            self._running.remove(first)
            self._end(first, now)
        for running in [it for it in self._running if it.again <= now]:
            running.again = now + running.episode.every
            for line in self._started(running.client_id):
                self._tell(line, NO_REQUEST, running.episode.begin[:1], now)
        for trigger in self._triggers:
            if self._has_whom_to_strike(trigger.fault) and trigger.strikes_at(now):
                self._strike_all(trigger.fault, now)
        self._triggers = [it for it in self._triggers if not it.is_spent]

    def _has_whom_to_strike(self, fault: Fault) -> bool:
        """Return whether a fault finds somebody: one of a connection waits until there is one."""
        return isinstance(fault.action, OnSession) or bool(self._started(fault.when.client))

    def _strike_all(self, fault: Fault, now: float) -> None:
        """Let a fault strike that no message has met."""
        if isinstance(fault.action, OnSession):
            self._begin(fault.action, fault.when.client, now)
            return
        for line in self._started(fault.when.client):
            self._befall(line, fault.action, now)

    def _actions(self, message: Message, line: Line, now: float) -> list[Action]:
        """Return what befalls a message itself; what befalls the session begins at once."""
        faults = struck(self._triggers, message, line.client_id, now)
        for fault in faults:
            if isinstance(fault.action, OnSession):
                self._begin(fault.action, fault.when.client, now)
            elif message.is_request and isinstance(fault.action, OnBytes):
                self._befall(line, fault.action, now)
        self._triggers = [it for it in self._triggers if not it.is_spent]
        on_requests = OnMessages if message.is_request else OnMessages | OnBytes
        return [it.action for it in faults if isinstance(it.action, on_requests)]

    def _befall(self, line: Line, action: Action, now: float) -> None:
        """Let an action befall a connection: at once, or with the next message."""
        if isinstance(action, Stall | Close | Reset):
            line.put(action.pieces(b""), now)
        else:
            line.next_message.append(action)

    def _begin(self, action: OnSession, only: int | None, now: float) -> None:
        """Let an episode begin; one that lasts no time ends at once."""
        episode = action.episode()
        lines = self._started(only)
        for line in lines:
            self._tell(line, NO_REQUEST, episode.begin, now)
            if episode.told:
                for req_id in line.meant(episode):
                    self._tell(line, req_id, (episode.told,), now)
            if episode.keeps_id:
                line.put([Piece(ResetEffect("a fault resets it and keeps its id in use"))], now)
        kept = {line.client_id for line in lines} | {only} if episode.keeps_id else set()
        running = Running(
            episode, now + episode.seconds, only, frozenset(it for it in kept if it is not None), now + episode.every
        )
        if episode.at_first:
            self._orders.append((None, episode.at_first))
        if episode.seconds > 0:
            self._running.append(running)
        else:
            self._end(running, now)

    def _end(self, running: Running, now: float) -> None:
        episode = running.episode
        if episode.at_last:
            self._orders.append((None, episode.at_last))
        for client, line in self._lines.items():
            if line.client_id is None or running.client_id not in (None, line.client_id):
                continue
            for req_id in line.meant(episode) if episode.fate is not Fate.ALIVE else []:
                self._let_die(client, line, req_id, episode.fate, now)
            self._tell(line, NO_REQUEST, episode.end, now)

    def _let_die(self, client: Client, line: Line, req_id: int, fate: Fate, now: float) -> None:
        line.dead.add(req_id)
        if fate is Fate.GONE:
            cancel = CANCELS[line.streams[req_id].request]
            list(client.take([CANCEL_IDS[cancel], "1", str(req_id)], now))  # its answer is not the client's
            line.close_stream(req_id)

    def _tell(self, line: Line, req_id: int, notices: Iterable[Notice], now: float) -> None:
        for notice in notices:
            line.put([Piece(Send(answers.error(req_id, notice, line.version)))], now)

    def _started(self, client_id: int | None) -> list[Line]:
        """Return the connections that have told their id, or the one of that id."""
        started = [line for line in self._lines.values() if line.client_id is not None]
        return [line for line in started if client_id in (None, line.client_id)]

    # What passes

    def _verdict(self, message: Message, line: Line, refused: list[Notice]) -> tuple[Notice | None, bool]:
        """Return why a request is refused, if it is, and whether it passes to the protocol."""
        if message.name == "startApi" and any(line.client_id in it.kept_ids for it in self._running):
            return ID_IN_USE, False
        episodes = [it.episode for it in self._running if it.befalls(line.client_id, message.symbol)]
        reasons = [it.refused[message.name] for it in episodes if message.name in it.refused]
        if notices := [*refused, *[because(it, message.symbol) for it in reasons]]:
            return notices[0], False
        return None, not any(message.name in it.unanswered for it in episodes)

    def _take(
        self, client: Client, line: Line, texts: list[str], actions: list[Action], now: float
    ) -> Iterator[Effect]:
        """Hand a request on, as what befalls it says."""
        payload = join(texts)
        if (waiting := kept_back(payload, actions, line.requests, now)) is not None:
            line.requests = waiting
            return
        for one in altered(payload, actions) if actions else [payload]:
            yield from client.take(fields(one) if actions else texts, now)
        swapped = [it for it in line.requests if it.swapped]
        line.requests = [it for it in line.requests if not it.swapped]
        for late in swapped:
            yield from client.take(fields(late.data), now)

    def _pass_on(self, line: Line, effects: Iterable[Effect], now: float) -> None:
        """Put what is for a client into its line, message by message."""
        for effect in effects:
            if not isinstance(effect, Send):
                line.put([Piece(effect)], now)
                continue
            for payload in cut(effect.data):
                self._send(line, payload, now)

    def _send(self, line: Line, payload: bytes, now: float) -> None:
        message = answer(fields(payload), line.version, line.symbols)
        if not line.greeted:
            line.greeted, message = True, Message(HANDSHAKE, message.texts, is_request=False)
        if self._is_silenced(line, message):
            return
        actions, line.next_message = line.next_message, []
        line.send(payload, actions + self._actions(message, line, now), now)

    def _is_silenced(self, line: Line, message: Message) -> bool:
        """Return whether a message goes nowhere: one of a dead stream, or one that an outage keeps back."""
        stream, asked = LIVE.get(message.name), ANSWERED.get(message.name)
        if stream and message.req_id in line.dead:
            return True
        episodes = [it.episode for it in self._running if it.befalls(line.client_id, message.symbol)]
        return any(stream in it.silent or asked in it.unanswered for it in episodes)

"""What the clients of one gateway share: the market and its streams, their ids, the limits, the faults."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING

from workbench.errors import GatewayError
from workbench.gateway.behaviour import Behaviour
from workbench.gateway.contracts import Catalogue
from workbench.gateway.faults.engine import FaultEngine
from workbench.gateway.keepup import KeptUp
from workbench.gateway.pending import AT_ONCE, Latency, Pending
from workbench.gateway.realtime import LiveBars
from workbench.gateway.rulebook import Rulebook, no_rules
from workbench.gateway.rules import Counted
from workbench.gateway.tape import Tape
from workbench.gateway.ticks import LiveTicks

if TYPE_CHECKING:
    from workbench.gateway.protocol import GatewayConnection


class Gateway:
    """What the clients of one gateway share: the tape, their ids, what they are subscribed to, the faults."""

    def __init__(
        self,
        tape: Tape,
        faults: FaultEngine | None = None,
        *,
        behaviour: Behaviour | None = None,
        rulebook: Rulebook | None = None,
        rules_time: Callable[[float], float] = float,
        real_time: Callable[[float], float] = float,
        latency: Latency = AT_ONCE,
    ) -> None:
        self.faults = faults or FaultEngine()
        self.behaviour = behaviour or Behaviour()
        self.rulebook = rulebook or no_rules()
        self.rules_time = rules_time
        """From gateway time to the time in which the windows of the rules run."""
        self.real_time = real_time
        """From gateway time to seconds of the real world: clients wait in those, whatever the gateway's clock."""
        self.latency = latency
        self.pending = Pending()
        self.tape = tape
        self.catalogue = Catalogue(tape.instruments)
        self.live = LiveBars(tape)
        self.ticks = LiveTicks(tape, self.behaviour.delay_s)
        self.kept = KeptUp(tape, self.behaviour.update_s)
        self._client_ids: dict[int, GatewayConnection] = {}

    def claim(self, client_id: int, connection: GatewayConnection) -> bool:
        """Give a client its id; False when another holds it."""
        return self._client_ids.setdefault(client_id, connection) is connection

    @property
    def is_full(self) -> bool:
        """Whether there are as many clients as there may be."""
        return len(self._client_ids) >= self.behaviour.max_clients

    def release(self, connection: GatewayConnection) -> None:
        """Forget a client that has gone."""
        self.faults.forget(connection)
        self.live.forget(connection)
        self.ticks.forget(connection)
        self.kept.forget(connection)
        self.pending.forget(connection)
        self.rulebook.forget(connection)
        self._client_ids = {key: held for key, held in self._client_ids.items() if held is not connection}

    def next_due(self, now: float) -> float | None:
        """Return the gateway time at which `tick` may have something to give, or None."""
        streams = (self.live, self.ticks, self.kept)
        times = (self.pending.next_due(), *[stream.next_due(now) for stream in streams])
        return min((due for due in times if due is not None), default=None)

    def skip(self, now: float) -> None:
        """Let the clock have jumped ahead to `now`: all streams go on from there, what was skipped only history has."""
        for stream in (self.live, self.ticks, self.kept):
            stream.skip(now)

    def tick(self, now: float) -> list[tuple[GatewayConnection, bytes]]:
        """Return what is due, answers first: one block of bytes a client."""
        blocks: dict[object, bytearray] = defaultdict(bytearray)
        for client, req_id, answer in self.pending.take(now):
            blocks[client] += answer.data
            if answer.ends:
                self.rulebook.release(client, req_id, Counted.HISTORICAL)
        everybody = list(self._client_ids.values())
        for due, broke in (
            (self.live.tick(now), _bars_broke),
            (self.ticks.tick(now), _ticks_broke),
            (self.kept.tick(now), _query_broke),
        ):
            for connection in everybody:
                if connection in due:
                    blocks[connection] += due[connection].data
                    for req_id, error in due[connection].broken:
                        blocks[connection] += broke(connection, req_id, error)
        return [(connection, bytes(blocks[connection])) for connection in everybody if blocks[connection]]


def _bars_broke(connection: GatewayConnection, req_id: int, error: GatewayError) -> bytes:
    return connection.lines.bars_broke(req_id, error)


def _ticks_broke(connection: GatewayConnection, req_id: int, error: GatewayError) -> bytes:
    return connection.lines.ticks_broke(req_id, error)


def _query_broke(connection: GatewayConnection, req_id: int, error: GatewayError) -> bytes:
    return connection.queries.broke(req_id, error)

"""A gateway that enforces IB's rules and keeps account of what it was asked, for tests and benchmarks of backfills."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from workbench.gateway.clock import GatewayClock
from workbench.gateway.pending import Latency
from workbench.gateway.refusals import Refused
from workbench.gateway.requests import HeadTimestampRequest, HistoricalRequest, Request
from workbench.gateway.rulebook import Rulebook
from workbench.gateway.rules import RULES, Asked
from workbench.gateway.server import GatewayServer
from workbench.gateway.serving import running, serve
from workbench.gateway.simulated import SimulatedTape
from workbench.gateway.tape import Tape


@dataclass
class Account:
    """What a gateway was asked, and what it refused."""

    history: list[tuple[float, HistoricalRequest]] = field(default_factory=list)
    heads: int = 0
    messages: int = 0
    refusals: list[str] = field(default_factory=list)

    def asked(self) -> Counter[tuple[str, str, str, str]]:
        """Count equal requests: symbol, bar size, end, duration."""
        return Counter((it.contract.symbol, it.bar_size, it.end, it.duration) for _, it in self.history)


class CountingRulebook(Rulebook):
    """A rulebook that tells what it admitted and what it refused."""

    def __init__(self, account: Account, rules: tuple = RULES) -> None:  # type: ignore[type-arg]
        super().__init__(rules)
        self._account = account

    def message(self, client: Hashable, request: Request, at: float) -> None:
        self._account.messages += 1
        self._noting(super().message, client, request, at)

    def admit(self, asked: Asked, at: float) -> None:
        self._noting(super().admit, asked, at)
        if isinstance(asked.request, HistoricalRequest):
            self._account.history.append((at, asked.request))
        if isinstance(asked.request, HeadTimestampRequest):
            self._account.heads += 1

    def _noting(self, check, *what: object) -> None:  # type: ignore[no-untyped-def]
        try:
            check(*what)
        except Refused as refused:
            self._account.refusals.append(f"{refused.notice}")
            raise


@contextmanager
def strict_gateway(
    tape: Tape, start: float, *, speed: float = 1.0, latency: Latency | None = None
) -> Iterator[tuple[GatewayServer, Account]]:
    """Run a gateway with IB's rules, whose windows run in its own time."""
    account = Account()
    options = {"latency": latency} if latency else {}
    with running(tape, GatewayClock(start, speed), rulebook=CountingRulebook(account), **options) as gateway:  # type: ignore[arg-type]
        yield gateway, account


@contextmanager
def strict_process(
    start: float, speed: float = 1.0, s_per_1000_bars: float = 0.0, symbols: int = 0
) -> Iterator[tuple[int, list[Account]]]:
    """Run such a gateway in a process of its own, as users do: neither side takes the other's time.

    Its market is that of the default universe, or of so many synthetic symbols. When it ends, its account is in the
    list, of its requests the times only.
    """
    options = map(str, (start, speed, s_per_1000_bars, symbols))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.ib.strict", *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    told: list[Account] = []
    try:
        yield int(process.stdout.readline()), told
    finally:
        out, _ = process.communicate()
        told.append(Account(**json.loads(out)))


def run_gateway(start: float, speed: float, s_per_1000_bars: float, symbols: int) -> None:
    """Serve until standard input ends, then print what was asked and refused."""
    from tests.benchmarks.gateway import synthetic

    account, market = Account(), {"market": synthetic(symbols)} if symbols else {}
    serve(
        SimulatedTape(1, start=int(start), **market),
        GatewayClock(start, speed),
        port=0,
        on_ready=lambda _, port: print(port, flush=True),
        until_stdin_closes=True,
        rulebook=CountingRulebook(account),
        latency=Latency(per_1000_bars_s=s_per_1000_bars),
    )
    told = {"history": [at for at, _ in account.history], "heads": account.heads, "messages": account.messages}
    print(json.dumps(told | {"refusals": account.refusals}))


if __name__ == "__main__":
    run_gateway(float(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))

"""A gateway that enforces IB's rules and keeps account of what it was asked, for tests and benchmarks of backfills."""

from __future__ import annotations

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
from workbench.gateway.serving import running
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

"""The gateways that the client side is tested against, over real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from workbench.gateway.clock import GatewayClock
from workbench.gateway.server import GatewayServer
from workbench.gateway.serving import running
from workbench.gateway.simulated import SimulatedTape
from workbench.ib.connection import IBDataManager
from workbench.ib.dial import IBConnectionConfig

NEW_YORK = ZoneInfo("America/New_York")


def at(text: str) -> float:
    """Return exchange time in epoch seconds."""
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp()


@pytest.fixture(scope="session")
def market() -> Iterator[GatewayServer]:
    """A simulated market, 37 minutes after the open of a Friday; its clock goes on at real speed."""
    start = at("2026-11-20T10:07:00")
    with running(SimulatedTape(1, start=int(start)), GatewayClock(start)) as gateway:
        yield gateway


@pytest.fixture
def ib(market: GatewayServer) -> Iterator[IBDataManager]:
    """A connection to the simulated market."""
    with IBDataManager(IBConnectionConfig(market.host, market.port)) as manager:
        yield manager

"""What is recorded beside the bars: the gateway's version, and what its volumes count."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ib.conftest import at
from workbench.errors import BasisMismatch
from workbench.gateway.clock import GatewayClock
from workbench.gateway.faults import Corrupt, Fault, When
from workbench.gateway.serving import running
from workbench.gateway.simulated import SimulatedTape
from workbench.ib.backfill import BackfillReport, plan_backfill
from workbench.ib.connection import IBDataManager
from workbench.ib.dial import IBConnectionConfig
from workbench.store.historical import HistoricalDataManager

START = at("2026-11-20T17:00")
AS_IB = Fault(When("managedAccounts", times=0), Corrupt(2, "DU1234567"))
"""The built-in gateway passes itself off as one of IB's."""


@pytest.fixture
def store(tmp_path: Path) -> HistoricalDataManager:
    return HistoricalDataManager(tmp_path)


@contextmanager
def at_ib(version: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[IBDataManager]:
    """Connect as a client of some version; the gateway tells those before 175 volumes in lots."""
    from ib_insync import Client

    monkeypatch.setattr(Client, "MaxClientVersion", version)
    with (
        running(SimulatedTape(1, start=int(START)), GatewayClock(START), faults=[AS_IB]) as gateway,
        IBDataManager(IBConnectionConfig(gateway.host, gateway.port)) as ib,
    ):
        yield ib


def filled(ib: IBDataManager, store: HistoricalDataManager, until: str) -> tuple[int, BackfillReport]:
    """Backfill a stock and an index; return how many requests were forecast, and the report."""
    planned = plan_backfill(ib, store, ["AAPL", "VIX"], ["1day"], since="2026-09-01", until=until)
    return planned.forecast.requests, planned.run(progress=False)


@pytest.mark.parametrize(("version", "unit"), [(174, "lots"), (176, "shares")])
def test_the_version_and_the_unit_of_volumes_are_recorded(
    version: int, unit: str, store: HistoricalDataManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    with at_ib(version, monkeypatch) as ib:
        first, _ = filled(ib, store, "2026-11-01")
        second, report = filled(ib, store, "2026-11-10")

    stock, index = (store.known_info(symbol, "1day") for symbol in ("AAPL", "VIX"))
    assert (stock.gateway_version, stock.volume_unit) == (str(version), unit)
    assert (index.gateway_version, index.volume_unit) == (str(version), "shares")
    assert first == 2 + 1  # the unit is asked for once a connection
    assert second == 2 + 2  # and two looks for splits
    assert (report.requests, report.looks) == (2, 2)
    assert not report.failed


def test_where_nothing_is_missing_no_split_is_looked_for(
    store: HistoricalDataManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a Saturday the time since the close is not covered, but there is no session in it."""
    with at_ib(176, monkeypatch) as ib:
        filled(ib, store, "2026-11-01")
        forecast, report = filled(ib, store, "2026-11-02")

    assert (forecast, report.requests, report.looks) == (0, 0, 0)


def test_bars_in_another_unit_are_not_added(store: HistoricalDataManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when somebody ticks the setting of TWS between two backfills."""
    with at_ib(176, monkeypatch) as ib:
        filled(ib, store, "2026-11-01")
    with at_ib(174, monkeypatch) as ib:
        _, report = filled(ib, store, "2026-11-10")

    (failed,) = report.failed
    assert (failed.symbol, type(failed.error)) == ("AAPL", BasisMismatch)
    assert "IB's volumes are 0.01 times the stored ones" in str(report)
    assert failed.saved.added == 0

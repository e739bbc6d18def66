"""Live streams by the real ib_insync at the built-in gateway: limits, differences, and what is read."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from tests.ib.conftest import at
from tests.ib.live_market import until
from tests.ib.strict import Account, CountingRulebook, strict_gateway
from workbench.errors import Disconnected, InvalidInput, InvalidSymbol
from workbench.gateway.clock import GatewayClock
from workbench.gateway.faults import Corrupt, Fault, When
from workbench.gateway.rules import LINES, RULES
from workbench.gateway.serving import running
from workbench.gateway.simulated import SimulatedTape
from workbench.ib.connection import IBDataManager
from workbench.ib.dial import IBConnectionConfig
from workbench.ib.live.subscriber import RealtimeDataSubscriber
from workbench.store.journal import LiveBar

MORNING = at("2026-11-20T10:00:00")
SPEED = 100.0


def config(host: str, port: int, **changes: object) -> IBConnectionConfig:
    settings = {"timeout": 2.0, "paced": False, "reset_region": None, "gateway_speed": SPEED} | changes
    return IBConnectionConfig(host, port, **settings)  # type: ignore[arg-type]


def test_bars_of_a_symbol_come_one_after_the_other() -> None:
    with running(SimulatedTape(1, start=int(MORNING)), GatewayClock(MORNING, SPEED)) as gateway:
        with IBDataManager(config(gateway.host, gateway.port)) as ib, ib.subscribe_realtime_bars("AAPL") as live:
            bars = [bar for bar, _ in zip(live, range(5), strict=False)]

        assert [bar.timestamp - bars[0].timestamp for bar in bars] == [0, 5, 10, 15, 20]
        assert {bar.symbol for bar in bars} == {"AAPL"}


def test_ib_has_live_bars_of_five_seconds_only(ib: IBDataManager) -> None:
    with pytest.raises(InvalidInput, match="5 seconds"):
        ib.subscribe_realtime_bars("AAPL", bar_size=60)


def test_a_symbol_that_cannot_be_is_refused_at_once(ib: IBDataManager) -> None:
    with RealtimeDataSubscriber(ib) as subscriber, pytest.raises(InvalidSymbol):
        subscriber.subscribe_symbols(["../x"])


def test_only_the_difference_of_a_watchlist_is_requested(ib: IBDataManager) -> None:
    with RealtimeDataSubscriber(ib) as subscriber:
        subscriber.subscribe_symbols(["AAPL", "KO"])
        until(lambda: not subscriber.status().waiting)
        kept = subscriber._lines.streams["KO"].number

        subscriber.update_subscriptions(["MSFT", "KO"])
        until(lambda: set(subscriber._lines.streams) == {"KO", "MSFT"} and not subscriber.status().waiting)
        assert subscriber._lines.streams["KO"].number == kept
        subscriber.unsubscribe_symbol("KO")

        until(lambda: set(subscriber._lines.streams) == {"MSFT"})
        assert subscriber.symbols == ["MSFT"]


def test_more_symbols_than_lines_wait_and_take_the_lines_that_become_free() -> None:
    symbols = ["AAPL", "MSFT", "KO", "SPY", "QQQ"]
    account, rules = Account(), tuple(replace(rule, limit=3) if rule is LINES else rule for rule in RULES)
    tape, clock = SimulatedTape(1, start=int(MORNING)), GatewayClock(MORNING, SPEED)
    with running(tape, clock, rulebook=CountingRulebook(account, rules)) as gateway:
        paced = config(gateway.host, gateway.port, paced=True, market_data_lines=3)
        with IBDataManager(paced) as ib, RealtimeDataSubscriber(ib) as subscriber:
            subscriber.subscribe_symbols(symbols)
            until(lambda: subscriber.status().waiting == ("SPY", "QQQ"))

            subscriber.unsubscribe_symbol("MSFT")

            until(lambda: subscriber.status().waiting == ("QQQ",))
            later = gateway.clock.now() + 60
            until(lambda: gateway.clock.now() > later)
            assert subscriber.status().waiting == ("QQQ",)
            assert subscriber.status().refused == {}
    assert account.refusals == []


def test_no_more_than_sixty_new_streams_are_requested_in_ten_minutes_and_the_user_is_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.ib.live.lines._TELL_WAITING_S", 0.2)
    tape = SimulatedTape(1, start=int(MORNING))
    symbols = [one.symbol for one in tape.instruments if one.sec_type == "STK" and "." not in one.key][:64]
    with strict_gateway(tape, MORNING, speed=400.0) as (gateway, account):
        paced = config(gateway.host, gateway.port, paced=True, gateway_speed=400.0)
        with IBDataManager(paced) as ib, RealtimeDataSubscriber(ib) as subscriber:
            with caplog.at_level(logging.WARNING, logger="workbench.ib.live.lines"):
                subscriber.subscribe_symbols(symbols)
                until(lambda: len(subscriber.status().waiting) == len(symbols) - 60)
                until(lambda: "60 new ones in ten minutes" in caplog.text)
                assert subscriber.status().waiting == tuple(symbols[60:])

            until(lambda: not subscriber.status().waiting)

            assert gateway.clock.now() > MORNING + 600
            assert subscriber.status().refused == {}
    assert account.refusals == []


def test_a_broken_bar_is_told_and_the_next_ones_come(caplog: pytest.LogCaptureFixture) -> None:
    faults = [Fault(When("realtimeBar", nth=2), Corrupt(5, "x"))]
    with running(SimulatedTape(1, start=int(MORNING)), GatewayClock(MORNING, SPEED), faults=faults) as gateway:  # noqa: SIM117
        with IBDataManager(config(gateway.host, gateway.port)) as ib, ib.subscribe_realtime_bars("AAPL") as live:
            starts = [bar.timestamp for bar, _ in zip(live, range(3), strict=False)]
            assert live.status().broken == 1

    assert [start - starts[0] for start in starts] == [0, 10, 15]
    assert "a live bar of AAPL is broken" in caplog.text


def test_whoever_reads_learns_that_the_connection_was_ended(ib: IBDataManager) -> None:
    live = ib.subscribe_realtime_bars("AAPL")

    ib.disconnect()

    with pytest.raises(Disconnected):
        for _ in live:
            pass


def test_ib_insync_keeps_none_of_the_bars() -> None:
    with running(SimulatedTape(1, start=int(MORNING)), GatewayClock(MORNING, SPEED)) as gateway:  # noqa: SIM117
        with IBDataManager(config(gateway.host, gateway.port)) as ib, ib.subscribe_realtime_bars("AAPL") as live:
            bars = [bar for bar, _ in zip(live, range(5), strict=False)]

            async def kept(own: object) -> int:
                return len(own.wrapper.reqId2Subscriber)  # type: ignore[attr-defined]

            assert ib.use(kept) == 0
    assert all(isinstance(bar, LiveBar) for bar in bars)

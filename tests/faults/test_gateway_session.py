"""Faults of the session that leave the connection open, as the real ib_insync meets them over TCP."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest

from tests.faults.desk import (
    FOR_EVER,
    WORDS,
    Desk,
    client,
    hangs,
    is_silent,
    meet,
    moments,
)
from workbench.gateway.faults import (
    Action,
    Bust,
    CompetingSession,
    ConnectivityLost,
    ConnectivityRestored,
    FarmBroken,
    FarmInactive,
    Fault,
    LiveUpdatesFailed,
    NightlyReset,
    ServerBroken,
    Silence,
    Tell,
    WeekendReset,
    When,
)
from workbench.gateway.faults.script import parse_faults


@pytest.mark.parametrize(
    "told",
    [
        Fault(When(message="reqContractDetails"), Tell(2110, "Connectivity is broken: 100 %, {symbol}.")),
        *parse_faults('[[fault]]\nwhen = { message = "reqContractDetails" }\naction = { do = "tell", code = 1102 }'),
    ],
)
def test_a_client_is_told_any_code_and_text_about_no_request_and_all_goes_on(told: Fault) -> None:
    async def conversation(desk: Desk) -> None:
        bars = desk.stream()
        await desk.until(lambda: len(bars) >= 2)
        assert len(await desk.details()) == 1
        assert isinstance(told.action, Tell)
        assert desk.errors == [(-1, told.action.code, told.action.text)]
        count = len(bars)
        await desk.until(lambda: len(bars) >= count + 2)

    meet(conversation, faults=[told])


@dataclass(frozen=True)
class Outage:
    """A fault, the codes that are told, and whether live bars go on afterwards."""

    action: Action
    codes: tuple[int, ...]
    flows: bool = True


OUTAGES: dict[str, Outage] = {
    "1100, 1102": Outage(ConnectivityLost(20), (1100, 1102)),
    "1100, 1102, dead streams": Outage(ConnectivityLost(20, streams="dead"), (1100, 1102), flows=False),
    "1100, 1101": Outage(ConnectivityLost(20, data="lost"), (1100, 1101, 2104, 2106, 2158), flows=False),
    "1100 for ever": Outage(ConnectivityLost(FOR_EVER), (1100,), flows=False),
    "1101": Outage(ConnectivityRestored(data="lost"), (1101, 2104, 2106, 2158), flows=False),
    "1102": Outage(ConnectivityRestored(), (1102,)),
    "1102, dead streams": Outage(ConnectivityRestored(streams="dead"), (1102,), flows=False),
    "2103, 2104": Outage(FarmBroken("market", 20), (2103, 2104)),
    "2103, 2104, dead streams": Outage(FarmBroken("market", 20, "dead"), (2103, 2104), flows=False),
    "2105, 2106": Outage(FarmBroken("historical", 20), (2105, 2106)),
    "2157, 2158": Outage(FarmBroken("secdef", 20), (2157, 2158)),
    "2107": Outage(FarmInactive("historical"), (2107,)),
    "2108": Outage(FarmInactive("market"), (2108,)),
    "2108, dead streams": Outage(FarmInactive("market", "dead"), (2108,), flows=False),
    "2110": Outage(ServerBroken(20), (2110, 2104, 2106, 2158)),
    "2110, dead streams": Outage(ServerBroken(20, "dead"), (2110, 2104, 2106, 2158), flows=False),
    "10197": Outage(CompetingSession(20), (10197,)),
    "10197 for ever": Outage(CompetingSession(FOR_EVER), (10197,), flows=False),
    "10225, re-requested": Outage(Bust(), (10225,)),
    "silence": Outage(Silence(), (), flows=False),
    "silence, then on": Outage(Silence(20), ()),
    "nightly reset": Outage(NightlyReset(20), (1100, 2103, 2105, 1102, 2104, 2106)),
    "weekend reset": Outage(WeekendReset(20), ()),
}


@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES)
def test_a_connected_client_is_told_and_its_bars_go_on_or_not(outage: Outage) -> None:
    async def conversation(desk: Desk) -> None:
        bars = desk.stream()
        await desk.until(lambda: len(bars) >= 2)

        desk.strike(outage.action)
        await desk.until(lambda: len(desk.errors) >= len(outage.codes))

        assert [it[1:] for it in desk.errors] == [(code, WORDS[code]) for code in outage.codes]
        if outage.flows:
            count = len(bars)
            await desk.until(lambda: len(bars) >= count + 5)
        else:
            assert await is_silent(bars)
        assert desk.ib.isConnected()

    meet(conversation)


REVIVABLE = {name: it for name, it in OUTAGES.items() if "dead" in name or "1101" in name}


@pytest.mark.parametrize("outage", REVIVABLE.values(), ids=REVIVABLE)
def test_dead_streams_come_back_when_they_are_requested_again_after(outage: Outage) -> None:
    async def conversation(desk: Desk) -> None:
        bars = desk.stream()
        await desk.until(lambda: len(bars) >= 2)
        desk.strike(outage.action)
        await desk.until(lambda: len(desk.errors) >= len(outage.codes))

        desk.ib.cancelRealTimeBars(bars)
        again = desk.stream()

        await desk.until(lambda: len(again) >= 3)

    meet(conversation)


def test_while_ib_is_lost_nothing_is_answered() -> None:
    async def conversation(desk: Desk) -> None:
        desk.strike(ConnectivityLost(FOR_EVER))
        assert await hangs(desk.history())
        assert await hangs(desk.details())

    meet(conversation)


def test_bars_of_an_outage_are_not_sent_later() -> None:
    async def conversation(desk: Desk) -> None:
        bars = desk.stream()
        await desk.until(lambda: len(bars) >= 2)
        desk.strike(ConnectivityLost(seconds=60))
        await desk.until(lambda: 1102 in desk.codes)
        count = len(bars)
        await desk.until(lambda: len(bars) >= count + 2)
        steps = [b - a for a, b in pairwise(moments(bars))]
        assert max(steps) >= 55
        assert sorted(steps)[:-1] == [5] * (len(steps) - 1)
        assert len(await desk.history()) == 7

    meet(conversation)


def test_some_symbols_fall_silent_and_others_do_not() -> None:
    async def conversation(desk: Desk) -> None:
        quiet, loud = desk.stream("AAPL"), desk.stream("MSFT")
        await desk.until(lambda: len(quiet) >= 2 and len(loud) >= 2)
        desk.strike(Silence(symbols=("AAPL",)))
        assert await is_silent(quiet)
        count = len(loud)
        await desk.until(lambda: len(loud) > count)

    meet(conversation)


def test_a_bust_befalls_one_symbol_and_ends_when_ib_insync_requests_it_again() -> None:
    async def conversation(desk: Desk) -> None:
        bars, other = desk.stream("AAPL"), desk.stream("MSFT")
        await desk.until(lambda: len(bars) >= 2 and len(other) >= 2)
        sent: list[str] = []
        send = desk.ib.client.send
        desk.ib.client.send = lambda *texts: (sent.append(str(texts[0])), send(*texts))  # type: ignore[method-assign]
        desk.strike(Bust(symbols=("AAPL",)))
        await desk.until(lambda: bool(desk.errors))
        count = len(bars)
        await desk.until(lambda: len(bars) >= count + 3)
        assert desk.errors == [(bars.reqId, 10225, WORDS[10225])]
        assert sent == ["51", "50"]

    meet(conversation)


KEPT = {"endDateTime": "", "barSizeSetting": "5 secs", "durationStr": "600 S", "keepUpToDate": True}


def test_updates_of_history_end_with_10182_until_they_are_requested_again() -> None:
    async def conversation(desk: Desk) -> None:
        bars = await desk.history(**KEPT)
        count = len(bars)
        await desk.until(lambda: len(bars) >= count + 3)

        desk.strike(LiveUpdatesFailed())
        await desk.until(lambda: bool(desk.errors))

        assert desk.errors == [(bars.reqId, 10182, WORDS[10182])]
        assert await is_silent(bars)
        desk.ib.cancelHistoricalData(bars)
        again = await desk.history(**KEPT)
        count = len(again)
        await desk.until(lambda: len(again) >= count + 3)

    meet(conversation)


def test_ticks_fall_silent_on_a_healthy_connection() -> None:
    async def conversation(desk: Desk) -> None:
        from ib_insync import Stock

        ticker = desk.ib.reqMktData(Stock("AAPL", "SMART", "USD"))
        seen: list[float] = []
        ticker.updateEvent += lambda it: seen.append(it.last)
        await desk.until(lambda: len(seen) >= 3)
        desk.strike(Silence(symbols=("AAPL",)))
        assert await is_silent(seen)
        assert len(await desk.history()) == 7

    meet(conversation)


def test_an_outage_is_told_to_every_client_or_to_the_one_it_names() -> None:
    async def conversation(desk: Desk) -> None:
        async with client(desk.gateway, 2) as other:
            desk.strike(ConnectivityRestored(), client=2)
            desk.strike(FarmInactive())
            await desk.until(lambda: bool(desk.errors) and len(other.errors) == 2)
            assert (desk.codes, other.codes) == ([2107], [1102, 2107])

    meet(conversation)

"""Contracts of the universe at the built-in gateway, by the real ib_insync: known, renamed, delisted, ambiguous."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest

from tests.ib.conftest import at
from workbench.errors import Disconnected, IBError
from workbench.gateway.clock import GatewayClock
from workbench.gateway.faults import Fault, Refuse, When
from workbench.gateway.serving import running
from workbench.gateway.simulated import SimulatedTape
from workbench.gateway.tape import Instrument
from workbench.ib.connection import IBDataManager
from workbench.ib.dial import IBConnectionConfig
from workbench.ib.qualification import qualify
from workbench.market.contracts import Contract
from workbench.market.qualification import Qualification

START = at("2026-11-20T10:00:00")
AAPL, KO, RY, VIX = Contract("AAPL"), Contract("KO"), Contract("RY"), Contract("VIX", "index", "CBOE")


class LaterTape(SimulatedTape):
    """The simulated market after some listings have changed."""

    def __init__(self, changed: dict[str, Instrument | None]) -> None:
        super().__init__(1, start=int(START))
        self._changed = changed

    @property
    def instruments(self) -> Sequence[Instrument]:
        """Return the instruments as they are now."""
        later = [self._changed.get(one.symbol, one) for one in super().instruments]
        return tuple(one for one in later if one is not None)


def instrument(symbol: str) -> Instrument:
    return next(one for one in SimulatedTape(1, start=int(START)).instruments if one.symbol == symbol)


def ask(
    contracts: Iterable[Contract],
    known: dict[str, Qualification] | None = None,
    *,
    changed: dict[str, Instrument | None] | None = None,
    faults: Iterable[Fault] = (),
) -> dict[str, Qualification | IBError]:
    with running(LaterTape(changed or {}), GatewayClock(START), faults=faults) as gateway:
        config = IBConnectionConfig(gateway.host, gateway.port, timeout=2.0, reset_region=None)
        with IBDataManager(config) as ib:
            return {contract.symbol: told for contract, told in qualify(ib, contracts, known or {}).items()}


def qualified(symbol: str) -> Qualification:
    one = instrument(symbol)
    return Qualification("qualified", one.con_id, one.primary_exchange, one.long_name)


def test_stocks_etfs_and_indices_are_qualified() -> None:
    told = ask([AAPL, KO, Contract("SPY", "etf"), VIX])

    assert told == {symbol: qualified(symbol) for symbol in ("AAPL", "KO", "SPY", "VIX")}


def test_a_symbol_that_ib_has_not_is_flagged_and_the_others_are_qualified() -> None:
    told = ask([Contract("NOPE"), AAPL])

    assert (told["NOPE"].state, told["AAPL"].state) == ("unknown", "qualified")  # type: ignore[union-attr]


def test_a_contract_that_has_another_symbol_was_renamed() -> None:
    renamed = replace(instrument("AAPL"), symbol="PEAR")

    told = ask([AAPL], {"AAPL": qualified("AAPL")}, changed={"AAPL": renamed})["AAPL"]

    assert isinstance(told, Qualification)
    assert (told.state, told.con_id) == ("renamed", qualified("AAPL").con_id)
    assert "IB calls it PEAR now" in told.note


def test_a_symbol_that_leads_to_another_contract_was_replaced() -> None:
    other = replace(instrument("AAPL"), con_id=77, long_name="ANOTHER INC")

    told = ask([AAPL], {"AAPL": qualified("AAPL")}, changed={"AAPL": other})["AAPL"]

    assert isinstance(told, Qualification)
    assert (told.state, told.con_id) == ("replaced", qualified("AAPL").con_id)
    assert "ANOTHER INC (77)" in told.note


def test_a_contract_that_is_gone_was_delisted_and_keeps_its_number() -> None:
    told = ask([AAPL], {"AAPL": qualified("AAPL")}, changed={"AAPL": None})["AAPL"]

    assert isinstance(told, Qualification)
    assert (told.state, told.con_id, told.long_name) == ("delisted", qualified("AAPL").con_id, "APPLE INC")


def test_what_ib_has_twice_is_ambiguous() -> None:
    twin = replace(instrument("KO"), symbol="AAPL", con_id=78)

    told = ask([AAPL], changed={"KO": twin})["AAPL"]

    assert isinstance(told, Qualification)
    assert told.state == "ambiguous"
    assert "NASDAQ, NYSE" in told.note


def test_a_refusal_is_an_error_of_that_contract_and_nothing_is_thought_of_it() -> None:
    refused = Fault(When("reqContractDetails", symbol="KO", times=0), Refuse(code=321, text="Error validating request"))

    told = ask([AAPL, KO], faults=[refused])

    assert isinstance(told["KO"], IBError)
    assert told["KO"].code == 321
    assert told["AAPL"] == qualified("AAPL")


def test_a_connection_that_is_ended_ends_the_asking() -> None:
    with running(SimulatedTape(1, start=int(START)), GatewayClock(START)) as gateway:
        ib = IBDataManager(IBConnectionConfig(gateway.host, gateway.port, reset_region=None))
        ib.connect()
        ib.disconnect()

        with pytest.raises(Disconnected):
            qualify(ib, [AAPL], {})

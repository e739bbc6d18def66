from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from workbench.errors import InvalidInput
from workbench.market.contracts import Contract
from workbench.market.qualification import Qualification
from workbench.market.universe import Universe, UniverseChanges, default_universe, format_universe, parse_universe
from workbench.store.database import DatabaseManager
from workbench.store.universes import (
    change_universe,
    current_universe,
    load_qualifications,
    load_universe,
    load_universe_table,
    save_qualifications,
)

NOW = datetime(2026, 11, 20, 15, tzinfo=UTC)
AAPL, KO = Contract("AAPL"), Contract("KO", primary_exchange="NYSE")
QUALIFIED = Qualification("qualified", 265598, "NASDAQ", "APPLE INC")


@pytest.fixture
def database(database_url: str) -> Iterator[DatabaseManager]:
    with DatabaseManager(database_url) as opened:
        yield opened


def save(database: DatabaseManager, *contracts: Contract) -> UniverseChanges:
    return change_universe(database, lambda _: Universe(contracts))


def test_a_universe_goes_from_csv_to_the_table_and_back(database: DatabaseManager) -> None:
    text = format_universe(default_universe())

    change_universe(database, lambda _: parse_universe(text))

    assert format_universe(load_universe(database)) == text


def test_the_first_universe_is_saved_and_no_later_one(database: DatabaseManager) -> None:
    assert dict(current_universe(database, lambda: Universe([AAPL]))) == {"AAPL": AAPL}
    assert dict(current_universe(database, lambda: Universe([KO]))) == {"AAPL": AAPL}
    assert load_universe_table(database)["symbol"].tolist() == ["AAPL"]


def test_changes_are_told_and_the_order_is_kept(database: DatabaseManager) -> None:
    save(database, KO, AAPL)

    changes = save(database, Contract("PEP"), Contract("AAPL", kind="etf"))

    assert changes == UniverseChanges(added=("PEP",), removed=("KO",), changed=("AAPL",))
    assert list(load_universe(database)) == ["PEP", "AAPL"]
    save(database, Contract("AAPL", kind="etf"), Contract("PEP"))
    assert list(load_universe(database)) == ["AAPL", "PEP"]


def test_the_last_symbol_cannot_be_removed(database: DatabaseManager) -> None:
    save(database, AAPL)

    with pytest.raises(InvalidInput, match="would be empty"):
        save(database)
    assert list(load_universe(database)) == ["AAPL"]


def test_what_ib_said_stays_with_the_contract_it_was_said_of(database: DatabaseManager) -> None:
    save(database, AAPL, KO)
    save_qualifications(database, {AAPL: QUALIFIED, KO: Qualification("unknown", note="none")}, "IB", NOW)

    save(database, AAPL, Contract("KO", currency="CAD"), Contract("PEP"))  # AAPL as in the CSV, with no exchange

    assert load_qualifications(database, "IB") == {"AAPL": QUALIFIED, "KO": Qualification(), "PEP": Qualification()}
    assert load_universe(database)["AAPL"].primary_exchange == "NASDAQ"
    row = load_universe_table(database).iloc[0]
    assert (row["con_id"], row["long_name"], row["qualified_at"]) == (265598, "APPLE INC", NOW)


def test_the_numbers_of_another_source_are_not_taken_for_ibs(database: DatabaseManager) -> None:
    save(database, AAPL)
    save_qualifications(database, {AAPL: QUALIFIED}, "built-in gateway", NOW)

    assert load_qualifications(database, "IB") == {"AAPL": Qualification()}


def test_what_was_said_of_a_contract_that_has_changed_meanwhile_is_not_saved(database: DatabaseManager) -> None:
    save(database, AAPL)
    save(database, Contract("AAPL", currency="CAD"))

    save_qualifications(database, {AAPL: QUALIFIED}, "IB", NOW)

    assert load_qualifications(database, "IB") == {"AAPL": Qualification()}


def add_some(url: str, names: list[str]) -> None:
    with DatabaseManager(url) as database:
        for name in names:
            change_universe(database, lambda before, name=name: Universe([*before.values(), Contract(name)]))  # type: ignore[misc]


def test_two_writers_that_add_at_once_lose_nothing(database_url: str) -> None:
    names = [[f"{letter}{number}" for number in range(20)] for letter in "AB"]
    DatabaseManager(database_url).close()

    with ThreadPoolExecutor(2) as writers:
        list(writers.map(add_some, [database_url] * 2, names))

    with DatabaseManager(database_url) as database:
        assert set(load_universe(database)) == {*names[0], *names[1]}

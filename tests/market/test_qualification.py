from __future__ import annotations

import pytest

from workbench.market.contracts import Contract
from workbench.market.qualification import Listing, Qualification, judge

FB = Contract("FB", primary_exchange="NASDAQ")
KNOWN = Qualification("qualified", 107113386, "NASDAQ", "FACEBOOK INC")
STILL = Listing(107113386, "FB", "NASDAQ", "FACEBOOK INC")
RENAMED = Listing(107113386, "META", "NASDAQ", "META PLATFORMS INC")
OTHER = Listing(640000000, "FB", "BATS", "PROSHARES FB")


@pytest.mark.parametrize(
    ("before", "by_id", "by_symbol", "state", "con_id", "told"),
    [
        (Qualification(), None, [STILL], "qualified", 107113386, ""),
        (KNOWN, STILL, [], "qualified", 107113386, ""),
        (KNOWN, RENAMED, [], "renamed", 107113386, "add META, then workbench universe remove FB"),
        (KNOWN, RENAMED, [OTHER], "renamed", 107113386, "FB is PROSHARES FB now"),
        (
            KNOWN,
            None,
            [OTHER],
            "replaced",
            107113386,
            "another contract now, PROSHARES FB (640000000); it was FACEBOOK",
        ),
        (KNOWN, None, [], "delisted", 107113386, "neither 107113386 nor the symbol"),
        (Qualification(), None, [], "unknown", None, "no such contract"),
        (Qualification(), None, [STILL, OTHER], "ambiguous", None, "BATS, NASDAQ"),
        (KNOWN, None, [STILL, OTHER], "ambiguous", 107113386, "BATS, NASDAQ"),
        (KNOWN, Listing(107113386, "FB", "NYSE", "X"), [], "qualified", 107113386, "listed at NYSE now, not at NASDAQ"),
    ],
)
def test_what_ib_says_of_a_contract_is_judged_and_the_known_number_is_kept(
    before: Qualification, by_id: Listing | None, by_symbol: list[Listing], state: str, con_id: int | None, told: str
) -> None:
    judged = judge(FB, before, by_id, by_symbol)

    assert (judged.state, judged.con_id) == (state, con_id)
    assert told in judged.note
    assert judged.is_flagged == (state != "qualified")


def test_a_contract_that_is_flagged_is_well_again_when_ib_has_it_again() -> None:
    delisted = judge(FB, KNOWN, None, [])

    assert judge(FB, delisted, STILL, []) == KNOWN


def test_the_primary_exchange_is_ibs_when_it_tells_one() -> None:
    assert judge(Contract("FB"), Qualification(), None, [STILL]).primary_exchange == "NASDAQ"
    assert judge(FB, Qualification(), None, [Listing(1, "FB")]).primary_exchange == "NASDAQ"

"""Asking IB for the contracts of the universe: their numbers, names and primary exchanges."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from workbench.errors import Disconnected, IBError, RequestTimeout, Unavailable, UnknownContract
from workbench.ib.asking import ask_until_answered
from workbench.ib.budget import Budget
from workbench.ib.history import Desk
from workbench.ib.pacing import Ask
from workbench.ib.supervision import Link
from workbench.ib.translate import to_error, to_ib_contract
from workbench.market.contracts import Contract
from workbench.market.qualification import Listing, Qualification, judge

if TYPE_CHECKING:
    import ib_insync

    from workbench.ib.connection import IBDataManager

_AT_ONCE = 40
_NO_BARS_S = 86_400
"""Details are no bars, and count only as messages."""

Outcome = Qualification | IBError
"""What is to be thought of a contract, or why IB could not say."""


def qualify(
    ib: IBDataManager, contracts: Iterable[Contract], known: Mapping[str, Qualification]
) -> dict[Contract, Outcome]:
    """Ask IB for contracts, `known` being what is known of them. Raises `Disconnected`: the connection is lost."""

    async def work(link: Link, budget: Budget) -> dict[Contract, Outcome]:
        asker, turns = _Asker(link, budget, ib.config.request_timeout_s), asyncio.Semaphore(_AT_ONCE)

        async def one(contract: Contract) -> Outcome:
            async with turns:
                try:
                    return await asker.judge(contract, known.get(contract.symbol))
                except Disconnected:
                    raise
                except IBError as error:
                    return error

        async with asyncio.TaskGroup() as group:
            asked = {contract: group.create_task(one(contract)) for contract in contracts}
        return {contract: task.result() for contract, task in asked.items()}

    try:
        return ib.begin(work).result()
    except* Disconnected as errors:
        raise Disconnected(f"{errors.exceptions[0]}; what was asked before is kept, call it again") from None


class _Asker:
    """What is asked over one connection."""

    def __init__(self, link: Link, budget: Budget, timeout_s: float) -> None:
        self._link, self._budget, self._timeout_s = link, budget, timeout_s

    async def judge(self, contract: Contract, before: Qualification | None) -> Qualification:
        """Return what to think of a contract. Raises `IBError`."""
        from ib_insync import Contract as AnyContract

        before = before or Qualification()
        by_id = None
        if before.con_id is not None:
            found = await self._listings(AnyContract(conId=before.con_id), f"{before.con_id}, {contract.symbol}")
            by_id = found[0] if found else None
        if by_id is not None and by_id.symbol == contract.symbol:
            return judge(contract, before, by_id, ())
        return judge(contract, before, by_id, await self._listings(to_ib_contract(contract), contract.symbol))

    async def _listings(self, contract: ib_insync.Contract, name: str) -> list[Listing]:
        """Return what IB has under a description; nothing is its word that it has none."""
        ask = Ask(name, contract.exchange, "contract details", _NO_BARS_S, repr(contract))
        try:
            return await ask_until_answered(
                self._link, self._budget, ask, lambda desk: _request(desk, contract, name, self._timeout_s)
            )
        except UnknownContract:
            return []


async def _request(desk: Desk, contract: ib_insync.Contract, name: str, timeout_s: float) -> list[Listing]:
    """Return the contracts that IB has under a description. Raises `IBError`."""
    from ib_insync import RequestError

    what = f"contract details of {name}"
    try:
        async with asyncio.timeout(timeout_s):
            details = await desk.ib.reqContractDetailsAsync(contract)
    except RequestError as error:
        raise to_error(error.code, error.message, request=what) from None
    except TimeoutError as error:
        raise RequestTimeout(f"{what}: no answer within {timeout_s:g} s; try again later") from error
    except ConnectionError as error:
        raise Disconnected(f"{what}: the connection ended before the answer") from error
    if not details:
        raise Unavailable(f"{what}: IB answered without a contract and without a reason")
    return list({one.contract.conId: _listing(one) for one in details if one.contract}.values())


def _listing(details: ib_insync.ContractDetails) -> Listing:
    contract = details.contract
    assert contract is not None  # noqa: S101  the caller has looked
    primary = contract.primaryExchange or (contract.exchange if contract.secType == "IND" else "")
    return Listing(contract.conId, contract.symbol, primary, details.longName)

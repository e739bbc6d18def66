"""One historical request to IB, and what came of it."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING

import pandas as pd

from workbench.errors import Disconnected, RequestRefused, RequestTimeout
from workbench.ib.plan import HistoryRequest
from workbench.ib.translate import BAR_SIZES, format_end, is_confirmed_empty, to_bars, to_error, to_ib_contract
from workbench.market.bars import empty_bars
from workbench.market.contracts import Contract

if TYPE_CHECKING:
    import ib_insync


async def request_bars(
    ib: ib_insync.IB,
    contract: Contract,
    request: HistoryRequest,
    *,
    what_to_show: str,
    use_rth: bool,
    timeout_s: float,
) -> pd.DataFrame:
    """Return the bars that IB answers with, the forming one included; an empty frame is IB's word that it has none.

    Whatever else happens is an error: a subclass of `IBError`.
    """
    from ib_insync.wrapper import RequestError

    what = f"{what_to_show} {request.timeframe} bars of {contract.symbol}"
    clock = asyncio.get_running_loop()
    started = clock.time()
    try:
        received = await ib.reqHistoricalDataAsync(
            to_ib_contract(contract),
            endDateTime=format_end(request.end),
            durationStr=request.duration,
            barSizeSetting=BAR_SIZES[request.timeframe.name],
            whatToShow=what_to_show,
            useRTH=use_rth,
            formatDate=2,  # instants; text stamps follow the time zone of TWS
            timeout=timeout_s,
        )
    except RequestError as error:
        if is_confirmed_empty(error.code, error.message):
            return empty_bars()
        raise to_error(error.code, error.message, request=what) from error
    except ConnectionError as error:
        raise Disconnected(f"{what}: the connection ended before the answer; connect again") from error
    if received:
        return to_bars(received)
    # ib_insync gives an empty list for a time-out too.
    if clock.time() - started >= timeout_s:
        raise RequestTimeout(f"{what}: no answer within {timeout_s:.0f} s; ask for less, or try again later")
    raise RequestRefused(f"{what}: IB answered without bars and without a reason")


async def request_head_timestamp(
    ib: ib_insync.IB, contract: Contract, *, what_to_show: str, use_rth: bool, timeout_s: float
) -> datetime:
    """Return the earliest instant of which IB has data."""
    from ib_insync.wrapper import RequestError

    what = f"head timestamp of {contract.symbol}"
    asked = ib.reqHeadTimeStampAsync(to_ib_contract(contract), what_to_show, use_rth, 2)
    try:
        answer = await asyncio.wait_for(asked, timeout_s)
    except RequestError as error:
        raise to_error(error.code, error.message, request=what) from error
    except TimeoutError as error:
        raise RequestTimeout(f"{what}: no answer within {timeout_s:.0f} s") from error
    except ConnectionError as error:
        raise Disconnected(f"{what}: the connection ended before the answer; connect again") from error
    if not isinstance(answer, datetime):
        raise RequestRefused(f"{what}: IB answered {answer!r}")
    return answer

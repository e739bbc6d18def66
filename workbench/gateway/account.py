"""The account that the gateway shows: it holds nothing, and nothing can be ordered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from workbench.gateway import answers
from workbench.gateway import requests as asked
from workbench.gateway.hours import NEW_YORK
from workbench.gateway.refusals import READ_ONLY, Refused

EMPTY: dict[type[asked.Request], Callable[[Any], bytes]] = {
    asked.PositionsRequest: lambda _: answers.positions_end(),
    asked.OpenOrdersRequest: lambda _: answers.open_orders_end(),
    asked.CompletedOrdersRequest: lambda _: answers.completed_orders_end(),
    asked.AccountUpdatesMultiRequest: lambda it: answers.account_multi_end(it.req_id),
    asked.AccountSummaryRequest: lambda it: answers.account_summary_end(it.req_id),
    asked.ExecutionsRequest: lambda it: answers.executions_end(it.req_id),
}
"""Lists without an element: each is only its end."""

ORDER_LISTS = (asked.OpenOrdersRequest, asked.CompletedOrdersRequest)


def told(request: asked.Request, account: str, now: float, *, refuses_order_lists: bool) -> Iterator[bytes]:
    """Answer what is asked about the account; what needs no answer gets none. Raises Refused."""
    if refuses_order_lists and isinstance(request, ORDER_LISTS):
        raise Refused(READ_ONLY)
    if type(request) in EMPTY:
        yield EMPTY[type(request)](request)
    elif isinstance(request, asked.AccountUpdatesRequest) and request.subscribe:
        wall_time = f"{datetime.fromtimestamp(now, NEW_YORK):%H:%M}"
        yield answers.account_download_end(request.account or account, wall_time)

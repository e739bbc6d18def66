from __future__ import annotations

import pytest

from workbench.gateway import answers, messages
from workbench.gateway import requests as asked
from workbench.gateway.layouts import parse
from workbench.gateway.messages import KEEP_UP_TO_DATE, REQUESTS, Position
from workbench.gateway.refusals import Notice
from workbench.gateway.wire import FrameReader, fields

LENGTH = 30


def nobody(con_id: str) -> str:
    return ""


@pytest.mark.parametrize("message_id", [it for it, (_, position) in REQUESTS.items() if position.req_id])
def test_a_request_has_its_id_where_the_gateway_reads_it(message_id: int) -> None:
    texts = [str(message_id), *["0"] * LENGTH]
    place = REQUESTS[message_id][1].req_id
    assert place is not None
    texts[place] = "77"

    request = parse(texts)

    assert getattr(request, "req_id", getattr(request, "order_id", None)) == 77
    assert messages.request(texts, nobody).req_id == 77


@pytest.mark.parametrize("message_id", [1, 9, 20, 50, 87])
def test_a_request_has_its_symbol_where_the_gateway_reads_it(message_id: int) -> None:
    texts = [str(message_id), *["0"] * LENGTH]
    place = REQUESTS[message_id][1].symbol
    assert place is not None
    texts[place - 1 : place + 1] = ["5", "SPY"]

    request = parse(texts)

    assert (request.contract.con_id, request.contract.symbol) == (5, "SPY")  # type: ignore[union-attr]
    assert messages.request(texts, nobody).symbol == "SPY"


def test_the_wish_for_updates_is_where_the_gateway_reads_it() -> None:
    texts = ["20", *["0"] * LENGTH]
    texts[KEEP_UP_TO_DATE] = "1"

    request = parse(texts)

    assert isinstance(request, asked.HistoricalRequest)
    assert request.keep_up_to_date
    assert messages.streams(messages.request(texts, nobody))


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (answers.error(77, Notice(200, "no"), 176), "error"),
        (answers.contract_details_end(77), "contractDetailsEnd"),
        (answers.head_timestamp(77, "1"), "headTimestamp"),
        (answers.realtime_bars(77, [b"1\x002\x00"]), "realtimeBar"),
        (answers.executions_end(77), "execDetailsEnd"),
        (answers.account_multi_end(77), "accountUpdateMultiEnd"),
        (answers.account_summary_end(77), "accountSummaryEnd"),
        (answers.current_time(1), "currentTime"),
        (answers.next_valid_id(1), "nextValidId"),
        (answers.managed_accounts("DU1"), "managedAccounts"),
        (answers.positions_end(), "positionEnd"),
        (answers.open_orders_end(), "openOrderEnd"),
        (answers.completed_orders_end(), "completedOrdersEnd"),
    ],
)
def test_an_answer_is_named_and_belongs_to_its_request(data: bytes, name: str) -> None:
    reader = FrameReader()
    reader.feed(data)
    (payload,) = reader.frames()

    message = messages.answer(fields(payload), 176, {77: "SPY"})

    has_id = next(position for known, position in messages.ANSWERS.values() if known == name) != Position()
    assert (message.name, message.req_id, message.symbol) == (name, *((77, "SPY") if has_id else (None, "")))


@pytest.mark.parametrize("texts", [[], [""], ["x"], ["20"], ["50", "3"], ["9" * 5000], ["50", "3", "9" * 5000], ["²"]])
def test_what_is_no_message_has_no_name_and_does_no_harm(texts: list[str]) -> None:
    assert messages.request(texts, nobody).req_id is None
    assert messages.answer(texts, 157, {}).symbol == ""

"""Faults of bytes, as the real ib_insync meets them over TCP."""

from __future__ import annotations

import socket
from contextlib import nullcontext

import pytest

from tests.faults.desk import (
    FIRST_ANSWER,
    FIRST_REQUEST,
    LATE_S,
    MORNING,
    Desk,
    client,
    hangs,
    meet,
    one_hangs,
    same_bars,
    tape,
)
from workbench.gateway.clock import GatewayClock
from workbench.gateway.faults import (
    Action,
    Close,
    Dribble,
    Fault,
    Garbage,
    Reset,
    Split,
    Stall,
    Truncate,
    When,
    WrongLength,
)
from workbench.gateway.serving import running
from workbench.gateway.wire import GREETING, encode, frame

HARMLESS: dict[str, Fault] = {
    "dribble": Fault(FIRST_ANSWER, Dribble()),
    "split": Fault(FIRST_ANSWER, Split(5)),
    "split in time": Fault(FIRST_ANSWER, Split(50, every=0.2)),
    "dribble, armed by the request": Fault(FIRST_REQUEST, Dribble()),
    "stall, then on": Fault(FIRST_REQUEST, Stall(seconds=10)),
}


@pytest.mark.parametrize("fault", HARMLESS.values(), ids=HARMLESS)
def test_the_bars_are_the_same_under(fault: Fault) -> None:
    meet(same_bars, faults=[fault])


def test_a_request_whose_answer_is_cut_short_hangs_and_the_next_is_answered() -> None:
    meet(one_hangs, faults=[Fault(FIRST_ANSWER, Truncate())])


DEAFENING: dict[str, Fault] = {
    "garbage": Fault(FIRST_ANSWER, Garbage(seed=1)),
    "a prefix that is too long": Fault(FIRST_ANSWER, WrongLength(by=1_000_000)),
    "an answer cut short of what its prefix says": Fault(FIRST_ANSWER, Truncate(keep=0, honest=False)),
    "a stall for ever": Fault(FIRST_REQUEST, Stall()),
}


@pytest.mark.parametrize("fault", DEAFENING.values(), ids=DEAFENING)
def test_the_connection_stays_and_hears_nothing_any_more_after(fault: Fault) -> None:
    async def conversation(desk: Desk) -> None:
        assert await hangs(desk.history())
        assert await hangs(desk.details())
        assert desk.ib.isConnected()

    meet(conversation, faults=[fault])


ENDING: dict[str, Fault] = {
    "close at a request": Fault(FIRST_REQUEST, Close()),
    "close in an answer": Fault(FIRST_ANSWER, Close(keep=0.5)),
    "reset at a request": Fault(FIRST_REQUEST, Reset()),
    "reset in an answer": Fault(FIRST_ANSWER, Reset(keep=0.5)),
}


@pytest.mark.parametrize("fault", ENDING.values(), ids=ENDING)
def test_the_request_fails_and_the_client_knows_that_it_is_disconnected_after(fault: Fault) -> None:
    async def conversation(desk: Desk) -> None:
        with pytest.raises(ConnectionError):
            await desk.history()
        assert desk.disconnected.is_set()
        assert not desk.ib.isConnected()
        async with client(desk.gateway) as again:  # the id is free once more
            assert len(await again.history()) == 7

    meet(conversation, faults=[fault])


@pytest.mark.parametrize(("action", "error"), [(Close(), None), (Reset(), ConnectionResetError)])
def test_a_close_and_a_reset_differ_on_the_wire(action: Action, error: type[OSError] | None) -> None:
    fault = Fault(When("reqCurrentTime"), action)
    with (
        running(tape(), GatewayClock(MORNING), faults=[fault]) as gateway,
        socket.create_connection((gateway.host, gateway.port), timeout=LATE_S) as stranger,
    ):
        stranger.sendall(GREETING + frame(b"v157..176") + encode(71, 2, 1, None) + encode(49, 1))
        with pytest.raises(error) if error else nullcontext():
            while stranger.recv(4096):
                pass

"""What is known of the way to IB, event by event."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.gateway.faults.connectivity import BROKEN, INACTIVE, LOST, OK, RESTORED, RESTORED_LOST, SERVER_BROKEN
from workbench.gateway.faults.connectivity import port_reset as port_notice
from workbench.ib.health import (
    FARM_PATIENCE_S,
    Connected,
    Dropped,
    Event,
    Health,
    Streams,
    StreamsRenewed,
    Told,
    describe_change,
    new_port,
)

WELL = Health().after(Connected(), 0.0).after(StreamsRenewed(), 0.0)


def told(notice: object) -> Told:
    """Return a notice of the gateway's as an event of ours."""
    return Told(notice.code, notice.text)  # type: ignore[attr-defined]


def after(*events: Event, begin: Health = WELL) -> Health:
    """Return the health after events at 10, 20, 30 and so on."""
    health = begin
    for number, event in enumerate(events, start=1):
        health = health.after(event, 10.0 * number)
    return health


ILL: dict[str, tuple[Event, list[Event]]] = {
    "the connection ends": (Dropped(), [Connected()]),
    "IB is lost": (told(LOST), [told(RESTORED), told(RESTORED_LOST), Connected()]),
    "the server is broken": (told(SERVER_BROKEN), [told(RESTORED), told(OK["historical"]), Connected()]),
    "history's farm is broken": (
        told(BROKEN["historical"]),
        [told(OK["historical"]), told(INACTIVE["historical"]), told(RESTORED), Connected()],
    ),
    "the contracts' farm is broken": (told(BROKEN["secdef"]), [told(OK["secdef"]), Connected()]),
}
CURES = [(name, cure) for name, (_, cures) in ILL.items() for cure in cures]


@pytest.mark.parametrize("ill", [ill for ill, _ in ILL.values()], ids=ILL)
def test_requests_wait_and_nothing_is_believed_while(ill: Event) -> None:
    health = after(ill)

    assert not health.is_well
    assert health.asks_from(10.0) > 10.0
    assert not health.believes(sent=5.0)
    assert not health.believes(sent=15.0)
    assert health.trouble


@pytest.mark.parametrize(("name", "cure"), CURES, ids=[f"{name}: {cure}"[:60] for name, cure in CURES])
def test_it_ends_with_any_of_its_cures(name: str, cure: Event) -> None:
    health = after(ILL[name][0], cure)

    assert health.is_well
    assert health.asks_from(20.0) == 20.0
    assert not health.believes(sent=5.0)  # before it: IB was away in between
    assert not health.believes(sent=15.0)  # during
    assert health.believes(sent=20.0)
    assert health.trouble == ""


def test_what_ib_is_lost_does_not_end_with_a_farm() -> None:
    assert not after(told(LOST), told(OK["historical"]), told(OK["market"])).is_well
    assert not after(told(LOST), told(SERVER_BROKEN), told(OK["historical"])).is_well


def test_a_farm_of_live_data_keeps_no_history_back() -> None:
    health = after(told(BROKEN["market"]))

    assert health.is_well
    assert health.believes(sent=5.0)
    assert health.streams is Streams.SUSPECT


def test_a_farm_that_stays_away_holds_requests_for_a_while_and_belief_for_ever() -> None:
    """It may serve another exchange."""
    health = after(Told(2105, "HMDS data farm connection is broken:jhmds"))

    assert health.asks_from(10.0) == 10.0 + FARM_PATIENCE_S
    assert not health.believes(sent=1_000_000.0)


def test_a_farm_is_well_again_by_its_own_name_only() -> None:
    health = after(told(BROKEN["historical"]), Told(2106, "HMDS data farm connection is OK:euhmds"))

    assert not health.is_well


def test_a_farm_told_twice_is_lost_since_the_first_time() -> None:
    assert after(told(BROKEN["historical"]), told(BROKEN["historical"])).asks_from(20.0) == 10.0 + FARM_PATIENCE_S


def test_back_at_ib_the_farms_that_it_names_are_still_away() -> None:
    back = Told(
        1102,
        "Connectivity between IBKR and Trader Workstation has been restored - data maintained. The following farms "
        "are connected: cashfarm; secdefil. The following farms are not connected: cashhmds; ushmds.",
    )

    assert after(told(BROKEN["historical"]), told(LOST), back).trouble == "IB's servers of history are away"
    assert after(told(LOST), back).is_well  # what nobody had missed is not waited for


STREAMS: dict[str, tuple[list[Event], Streams, float | None]] = {
    "IB was lost and kept them": ([told(LOST), told(RESTORED)], Streams.SUSPECT, 10.0),
    "IB was lost and lost them": ([told(LOST), told(RESTORED_LOST)], Streams.DEAD, 10.0),
    "the connection was made anew": ([Dropped(), Connected()], Streams.DEAD, 10.0),
    "their farm flapped": ([told(BROKEN["market"]), told(OK["market"])], Streams.SUSPECT, 10.0),
    "a dead one does not come alive by a notice": ([told(RESTORED_LOST), told(BROKEN["market"])], Streams.DEAD, 10.0),
    "updates ended": ([Told(10182, "Failed to request live updates (disconnected).")], Streams.SUSPECT, 10.0),
    "history's farm is not theirs": ([told(BROKEN["historical"]), told(OK["historical"])], Streams.ALIVE, None),
    "renewed": ([told(RESTORED_LOST), StreamsRenewed()], Streams.ALIVE, None),
}


@pytest.mark.parametrize(("events", "streams", "since"), STREAMS.values(), ids=STREAMS)
def test_streams_are_suspect_from_the_first_trouble_on(
    events: list[Event], streams: Streams, since: float | None
) -> None:
    health = after(*events)

    assert (health.streams, health.suspect_since) == (streams, since)


def test_a_new_connection_has_no_live_streams() -> None:
    assert Health().after(Connected(), 1.0).streams is Streams.DEAD


NOTICES = [
    LOST, RESTORED, RESTORED_LOST, SERVER_BROKEN, *BROKEN.values(), *OK.values(), *INACTIVE.values(),
]  # fmt: skip
EVENTS = st.lists(st.sampled_from([Connected(), Dropped(), StreamsRenewed(), *map(told, NOTICES), Told(2119, "x")]))


@given(events=EVENTS, sent=st.integers(0, 20))
def test_an_answer_is_believed_only_if_all_was_well_from_its_request_on(events: list[Event], sent: int) -> None:
    health, was_well = WELL, True
    for now, event in enumerate(events):
        health = health.after(event, float(now))
        was_well = health.is_well and (was_well or sent >= now)

    assert health.believes(float(sent)) <= was_well


@given(events=EVENTS)
def test_a_new_connection_and_the_words_that_ib_is_back_heal_everything(events: list[Event]) -> None:
    health = after(*events, Dropped(), Connected(), told(RESTORED))

    assert health.is_well
    assert health.asks_from(math.inf) == math.inf


@given(events=EVENTS)
def test_an_episode_is_told_once_however_often_the_gateway_repeats_itself(events: list[Event]) -> None:
    health = WELL
    for event in events:
        once = health.after(event, 1.0)
        twice = once.after(event, 2.0)
        assert describe_change(once, twice) == ""
        health = twice


def test_what_changed_is_told_in_plain_words() -> None:
    lost, back = after(told(LOST)), after(told(LOST), told(RESTORED))

    assert describe_change(WELL, lost) == "TWS or IB Gateway has lost IB; requests wait until that is over"
    assert describe_change(lost, back) == "IB can be reached again; requests that waited go on"
    assert describe_change(WELL, after(told(BROKEN["market"]))).endswith("live bars may stay away")
    assert "made anew" in describe_change(WELL, after(Dropped()))


def test_the_new_port_is_read_from_the_notice() -> None:
    assert new_port(told(port_notice(4017))) == 4017
    assert new_port(Told(1300, "no number")) is None
    assert new_port(Told(1300, "port 99999")) is None
    assert new_port(Told(1100, "… 7497")) is None

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import GatewayError
from workbench.gateway.pending import MOST_BYTES, MOST_WAITING, Answer, Latency, Pending
from workbench.gateway.refusals import Refused


def test_an_answer_is_taken_when_it_is_due_and_once() -> None:
    pending = Pending()
    pending.put("a", 1, Answer(10.0, b"late"))
    pending.put("b", 1, Answer(5.0, b"soon"))

    assert pending.next_due() == 5.0
    assert pending.take(4.9) == []
    assert pending.take(10.0) == [("b", 1, Answer(5.0, b"soon")), ("a", 1, Answer(10.0, b"late"))]
    assert pending.take(10.0) == []
    assert pending.next_due() is None


def test_what_is_cancelled_or_of_a_client_that_left_never_comes() -> None:
    pending = Pending()
    pending.put("a", 1, Answer(1.0, b"1"))
    pending.put("a", 2, Answer(1.0, b"2"))
    pending.put("b", 1, Answer(1.0, b"3"))
    pending.cancel("a", 1)
    pending.forget("b")

    assert not pending.holds("a", 1)
    assert pending.holds("a", 2)
    assert pending.take(1.0) == [("a", 2, Answer(1.0, b"2"))]


def test_what_waits_does_not_fill_the_memory() -> None:
    pending = Pending()
    pending.put("a", 1, Answer(1.0, bytes(MOST_BYTES)))

    with pytest.raises(Refused):
        pending.check("b", 1)

    pending.take(1.0)
    pending.check("b", 1)


def test_an_id_waits_once_and_not_too_many_wait() -> None:
    pending = Pending()
    for req_id in range(MOST_WAITING):
        pending.put("a", req_id, Answer(1.0, b""))

    with pytest.raises(Refused, match=r"322: .* simultaneous"):
        pending.check("a", MOST_WAITING)
    with pytest.raises(Refused, match="Duplicate ticker ID for API historical data query"):
        pending.check("a", 1)
    pending.check("b", 1)


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_an_impossible_latency_is_refused(seconds: float) -> None:
    with pytest.raises(GatewayError, match="latency"):
        Latency(per_1000_bars_s=seconds)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 20), st.floats(0, 100)), max_size=40), st.data())
def test_everything_that_was_put_comes_once_in_the_order_of_its_time(
    puts: list[tuple[str, int, float]], data: st.DataObject
) -> None:
    pending, expected = Pending(), {}
    for client, req_id, due in puts:
        if not pending.holds(client, req_id):
            pending.put(client, req_id, Answer(due, b""))
            expected[client, req_id] = due
    moments = sorted(data.draw(st.lists(st.floats(0, 100), max_size=5)))

    taken = [[(client, req_id) for client, req_id, _ in pending.take(now)] for now in [*moments, 100.0]]

    flat = [key for some in taken for key in some]
    assert sorted(flat) == sorted(expected)
    assert [expected[key] for key in flat] == sorted(expected.values())
    for now, some in zip([*moments, 100.0], taken, strict=True):
        assert all(expected[key] <= now for key in some)

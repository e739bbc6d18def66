from __future__ import annotations

from datetime import datetime

import pytest

from workbench.errors import GatewayError
from workbench.gateway.hours import NEW_YORK, hours, require_known


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp()


def test_the_calendar_ends_on_the_same_day_whenever_it_is_read() -> None:
    calendar = hours()
    first, last = calendar[0], calendar[len(calendar) - 1]

    assert (first.open, last.close) == (at("1990-01-02 09:30"), at("2049-12-31 16:00"))


@pytest.mark.parametrize(
    ("moment", "is_known"),
    [
        ("1989-12-29 12:00", False),
        ("1990-01-02 09:30", True),
        ("2027-12-31 12:00", True),
        ("2049-12-31 16:00", True),
        ("2050-01-03 12:00", False),
    ],
)
def test_an_instant_is_known_between_the_first_session_and_the_last(moment: str, *, is_known: bool) -> None:
    assert hours().knows(at(moment)) is is_known


@pytest.mark.parametrize(
    ("instant", "words"),
    [
        (0.0, "1969-12-31 19:00:00 New York"),
        (2.6e9, "2052-05-22 10:13:20 New York"),
        (1e300, "1e\\+300 seconds"),
        (float("nan"), "nan seconds"),
        (float("inf"), "inf seconds"),
    ],
)
def test_where_nothing_is_known_is_named(instant: float, words: str) -> None:
    with pytest.raises(GatewayError, match=f"cannot jump to {words}.*: sessions are known from 1990-01-02 to 2049"):
        require_known(instant, "jump to")

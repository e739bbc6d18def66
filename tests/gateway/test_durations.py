from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from workbench.gateway.durations import Duration, begin_of, parse_duration, parse_end
from workbench.gateway.hours import hours
from workbench.gateway.refusals import Refused

NEW_YORK = ZoneInfo("America/New_York")
FAR = 4e9


def at(text: str) -> int:
    """Return the epoch seconds of a New York wall time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp())


def begin(duration: str, end: str, *, use_rth: bool = True) -> str:
    instant = begin_of(parse_duration(duration), at(end), hours(), use_rth=use_rth)
    return f"{datetime.fromtimestamp(instant, NEW_YORK):%Y-%m-%d %H:%M:%S}"


@pytest.mark.parametrize(
    "text",
    [
        "20260402-13:30:00",
        "20260402 13:30:00 UTC",
        "20260402 09:30:00 US/Eastern",
        "20260402 09:30:00 America/New_York",
        "20260402 08:30:00 US/Central",
        "20260402  09:30:00   US/Eastern",
    ],
)
def test_every_form_of_an_end_is_the_same_instant(text: str) -> None:
    end = parse_end(text, FAR)

    assert end.instant == at("2026-04-02 09:30")
    assert not end.implied_zone


def test_an_end_without_a_zone_is_new_york_and_says_so() -> None:
    end = parse_end("20260402 09:30:00", FAR)

    assert end.instant == at("2026-04-02 09:30")
    assert end.implied_zone


def test_an_end_without_a_date_is_today() -> None:
    assert parse_end("09:30:00 US/Eastern", at("2026-04-02 12:00")).instant == at("2026-04-02 09:30")


def test_no_end_and_an_end_in_the_future_are_now() -> None:
    assert parse_end("", 1_775_136_600.25).instant == 1_775_136_601
    assert parse_end("20300101-00:00:00", 1_775_136_600.0).instant == 1_775_136_600


@pytest.mark.parametrize(
    "text",
    [
        "20260402 09:30:00 GMT",
        "20260402 09:30:00 EDT",
        "20260402 09:30:00 Mars/Olympus",
        "20260402 09:30:00 America/Argentina",
        "20260402 09:30:00 ../../etc/passwd",
        "20260402 09:30:00 US/",
        "20260230-09:30:00",
        "20260402-24:00:00",
        "20260402",
        "2026-04-02 09:30:00",
        "yesterday",
        "20260402-09:30:00 UTC",
        " ",
    ],
)
def test_any_other_end_is_10314(text: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_end(text, FAR)

    assert refused.value.notice.code == 10314
    assert "yyyymmddd-hh:mm:ss time is in UTC" in refused.value.notice.text


@pytest.mark.parametrize("text", ["00010101-00:00:00", "00010101 00:00:00 US/Eastern", "19400101 00:00:00 UTC"])
@pytest.mark.parametrize("duration", ["86400 S", "365 D", "52 W", "12 M", "68 Y"])
def test_an_end_before_all_history_is_no_failure(text: str, duration: str) -> None:
    end = parse_end(text, FAR).instant

    assert begin_of(parse_duration(duration), end, hours(), use_rth=True) <= end


@pytest.mark.parametrize(
    ("duration", "end", "expected"),
    [
        ("1 D", "2026-11-20 11:00", "2026-11-20 09:30:00"),  # the session that contains the end
        ("1 D", "2026-11-20 09:30", "2026-11-19 09:30:00"),  # at the open nothing of it has begun
        ("1 D", "2026-11-22 12:00", "2026-11-20 09:30:00"),  # a Sunday: the session that precedes
        ("5 D", "2026-11-20 16:00", "2026-11-16 09:30:00"),
        ("2 D", "2026-11-27 17:00", "2026-11-25 09:30:00"),  # over Thanksgiving
        ("22 D", "2026-11-20 16:00", "2026-10-22 09:30:00"),
    ],
)
def test_days_are_trading_days(duration: str, end: str, expected: str) -> None:
    assert begin(duration, end) == expected


def test_days_with_extended_hours_begin_at_four() -> None:
    assert begin("1 D", "2026-11-20 05:00", use_rth=False) == "2026-11-20 04:00:00"
    assert begin("1 D", "2026-11-20 05:00") == "2026-11-19 09:30:00"


@pytest.mark.parametrize(
    ("duration", "end", "expected"),
    [
        ("1 W", "2026-11-20 16:00", "2026-11-13 16:00:00"),
        ("1 W", "2026-03-11 16:00", "2026-03-04 16:00:00"),  # the wall clock, across the start of summer time
        ("1 M", "2026-04-11 10:00", "2026-03-11 10:00:00"),
        ("1 M", "2026-03-31 10:00", "2026-02-28 10:00:00"),
        ("2 M", "2026-01-15 10:00", "2025-11-15 10:00:00"),
        ("1 Y", "2024-02-29 10:00", "2023-02-28 10:00:00"),
        ("10 Y", "2026-11-20 10:00", "2016-11-20 10:00:00"),
    ],
)
def test_weeks_months_and_years_go_by_the_calendar(duration: str, end: str, expected: str) -> None:
    assert begin(duration, end) == expected


@pytest.mark.parametrize(
    ("duration", "end", "expected"),
    [
        ("60 S", "2026-11-20 09:31", "2026-11-20 09:30:00"),
        ("90 S", "2026-11-20 09:31", "2026-11-19 15:59:30"),  # reaches into the session before
        ("60 S", "2026-11-22 12:00", "2026-11-20 15:59:00"),
        ("60 S", "2026-11-28 12:00", "2026-11-27 12:59:00"),  # the half day closed at 13:00
        ("23460 S", "2026-11-20 16:00", "2026-11-19 15:59:00"),
    ],
)
def test_seconds_are_seconds_of_trading(duration: str, end: str, expected: str) -> None:
    assert begin(duration, end) == expected


@pytest.mark.parametrize("text", ["", "5", "D", "5D", "0 D", "-1 D", "1.5 D", "1 Q", "1 d", "5  D", "9999999 D"])
def test_a_malformed_duration_is_321(text: str) -> None:
    with pytest.raises(Refused, match="321"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("366 D", 321, "durations longer than 365 days must be made in years."),
        ("86401 S", 321, "must be made in days."),
        ("53 W", 321, "must be made in years."),
        ("13 M", 321, "must be made in years."),
        ("69 Y", 162, "Time length exceed max."),
    ],
)
def test_a_duration_beyond_its_unit_is_refused(text: str, code: int, words: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_duration(text)

    assert refused.value.notice.code == code
    assert words in refused.value.notice.text


def test_a_duration_is_a_count_and_a_unit() -> None:
    assert parse_duration("365 D") == Duration(365, "D")

from __future__ import annotations

from datetime import timedelta

import pytest

from workbench.errors import UnknownTimeframe
from workbench.market.timeframes import TIMEFRAMES, parse_timeframe


def test_there_are_seven_timeframes_from_short_to_long() -> None:
    assert list(TIMEFRAMES) == ["5sec", "1min", "5min", "15min", "1hour", "4hour", "1day"]
    assert [tf.seconds for tf in TIMEFRAMES.values()] == [5, 60, 300, 900, 3600, 14400, 86400]


@pytest.mark.parametrize("name", TIMEFRAMES)
def test_parsing_what_was_formatted_is_the_identity(name: str) -> None:
    timeframe = parse_timeframe(name)

    assert parse_timeframe(str(timeframe)) is timeframe
    assert parse_timeframe(timeframe) is timeframe
    assert timeframe.length == timedelta(seconds=timeframe.seconds)


def test_only_a_day_is_daily() -> None:
    assert [name for name, timeframe in TIMEFRAMES.items() if timeframe.is_daily] == ["1day"]


@pytest.mark.parametrize("name", ["1 min", "15mins", "1MIN", "", "1d", "../1min", "4hour "])
def test_an_unknown_timeframe_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(UnknownTimeframe, match="There are: 5sec, 1min, 5min, 15min, 1hour, 4hour, 1day"):
        parse_timeframe(name)


def test_a_misspelt_timeframe_gets_a_hint() -> None:
    with pytest.raises(UnknownTimeframe, match="did you mean 15min"):
        parse_timeframe("15mins")

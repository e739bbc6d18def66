from __future__ import annotations

from math import isnan

import pytest

from workbench.errors import UnreadableAnswer
from workbench.ib.live.streams import read_live_bar

WHOLE = ["50", "3", "7", "1795184700", "10", "11", "9", "10.5", "300.5", "10.2", "4"]


def changed(place: int, text: str) -> list[str]:
    return [*WHOLE[:place], text, *WHOLE[place + 1 :]]


@pytest.mark.parametrize(
    "fields",
    [
        *(
            changed(place, text)
            for place in range(3, 11)
            for text in ("", "x", "nan", "inf", "-2")
            if (place, text) != (9, "-2")
        ),
        changed(3, "1795184701"),
        changed(3, "9" * 40),
        changed(4, "0"),
        changed(4, "11.5"),
        changed(5, "10.4"),
        changed(6, "10.2"),
        WHOLE[:-1],
        [*WHOLE, "1"],
        WHOLE[:4],
    ],
)
def test_a_message_that_breaks_a_rule_is_no_bar(fields: list[str]) -> None:
    with pytest.raises(UnreadableAnswer, match="live bar of AAPL"):
        read_live_bar("AAPL", fields)


def test_what_ib_does_not_know_is_not_a_number() -> None:
    bar = read_live_bar("SPX", [*WHOLE[:8], "-1", "0", "-1"])

    assert bar.volume == 0
    assert isnan(bar.average)
    assert isnan(bar.bar_count)

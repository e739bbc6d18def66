from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import InvalidInput
from workbench.screening.watchlist import choose_watchlist

NOON = datetime(2026, 11, 20, 17, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)


def ranked(**scores: float) -> pd.DataFrame:
    """Return a ranking: KO=50.0 is its long side, KO_short=50.0 the other."""
    keys = [(*name.split("_"), "long")[:2] for name in scores]
    return pd.DataFrame(
        [(symbol, side, score, [symbol]) for (symbol, side), score in zip(keys, scores.values(), strict=True)],
        columns=["symbol", "side", "score", "reasons"],
    )


def symbols(watchlist: pd.DataFrame) -> list[str]:
    return watchlist["symbol"].tolist()


def test_the_best_by_score_are_listed_within_the_capacity_each_with_why_and_since_when() -> None:
    chosen = choose_watchlist(ranked(KO=40.0, AAPL=90.0, PEP=70.0), at=NOON, capacity=2)

    assert chosen.drop(columns="since").to_dict("records") == [
        {"rank": 1, "symbol": "AAPL", "side": "long", "score": 90.0, "reasons": ["AAPL"]},
        {"rank": 2, "symbol": "PEP", "side": "long", "score": 70.0, "reasons": ["PEP"]},
    ]
    assert chosen["since"].tolist() == [NOON, NOON]


@pytest.mark.parametrize(
    ("scores", "listed"),
    [
        ({"AAPL": 50.0, "KO": 50.0, "PEP": 55.0}, ["AAPL", "KO"]),  # better by the margin: not enough
        ({"AAPL": 50.0, "KO": 50.0, "PEP": 55.01}, ["PEP", "AAPL"]),
        ({"AAPL": 50.0, "KO": 49.0, "PEP": 54.01}, ["PEP", "AAPL"]),  # it takes the weaker one's place
        ({"AAPL": 10.0, "KO": 5.0}, ["AAPL", "KO"]),
        ({"AAPL": 50.0, "PEP": 1.0, "MSFT": 2.0}, ["AAPL", "MSFT"]),  # KO is not ranked any more
    ],
)
def test_a_newcomer_takes_a_place_only_when_it_is_better_by_more_than_the_margin(
    scores: dict[str, float], listed: list[str]
) -> None:
    before = choose_watchlist(ranked(AAPL=60.0, KO=50.0), at=NOON, capacity=2)

    assert symbols(choose_watchlist(ranked(**scores), before, at=LATER, capacity=2, margin=5.0)) == listed


def test_what_stays_keeps_since_when_and_what_comes_is_there_from_now_on() -> None:
    before = choose_watchlist(ranked(AAPL=60.0, KO=50.0), at=NOON, capacity=2)

    chosen = choose_watchlist(ranked(AAPL=20.0, PEP=90.0, KO=1.0), before, at=LATER, capacity=2)

    assert dict(zip(chosen["symbol"], chosen["since"], strict=True)) == {"PEP": LATER, "AAPL": NOON}


def test_a_symbol_is_listed_once_and_turns_when_its_other_side_is_better_by_more_than_the_margin() -> None:
    before = choose_watchlist(ranked(KO=50.0, KO_short=10.0), at=NOON, capacity=2)
    same = choose_watchlist(ranked(KO=50.0, KO_short=54.0), before, at=LATER, capacity=2)
    turned = choose_watchlist(ranked(KO=50.0, KO_short=56.0), before, at=LATER, capacity=2)

    assert [tuple(one.loc[0, ["symbol", "side", "since"]]) for one in (before, same, turned)] == [
        ("KO", "long", NOON), ("KO", "long", NOON), ("KO", "short", LATER)
    ]  # fmt: skip
    assert [len(one) for one in (before, same, turned)] == [1, 1, 1]


def test_who_is_listed_leaves_a_margin_below_the_least_score_for_coming() -> None:
    before = choose_watchlist(ranked(KO=50.0), at=NOON, capacity=9, min_score=50.0)

    for score, listed in ((45.0, ["KO"]), (44.9, [])):
        chosen = choose_watchlist(ranked(KO=score, PEP=49.9), before, at=LATER, capacity=9, min_score=50.0)
        assert symbols(chosen) == listed


def test_nothing_ranked_is_an_empty_list_with_its_columns() -> None:
    chosen = choose_watchlist(ranked(), ranked().assign(since=[]), at=NOON, capacity=3)

    assert chosen.empty
    assert list(chosen) == ["rank", "symbol", "side", "score", "since", "reasons"]
    assert str(chosen["since"].dtype) == "datetime64[us, UTC]"


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (ranked(KO=float("nan")), r"the score of KO \(long\) is nan"),
        (pd.concat([ranked(KO=1.0), ranked(KO=2.0)]), r"KO \(long\) is ranked twice"),
        (ranked(KO=1.0).drop(columns="side"), "no column side"),
    ],
)
def test_a_ranking_that_cannot_be_is_refused(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        choose_watchlist(frame, at=NOON, capacity=3)


SCORES = st.dictionaries(
    st.tuples(st.sampled_from("ABCDEFGH"), st.sampled_from(["long", "short"])), st.floats(0, 100), max_size=16
)


def frame(scores: dict[tuple[str, str], float]) -> pd.DataFrame:
    return pd.DataFrame([(*key, score) for key, score in scores.items()], columns=["symbol", "side", "score"])


@settings(deadline=None)
@given(SCORES, SCORES, st.integers(1, 5), st.floats(0, 20))
def test_nobody_is_displaced_but_by_one_who_is_better_by_more_than_the_margin(
    first: dict[tuple[str, str], float], second: dict[tuple[str, str], float], capacity: int, margin: float
) -> None:
    before = choose_watchlist(frame(first), at=NOON, capacity=capacity, margin=margin)
    after = choose_watchlist(frame(second), before, at=LATER, capacity=capacity, margin=margin)

    was = set(zip(before["symbol"], before["side"], strict=True))
    now = set(zip(after["symbol"], after["side"], strict=True))
    assert len(after) == min(capacity, len({symbol for symbol, _ in second}))
    assert after["score"].is_monotonic_decreasing
    for symbol, side in (was & second.keys()) - now:
        score, other = second[symbol, side], (symbol, "short" if side == "long" else "long")
        if other in now:
            assert second[other] > score + margin
        else:
            assert len(after) == capacity
            assert all(second[key] > score + margin for key in now - was)
            assert all(second[key] >= score for key in now & was)


@settings(deadline=None)
@given(SCORES, st.integers(1, 5), st.data())
def test_small_changes_of_score_change_no_list(
    scores: dict[tuple[str, str], float], capacity: int, data: st.DataObject
) -> None:
    before = choose_watchlist(frame(scores), at=NOON, capacity=capacity, margin=5.0)
    trembling = {key: score + data.draw(st.floats(-2.4, 2.4)) for key, score in scores.items()}

    after = choose_watchlist(frame(trembling), before, at=LATER, capacity=capacity, margin=5.0, min_score=-3.0)

    assert set(after["symbol"]) == set(before["symbol"])
    assert set(after["since"]) <= {NOON}

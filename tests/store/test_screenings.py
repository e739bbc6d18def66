"""What screens have found, in the database: results by run, and alerts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from workbench.errors import InvalidInput
from workbench.store.database import DatabaseManager

NOW, HOUR = datetime(2026, 11, 20, 15, tzinfo=UTC), timedelta(hours=1)


@pytest.fixture
def database(database_url: str) -> Iterator[DatabaseManager]:
    with DatabaseManager(database_url) as opened:
        yield opened


def results(*symbols: str, as_of: datetime = NOW) -> pd.DataFrame:
    scores = [90.0 - 10 * number for number in range(len(symbols))]
    return pd.DataFrame({"as_of": as_of, "symbol": list(symbols), "side": "long", "score": scores})


def test_results_are_loaded_as_they_were_saved_the_best_first(database: DatabaseManager) -> None:
    saved = results("KO", "AAPL").assign(
        score=[10.0, 20.0],
        scores=[{"1day": 40.0, "15min": None}, {"1day": np.float64(80.0)}],
        reasons=[["1day: turning"], np.array(["a", "b"])],
    )

    run_id = database.save_screening_results(saved)
    loaded = database.load_screening_results()

    assert loaded["symbol"].tolist() == ["AAPL", "KO"]
    assert loaded["scores"].tolist() == [{"1day": 80.0}, {"1day": 40.0, "15min": None}]
    assert loaded["reasons"].tolist() == [["a", "b"], ["1day: turning"]]
    assert loaded["as_of"].tolist() == [NOW, NOW]
    assert set(loaded["run_id"]) == {run_id}


def test_the_newest_run_is_loaded_unless_another_is_named(database: DatabaseManager) -> None:
    first = database.save_screening_results(results("KO"))
    second = database.save_screening_results(results("PEP", "AAPL", as_of=NOW - HOUR))  # as of the past, but run later

    assert database.load_screening_results()["symbol"].tolist() == ["PEP", "AAPL"]
    assert database.load_screening_results(first)["symbol"].tolist() == ["KO"]
    assert database.load_screening_results(since=NOW)["run_id"].tolist() == [first]
    assert database.load_screening_results(until=NOW, symbols="PEP")["run_id"].tolist() == [second]
    assert database.load_screening_results("no such run").empty


def test_a_run_that_is_saved_again_is_replaced(database: DatabaseManager) -> None:
    database.save_screening_results(results("KO", "PEP").assign(run_id="one"))
    database.save_screening_results(results("KO").assign(run_id="one"))

    assert database.load_screening_results("one")["symbol"].tolist() == ["KO"]


def test_nothing_found_has_the_dtypes_of_something_found(database: DatabaseManager) -> None:
    database.save_screening_results(results())
    empty = database.load_screening_results()
    database.save_screening_results(results("KO"))

    assert empty.empty
    assert empty.dtypes.to_dict() == database.load_screening_results().dtypes.to_dict()


def test_a_result_that_is_there_twice_is_refused(database: DatabaseManager) -> None:
    with pytest.raises(InvalidInput, match=r"screening results, row 2: .* KO long is there already, in row 1"):
        database.save_screening_results(results("KO", "KO"))
    assert database.load_screening_results().empty


def test_an_alert_of_the_same_moment_is_saved_once(database: DatabaseManager) -> None:
    first = database.save_alert("KO", "long", "turn", "KO turned", at=NOW, timeframe="15min", score=71.5)
    again = database.save_alert("KO", "long", "turn", "told again", at=NOW, timeframe="15min")
    other = database.save_alert("KO", "short", "turn", "KO turned", at=NOW + HOUR)

    assert first == again
    assert database.alerts()["message"].tolist() == ["KO turned", "KO turned"]
    assert database.alerts(since=NOW + HOUR)["id"].tolist() == [other]
    assert database.alerts(after_id=first)["id"].tolist() == [other]
    assert database.alerts(symbols=["PEP"]).empty
    assert database.alerts()["score"].isna().tolist() == [False, True]


def test_an_alert_without_a_zone_is_refused(database: DatabaseManager) -> None:
    with pytest.raises(InvalidInput, match=r"alert, row 1 .*at: .* has no time zone"):
        database.save_alert("KO", "long", "turn", "KO turned", at=NOW.replace(tzinfo=None))

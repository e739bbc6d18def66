"""The watchlist in the database: whole for every reader, whoever replaces it meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from threading import Thread
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.errors import InvalidInput
from workbench.store.database import DatabaseManager

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

NOW = datetime(2026, 11, 20, 15, tzinfo=UTC)
REPLACEMENTS, FEWEST, MOST = 1000, 5, 9


@pytest.fixture
def database(database_url: str) -> Iterator[DatabaseManager]:
    with DatabaseManager(database_url) as opened:
        yield opened


def watchlist(*symbols: str, score: float = 50.0) -> pd.DataFrame:
    return pd.DataFrame({"symbol": list(symbols), "side": "long", "score": score})


def test_a_watchlist_is_loaded_as_it_was_saved(database: DatabaseManager) -> None:
    since = NOW - timedelta(days=2)
    saved = watchlist("KO", "AAPL").assign(
        side=["long", "short"], rank=[2, 1], since=since, reasons=[["15min: turning"], [{"at": since}]]
    )

    database.save_watchlist(saved, at=NOW)
    loaded = database.load_latest_watchlist()

    assert loaded.to_dict("records") == [
        {
            "symbol": "AAPL", "rank": 1, "side": "short", "score": 50.0, "since": since,
            "reasons": [{"at": since.isoformat()}], "timestamp": NOW, "updated_at": NOW,
        },
        {
            "symbol": "KO", "rank": 2, "side": "long", "score": 50.0, "since": since,
            "reasons": ["15min: turning"], "timestamp": NOW, "updated_at": NOW,
        },
    ]  # fmt: skip
    assert database.load_watchlist_symbols() == ["AAPL", "KO"]


def test_what_was_loaded_can_be_saved_again(database: DatabaseManager) -> None:
    database.save_watchlist(watchlist("KO", "AAPL"), at=NOW)
    loaded = database.load_latest_watchlist()

    database.save_watchlist(loaded, at=NOW)

    pd.testing.assert_frame_equal(database.load_latest_watchlist(), loaded)
    assert len(database.load_watchlist_history()) == 2


def test_an_empty_watchlist_has_the_columns_and_dtypes_of_one_with_rows(database: DatabaseManager) -> None:
    database.save_watchlist(watchlist("KO"), at=NOW)
    full = database.load_latest_watchlist()

    database.save_watchlist(watchlist(), at=NOW)

    assert database.load_latest_watchlist().dtypes.to_dict() == full.dtypes.to_dict()
    assert database.load_latest_watchlist().empty


def test_every_list_is_kept_in_the_history(database: DatabaseManager) -> None:
    hour = timedelta(hours=1)
    for number, symbols in enumerate((["KO"], ["KO", "PEP"], ["PEP"])):
        database.save_watchlist(watchlist(*symbols), at=NOW + number * hour)

    def kept(**bounds: object) -> list[tuple[int, str]]:
        rows = database.load_watchlist_history(**bounds)  # type: ignore[arg-type]
        return [((at - NOW) // hour, symbol) for at, symbol in zip(rows["timestamp"], rows["symbol"], strict=True)]

    assert kept() == [(0, "KO"), (1, "KO"), (1, "PEP"), (2, "PEP")]
    assert kept(symbols="KO") == [(0, "KO"), (1, "KO")]
    assert kept(since=NOW + hour, until=NOW + 2 * hour) == [(1, "KO"), (1, "PEP")]


def test_scores_change_in_their_place_on_the_same_side_only(database: DatabaseManager) -> None:
    database.save_watchlist(watchlist("KO", "PEP").assign(reasons=[["a"], ["b"]]), at=NOW)
    scores = pd.DataFrame(
        {"symbol": ["KO", "PEP", "GONE"], "side": ["long", "short", "long"], "score": [1.0, 2.0, 3.0]}
    )

    updated = database.update_watchlist_scores(scores.assign(reasons=[["c"], None, None]), at=NOW + timedelta(hours=1))

    loaded = database.load_latest_watchlist()
    assert updated == 1
    assert loaded["score"].tolist() == [1.0, 50.0]
    assert loaded["reasons"].tolist() == [["c"], ["b"]]
    assert ((loaded["updated_at"] - NOW) // timedelta(hours=1)).tolist() == [1, 0]
    assert loaded["timestamp"].tolist() == [NOW, NOW]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"side": ["long", "up"]}, r"watchlist, row 2 \(PEP\): side: 'up' is neither long nor short"),
        ({"symbol": ["KO", "../x"]}, r"row 2 \(../x\): symbol: '../x' is no symbol"),
        ({"symbol": ["KO", "KO"]}, "row 2: KO is there already, in row 1"),
        ({"rank": [1, 1]}, "row 2: 1 is there already, in row 1"),
        ({"rank": [1, 1.5]}, r"row 2 \(PEP\): rank: 1.5 is no whole number"),
        ({"score": [1.0, float("inf")]}, r"row 2 \(PEP\): score: inf is no finite number"),
        ({"score": [1.0, None]}, r"row 2 \(PEP\): score is missing"),
        ({"since": [NOW, datetime(2026, 1, 1)]}, r"row 2 \(PEP\): since: 2026-01-01 00:00:00 has no time zone"),  # noqa: DTZ001
        ({"reasons": [[], "why"]}, r"row 2 \(PEP\): reasons: 'why' is neither a list nor a dict"),
        ({"reasons": [[], [float("nan")]]}, r"row 2 \(PEP\): reasons: Out of range float"),
        ({"close": [1.0, 2.0]}, "unknown columns close; its columns are symbol, rank"),
    ],
)
def test_a_list_that_cannot_be_is_refused_with_its_row_and_the_one_before_stays(
    tmp_path_factory: pytest.TempPathFactory, changes: dict[str, list[object]], message: str
) -> None:
    with DatabaseManager(f"sqlite:///{tmp_path_factory.mktemp('door') / 'trading.db'}") as database:
        database.save_watchlist(watchlist("AAPL"), at=NOW)
        frame = watchlist("KO", "PEP")
        frame = frame.assign(**{name: pd.Series(cells, dtype=object) for name, cells in changes.items()})

        with pytest.raises(InvalidInput, match=message):
            database.save_watchlist(frame)

        assert database.load_watchlist_symbols() == ["AAPL"]


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2050, 1, 1)),  # noqa: DTZ001
    st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
def test_an_instant_comes_back_as_it_was_whatever_its_zone(
    database: DatabaseManager, moment: datetime, zone: timezone
) -> None:
    since = moment.replace(tzinfo=zone)

    database.save_watchlist(watchlist("KO").assign(since=since), at=NOW)

    (loaded,) = database.load_latest_watchlist()["since"]
    assert loaded == since
    assert loaded.utcoffset() == timedelta(0)


def read_lists(url: str, ready: Event, done: Event, told: Queue[tuple[int, int]]) -> None:
    """Read until the writer has ended; tell how many lists were seen, and how many rows at least."""
    reads, fewest = 0, MOST
    with DatabaseManager(url) as database:
        ready.set()
        while not done.wait(0.002):
            if reads % 10:
                symbols = database.load_watchlist_symbols()
            else:
                rows = database.load_latest_watchlist()
                symbols = rows["symbol"].tolist()
                assert rows["timestamp"].nunique() == 1
            assert symbols == [f"S{number}" for number in range(len(symbols))]
            reads, fewest = reads + 1, min(fewest, len(symbols))
    told.put((reads, fewest))


def test_readers_never_see_fewer_rows_than_the_smallest_list_while_it_is_replaced_a_thousand_times(
    database_url: str,
) -> None:
    lists = [watchlist(*(f"S{number}" for number in range(size))) for size in range(FEWEST, MOST + 1)]
    spawn = get_context("spawn")
    told: Queue[tuple[int, int]] = spawn.Queue()
    done, ready = spawn.Event(), [spawn.Event(), spawn.Event()]
    with DatabaseManager(database_url) as database:
        database.save_watchlist(lists[0])
        kinds = (spawn.Process, Thread)  # in another process, and beside the writer
        readers = [
            kind(target=read_lists, args=(database_url, one, done, told))
            for kind, one in zip(kinds, ready, strict=True)
        ]
        for reader in readers:
            reader.start()
        assert all(one.wait(120) for one in ready)

        for number in range(REPLACEMENTS):
            database.save_watchlist(lists[number % len(lists)])
        done.set()
        seen = [told.get(timeout=60) for _ in readers]
        for reader in readers:
            reader.join(60)

    assert len(seen) == len(readers)
    assert all(reads > 50 and fewest >= FEWEST for reads, fewest in seen)


def replace_often(url: str, letter: str) -> None:
    with DatabaseManager(url) as database:
        for size in [3, 7] * 15:
            database.save_watchlist(watchlist(*(f"{letter}{number}" for number in range(size))))


def test_two_writers_at_once_leave_the_list_of_one_of_them(database_url: str) -> None:
    DatabaseManager(database_url).close()

    with ThreadPoolExecutor(2) as writers:
        list(writers.map(replace_often, [database_url] * 2, "AB"))

    with DatabaseManager(database_url) as database:
        symbols = database.load_watchlist_symbols()
        history = database.load_watchlist_history()
    assert symbols in [[f"{letter}{number}" for number in range(7)] for letter in "AB"]
    assert history.groupby("timestamp")["symbol"].agg(lambda them: len({one[0] for one in them})).eq(1).all()
    assert len(history) == 2 * 15 * (3 + 7)

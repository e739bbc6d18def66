from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from workbench.errors import InvalidBars, SourceMismatch, StoreError
from workbench.market.coverage import Interval, parse_moment
from workbench.store.historical import HistoricalDataManager
from workbench.store.source import claim_source, read_source

BARS = pd.DataFrame(
    dict.fromkeys(("open", "high", "low", "close", "volume"), 1.0), index=pd.DatetimeIndex(["2026-11-20"], tz="UTC")
)


def test_the_first_to_save_decides_the_source(tmp_path: Path) -> None:
    assert read_source(tmp_path) is None
    assert claim_source(tmp_path, "IB") == "IB"
    assert claim_source(tmp_path, None) == "IB"
    assert read_source(tmp_path) == "IB"
    with pytest.raises(SourceMismatch, match="holds bars from IB; bars from replay must not mix"):
        claim_source(tmp_path, "replay")


def test_bars_saved_by_hand_are_the_users(tmp_path: Path) -> None:
    assert claim_source(tmp_path, None) == "user"


def test_of_many_claims_at_once_one_wins_and_all_know_it(tmp_path: Path) -> None:
    def claim(source: str) -> str:
        try:
            return claim_source(tmp_path / "new" / "store", source)
        except SourceMismatch:
            return "refused"

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(claim, [f"source {number}" for number in range(8)]))

    assert sorted(answers) == ["refused"] * 7 + [read_source(tmp_path / "new" / "store")]


def test_a_store_copied_without_its_hidden_file_keeps_its_source(tmp_path: Path) -> None:
    HistoricalDataManager(tmp_path).save_bars("AAPL", "1day", BARS, source="IB")
    (tmp_path / ".source").unlink()

    with pytest.raises(SourceMismatch):
        claim_source(tmp_path, "replay")
    assert claim_source(tmp_path, None) == "IB"


def test_a_save_that_is_refused_claims_no_source(tmp_path: Path) -> None:
    store, elsewhere = HistoricalDataManager(tmp_path), Interval(parse_moment("2026-01-01"), parse_moment("2026-02-01"))

    with pytest.raises(InvalidBars, match="no number"):
        store.save_bars("AAPL", "1day", BARS.assign(open="x"), source="IB")
    with pytest.raises(InvalidBars, match="lie outside"):
        store.save_bars("AAPL", "1day", BARS, source="IB", covers=elsewhere)

    assert read_source(tmp_path) is None


def test_a_source_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / ".source").mkdir()

    with pytest.raises(StoreError, match="cannot be read"):
        read_source(tmp_path)

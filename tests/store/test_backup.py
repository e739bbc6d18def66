"""A backup is the store, file by file, and comes back as it was or not at all."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.store.test_rebuild import days, filled
from workbench.errors import StoreError
from workbench.store.backup import backup, restore, verify
from workbench.store.historical import HistoricalDataManager


def test_what_is_restored_is_what_was_saved(tmp_path: Path) -> None:
    store = filled(tmp_path)

    report = backup(store, tmp_path / "backup")
    restore(tmp_path / "backup", tmp_path / "back" / "historical")

    again = HistoricalDataManager(tmp_path / "back" / "historical")
    assert report.copied == report.files == 5
    assert again.source == "IB"
    for prices in ("TRADES", "MIDPOINT"):
        loaded = [one.load_bars("AAPL", "1day", what_to_show=prices) for one in (store, again)]
        pd.testing.assert_frame_equal(*loaded, check_exact=True)
        covered = [one.coverage("AAPL", "1day", what_to_show=prices) for one in (store, again)]
        assert covered[0] == covered[1]


def test_a_second_backup_copies_only_what_has_changed(tmp_path: Path) -> None:
    store = filled(tmp_path)
    backup(store, tmp_path / "backup")
    assert backup(store, tmp_path / "backup").copied == 0

    store.save_bars("AAPL", "1day", days().iloc[-1:] * 1.01)

    assert backup(store, tmp_path / "backup").copied == 1
    verify(tmp_path / "backup")
    opened = HistoricalDataManager(tmp_path / "backup")
    pd.testing.assert_frame_equal(opened.load_bars("AAPL", "1day"), store.load_bars("AAPL", "1day"), check_exact=True)


def test_a_flipped_bit_in_a_backup_is_found_and_nothing_is_restored(tmp_path: Path) -> None:
    backup(filled(tmp_path), tmp_path / "backup")
    part = next((tmp_path / "backup").rglob("2020.parquet"))
    part.write_bytes(part.read_bytes()[:-9] + b"X" + part.read_bytes()[-8:])

    with pytest.raises(StoreError, match=r"2020\.parquet is not what"):
        restore(tmp_path / "backup", tmp_path / "back")

    assert not (tmp_path / "back").exists()


def test_a_backup_without_a_manifest_and_a_store_that_is_there_are_refused(tmp_path: Path) -> None:
    store = filled(tmp_path)
    backup(store, tmp_path / "backup")

    with pytest.raises(StoreError, match="is not empty"):
        restore(tmp_path / "backup", store.data_dir)
    with pytest.raises(StoreError, match="lies within the store"):
        backup(store, store.data_dir / "copy")
    (tmp_path / "backup" / "manifest.json").unlink()
    with pytest.raises(StoreError, match="not finished"):
        restore(tmp_path / "backup", tmp_path / "back")

"""What goes with exported bars: verdicts and bars held back, and the record of splits; files beside those of the bars.

    AAPL_1day.csv  AAPL_1day.review.parquet  AAPL.splits.json

An import takes them in again with the bars. What was asked for and empty is not in an export: that takes a backup.
"""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from workbench.errors import InvalidInput, StoreError
from workbench.store.files import replacing
from workbench.store.historical import HistoricalDataManager
from workbench.store.rebuild import EVENTS, load_events
from workbench.store.review import REVIEW_SCHEMA

_REVIEW, _SPLITS = ".review.parquet", ".splits.json"


def is_annex(path: Path) -> bool:
    """Tell the files that hold no bars of a series: annexes, and the review of a store."""
    return path.name.endswith(_REVIEW) or path.name == "review.parquet"


def write_annexes(
    store: HistoricalDataManager, symbol: str, timeframe: str, what_to_show: str, bars: Path
) -> list[Path]:
    """Write what goes with a file of bars beside it; return the files. Raises `StoreError`."""
    written = []
    rows = store.review.of(symbol, timeframe, what_to_show)
    if len(rows):
        written.append(bars.with_name(f"{bars.stem}{_REVIEW}"))
        with replacing(written[-1], _temporary(written[-1])) as file:
            pq.write_table(pa.Table.from_pandas(rows, schema=REVIEW_SCHEMA, preserve_index=False), file)
    if load_events(store, symbol):
        written.append(bars.with_name(f"{store.home(symbol).name}{_SPLITS}"))
        _copy(store.home(symbol) / EVENTS, written[-1])
    return written


def take_annexes(store: HistoricalDataManager, bars: Path, symbol: str, timeframe: str, what_to_show: str) -> None:
    """Take in what goes with a file of bars, before them: the door then knows the verdicts. Raises `StoreError`."""
    review, splits = bars.with_name(f"{bars.stem}{_REVIEW}"), bars.with_name(f"{store.home(symbol).name}{_SPLITS}")
    if review.exists():
        try:
            rows = pq.read_table(review).cast(REVIEW_SCHEMA).to_pandas()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise InvalidInput(f"{review} cannot be read: {error}; move it away to import without it") from error
        key = {"symbol": symbol, "timeframe": timeframe, "what_to_show": what_to_show}
        store.review.note(rows.assign(**key))
    if splits.exists() and not load_events(store, symbol):
        _copy(splits, store.home(symbol) / EVENTS)
        load_events(store, symbol)


def _copy(path: Path, to: Path) -> None:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    with replacing(to, _temporary(to)) as file:
        file.write(content)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}-{uuid4().hex}.tmp")

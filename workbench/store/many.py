"""Many series at once, read by polars in one scan: opening each file by itself takes several times as long.

polars does not verify the checksums of pages, as reading a single series does. So each part is read once by what does,
before polars reads it for the first time; a part that is replaced is another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

import numpy as np
import polars as pl
import pyarrow as pa

from workbench.market.bars import SCHEMA, TIMESTAMP
from workbench.store.parts import ALWAYS, Part, PartChanged, read_info, refuse_lost, verify
from workbench.store.series import Series

_SYMBOL = "symbol"
_SCHEMA = pl.DataFrame(SCHEMA.empty_table()).schema


def scan(series: Mapping[str, Series]) -> pl.LazyFrame | None:
    """Return all bars of the series as a lazy frame with a column `symbol`; None when nothing is stored of any.

    Raises `CorruptPart` when a part of theirs cannot be read or has lost bars.
    """
    parts = {symbol: one.whole_parts() for symbol, one in series.items()}
    return _scan(parts) if any(parts.values()) else None


def load(series: Mapping[str, Series], begin: datetime, end: datetime, columns: Sequence[str]) -> pl.DataFrame:
    """Return the bars of `[begin, end)`: `symbol`, `timestamp`, the columns; series by series, each in order of time.

    Each series is as it was at one instant: where a writer came between, they are read anew, one by one, which is
    slower. Raises `CorruptPart`.
    """
    try:
        parts = {symbol: _whole_parts(one, begin, end) for symbol, one in series.items()}
        frame = _read(parts, begin, end, columns) if any(parts.values()) else _frame({}, columns)
        if all(one.stands(parts[symbol], begin, end) for symbol, one in series.items()):
            return frame
    except (PartChanged, OSError, pl.exceptions.PolarsError):
        pass  # a part that was replaced, or one that is corrupt: reading them one by one tells
    return _frame({symbol: one.load(begin, end, columns) for symbol, one in series.items()}, columns)


def _whole_parts(series: Series, begin: datetime, end: datetime) -> list[Part]:
    parts = series.parts(begin, end)
    for part in parts:
        refuse_lost(part, read_info(part), begin, end)
        verify(part)
    return parts


def _read(parts: Mapping[str, Sequence[Part]], begin: datetime, end: datetime, columns: Sequence[str]) -> pl.DataFrame:
    if (begin, end) == ALWAYS:
        rows = _files(parts, "none")
    else:
        rows = _files(parts, "prefiltered").filter(pl.col(TIMESTAMP).is_between(begin, end, closed="left"))
    frame = rows.select(_SYMBOL, TIMESTAMP, *columns).collect()
    owners = _owners(parts)
    runs = (
        frame[_SYMBOL].rle().struct.unnest()
    )  # a name for each run of rows: naming row by row takes as long as reading
    names = pl.Series(_SYMBOL, [owners[path] for path in runs["value"]], pl.String)
    places = np.repeat(np.arange(len(names)), runs["len"].to_numpy())
    return frame.with_columns(names.gather(places))


def _scan(parts: Mapping[str, Sequence[Part]]) -> pl.LazyFrame:
    owned = pl.col(_SYMBOL).replace_strict(_owners(parts), return_dtype=pl.String)
    return _files(parts, "none").with_columns(owned)


def _files(parts: Mapping[str, Sequence[Part]], parallel: Literal["none", "prefiltered"]) -> pl.LazyFrame:
    """Return the rows of parts in their order, with the file as `symbol`.

    `prefiltered` reads the column first by which rows are chosen, and of the others these rows.
    """
    return pl.scan_parquet(
        list(_owners(parts)), glob=False, include_file_paths=_SYMBOL, hive_partitioning=False, parallel=parallel,
        schema=_SCHEMA,
    )  # fmt: skip


def _owners(parts: Mapping[str, Sequence[Part]]) -> dict[str, str]:
    return {str(part.content): symbol for symbol, some in parts.items() for part in some}


def _frame(tables: Mapping[str, pa.Table], columns: Sequence[str]) -> pl.DataFrame:
    """Return bars that were read one by one as the scan would give them."""
    empty = SCHEMA.empty_table().select([TIMESTAMP, *columns])
    counts = [table.num_rows for table in tables.values()]
    symbols = pa.DictionaryArray.from_arrays(
        np.repeat(np.arange(len(tables), dtype=np.int32), counts), pa.array(list(tables), pa.string())
    )
    joined = pa.concat_tables([empty, *tables.values()]).add_column(0, _SYMBOL, symbols.cast(pa.large_string()))
    frame = pl.from_arrow(joined)
    assert isinstance(frame, pl.DataFrame)  # noqa: S101  a table gives a frame
    return frame

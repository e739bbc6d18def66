"""One part of a series: a parquet file that is replaced whole, or not at all.

A part holds the bars of one period, a month of the fine timeframes or a year of the others, and says in its footer
where they come from and which time they cover. Bars and coverage live in one file, so no crash can part them.
Encodings: bar starts and volumes are nearly regular numbers, prices few distinct ones; one row group a part reads
fastest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Literal
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from workbench.errors import CorruptPart, StoreError
from workbench.market.bars import PRICES, SCHEMA, TIMESTAMP
from workbench.market.coverage import Coverage, Interval
from workbench.market.timeframes import Timeframe

_KEY = b"workbench"
_SCHEMA_VERSION = 1
_FINE_S = 60
"""Timeframes up to this length have a part a month; longer ones a part a year."""

_ENCODING = {
    "compression": "zstd",
    "compression_level": 1,
    "use_dictionary": [*PRICES, "average"],
    "column_encoding": {
        TIMESTAMP: "DELTA_BINARY_PACKED",
        "volume": "BYTE_STREAM_SPLIT",
        "bar_count": "BYTE_STREAM_SPLIT",
    },
    "dictionary_pagesize_limit": 8 << 20,
}


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where bars come from: the same for all parts of a series."""

    source: str
    what_to_show: str
    use_rth: bool


@dataclass(frozen=True, slots=True)
class PartInfo:
    """What a part's footer tells without its bars being read. `first` and `last` are bar starts."""

    provenance: Provenance
    coverage: Coverage
    fetched_at: datetime
    rows: int = 0
    first: datetime | None = None
    last: datetime | None = None


def period_unit(timeframe: Timeframe) -> Literal["M", "Y"]:
    """Return the length of a part of this timeframe as numpy names it: a month or a year."""
    return "M" if timeframe.seconds <= _FINE_S else "Y"


def period_of(timeframe: Timeframe, moment: datetime) -> Interval:
    """Return the period of the part that holds bars starting at `moment` (UTC)."""
    begin = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    if period_unit(timeframe) == "M":
        return Interval(begin, begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1))
    begin = begin.replace(month=1)
    return Interval(begin, begin.replace(year=begin.year + 1))


def part_name(timeframe: Timeframe, period: Interval) -> str:
    """Return the file name of a period's part: `2026-11.parquet` or `2026.parquet`."""
    return f"{np.datetime64(period.begin.replace(tzinfo=None), period_unit(timeframe))}.parquet"


def write_part(path: Path, table: pa.Table, info: PartInfo) -> None:
    """Replace the part at `path` by `table`, atomically and durably.

    Whatever happens, the disk holds the old part or the new one, whole. Raises `StoreError`.
    """
    stamped = table.replace_schema_metadata({_KEY: _format_footer(info)})
    with _replacing(path) as file:
        pq.write_table(stamped, file, row_group_size=max(1, table.num_rows), **_ENCODING)


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """Give a file that takes the place of `path` once it is written and synced.

    The temporary file lies beside the series' folder, not in it: a reader that opens the folder never meets it.
    """
    temporary = path.parent.parent / f".{path.parent.name}-{path.stem}-{uuid4().hex}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise StoreError(f"{path} could not be written ({error}); what it held before is unchanged") from error


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut, where the system can sync a folder."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_part(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Return a part's bars. Raises `CorruptPart` when the file is not a whole part."""
    with _opened(path) as file:
        table = file.read(columns=columns, use_threads=False)
    schema = SCHEMA if columns is None else pa.schema([SCHEMA.field(name) for name in columns])
    if table.schema.names != schema.names:
        raise CorruptPart(path, f"its columns are {', '.join(table.schema.names)}")
    return table.cast(schema)


def read_info(path: Path) -> PartInfo:
    """Return what a part's footer tells. Raises `CorruptPart` when the file is not a whole part."""
    with _opened(path) as file:
        footer, metadata = file.schema_arrow.metadata or {}, file.metadata
        if _KEY not in footer:
            raise CorruptPart(path, "its footer is not one of workbench")
        first, last = _extent(metadata)
    try:
        return _parse_footer(footer[_KEY], metadata.num_rows, first, last)
    except (KeyError, ValueError, TypeError) as error:
        raise CorruptPart(path, f"its footer is malformed: {error}") from error


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise CorruptPart(path, str(error).splitlines()[0]) from error


def _extent(metadata: pq.FileMetaData) -> tuple[datetime | None, datetime | None]:
    if not metadata.num_rows:
        return None, None
    stamps = [metadata.row_group(group).column(0).statistics for group in range(metadata.num_row_groups)]
    return stamps[0].min, stamps[-1].max


def _format_footer(info: PartInfo) -> bytes:
    return json.dumps(
        {
            "schema": _SCHEMA_VERSION,
            "source": info.provenance.source,
            "what_to_show": info.provenance.what_to_show,
            "use_rth": info.provenance.use_rth,
            "fetched_at": info.fetched_at.isoformat(),
            "coverage": [[span.begin.isoformat(), span.end.isoformat()] for span in info.coverage],
        }
    ).encode()


def _parse_footer(text: bytes, rows: int, first: datetime | None, last: datetime | None) -> PartInfo:
    footer = json.loads(text)
    if footer["schema"] != _SCHEMA_VERSION:
        raise ValueError(f"schema version {footer['schema']}, this program reads {_SCHEMA_VERSION}")
    spans = [(datetime.fromisoformat(begin), datetime.fromisoformat(end)) for begin, end in footer["coverage"]]
    return PartInfo(
        provenance=Provenance(footer["source"], footer["what_to_show"], footer["use_rth"]),
        coverage=Coverage(Interval(begin, end) for begin, end in spans),
        fetched_at=datetime.fromisoformat(footer["fetched_at"]),
        rows=rows,
        first=first,
        last=last,
    )


def stamps_of(table: pa.Table) -> np.ndarray:
    """Return a table's bar starts as int64 microseconds since 1970 (UTC)."""
    return np.asarray(table.column(TIMESTAMP).cast(pa.int64()).to_numpy())


def to_micros(moment: datetime) -> int:
    """Return an instant as the store counts it: microseconds since 1970 (UTC)."""
    return round(moment.astimezone(UTC).timestamp()) * 1_000_000 + moment.microsecond

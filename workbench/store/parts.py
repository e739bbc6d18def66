"""One part of a series: a parquet file that is replaced whole, or not at all.

A part holds the bars of one period, a month of the fine timeframes or a year of the others, and says in its footer
where they come from and which time they cover. Bars and coverage live in one file, so no crash can part them. Every
page carries a checksum, so a flipped bit is an error and not another price. Encodings: bar starts and volumes are
nearly regular numbers, prices few distinct ones; one row group a part reads fastest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Literal
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from workbench.errors import CorruptPart, StoreError
from workbench.market.bars import PRICES, SCHEMA, TIMESTAMP
from workbench.market.coverage import Coverage, Interval
from workbench.market.timeframes import Timeframe
from workbench.store.files import replacing

_KEY = b"workbench"
_SCHEMA_VERSION = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
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
    "write_page_checksum": True,
}


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where bars come from: the same for all parts of a series."""

    source: str
    what_to_show: str
    use_rth: bool

    def __str__(self) -> str:
        hours = "regular hours" if self.use_rth else "all hours"
        return f"{self.what_to_show} bars of {hours} from {self.source}"


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
    return period_at(moment, period_unit(timeframe))


def period_at(moment: datetime, unit: Literal["M", "Y"]) -> Interval:
    """Return the month or the year that `moment` (UTC) lies in."""
    begin = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    if unit == "M":
        return Interval(begin, begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1))
    begin = begin.replace(month=1)
    return Interval(begin, begin.replace(year=begin.year + 1))


def part_name(timeframe: Timeframe, period: Interval) -> str:
    """Return the file name of a period's part: `2026-11.parquet` or `2026.parquet`."""
    return f"{np.datetime64(period.begin.replace(tzinfo=None), period_unit(timeframe))}.parquet"


def write_part(path: Path, table: pa.Table, info: PartInfo) -> None:
    """Replace the part at `path` by `table`, atomically and durably.

    Whatever happens, the disk holds the old part or the new one, whole. The temporary file lies beside the series'
    folder, not in it: a reader that opens the folder never meets it. Raises `StoreError`.
    """
    temporary = path.parent.parent / f"{_temporary_prefix(path.parent)}{path.stem}-{uuid4().hex}.tmp"
    stamped = table.replace_schema_metadata({_KEY: _format_footer(info)})
    with replacing(path, temporary) as file:
        pq.write_table(stamped, file, row_group_size=max(1, table.num_rows), **_ENCODING)


def sweep(folder: Path) -> None:
    """Remove what killed writers of a series left behind. The caller holds the series' lock."""
    prefix = _temporary_prefix(folder)
    for path in folder.parent.iterdir():
        if path.name.startswith(prefix) and path.suffix == ".tmp":
            path.unlink(missing_ok=True)


def _temporary_prefix(folder: Path) -> str:
    return f".{folder.name}-"


def read_part(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Return a part's bars, of all columns or of some in the given order.

    Raises `CorruptPart` when the file is not a whole part.
    """
    with _opened(path) as file:
        if not file.schema_arrow.equals(SCHEMA):
            raise CorruptPart(path, f"its columns are {', '.join(map(str, file.schema_arrow))}")
        table = file.read(columns=columns, use_threads=False)
    schema = SCHEMA if columns is None else pa.schema([SCHEMA.field(name) for name in columns])
    return table.select(schema.names).cast(schema)


def read_info(path: Path) -> PartInfo:
    """Return what a part's footer tells. Raises `CorruptPart` when the file is not a whole part."""
    try:
        stat = path.stat()
    except OSError as error:
        raise StoreError(f"{path} cannot be opened: {error.strerror}") from error
    return _read_info(path, stat.st_ino, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=65_536)
def _read_info(path: Path, _inode: int, _modified_ns: int, _bytes: int) -> PartInfo:
    """Read a footer once: a part that is replaced is another file, with another inode and time."""
    with _opened(path) as file:
        footer, metadata = file.schema_arrow.metadata or {}, file.metadata
        if _KEY not in footer:
            raise CorruptPart(path, "its footer is not one of workbench")
        try:
            return _parse_footer(footer[_KEY], metadata.num_rows, *_extent(metadata))
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise CorruptPart(path, f"its footer is malformed: {error}") from error


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a part. What the system refuses (permission, too many files) says nothing about the part's content."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None and not path.is_dir():
            raise StoreError(f"{path} cannot be opened: {error.strerror}") from error
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
    return (moment - _EPOCH) // timedelta(microseconds=1)

"""One part of a series: a parquet file that is replaced whole, or not at all.

A part holds the bars of one period and says in its footer where they come from and which time they cover. Bars and
coverage live in one file, so no crash can part them. Every page carries a checksum, so a flipped bit is an error and
not another price; the footer has none, and is checked against itself. Encodings: bar starts are nearly regular numbers,
prices and counts few distinct ones. The counts of a month, which is written anew with each day, are cheaper to write in
bytes of the same rank, and slower to read.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from workbench.errors import CorruptPart, StoreError
from workbench.market.bars import COLUMNS, PRICES, SCHEMA, TIMESTAMP
from workbench.market.coverage import Coverage, Interval
from workbench.store.files import make_folder, written
from workbench.store.footer import KEY, NewerSchema, PartInfo, format_footer, parse_footer
from workbench.store.layout import is_year, parse_part_name, part_name
from workbench.store.recent import MOST_ROWS, SMALL, Decoded, Recent

ALWAYS = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ROWS_A_GROUP = 32_768
"""A sealed year of minutes has three row groups, so that a few weeks of it are read without the rest."""

_ENCODING: dict[str, Any] = {
    "compression": "lz4",  # reads 1.3 to 1.5 times faster than zstd, for a tenth more bytes
    "use_dictionary": [*PRICES, "average", "bar_count"],
    "column_encoding": {TIMESTAMP: "DELTA_BINARY_PACKED", "volume": "BYTE_STREAM_SPLIT"},
    "dictionary_pagesize_limit": 8 << 20,
    "row_group_size": _ROWS_A_GROUP,
    "write_statistics": [TIMESTAMP],  # by no other column is anything looked for
    "write_page_checksum": True,
}
_OF_MONTHS: dict[str, Any] = _ENCODING | {
    "use_dictionary": [*PRICES, "average"],
    "column_encoding": _ENCODING["column_encoding"] | {"bar_count": "BYTE_STREAM_SPLIT"},
}


_recent = Recent()


class PartChanged(Exception):
    """The part was replaced since it was listed: list again. Never leaves the store."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part as it was found in its folder."""

    path: Path = field(hash=False)
    """Its place."""
    period: Interval = field(hash=False)
    content: Path
    """Where its bytes are: at its place, or still beside it, under a decided change that is not finished."""
    inode: int
    modified_ns: int
    bytes: int

    @property
    def identity(self) -> tuple[Interval, int, int, int]:
        """What tells this content from any other that stands or stood in its place."""
        return self.period, self.inode, self.modified_ns, self.bytes


def find_part(path: Path, period: Interval, content: Path) -> Part:
    """Return the part as it is now. Raises `FileNotFoundError`."""
    stat = os.stat(content)  # noqa: PTH116  this is called for every part of every listing
    return Part(path, period, content, stat.st_ino, stat.st_mtime_ns, stat.st_size)


@contextmanager
def opened(part: Part) -> Iterator[pa.NativeFile]:
    """Open the content that was listed, which from then on is there to be read, whatever becomes of its place.

    Raises `PartChanged` when it is not there any more, `StoreError` when the system refuses: that says nothing about
    the content.
    """
    with _open(part) as file:
        if _found_again(part) != part:
            raise PartChanged
        yield file


def _open(part: Part) -> pa.NativeFile:
    try:
        return pa.OSFile(str(part.content))
    except FileNotFoundError:
        raise PartChanged from None
    except OSError as error:
        if part.content.is_dir():
            raise CorruptPart(part.path, "it is a folder") from error
        raise StoreError(f"{part.path} cannot be opened ({error.strerror or error}); check who may read it") from error


def _found_again(part: Part) -> Part | None:
    try:
        return find_part(part.path, part.period, part.content)
    except FileNotFoundError:
        return None


@contextmanager
def _parsed(part: Part, source: pa.NativeFile | pa.Buffer) -> Iterator[pq.ParquetFile]:
    """Give a part's file as parquet with our columns. Raises `CorruptPart`, `StoreError`."""
    with _named(part), pq.ParquetFile(source, page_checksum_verification=True) as parquet:
        if not parquet.schema_arrow.equals(SCHEMA):
            raise CorruptPart(part.path, f"its columns are {', '.join(map(str, parquet.schema_arrow))}")
        metadata = parquet.metadata  # pages have checksums, this has none
        rows = sum(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
        if rows != metadata.num_rows:
            raise CorruptPart(part.path, f"its footer tells of {metadata.num_rows} bars, its row groups of {rows}")
        yield parquet


@contextmanager
def _named(part: Part) -> Iterator[None]:
    """Say of a part that it is corrupt, or that the system refused, when reading it fails."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        number = error.errno if isinstance(error, OSError) else None
        if number not in (None, errno.EIO):
            raise StoreError(f"{part.path} cannot be read: {error}") from error
        raise CorruptPart(part.path, str(error).splitlines()[0]) from error


def read_info(part: Part) -> PartInfo:
    """Return what a part's footer tells. Raises `PartChanged`, `CorruptPart`, `StoreError`."""
    return _read_info(part)


@lru_cache(maxsize=65_536)
def _read_info(part: Part) -> PartInfo:
    """Read a footer once: a part that is replaced is another one."""
    with opened(part) as file:
        with _named(part):
            known = _recent.find(part.path, file)
        if known is not None:
            return known.info
        with _parsed(part, file) as parquet:
            return _info(part, parquet, edges=True)


def read_bars(
    part: Part, file: pa.NativeFile, columns: Sequence[str], begin: datetime, end: datetime, *, again: bool = False
) -> pa.Table:
    """Return the bars of an opened part that start in `[begin, end)`: their timestamps and these columns, in order.

    With `again` a small part is decoded whole and kept, for it will be read again. Raises `CorruptPart` when the file
    is not a whole part, or when it misses bars of that time that it once had.
    """
    known = _decoded(part, file) if again else None
    if known is not None:
        refuse_lost(part, known.info, begin, end)
        return between(known.table.select([TIMESTAMP, *columns]), begin, end)
    with _parsed(part, file) as parquet:
        refuse_lost(part, _info(part, parquet, edges=False), begin, end)
        return _rows(parquet, columns, begin, end)


def refuse_lost(part: Part, info: PartInfo, begin: datetime, end: datetime) -> None:
    """Raise `CorruptPart` when a part once had bars of `[begin, end)` that it has no more."""
    for span in info.lost.clip(begin, end):
        raise CorruptPart(part.path, f"its bars of {span} could not be read and were set aside")


def read_whole(part: Part) -> pa.Table:
    """Return all that a part holds, whether it once held more or not. Raises as `read_bars` and `opened` do."""
    with opened(part) as file, _parsed(part, file) as parquet:
        return _rows(parquet, COLUMNS, *ALWAYS)


@lru_cache(maxsize=65_536)
def verify(part: Part) -> None:
    """Read all of a part once, whose pages carry checksums, for readers that do not look at them.

    Raises as `read_whole` does.
    """
    read_whole(part)


def recall(part: Part) -> pa.Table:
    """Return all that a part holds, from memory when these very bytes are known. Raises as `read_info`."""
    with opened(part) as file:
        known = _decoded(part, file)
    return read_whole(part) if known is None else known.table


def _decoded(part: Part, file: pa.NativeFile) -> Decoded | None:
    """Return what an opened part holds, from memory when these very bytes are known; None when it is not small."""
    if part.bytes > SMALL:
        return None
    with _named(part):
        known = _recent.find(part.path, file)
        if known is None:
            content = file.read_buffer()
            file.seek(0)
            with _parsed(part, content) as parquet:
                if parquet.metadata.num_rows > MOST_ROWS:
                    return None
                table = _rows(parquet, COLUMNS, *ALWAYS)  # first, for it verifies the most
                known = Decoded(content, table, _info(part, parquet, edges=True))
            _recent.note(part.path, known)
    return known


def _rows(parquet: pq.ParquetFile, columns: Sequence[str], begin: datetime, end: datetime) -> pa.Table:
    names = [TIMESTAMP, *columns]
    table = parquet.read_row_groups(_groups(parquet.metadata, begin, end), columns=names, use_threads=False)
    table = table.select(names).replace_schema_metadata(None)
    return table if (begin, end) == ALWAYS else between(table, begin, end)


def _info(part: Part, parquet: pq.ParquetFile, *, edges: bool) -> PartInfo:
    """Return what a footer tells; its first and last bar only if `edges` are wanted, for they cost most of it."""
    metadata = parquet.metadata
    footer = metadata.metadata or {}
    if KEY not in footer:
        raise CorruptPart(part.path, "its footer is not one of workbench")
    try:
        first, last = (
            (None, None) if not (edges and metadata.num_rows) else (_edge(metadata, 0)[0], _edge(metadata, -1)[1])
        )
        return parse_footer(footer[KEY], metadata.num_rows, first, last)
    except NewerSchema as error:
        raise StoreError(f"{part.path} was written by a newer workbench ({error}); upgrade this one") from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise CorruptPart(part.path, f"its footer is malformed: {error}") from error


def _edge(metadata: pq.FileMetaData, group: int) -> tuple[datetime, datetime]:
    """Return the first and the last bar start of a row group; -1 is the last group."""
    statistics = metadata.row_group(group % metadata.num_row_groups).column(0).statistics
    try:
        return statistics.min, statistics.max
    except (AttributeError, OverflowError) as error:
        raise pa.ArrowInvalid(f"its footer does not tell its first and last bar: {error}") from error


def _groups(metadata: pq.FileMetaData, begin: datetime, end: datetime) -> list[int]:
    """Return the row groups that have bars in `[begin, end)`."""
    if metadata.num_row_groups <= 1:
        return list(range(metadata.num_row_groups))
    edges = [_edge(metadata, group) for group in range(metadata.num_row_groups)]
    return [group for group, (first, last) in enumerate(edges) if first < end and begin <= last]


def write_part(path: Path, table: pa.Table, info: PartInfo) -> Path:
    """Write what shall become the part at `path` into a temporary file, synced, and return that.

    It lies beside the series' folder, not in it: a reader that opens the folder never meets it. Raises `StoreError`.
    """
    temporary = path.parent.parent / f"{_temporary_prefix(path.parent)}{path.stem}-{uuid4().hex}.tmp"
    table, sink = table.combine_chunks().replace_schema_metadata(None), pa.BufferOutputStream()
    period = parse_part_name(path.name)
    encoding = _ENCODING if period is None or is_year(period) else _OF_MONTHS
    pq.write_table(table.replace_schema_metadata({KEY: format_footer(info)}), sink, **encoding)
    content = sink.getvalue()
    try:
        make_folder(path.parent)
        with written(temporary) as file:
            file.write(content)
    except OSError as error:
        raise StoreError(
            f"{path} could not be written ({error}). What is stored is whole. Check the disk and the folder, then "
            "save again"
        ) from error
    _recent.note(path, Decoded(content, table, _with_edges(info, table)))
    return temporary


def _with_edges(info: PartInfo, table: pa.Table) -> PartInfo:
    """Return what a part's footer will tell of itself and of these bars."""
    if not table.num_rows:
        return replace(info, rows=0, first=None, last=None)
    first, last = (_EPOCH + int(stamp) * _MICROSECOND for stamp in stamps_of(table)[[0, -1]])
    return replace(info, rows=table.num_rows, first=first, last=last)


def sweep(folder: Path) -> None:
    """Remove what killed writers of a series left behind. The caller holds the series' lock, nothing is pending."""
    prefix = _temporary_prefix(folder)
    for name in os.listdir(folder.parent):  # noqa: PTH208  a path for each name takes longer than the rest
        if name.startswith(prefix) and name.endswith(".tmp"):
            (folder.parent / name).unlink(missing_ok=True)


def _temporary_prefix(folder: Path) -> str:
    return f".{folder.name}-"


def keep_aside(part: Part) -> Path:
    """Give a part that cannot be read a second name beside its series' folder, under which it is kept; return that."""
    folder = part.path.parent
    aside = folder.parent / f".corrupt-{folder.name}-{part_name(part.period).partition('.')[0]}-{uuid4().hex[:8]}"
    try:
        aside.hardlink_to(part.content)
    except OSError:  # a file system without hard links: then for a moment the part has neither place nor stand-in
        part.content.rename(aside)
    return aside


def between(table: pa.Table, begin: datetime, end: datetime) -> pa.Table:
    """Return the rows of a sorted table whose timestamp lies in `[begin, end)`."""
    first, last = np.searchsorted(stamps_of(table), [to_micros(begin), to_micros(end)])
    return table.slice(int(first), int(last - first))


def stamps_of(table: pa.Table) -> np.ndarray:
    """Return a table's bar starts as int64 microseconds since 1970 (UTC)."""
    return np.asarray(table.column(TIMESTAMP).to_numpy().view(np.int64))


def to_micros(moment: datetime) -> int:
    """Return an instant as the store counts it: microseconds since 1970 (UTC)."""
    return (moment - _EPOCH) // _MICROSECOND


def lost_in(info: PartInfo | None, part: Part, as_of: datetime | None) -> Coverage:
    """Return the time of which a part that cannot be read may have held bars.

    `info` is what its footer says, where that can be read; without it only that it was written before `as_of`, or
    else the file's own time.
    """
    if info is not None:
        held = [] if info.first is None or info.last is None else [Interval(info.first, info.last + _MICROSECOND)]
        return info.coverage | info.lost | Coverage(held)
    written_before = as_of or _EPOCH + timedelta(microseconds=part.modified_ns // 1000)
    return Coverage([part.period.clip(part.period.begin, written_before) or part.period])

"""Computed indicators, kept in memory and on disk for as long as they are true.

What is kept belongs to a version of the data it was computed from: another version is another answer, however young
the old one is. Besides that it lives for a time. A file that cannot be read, or whose checksum is wrong, counts as
absent and is removed. Threads and processes may share a cache.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pandas as pd
import pyarrow as pa

logger = logging.getLogger(__name__)

Version = Hashable
"""What changes whenever the data do. Its `repr` is kept on disk."""

_KEPT = b"workbench.cache"
_CHECKSUM = 4  # bytes
_SUFFIX = ".arrow"


@dataclass(frozen=True, slots=True)
class _Entry:
    data: pd.DataFrame
    version: str
    until: float
    bytes: int


class IndicatorCache:
    """Frames by key and version.

    `ttl_seconds` is how long one is kept at most. Without a `folder` there is memory only. The least recently used go
    when there are more than `memory_bytes` or `disk_bytes`. `clock` gives seconds since the epoch.
    """

    def __init__(
        self,
        ttl_seconds: float = 3600,
        *,
        folder: Path | None = None,
        memory_bytes: int = 256 << 20,
        disk_bytes: int = 2 << 30,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.ttl = ttl_seconds
        self.folder = folder
        self._memory_bytes, self._disk_bytes = memory_bytes, disk_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()

    def get(self, key: Hashable, version: Version = None) -> pd.DataFrame | None:
        """Return what is kept of that version and young enough, or None. Changing it changes nothing here."""
        wanted = repr(version)
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
        if entry is None or entry.version != wanted or entry.until <= self._clock():
            entry = self._read(key, wanted)
        return None if entry is None else entry.data.copy(deep=False)  # pandas copies a column that is written to

    def set(self, key: Hashable, data: pd.DataFrame, version: Version = None, *, on_disk: bool = True) -> None:
        """Keep a frame. A full or read-only disk is logged, not raised: the frame can be computed again."""
        entry = _Entry(data.copy(deep=False), repr(version), self._clock() + self.ttl, _size(data))
        self._remember(key, entry)
        if self.folder is not None and on_disk:
            try:
                self._write(self._path(key), key, entry)
            except OSError as error:
                logger.warning("indicators are not kept in %s: %s", self.folder, error)

    def clear(self) -> None:
        """Drop all that is kept, on disk too."""
        with self._lock:
            self._entries.clear()
        for path in self._files():
            path.unlink(missing_ok=True)

    def _remember(self, key: Hashable, entry: _Entry) -> None:
        with self._lock:
            self._entries[key] = entry
            self._entries.move_to_end(key)
            total = sum(one.bytes for one in self._entries.values())
            while total > self._memory_bytes and len(self._entries) > 1:
                total -= self._entries.popitem(last=False)[1].bytes

    def _read(self, key: Hashable, version: str) -> _Entry | None:
        """Return what the disk has of that version, and remember it."""
        if self.folder is None:
            return None
        path = self._path(key)
        try:
            table = _checked(path.read_bytes())
            until, kept_key, kept_version = (table.schema.metadata or {})[_KEPT].decode().split("\n", 2)
            if kept_version != version or kept_key != _line(key) or float(until) <= self._clock():
                return None
            data = table.to_pandas()
            os.utime(path)
        except FileNotFoundError:
            return None
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            logger.warning("%s is no whole file of cached indicators (%s); it is computed anew", path, error)
            path.unlink(missing_ok=True)
            return None
        entry = _Entry(data, version, float(until), _size(data))
        self._remember(key, entry)
        return entry

    def _write(self, path: Path, key: Hashable, entry: _Entry) -> None:
        table = pa.Table.from_pandas(entry.data)
        told = f"{entry.until}\n{_line(key)}\n{entry.version}".encode()
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), _KEPT: told})
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}-{uuid4().hex}.tmp")
        try:
            temporary.write_bytes(_sealed(table))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        self._make_room()

    def _make_room(self) -> None:
        found = sorted(((path.stat(), path) for path in self._files()), key=lambda one: one[0].st_mtime)
        total = sum(stat.st_size for stat, _ in found)
        for stat, path in found[:-1]:
            if total <= self._disk_bytes:
                return
            path.unlink(missing_ok=True)
            total -= stat.st_size

    def _files(self) -> list[Path]:
        return [] if self.folder is None else list(self.folder.glob(f"*{_SUFFIX}"))

    def _path(self, key: Hashable) -> Path:
        assert self.folder is not None  # noqa: S101  only asked for with one
        plain = re.sub(r"[^A-Za-z0-9]+", "-", _line(key))[:40].strip("-")
        return self.folder / f"{plain}-{hashlib.sha256(_line(key).encode()).hexdigest()[:24]}{_SUFFIX}"


def _sealed(table: pa.Table) -> bytes:
    """Return a table as bytes: a checksum, then Arrow's own stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return zlib.crc32(content).to_bytes(_CHECKSUM, "big") + content


def _checked(content: bytes) -> pa.Table:
    """Return the table of some bytes, if they are whole."""
    stream = memoryview(content)[_CHECKSUM:]
    if zlib.crc32(stream).to_bytes(_CHECKSUM, "big") != content[:_CHECKSUM]:
        raise ValueError("its checksum is wrong")
    return pa.ipc.open_stream(pa.py_buffer(stream)).read_all()


def _line(key: Hashable) -> str:
    return repr(key).replace("\n", " ")


def _size(data: pd.DataFrame) -> int:
    return int(data.memory_usage(index=True).sum())

"""The small parts that this process wrote or read last, decoded: the newest month is read again for nothing.

A part is taken for one of them only when its file holds the very same bytes, which are read and compared each time: no
clock and no inode is trusted, and what another process writes is seen at once.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import pyarrow as pa

from workbench.store.footer import PartInfo

SMALL, MOST_ROWS = 1 << 19, 32_768
"""No file with more bytes or more bars is kept: of a larger one, what is asked for is read without the rest."""
_MOST, _BYTES = 16, 4 << 20


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a part holds: the file's bytes, the bars in it, and what its footer tells."""

    content: pa.Buffer
    table: pa.Table
    info: PartInfo


class Recent:
    """The newest parts by their places, a bounded number of them."""

    def __init__(self) -> None:
        self._parts: OrderedDict[Path, Decoded] = OrderedDict()
        self._lock = Lock()

    def note(self, path: Path, decoded: Decoded) -> None:
        """Keep what the file at `path` holds, unless it is large or a view into something large."""
        if (
            decoded.content.size > SMALL
            or decoded.table.num_rows > MOST_ROWS
            or decoded.table.get_total_buffer_size() > _BYTES
        ):
            return
        with self._lock:
            self._parts[path] = decoded
            self._parts.move_to_end(path)
            if len(self._parts) > _MOST:
                self._parts.popitem(last=False)

    def find(self, path: Path, file: pa.NativeFile) -> Decoded | None:
        """Return what was kept of `path`, if this open file holds just those bytes. The file's place is kept."""
        with self._lock:
            known = self._parts.get(path)
            if known is not None:
                self._parts.move_to_end(path)
        if known is None or file.size() != known.content.size:
            return None
        same = bool(file.read_buffer().equals(known.content))
        file.seek(0)
        return known if same else None

"""The source of a store's bars: claimed by the first save, kept for ever."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from workbench.errors import CorruptPart, SourceMismatch, StoreError
from workbench.store.files import locked, replacing
from workbench.store.layout import parse_part_name
from workbench.store.parts import PartChanged, find_part, read_info

_FILE = ".source"
BUILT_IN = "built-in gateway"
"""How the source of simulated and of replayed bars begins."""
USER = "user"
"""The source of bars that somebody saves by hand into a new store."""


def read_source(data_dir: Path) -> str | None:
    """Return the source of the store below `data_dir`, or None when nothing was saved yet."""
    path = data_dir / _FILE
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path}, which names the source of the store's bars, cannot be read: {error}") from error


def claim_source(data_dir: Path, source: str | None) -> str:
    """Return the source that bars are stored under; the first to save decides it.

    `None` takes the store's own. Raises `SourceMismatch` when the store holds bars of another.
    """
    held = read_source(data_dir) or _first_claim(data_dir, source or USER)
    if source is not None:
        refuse_source(data_dir, source)
    return held


def refuse_source(data_dir: Path, source: str) -> None:
    """Raise `SourceMismatch` when the store holds bars of another source."""
    held = read_source(data_dir)
    if held not in (None, source):
        raise SourceMismatch(
            f"{data_dir} holds bars from {held}; bars from {source} must not mix with them. "
            "Use another data folder (data_dir in workbench.toml, or WORKBENCH_DATA_DIR)"
        )


def _first_claim(data_dir: Path, source: str) -> str:
    """Write the source unless another process was faster; return what then stands.

    Parts know their source: a store that was copied without its hidden file keeps it.
    """
    with locked(data_dir / f"{_FILE}.lock", str(data_dir)):
        for left_over in data_dir.glob(f"{_FILE}-*"):
            left_over.unlink(missing_ok=True)
        held = read_source(data_dir)
        if held:
            return held
        claimed = _source_of_parts(data_dir) or source
        with replacing(data_dir / _FILE, data_dir / f"{_FILE}-{uuid4().hex}") as file:
            file.write(claimed.encode())
        return claimed


def _source_of_parts(data_dir: Path) -> str | None:
    """Return the source that a part names, the first that can be read."""
    for path in data_dir.glob("*/*/*.parquet/*.parquet"):
        period = parse_part_name(path.name)
        with suppress(CorruptPart, FileNotFoundError, PartChanged):
            if period:
                return read_info(find_part(path, period, path)).provenance.source
    return None

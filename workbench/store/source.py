"""The source of a store's bars: claimed by the first save, kept for ever."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

from workbench.errors import SourceMismatch, StoreError

_FILE = ".source"
USER = "user"
"""The source of bars that somebody saves by hand into a new store."""


def read_source(data_dir: Path) -> str | None:
    """Return the source of the store below `data_dir`, or None when nothing was saved yet."""
    try:
        return (data_dir / _FILE).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None


def claim_source(data_dir: Path, source: str | None) -> str:
    """Return the source that bars are stored under; the first to save decides it.

    `None` takes the store's own. Raises `SourceMismatch` when the store holds bars of another.
    """
    held = read_source(data_dir) or _first_claim(data_dir, source or USER)
    if source is not None and source != held:
        raise SourceMismatch(
            f"{data_dir} holds bars of {held!r}; bars of {source!r} must not mix with them. "
            "Use another data folder (data_dir in workbench.toml, or WORKBENCH_DATA_DIR)"
        )
    return held


def _first_claim(data_dir: Path, source: str) -> str:
    """Write the source unless another process was faster; return what then stands."""
    temporary = data_dir / f"{_FILE}-{uuid4().hex}"
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        temporary.write_text(source, encoding="utf-8")
        os.link(temporary, data_dir / _FILE)
    except FileExistsError:
        pass
    except OSError as error:
        raise StoreError(f"{data_dir} cannot be written ({error}); check that the folder is yours") from error
    finally:
        temporary.unlink(missing_ok=True)
    held = read_source(data_dir)
    assert held is not None  # noqa: S101  linked above, by this process or another
    return held

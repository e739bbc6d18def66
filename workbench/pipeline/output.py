"""The file of an executed notebook: hidden while the run lasts, then under its final name.

Whoever lists the folder sees whole notebooks of ended runs only.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path


def reserve(folder: Path, stem: str) -> tuple[Path, Path]:
    """Return a hidden file to write to and the final name, both this run's alone; make the folder.

    The hidden file is made first and the final name looked up after: a run that has just published under the
    name is seen, and one that is about to still holds its hidden file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        unique = stem if number == 1 else f"{stem}-{number}"
        part, output = folder / f".{unique}.part.ipynb", folder / f"{unique}.ipynb"
        with contextlib.suppress(FileExistsError):
            part.touch(exist_ok=False)
            if not output.exists():
                return part, output
            part.unlink()
    raise AssertionError


def rewrite(part: Path, text: str) -> None:
    """Replace the content of the hidden file: as a whole, or not at all when the disk is full or the process dies."""
    fresh = _fresh(part)
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(part)
    except OSError:
        fresh.unlink(missing_ok=True)  # what fits of it is of no use
        raise


def publish(part: Path, output: Path) -> None:
    """Give the notebook its final name, durably."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(output)
    folder = os.open(output.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def publish_left_over(part: Path, output: Path) -> None:
    """Publish the notebook of a run whose process was killed before it could; else do nothing."""
    _fresh(part).unlink(missing_ok=True)
    if part.exists() and not part.stat().st_size:  # the disk was full from the start
        part.unlink()
    elif part.exists():
        publish(part, output)


def _fresh(part: Path) -> Path:
    return part.with_suffix(".tmp")

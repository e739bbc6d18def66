"""Files and folders that survive a crash and a power cut, and locks that two processes share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from workbench.errors import StoreError

_LOCK_TIMEOUT_S = 60.0
_LOCK_POLL_S = 0.01


@contextmanager
def written(temporary: Path) -> Iterator[IO[bytes]]:
    """Give a new file that is synced once it is written, and gone when that fails."""
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            _sync_content(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def replacing(path: Path, temporary: Path) -> Iterator[IO[bytes]]:
    """Give a file that takes the place of `path` once it is written and synced.

    Whatever happens, `path` holds all of the old or all of the new. Raises `StoreError`.
    """
    try:
        make_folder(path.parent)
        try:
            with written(temporary) as file:
                yield file
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise StoreError(
            f"{path} could not be written ({error}). What was there is whole. Check the disk, then try again"
        ) from error


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, such that they survive a power cut."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def _sync_content(file: IO[bytes]) -> None:
    """Make a file's bytes and its size survive a power cut. Its times may follow later, where the system can wait."""
    sync = getattr(os, "fdatasync", os.fsync)  # Linux has it
    sync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make what was made or renamed inside `folder` survive a power cut, where the system can sync a folder."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Keep others out, those of other processes too, who lock the same path. Raises `StoreError`."""
    lock = _lock(path)
    try:
        make_folder(path.parent)
        lock.acquire()
    except Timeout as error:
        raise StoreError(
            f"another process has been writing {what} for {_LOCK_TIMEOUT_S:.0f} s; try again later"
        ) from error
    except OSError as error:
        raise StoreError(f"{path.parent} cannot be written ({error}); check the path and who owns it") from error
    try:
        yield
    finally:
        lock.release()


@lru_cache(maxsize=4096)
def _lock(path: Path) -> FileLock:
    """Return the lock of a path: made once, for making it takes longer than taking it. Threads keep out each other."""
    return FileLock(path, timeout=_LOCK_TIMEOUT_S, poll_interval=_LOCK_POLL_S)

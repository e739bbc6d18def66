"""The command that records live bars, as a process of its own at a gateway of the test's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OURS = ("WORKBENCH_", "DATABASE_URL")


@contextmanager
def recording(
    folder: Path, port: int, *symbols: str, speed: float, database: str = ""
) -> Iterator[subprocess.Popen[str]]:
    """Run `workbench live`, as a user does; at the end it is killed, if it still runs.

    An error of the block's is given a note of what the recorder has told, and of where each of its threads was.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    settings = {
        "WORKBENCH_IB__PORT": str(port),
        "WORKBENCH_IB__GATEWAY_SPEED": str(speed),
        "WORKBENCH_DATA_DIR": str(folder),
        "PYTHONFAULTHANDLER": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench", "live", *symbols],
        cwd=folder,
        env=inherited | settings | ({"DATABASE_URL": database} if database else {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    except BaseException as error:
        if process.returncode is None:
            process.send_signal(signal.SIGABRT)
            error.add_note("\n".join(process.communicate(timeout=60)))
        raise
    finally:
        if process.returncode is None:
            process.kill()
            process.communicate()

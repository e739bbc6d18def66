"""What a page's kernel does beside showing the board: record, and end in good order."""

from __future__ import annotations

import atexit
import threading
import time
from typing import Protocol

from workbench.display.board import Board
from workbench.errors import AlreadyRecorded, WorkbenchError

_PATIENCE_S = 20.0
_AGAIN_S = 0.5


class Closed(Protocol):
    """What is closed when the kernel ends."""

    def close(self) -> None:
        """Close it."""


def begin(board: Board, desk: Closed, *, record: bool) -> None:
    """Close the workbench with the kernel; where the board shall `record`, begin in the background.

    After a reload the kernel of the page before still records for some seconds: it is waited for. Symbols that another
    process goes on to record are shown as that, and so is whatever else is in the way.
    """
    atexit.register(desk.close)
    if record:
        threading.Thread(target=_record, args=(board,), name="page", daemon=True).start()


def _record(board: Board) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    board.panel.put(busy="start", told="")
    told = ""
    while True:
        try:
            board.start()
        except AlreadyRecorded as error:
            if time.monotonic() < deadline:
                time.sleep(_AGAIN_S)
                continue
            told = str(error)
        except WorkbenchError as error:
            told = str(error)
        break
    board.panel.put(busy="", told=told)

"""The built-in gateway in a process of its own, as `workbench.open()` starts it."""

from __future__ import annotations

import logging
import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from typing import IO, Any

from workbench.errors import GatewayError
from workbench.gateway.control import GatewayControl
from workbench.gateway.launch import SIMULATED

log = logging.getLogger(__name__)

READY = "ready"
"""What the process writes when it listens: this word, its host and its port."""

_APART: dict[str, Any] = {"creationflags": 0x200} if os.name == "nt" else {"process_group": 0}
"""A process group of its own: Ctrl-C and a kernel's interrupt are meant for the owner, which then closes in order."""

_START_TIMEOUT_S = 60.0
_END_TIMEOUT_S = 5.0
_WORDS_TIMEOUT_S = 1.0  # for what was said to arrive


class GatewayProcess:
    """A built-in gateway that ends with its owner, however that ends.

    It listens on 127.0.0.1 and a free port. The pipe to its standard input is its leash: when the owner closes it,
    or dies, the process ends. What it says meanwhile, warnings of files that disagree for one, is logged here.
    """

    def __init__(self, arguments: Sequence[str] = ()) -> None:
        command = [sys.executable, "-m", "workbench", "gateway", "--port", "0", "--embedded", *arguments]
        self._process = subprocess.Popen(  # noqa: S603  this interpreter, our own module
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            **_APART,
        )
        self._said: deque[str] = deque(maxlen=100)
        self._listener = threading.Thread(target=_retell, args=(self._process.stderr, self._said), daemon=True)
        self._listener.start()
        try:
            self.host, self.port = self._await_ready()
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        state = "running" if self._process.poll() is None else "ended"
        return f"GatewayProcess({self.host}:{self.port}, {state})"

    @property
    def control(self) -> GatewayControl:
        """What drives it while it runs, when it was started with `--control`."""
        return GatewayControl.of(self.port)

    def close(self) -> None:
        """End the process and wait until it is gone."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(_WORDS_TIMEOUT_S)  # it closes the pipe

    def _await_ready(self) -> tuple[str, int]:
        assert self._process.stdout is not None  # noqa: S101  Popen was asked for a pipe
        first: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_put_line, args=(self._process.stdout, first), daemon=True).start()
        try:
            words = first.get(timeout=_START_TIMEOUT_S).split()
        except queue.Empty:
            words = []
        if len(words) != 3 or words[0] != READY:
            raise GatewayError(f"the built-in gateway did not start: {self._last_words()}")
        return words[1], int(words[2])

    def _last_words(self) -> str:
        self._listener.join(_WORDS_TIMEOUT_S)  # a process that has ended has more to say than has arrived
        return self._said[-1] if self._said else f"it said nothing within {_START_TIMEOUT_S:.0f} s"


def replay(tape: str = SIMULATED, *, start: str, speed: float = 1.0, seed: int = 1) -> GatewayProcess:
    """Start a gateway that plays a session from `start` on; close it when done.

    `tape` is a folder of bars, the workbench's own store for one, or the simulated market. `start` is exchange time,
    `2026-11-20T09:30`. What is wrong with the folder's files is logged as a warning. Raises GatewayError.

        gateway = replay("data/historical/stocks", start="2026-11-20T09:30", speed=60)
        desk = workbench.open(f"{gateway.host}:{gateway.port}")
    """
    arguments = {"--tape": tape, "--start": start, "--speed": f"{speed:g}", "--seed": str(seed)}
    return GatewayProcess(["--control", *[text for pair in arguments.items() for text in pair]])


def _put_line(stream: IO[str], lines: queue.Queue[str]) -> None:
    lines.put(stream.readline())


def _retell(stream: IO[str], said: deque[str]) -> None:
    """Log what the gateway's process says, line by line until it ends."""
    with stream:
        for line in stream:
            if text := line.rstrip():
                said.append(text)
                log.warning("built-in gateway: %s", text)

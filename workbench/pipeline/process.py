"""The process of a run, as the program that started it sees it.

The other end is `execute.py`, where the two pipes are described. Whatever happens here, when `follow` has
returned or raised there is no process left, and no kernel.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self, cast

if TYPE_CHECKING:
    import psutil

logger = logging.getLogger(__name__)

GRACE_S = 10.0
"""How long a run that was told to stop may take to shut its kernel down and save the notebook."""
_LOOK_S = 0.25


@dataclass(frozen=True, slots=True)
class Limits:
    """What ends a run before its time: its duration, the memory of its processes, somebody who wants it to stop."""

    timeout_s: float | None = None
    memory_mb: int | None = None
    stopping: threading.Event | None = None


class RunProcess:
    """One run of one notebook in a process of its own.

    `cells` is the number of code cells executed so far, `figures` what the notebook recorded. After a run that failed
    `place` says where, and `error` why.
    """

    def __init__(self, request: Mapping[str, object]) -> None:
        self.cells = 0
        self.figures: dict[str, Any] = {}
        self.place = self.error = ""
        self._kernel = 0
        self._stop_reason = ""
        # A file, not a pipe: nobody has to read it while the run lasts.
        self._noise: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        ours, theirs = os.pipe()
        self._process = subprocess.Popen(  # noqa: S603  our own module, in this interpreter
            [sys.executable, "-P", "-m", "workbench.pipeline.execute", str(theirs)],
            stdin=subprocess.PIPE,
            stdout=self._noise,
            stderr=self._noise,
            encoding="utf-8",
            pass_fds=[theirs],
            start_new_session=True,  # Ctrl-C in the terminal reaches us alone, and we end the run in good order
        )
        os.close(theirs)
        self._leash = cast("IO[str]", self._process.stdin)
        self._reports = os.fdopen(ours, encoding="utf-8")
        self._send(json.dumps(request))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        try:
            if kind is not None:
                self._stop(f"stopped by {kind.__name__}")
        finally:
            self._end()

    def follow(self, on_cell: Callable[[int, int], None], limits: Limits) -> bool:
        """Report progress until the process ends by itself or by a limit; return whether all went well."""
        with self._limited(limits):
            for line in self._reports:
                match json.loads(line):
                    case {"event": "kernel", "pid": int(pid)}:
                        self._kernel = pid
                    case {"event": "cell", "done": int(done), "total": int(total)}:
                        self.cells = done
                        on_cell(done, total)
                    case {"event": "failed", "place": str(place), "error": str(error)}:
                        self.place, self.error = place, error
                    case {"event": "figures", "figures": dict(figures)}:
                        self.figures = figures
                    case {"event": "warning", "text": str(text)}:
                        logger.warning(text)
            succeeded = self._process.wait() == 0
        if not succeeded and not self.error:
            self.place, self.error = self._unreported()
        return succeeded

    def _send(self, line: str) -> None:
        with contextlib.suppress(OSError):  # a process that has ended says why by its exit
            self._leash.write(line + "\n")
            self._leash.flush()

    @contextlib.contextmanager
    def _limited(self, limits: Limits) -> Iterator[None]:
        ended = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(limits, ended), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()

    def _watch(self, limits: Limits, ended: threading.Event) -> None:
        begin = time.monotonic()
        while not ended.wait(_LOOK_S):
            if reason := self._passed(limits, time.monotonic() - begin):
                self._stop(reason)
                return

    def _passed(self, limits: Limits, seconds: float) -> str:
        """Return which limit is passed; nothing when none is."""
        if limits.timeout_s is not None and seconds > limits.timeout_s:
            return f"the run took longer than {limits.timeout_s:g} s"
        if limits.memory_mb is not None and self._memory_mb() > limits.memory_mb:
            return f"the run took more than {limits.memory_mb} MB of memory"
        return "the run was told to stop" if limits.stopping is not None and limits.stopping.is_set() else ""

    def _memory_mb(self) -> float:
        """Return what the run's process, its kernel and whatever they started hold in memory."""
        import psutil

        with contextlib.suppress(psutil.Error):
            ours = psutil.Process(self._process.pid)
            every = {
                one.pid: one for root in (ours, *ours.children()) for one in (root, *root.children(recursive=True))
            }
            return sum(_resident(one) for one in every.values()) / 1e6
        return 0.0

    def _stop(self, reason: str) -> None:
        """Tell the process to end in good order, and end it if it does not."""
        self._stop_reason = reason
        self._send(reason)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_S)
        self._process.kill()  # does nothing to a process that has ended

    def _end(self) -> None:
        """Leave no process behind."""
        self._process.kill()
        self._process.wait()
        if self._process.returncode < 0 and self._kernel:  # it could not shut its kernel down
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._kernel, signal.SIGKILL)
        for pipe in (self._leash, self._reports, self._noise):
            with contextlib.suppress(OSError):
                pipe.close()

    def _unreported(self) -> tuple[str, str]:
        """Say where and why a process failed that could not say so itself."""
        if self._stop_reason:
            return "in an unknown cell", f"{self._stop_reason}, and did not end when told to"
        if self._process.returncode < 0:
            return "in an unknown cell", f"its process was killed by {signal.Signals(-self._process.returncode).name}"
        self._noise.seek(0)
        lines = self._noise.read().strip().splitlines()
        return "before the first cell", lines[-1] if lines else "its process said nothing"


def _resident(process: psutil.Process) -> int:
    import psutil

    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # it has ended meanwhile
        return 0

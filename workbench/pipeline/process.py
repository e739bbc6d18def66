"""The process of a run, as the program that started it sees it.

The other end is `execute.py`, where the two pipes are described. Whatever happens here, when `follow` has
returned or raised there is no process left, and no kernel.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import IO, Self, cast

GRACE_S = 10.0
"""How long a run that was told to stop may take to shut its kernel down and save the notebook."""


class RunProcess:
    """One run of one notebook in a process of its own.

    `cells` is the number of code cells executed so far; `failure` says, after a run that failed, where and why.
    """

    def __init__(self, request: Mapping[str, object]) -> None:
        self.cells = 0
        self.failure = ""
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

    def follow(self, on_cell: Callable[[int, int], None], timeout_s: float | None) -> bool:
        """Report progress until the process ends by itself or by its time limit; return whether all went well."""
        with self._time_limit(timeout_s):
            for line in self._reports:
                match json.loads(line):
                    case {"event": "kernel", "pid": int(pid)}:
                        self._kernel = pid
                    case {"event": "cell", "done": int(done), "total": int(total)}:
                        self.cells = done
                        on_cell(done, total)
                    case {"event": "failed", "place": str(place), "error": str(error)}:
                        self.failure = f"{place}: {error}"
            succeeded = self._process.wait() == 0
        if not succeeded and not self.failure:
            self.failure = self._unreported()
        return succeeded

    def _send(self, line: str) -> None:
        with contextlib.suppress(OSError):  # a process that has ended says why by its exit
            self._leash.write(line + "\n")
            self._leash.flush()

    @contextlib.contextmanager
    def _time_limit(self, timeout_s: float | None) -> Iterator[None]:
        if timeout_s is None:
            yield
            return
        timer = threading.Timer(timeout_s, self._stop, [f"the run took longer than {timeout_s:g} s"])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

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

    def _unreported(self) -> str:
        """Say why a process failed that could not say so itself."""
        if self._stop_reason:
            return f"in an unknown cell: {self._stop_reason}, and did not end when told to"
        if self._process.returncode < 0:
            return f"in an unknown cell: its process was killed by {signal.Signals(-self._process.returncode).name}"
        self._noise.seek(0)
        lines = self._noise.read().strip().splitlines()
        return f"before the first cell: {lines[-1] if lines else 'its process said nothing'}"

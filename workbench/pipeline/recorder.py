"""The recorder of live bars under the scheduler: a process that runs while the session does, and again when it dies."""

from __future__ import annotations

import logging
import signal
import subprocess
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from workbench.market.sessions import session_calendar
from workbench.market.timeframes import TIMEFRAMES

logger = logging.getLogger(__name__)

_GRACE_S = 30.0
"""How long a recorder that was told to stop may take to write what it has."""
_LONGEST_PAUSE_S = 60.0
_STEADY_S = 300.0
"""One that ran for so long before it died does not keep dying."""


def is_wanted(now: datetime, before_open: timedelta, after_close: timedelta) -> bool:
    """Return whether live bars are recorded at that moment: from before a session's open until after its close."""
    near = session_calendar().during(now - timedelta(days=1), now + timedelta(days=1), TIMEFRAMES["1min"])
    return any(session.begin - before_open <= now < session.end + after_close for session in near)


class RecorderKeeper:
    """Keeps the recorder's process as it should be; `look` is called often.

    What the recorder says goes to `log`. One that dies is started again at once, and when it keeps dying with ever
    longer pauses, up to a minute.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        before_open: timedelta = timedelta(minutes=5),
        after_close: timedelta = timedelta(minutes=2),
    ) -> None:
        self._command, self._log = list(command), log
        self._before_open, self._after_close = before_open, after_close
        self._process: subprocess.Popen[bytes] | None = None
        self._deaths = 0
        self._started = self._ended = 0.0

    @property
    def is_running(self) -> bool:
        """Whether the recorder's process is there."""
        return self._process is not None and self._process.poll() is None

    def look(self, now: datetime) -> str:
        """Start or stop the recorder where needed; return what is to be told, if anything."""
        wanted = is_wanted(now, self._before_open, self._after_close)
        if not wanted:
            self.stop()
            return ""
        if self.is_running:
            return ""
        told = self._note_death()
        if time.monotonic() - self._ended >= self._pause_s():
            self._start()
        return told

    def _pause_s(self) -> float:
        return 0.0 if self._deaths < 2 else min(2.0 ** (self._deaths - 2), _LONGEST_PAUSE_S)

    def stop(self) -> None:
        """End the recorder in good order."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                logger.error("the recorder did not end when told to, and is killed")
                self._process.kill()
                self._process.wait()
        self._process = None
        self._deaths = 0
        logger.info("the recorder has ended")

    def _note_death(self) -> str:
        """Remember that the process has ended by itself, and return how."""
        if self._process is None:
            return ""
        code, self._process, self._ended = self._process.returncode, None, time.monotonic()
        self._deaths = 1 if self._ended - self._started > _STEADY_S else self._deaths + 1
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"the recorder {how} and is started again; the end of {self._log}: {' / '.join(lines[-3:])}"

    def _start(self) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  our own command
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._started = time.monotonic()
        logger.info("the recorder begins")

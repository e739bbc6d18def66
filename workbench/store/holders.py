"""Who holds a lease in the database, and whether that process is provably gone.

A lease ends by time: whoever holds it renews it. But a recorder that was killed shall be followed at once by the next
one on the same machine. There, and only there, can be seen that its process is no more: the same boot, the same space
of process numbers, and no process of that number that began at that moment.
"""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/pid")
_HIDDEN = "hidden"
"""What is told of a process that is there but may not be looked at."""
_START_FIELD = 19
"""Where `/proc/<pid>/stat` has a process's start, in ticks since the boot; counted after the process's name."""


@dataclass(frozen=True, slots=True)
class Holder:
    """One holder of leases; each one made is another, in the same process, too. `name` is for people."""

    name: str
    machine: str
    pid: int
    started: str
    token: str = field(default_factory=lambda: uuid.uuid4().hex)

    def is_gone(self) -> bool:
        """Return whether its process has provably ended; what runs on another machine never has."""
        return self.machine == _machine() and process_start(self.pid) not in (self.started, _HIDDEN)


def this_process() -> Holder:
    """Return a new holder: this process."""
    pid = os.getpid()
    return Holder(f"process {pid} on {socket.gethostname()}", _machine(), pid, process_start(pid) or "")


def process_start(pid: int) -> str | None:
    """Return when a process began, in whatever unit the system has; None when there is no such process any more."""
    if not psutil.pid_exists(pid):
        return None
    try:
        if _BOOT.exists():  # psutil's instant moves whenever the clock is set
            state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return None if state in "ZX" else rest[_START_FIELD - 1]
        return str(psutil.Process(pid).create_time())
    except (OSError, psutil.Error):
        return _HIDDEN if psutil.pid_exists(pid) else None


def _machine() -> str:
    """Return what tells this boot of this machine, and its space of process numbers, from others."""
    if not _BOOT.exists():
        return f"{socket.gethostname()} {uuid.getnode():x}"
    return f"{socket.gethostname()} {_BOOT.read_text().strip()} {_NAMESPACE.readlink()}"

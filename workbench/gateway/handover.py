"""The file in which a gateway leaves how it is driven, for other processes of the same user.

A gateway that was killed leaves its file behind: that there is one does not mean that there is a gateway.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from workbench.errors import GatewayError


def control_file(gateway_port: int) -> Path:
    """Return the file in which the gateway on a port leaves how it is driven."""
    return _folder() / f"gateway-{gateway_port}.json"


def _folder() -> Path:
    """Return a folder that is the user's own: that of the session where there is one, else in the home."""
    session = os.environ.get("XDG_RUNTIME_DIR")
    return Path(session, "workbench") if session else Path.home() / ".workbench" / "run"


def left_ports() -> list[int]:
    """Return the ports of all gateways that left a file, be they alive or not."""
    numbers = [path.stem.removeprefix("gateway-") for path in _folder().glob("gateway-*.json")]
    return sorted(int(number) for number in numbers if number.isdecimal())


def read_control_file(gateway_port: int) -> tuple[int, str]:
    """Return the port and the token by which a gateway is driven. Raises GatewayError."""
    path = control_file(gateway_port)
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return int(known["port"]), str(known["token"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GatewayError(
            f"no running gateway on port {gateway_port} is known here ({path} is missing or unreadable). Start one "
            f"by `workbench gateway --port {gateway_port}`, as the same user."
        ) from error


class ControlFile:
    """A gateway's own file: it goes with the gateway from port to port, and goes away with it."""

    def __init__(self, control_port: int, token: str) -> None:
        self._text = json.dumps({"port": control_port, "token": token})
        self._path: Path | None = None

    def leave(self, gateway_port: int) -> Path:
        """Write the file for a port, readable by its user only, and return where. Raises GatewayError."""
        self.withdraw()
        path = control_file(gateway_port)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # of a gateway that was killed; a file that another may read is never reused
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(self._text)
        except OSError as error:
            raise GatewayError(f"{path} cannot be written: {error.strerror or error}") from error
        self._path = path
        return path

    def withdraw(self) -> None:
        """Take the file away, unless it is another gateway's by now."""
        path, self._path = self._path, None
        with suppress(OSError, UnicodeDecodeError):  # what is not there any more need not be taken away
            if path and path.read_text(encoding="utf-8") == self._text:
                path.unlink()

"""The command `workbench control`: words in, the status of a gateway out."""

from __future__ import annotations

from pathlib import Path

from workbench.errors import GatewayError
from workbench.gateway.control import GatewayControl, GatewayStatus, known_gateways
from workbench.gateway.launch import parse_start

USUAL_PORT = 4002


def drive(action: str, value: str, gateway_port: int = 0) -> GatewayStatus:
    """Do what a command line says to the gateway on a port, 0 being the only one that is known here.

    Raises GatewayError.
    """
    needs = {"status": "", "pause": "", "resume": "", "jump": "a time", "speed": "a number", "inject": "a file"}
    if action not in needs:
        raise GatewayError(f"{action!r} is none of {', '.join(needs)}")
    if bool(value) is not bool(needs[action]):
        raise GatewayError(f"{action} takes {needs[action] or 'nothing'} after it")
    control = GatewayControl.of(gateway_port or _only_one())
    match action:
        case "jump":
            return control.jump(parse_start(value) or 0.0)
        case "speed":
            return control.set_speed(_factor(value))
        case "inject":
            return control.inject_script(_text(Path(value)))
    plain = {"status": control.status, "pause": control.pause, "resume": control.resume}
    return plain[action]()


def _only_one() -> int:
    """Return the port of the only gateway that is known here; the usual one when none or several are."""
    known = known_gateways()
    if len(known) > 1:
        raise GatewayError(f"several gateways run here; choose one: --port {' or --port '.join(map(str, known))}")
    return known[0] if known else USUAL_PORT


def _factor(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise GatewayError(f"speed {text!r} is no number; write for example 50") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise GatewayError(f"the faults {path} cannot be read: {error}") from error

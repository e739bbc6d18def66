"""Scripts of faults as text: TOML, as `faults.py` shows it."""

from __future__ import annotations

import math
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from workbench.errors import GatewayError
from workbench.gateway.faults import Action, Fault, When
from workbench.gateway.launch import parse_start

T = TypeVar("T")
_HEADS = re.compile(r"^[ \t]*(\[\[[ \t]*fault)", re.MULTILINE)


def load_faults(path: Path) -> list[Fault]:
    """Return the script in a file. Raises GatewayError naming the file and what in it cannot be used."""
    try:
        return parse_faults(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise GatewayError(f"the faults {path} cannot be read: {error}") from error
    except GatewayError as error:
        raise GatewayError(f"the faults {path} cannot be used: {error}") from error


def parse_faults(text: str) -> list[Fault]:
    r"""Return the script in a text. Raises GatewayError naming the line, or the fault and its field.

    >>> parse_faults('[[fault]]\nwhen = { after = 5 }\naction = { do = "silence" }')
    [Fault(when=When(..., after=5.0, ...), action=Silence(seconds=inf, symbols=()))]
    """
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # most are a TOMLDecodeError, which has line and column
        raise GatewayError(f"no TOML: {error}") from error
    if unknown := set(table) - {"fault"}:
        raise GatewayError(f"{min(unknown)!r} is unknown; a script is a list of [[fault]]")
    entries = table.get("fault", [])
    if not isinstance(entries, list) or not all(isinstance(it, dict) for it in entries):
        raise GatewayError("each fault begins with the line [[fault]]")
    return [_placed(*it) for it in zip(entries, _places(text, len(entries)), strict=True)]


def format_faults(script: Sequence[Fault]) -> str:
    """Return a script as text; `parse_faults` reads back the same script."""
    return "\n".join([_fault_text(fault) for fault in script])


def action_names() -> dict[str, type]:
    """Return every action by its name in a file: that of its class, in small letters with hyphens."""
    return {_name_of(kind): kind for kind in _actions()}


@cache
def _actions() -> tuple[type, ...]:
    return get_args(Action)


def _name_of(kind: type) -> str:
    return re.sub(r"(?<=.)([A-Z])", r"-\1", kind.__name__).lower()


def _placed(entry: Mapping[str, Any], place: str) -> Fault:
    try:
        return _fault(entry)
    except GatewayError as error:
        raise GatewayError(f"{place}: {error}") from error


def _places(text: str, count: int) -> list[str]:
    """Return where each fault stands, to name it in an error; by its line when it is written as usual."""
    lines = [text.count("\n", 0, it.start(1)) + 1 for it in _HEADS.finditer(text)]
    return [f"line {it}" for it in lines] if len(lines) == count else [f"fault {it + 1}" for it in range(count)]


def _fault(entry: Mapping[str, Any]) -> Fault:
    if unknown := set(entry) - {"when", "action"}:
        raise GatewayError(f"{min(unknown)!r} is unknown; a fault has `when` and `action`")
    when, action = entry.get("when", {}), entry.get("action")
    if not isinstance(when, dict) or not isinstance(action, dict):
        raise GatewayError('it needs an action such as { do = "close" }, and `when` is a table too')
    kinds = action_names()
    if action.get("do") not in kinds:
        raise GatewayError(f"do = {action.get('do')!r} is none of {', '.join(kinds)}")
    arguments = {name: value for name, value in action.items() if name != "do"}
    at = when.get("at")
    if isinstance(at, str | datetime):
        when = when | {"at": parse_start(at if isinstance(at, str) else at.isoformat())}
    return Fault(_made(When, when, "when"), _made(kinds[action["do"]], arguments, "action"))


def _made(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """Return a value of a dataclass from a table's entries, each checked against its type."""
    hints = get_type_hints(kind)
    names = {it.name: it.default is MISSING for it in fields(kind)}  # type: ignore[arg-type]
    if unknown := set(values) - set(names):
        raise GatewayError(f"{where}.{min(unknown)} is unknown; there are {', '.join(names) or 'no arguments'}")
    if missing := [name for name, is_needed in names.items() if is_needed and name not in values]:
        raise GatewayError(f"{where}.{missing[0]} is missing")
    return kind(**{name: _checked(value, hints[name], f"{where}.{name}") for name, value in values.items()})


def _checked(value: Any, hint: Any, where: str) -> Any:
    """Return a value as its field's type."""
    if isinstance(hint, UnionType):  # X | None: absent is None
        hint = next(it for it in get_args(hint) if it is not type(None))
    if get_origin(hint) is Literal:
        if value in get_args(hint):
            return value
        raise GatewayError(f"{where} is {value!r}; it is one of {', '.join(get_args(hint))}")
    if get_origin(hint) is tuple:
        if isinstance(value, list) and all(isinstance(it, str) for it in value):
            return tuple(value)
        raise GatewayError(f"{where} is {value!r}; it is a list of texts")
    if hint is float and type(value) in (int, float) and -sys.float_info.max <= value <= math.inf:
        return float(value) if value <= sys.float_info.max else math.inf
    if hint is not float and type(value) is hint:
        return value
    raise GatewayError(f"{where} is {value!r}; it is a {_KINDS[hint]}")


_KINDS = {str: "text", int: "whole number", float: "number", bool: "truth value, true or false"}


def _fault_text(fault: Fault) -> str:
    when = _table({name: _readable(name, value) for name, value in _changed(fault.when).items()})
    action = _table({"do": _name_of(type(fault.action)), **_changed(fault.action)})
    return f"[[fault]]\nwhen = {when}\naction = {action}\n"


def _changed(value: When | Action) -> dict[str, Any]:
    """Return the fields that differ from their defaults."""
    return {it.name: getattr(value, it.name) for it in fields(value) if getattr(value, it.name) != it.default}


def _readable(name: str, value: Any) -> Any:
    """Return an instant as a date and time where that is exact."""
    if name != "at" or value > datetime(9000, 1, 1, tzinfo=UTC).timestamp():
        return value
    text = datetime.fromtimestamp(value, UTC).isoformat()
    return text if parse_start(text) == value else value


def _table(values: Mapping[str, Any]) -> str:
    return "{ " + ", ".join([f"{name} = {_literal(value)}" for name, value in values.items()]) + " }"


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + "".join([_letter(it) for it in value]) + '"'
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return repr(value)


def _letter(letter: str) -> str:
    if letter in '"\\':
        return "\\" + letter
    return letter if letter.isprintable() else f"\\U{ord(letter):08X}"

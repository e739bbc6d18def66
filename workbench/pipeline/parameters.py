"""The parameters of a notebook: what it declares, and what a run may give it.

A notebook declares them in the cell tagged `parameters`, as assignments with a type and a comment:

    symbols: list[str] = ["AAPL"]  # symbols to fetch; empty: the whole universe
    since: str | None = None  # first session, YYYY-MM-DD

They are read from the file alone, in milliseconds, so that a misspelt name or a wrong type is refused before
a kernel starts. papermill's own reader is not used: importing it takes seconds, and it reads line by line
with a pattern, which drops a default that holds an `=` and takes a `#` inside a text for a comment; here
Python's own parser reads. Values are those of JSON, for they are written into the executed notebook.
"""

from __future__ import annotations

import ast
import difflib
import io
import json
import math
import re
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePath
from typing import TypeAlias

from workbench.errors import InvalidParameters, NotebookError

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"

WORDS_OF_TRUTH = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One declared parameter; `type` is the annotation as it stands, such as `list[str]` or `str | None`."""

    name: str
    type: str
    default: Json
    help: str = ""

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that a text may have, where its comment does nothing but list them.

        >>> Parameter("style", "str", "light", "light or dark").choices
        ('light', 'dark')
        >>> Parameter("symbol", "str", "AAPL", "what to look at").choices
        ()
        """
        is_list = re.fullmatch(r"[\w.-]+(?:(?: or |, | )[\w.-]+)+", self.help)
        words = [word for word in re.findall(r"[\w.-]+", self.help) if word != "or"] if is_list else []
        return tuple(words) if self.type == "str" and self.default in words else ()


# -- what a notebook declares


def read_parameters(path: Path) -> list[Parameter]:
    """Read the parameters that the notebook at `path` declares, in their order.

    A notebook without a cell tagged `parameters` has none. Raise `NotebookError` when the file is no notebook,
    or when the cell holds anything but assignments of JSON values to names.
    """
    source = _parameters_source(path)
    try:
        statements = ast.parse(source).body
        return [_declared(statement, _comments(source)) for statement in statements if not _is_text(statement)]
    except (SyntaxError, ValueError, TypeError) as problem:
        raise NotebookError(f"The parameters cell of {path.name} cannot be read: {problem}.") from problem


def _parameters_source(path: Path) -> str:
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for cell in cells:
            if cell["cell_type"] == "code" and "parameters" in cell["metadata"].get("tags", []):
                return "".join(cell["source"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise NotebookError(f"{path} is not a Jupyter notebook of format 4 ({problem!r}).") from problem
    return ""


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _comments(source: str) -> dict[int, str]:
    """Return the comment on each line that has one."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string.lstrip("#").strip() for token in tokens if token.type == tokenize.COMMENT}


def _declared(statement: ast.stmt, comments: Mapping[int, str]) -> Parameter:
    match statement:
        case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=ast.expr() as value):
            default = ast.literal_eval(value)
            declared = annotation
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            default = ast.literal_eval(value)
            declared = ast.parse(type(default).__name__, mode="eval").body
        case _:
            raise ValueError(f"line {statement.lineno} is not an assignment to one name")
    if not _fits(declared, default):
        raise ValueError(f"the default of {name}, {default!r}, is not of type {ast.unparse(declared)}")
    comment = comments.get(statement.end_lineno or 0) or comments.get(statement.lineno, "")
    return Parameter(name, ast.unparse(declared), default, comment)


# -- what a run gives


def check_parameters(declared: Iterable[Parameter], given: Mapping[str, object]) -> dict[str, Json]:
    """Return what is `given`, as values of the declared types.

    Text, as it comes from a command line, is read as the declared type: `AAPL,MSFT` or `["AAPL"]` as a list,
    `true` as a bool, `null` as None. From Python, dates become ISO text, paths text and tuples lists.
    Raise `InvalidParameters` with everything that is wrong.

    >>> check_parameters([Parameter("symbols", "list[str]", [])], {"symbols": "AAPL,MSFT"})
    {'symbols': ['AAPL', 'MSFT']}
    >>> check_parameters([Parameter("symbols", "list[str]", [])], {"symbol": "AAPL"})
    Traceback (most recent call last):
    workbench.errors.InvalidParameters: symbol: no such parameter; did you mean symbols?
    """
    known = {parameter.name: parameter for parameter in declared}
    values: dict[str, Json] = {}
    problems: list[str] = []
    for name, value in given.items():
        if name not in known:
            problems.append(_unknown(name, known))
            continue
        try:
            values[name] = _converted(ast.parse(known[name].type, mode="eval").body, value)
        except ValueError:
            problems.append(f"{name}: {value!r} is not of type {known[name].type}")
    if problems:
        raise InvalidParameters("\n".join(problems))
    return values


def _unknown(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"{name}: no such parameter; did you mean {near[0]}?"
    return f"{name}: no such parameter; the notebook has {', '.join(names) or 'none'}"


def _converted(declared: ast.expr, value: object) -> Json:
    """Turn `value` into the declared type; raise ValueError when it is not of it."""
    plain = _plain(value)
    if isinstance(plain, str) and not _fits(declared, plain):
        plain = _parsed(declared, plain)
    if plain == "null" and _fits(declared, None):
        plain = None
    if not _fits(declared, plain):
        raise ValueError(plain)
    return _widened(declared, plain)


def _plain(value: object) -> Json:
    """Turn what Python callers have into values of JSON."""
    match value:
        case date():
            return value.isoformat()
        case PurePath():
            return str(value)
        case list() | tuple():
            return [_plain(item) for item in value]
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case bool() | int() | float() | str() | None:
            return value
    if callable(item := getattr(value, "item", None)):  # a scalar of numpy
        return _plain(item())
    raise ValueError(value)


# -- the types, as annotations

SCALARS: Mapping[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (float, int), "bool": (bool,)}


def _fits(declared: ast.expr, value: object) -> bool:
    """Say whether `value` is of the declared type; raise TypeError for a type that JSON does not have."""
    match declared:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            fits = [_fits(left, value), _fits(right, value)]
            return any(fits)
        case ast.Constant(value=None) | ast.Name(id="NoneType"):
            return value is None
        case ast.Name(id=("str" | "int" | "float" | "bool") as name):
            if isinstance(value, bool) or name == "bool":
                return isinstance(value, bool) and name == "bool"
            return isinstance(value, SCALARS[name]) and not (isinstance(value, float) and not math.isfinite(value))
        case ast.Name(id="list"):
            return isinstance(value, list) and all(map(_is_json, value))
        case ast.Name(id="dict"):
            return isinstance(value, dict) and _is_json(value)
        case ast.Subscript(value=ast.Name(id="list"), slice=inner):
            return isinstance(value, list) and all(_fits(inner, item) for item in value)
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[ast.Name(id="str"), inner])):
            return _is_json(value) and isinstance(value, dict) and all(_fits(inner, v) for v in value.values())
    raise TypeError(f"{ast.unparse(declared)} is not a type of JSON")


def _is_json(value: object) -> bool:
    match value:
        case float():
            return math.isfinite(value)
        case str() | bool() | int() | None:
            return True
        case list():
            return all(map(_is_json, value))
        case dict():
            return all(isinstance(key, str) and _is_json(item) for key, item in value.items())
    return False


def _parsed(declared: ast.expr, text: str) -> Json:
    """Read `text` as the declared type; raise ValueError when it cannot be read so."""
    match declared:
        case ast.BinOp(left=left, right=right):
            try:
                return _parsed(left, text)
            except ValueError:
                return _parsed(right, text)
        case ast.Constant(value=None):
            return None if text in ("null", "none", "None", "") else _refuse(text)
        case ast.Name(id="str"):
            return text
        case ast.Name(id="int"):
            return int(text)
        case ast.Name(id="float"):
            return float(text)
        case ast.Name(id="bool"):
            return WORDS_OF_TRUTH[text.lower()] if text.lower() in WORDS_OF_TRUTH else _refuse(text)
        case ast.Subscript(value=ast.Name(id="list"), slice=inner) if not text.lstrip().startswith("["):
            return [_parsed(inner, item.strip()) for item in text.split(",") if item.strip()]
    value: Json = json.loads(text)
    return value


def _refuse(text: str) -> Json:
    raise ValueError(text)


def _widened(declared: ast.expr, value: Json) -> Json:
    """Make whole numbers floats where floats are declared."""
    match declared, value:
        case ast.Name(id="float"), int():
            return float(value)
        case ast.Subscript(value=ast.Name(id="list"), slice=inner), list():
            return [_widened(inner, item) for item in value]
    return value

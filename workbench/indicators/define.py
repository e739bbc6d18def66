"""Defining indicators: any function of TA-Lib by its name, or one of the user's own.

    talib_indicator("sma_100")                                   # the name says it: SMA over 100 bars
    talib_indicator("fast", "EMA", timeperiod=9)                 # a column `fast`
    talib_indicator("bb_wide", "BBANDS", outputs="wide_upper wide_mid wide_lower", timeperiod=20, nbdevup=3, nbdevdn=3)
    own_indicator("body", lambda open, close: abs(close - open), inputs="open close")
    own_indicator("gap", pl.col("open") / pl.col("close").shift(1) - 1, inputs="open close", warm_up=1)

In `workbench.toml` the same:

    [indicators]
    sma_100 = {}
    fast = { function = "EMA", timeperiod = 9 }
    range = { expression = "(high - low) / close" }
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import talib
from talib import _ta_lib, abstract

from workbench.errors import InvalidIndicator
from workbench.indicators.suite import Floats, Function, Indicator

if TYPE_CHECKING:
    import polars as pl

Names = str | Sequence[str]

_NUMBER = re.compile(r"\d+(\.\d+)?")


def talib_indicator(
    name: str, function: str = "", *, inputs: Names = (), outputs: Names = (), **parameters: float
) -> Indicator:
    """Return an indicator that TA-Lib computes.

    Without `function` the name says it, with the parameters in TA-Lib's order: `sma_20`, `macd_12_26_9`. `inputs` are
    columns, TA-Lib's usual ones if none are named; `outputs` are the columns it gives: `name` itself, or for functions
    of several outputs `name` and TA-Lib's name of each. Raises `InvalidIndicator`, which suggests the nearest name.

    >>> print(talib_indicator("adx_14"))
    adx_14: ADX(high, low, close, timeperiod=14) gives adx_14 from bar 27 on
    """
    function, said = (function, {}) if function else _read_name(name)
    info = _info(function.upper(), name)
    chosen = _checked_parameters(name, info, said | parameters)
    columns = _words(inputs) or _flat(info["input_names"].values())
    if len(columns) != len(_flat(info["input_names"].values())):
        usual = " ".join(_flat(info["input_names"].values()))
        raise InvalidIndicator(f"{name}: {info['name']} takes {len(usual.split())} columns, such as {usual}")
    titles = _words(outputs) or _titles(name, info["output_names"])
    if len(titles) != len(info["output_names"]):
        raise InvalidIndicator(f"{name}: {info['name']} gives {', '.join(info['output_names'])}: name as many outputs")
    return Indicator(
        name, info["name"], columns, titles, _lookback(name, info["name"], chosen), MappingProxyType(chosen)
    )


def own_indicator(
    name: str,
    function: Function | pl.Expr,
    *,
    inputs: Names,
    outputs: Names = (),
    warm_up: int = 0,
    **parameters: float,
) -> Indicator:
    """Return an indicator of one's own: a function over numpy columns, or a polars expression over named ones.

    Prove it with `check_lookahead` and `check_warmup` before money rides on it.
    """
    if not _words(inputs):
        raise InvalidIndicator(f"{name} has no inputs: name the columns that it is computed from, such as close")
    if not callable(function):
        return Indicator(
            name, _of_expression(function, _words(inputs)), _words(inputs), _words(outputs) or (name,), warm_up,
            source=f"polars: {function}",
        )  # fmt: skip
    told = MappingProxyType(dict(parameters))
    titles = _words(outputs) or (name,)
    return Indicator(name, function, _words(inputs), titles, warm_up, told, getattr(function, "__name__", "a function"))


def parse_indicators(table: Mapping[str, Any]) -> tuple[Indicator, ...]:
    """Return the indicators that a table of `workbench.toml` defines. Raises `InvalidIndicator`."""
    return tuple(_parse_one(name, definition) for name, definition in table.items())


def check_suite(suite: Iterable[Indicator], columns: Iterable[str]) -> tuple[Indicator, ...]:
    """Return the suite if each indicator has its inputs before it and each name is given once."""
    known, suite = set(columns), tuple(suite)
    for indicator in suite:
        missing = [name for name in indicator.inputs if name not in known]
        if missing:
            raise InvalidIndicator(
                f"{indicator.name} needs {', '.join(missing)}, which neither bars nor an indicator before it give"
                + _hint(missing[0], known)
            )
        twice = [name for name in indicator.outputs if name in known]
        if twice:
            raise InvalidIndicator(
                f"{indicator.name} gives {', '.join(twice)}, which is there already; name it otherwise"
            )
        known.update(indicator.outputs)
    return suite


def _parse_one(name: str, definition: Any) -> Indicator:
    if not isinstance(definition, Mapping):
        raise InvalidIndicator(f'{name}: write {{}} or a table, such as {{ function = "EMA", timeperiod = 9 }}')
    if "expression" not in definition:
        return talib_indicator(name, **definition)
    import polars as pl

    unknown = [key for key in definition if key not in ("expression", "warm_up")]
    if unknown:
        raise InvalidIndicator(f"{name}: an expression has no {', '.join(unknown)}; it may have a warm_up")
    try:
        expression = pl.sql_expr(definition["expression"])
    except (pl.exceptions.PolarsError, TypeError) as error:
        raise InvalidIndicator(f"{name}: the expression cannot be read: {error}") from error
    inputs = tuple(dict.fromkeys(expression.meta.root_names()))
    return own_indicator(name, expression, inputs=inputs, warm_up=definition.get("warm_up", 0))


def _of_expression(expression: pl.Expr, inputs: tuple[str, ...]) -> Function:
    def compute(*columns: Floats) -> Floats:
        import polars as pl

        frame = pl.DataFrame(dict(zip(inputs, columns, strict=True)))
        values = frame.select(expression.cast(pl.Float64).fill_null(np.nan).alias("value"))["value"]
        return np.asarray(values.to_numpy())

    return compute


def _read_name(name: str) -> tuple[str, dict[str, float]]:
    """Return function and parameters that a name such as `macd_12_26_9` says."""
    function, values = name, list[float]()
    while function.upper() not in _functions() and (parts := function.rpartition("_"))[1]:
        if not _NUMBER.fullmatch(parts[2]):
            break
        function, values = parts[0], [float(parts[2]), *values]
    info = _info(function.upper(), name)
    if len(values) > len(info["parameters"]):
        told = ", ".join(info["parameters"]) or "no parameters"
        raise InvalidIndicator(f"{name}: {info['name']} has {told}, not {len(values)} numbers")
    return function, dict(zip(info["parameters"], values, strict=False))


def _abstract(function: str, **parameters: float) -> Any:
    """Return TA-Lib's description of a function with parameters."""
    return abstract.Function(function, **parameters)  # type: ignore[attr-defined]


@cache
def _functions() -> frozenset[str]:
    return frozenset(talib.get_functions())  # type: ignore[no-untyped-call]


def _info(function: str, name: str) -> dict[str, Any]:
    if function not in _functions():
        raise InvalidIndicator(f"{name}: TA-Lib has no function {function}{_hint(function, _functions())}")
    return dict(_abstract(function).info)


def _checked_parameters(name: str, info: Mapping[str, Any], given: Mapping[str, float]) -> dict[str, float]:
    """Return all parameters of a function, the given ones in its types."""
    unknown = [one for one in given if one not in info["parameters"]]
    if unknown:
        has = ", ".join(info["parameters"]) or "none"
        raise InvalidIndicator(
            f"{name}: {info['name']} has no parameter {unknown[0]}{_hint(unknown[0], info['parameters'])}; it has {has}"
        )
    return {one: _typed(name, one, given.get(one, usual), usual) for one, usual in info["parameters"].items()}


def _typed(name: str, parameter: str, value: object, usual: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidIndicator(f"{name}: {parameter} is {value!r}, not a number")
    if isinstance(usual, int) and int(value) != value:
        raise InvalidIndicator(f"{name}: {parameter} is {value}, not a whole number")
    return type(usual)(value)


def _lookback(name: str, function: str, parameters: Mapping[str, float]) -> int:
    try:
        lookback = int(_abstract(function, **parameters).lookback)
        inputs = _flat(_abstract(function).info["input_names"].values())
        getattr(_ta_lib, function)(*[np.ones(max(lookback, 0) + 1) for _ in inputs], **parameters)
    except Exception as error:  # TA-Lib raises a plain Exception for a bad parameter
        raise InvalidIndicator(f"{name}: {function} refuses {dict(parameters)}: {error}") from error
    return lookback


def _titles(name: str, outputs: Sequence[str]) -> tuple[str, ...]:
    return (name,) if len(outputs) == 1 else tuple(f"{name}_{output}" for output in outputs)


def _flat(inputs: Iterable[str | Sequence[str]]) -> tuple[str, ...]:
    return tuple(name for one in inputs for name in _words(one))


def _words(names: Names) -> tuple[str, ...]:
    return tuple(names.split()) if isinstance(names, str) else tuple(names)


def _hint(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""

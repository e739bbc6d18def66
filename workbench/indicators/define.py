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
    stochrsi_tv = {}                                             # StochRSI as TradingView draws it
    body = { function = "my_indicators:body", inputs = "open close" }   # in my_indicators.py, in the project's folder
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from math import isfinite
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import talib
from talib import _ta_lib, abstract

from workbench.errors import InvalidIndicator
from workbench.indicators.expression import Expression
from workbench.indicators.suite import STOCH_RSI_TRADINGVIEW, Function, Indicator

if TYPE_CHECKING:
    import polars as pl

Names = str | Sequence[str]

_NUMBER = re.compile(r"\d+(\.\d+)?")
_NAMED = {STOCH_RSI_TRADINGVIEW.name: STOCH_RSI_TRADINGVIEW}
"""What is no function of TA-Lib, but can be asked for by its name in `workbench.toml`."""


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
    columns, titles = _words(inputs), _words(outputs) or (name,)
    if not columns:
        raise InvalidIndicator(f"{name} has no inputs: name the columns that it is computed from, such as close")
    if isinstance(warm_up, bool) or not isinstance(warm_up, int) or warm_up < 0:
        raise InvalidIndicator(f"{name}: warm_up is {warm_up!r}, not a number of bars: 0, 1, 2 …")
    if callable(function):
        _check_arguments(name, function, len(columns), parameters)
        told, source = MappingProxyType(dict(parameters)), getattr(function, "__name__", "a function")
        return Indicator(name, function, columns, titles, warm_up, told, source)
    if not hasattr(function, "meta"):
        raise InvalidIndicator(
            f"{name}: {function!r} is neither a function over columns nor a polars expression, such as pl.col('close')"
        )
    wrong = [root for root in function.meta.root_names() if root not in columns]
    if wrong:
        raise InvalidIndicator(
            f"{name}: the expression uses the column {wrong[0]}, which is not among its inputs {', '.join(columns)}"
            + _hint(wrong[0], columns)
        )
    if parameters:
        raise InvalidIndicator(
            f"{name}: an expression has no parameter {next(iter(parameters))}; it may have a warm_up"
        )
    expression = Expression(name, function, columns)
    expression.check()
    return Indicator(name, expression, columns, titles, warm_up, source=f"polars: {function}")


def parse_indicators(table: Mapping[str, Any]) -> tuple[Indicator, ...]:
    """Return the indicators that a table of `workbench.toml` defines. Raises `InvalidIndicator`."""
    return tuple(_parse_one(name, definition) for name, definition in table.items())


def check_suite(suite: Iterable[Indicator] | Indicator, columns: Iterable[str]) -> tuple[Indicator, ...]:
    """Return the suite if each indicator has its inputs before it and each name is given once."""
    known, suite = set(columns), (suite,) if isinstance(suite, str | Indicator) else tuple(suite)
    for indicator in suite:
        if not isinstance(indicator, Indicator):
            raise InvalidIndicator(f"{indicator!r} is no indicator; talib_indicator or own_indicator makes one")
        missing = list(dict.fromkeys(name for name in indicator.inputs if name not in known))
        if missing:
            raise InvalidIndicator(
                f"{indicator.name} needs {', '.join(missing)}, which neither bars nor an indicator before it give"
                + _hint(missing[0], known)
            )
        for name in indicator.outputs:
            if name in known:
                raise InvalidIndicator(f"{indicator.name} gives {name}, which is there already; name it otherwise")
            known.add(name)
    return suite


def _parse_one(name: str, definition: Any) -> Indicator:
    if not isinstance(definition, Mapping):
        raise InvalidIndicator(f'{name}: write {{}} or a table, such as {{ function = "EMA", timeperiod = 9 }}')
    if name in _NAMED and not definition:
        return _NAMED[name]
    if "expression" not in definition:
        if "name" in definition:
            raise InvalidIndicator(f"{name}: it has its name before the =; leave name = {definition['name']!r} out")
        for key in ("inputs", "outputs", "function"):
            _check_text(name, key, definition.get(key, ""))
        if ":" in definition.get("function", ""):
            told = {key: value for key, value in definition.items() if key not in ("function", "inputs")}
            function = _import_function(name, definition["function"])
            return own_indicator(name, function, inputs=definition.get("inputs", ""), **told)
        return talib_indicator(name, **definition)
    import polars as pl

    unknown = [key for key in definition if key not in ("expression", "warm_up")]
    if unknown:
        raise InvalidIndicator(f"{name}: an expression has no {', '.join(unknown)}; it may have a warm_up")
    if not isinstance(definition["expression"], str):
        raise InvalidIndicator(f'{name}: expression is {definition["expression"]!r}, not a text such as "high - low"')
    try:
        expression = pl.sql_expr(definition["expression"])
    except pl.exceptions.PolarsError as error:
        raise InvalidIndicator(f"{name}: the expression cannot be read: {error}") from error
    inputs = tuple(dict.fromkeys(expression.meta.root_names()))
    return own_indicator(name, expression, inputs=inputs, warm_up=definition.get("warm_up", 0))


def _import_function(name: str, place: str) -> Function:
    """Return the function that `module:function` names."""
    module_name, _, function_name = place.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a module of the user's own may fail in any way
        raise InvalidIndicator(
            f"{name}: {place}: the module {module_name!r} cannot be imported: {error}; "
            "put it into the folder of workbench.toml, or install it"
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise InvalidIndicator(
            f"{name}: {module_name} has no function {function_name!r}{_hint(function_name, dir(module))}"
        )
    return function  # type: ignore[no-any-return]


def _check_text(name: str, key: str, value: object) -> None:
    """Refuse what names neither a function nor columns; columns come as a list too."""
    is_list = key != "function" and isinstance(value, list) and all(isinstance(one, str) for one in value)
    if not (isinstance(value, str) or is_list):
        raise InvalidIndicator(f"{name}: {key} is {value!r}, not a text")


def _check_arguments(name: str, function: Function, columns: int, parameters: Mapping[str, float]) -> None:
    """Refuse a function that takes another number of columns, or not these parameters."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some of C's do not tell
        return
    takes_any = any(one.kind is one.VAR_KEYWORD for one in signature.parameters.values())
    unknown = [one for one in parameters if one not in signature.parameters and not takes_any]
    if unknown:
        raise InvalidIndicator(
            f"{name}: its function has no parameter {unknown[0]}{_hint(unknown[0], signature.parameters)}"
        )
    try:
        signature.bind(*range(columns), **parameters)
    except TypeError as error:
        raise InvalidIndicator(
            f"{name}: its function cannot be called with {columns} columns and {dict(parameters)}: {error}"
        ) from error


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
        hint = _hint(function, _functions()) or "; talib.get_functions() tells all"
        raise InvalidIndicator(f"{name or 'an indicator'}: TA-Lib has no function {function or 'without a name'}{hint}")
    return dict(_abstract(function).info)


def _checked_parameters(name: str, info: Mapping[str, Any], given: Mapping[str, float]) -> dict[str, float]:
    """Return all parameters of a function, the given ones in its types."""
    unknown = [one for one in given if one not in info["parameters"]]
    if unknown:
        has = ", ".join(info["parameters"]) or "none"
        raise InvalidIndicator(
            f"{name}: {info['name']} has no parameter {unknown[0]}; it has {has}{_hint(unknown[0], info['parameters'])}"
        )
    return {one: _typed(name, one, given.get(one, usual), usual) for one, usual in info["parameters"].items()}


def _typed(name: str, parameter: str, value: object, usual: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidIndicator(f"{name}: {parameter} is {value!r}, not a number")
    if not isfinite(value):
        raise InvalidIndicator(f"{name}: {parameter} is {value}, not a finite number")
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

"""Frames to rows of a table and back. What a table cannot hold is refused at this door, with its row named."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from functools import partial
from math import isfinite
from typing import Any

import pandas as pd
from sqlalchemy import JSON, Column, Date, Double, Integer, RowMapping, String

from workbench.errors import InvalidInput
from workbench.market.contracts import check_symbol
from workbench.store.tables import UtcTimestamp

Rows = list[dict[str, Any]]

SIDES = ("long", "short")


def to_rows(
    frame: pd.DataFrame, columns: Iterable[Column[Any]], *, what: str, defaults: Mapping[str, object] | None = None
) -> Rows:
    """Return the rows of a frame as these columns keep them; `defaults` are the values of cells that are missing.

    Columns may stand in any order. Raises `InvalidInput`, naming the column, or the row and what is wrong with it.
    """
    return _parse_rows(frame, {column.name: column for column in columns if column.name != "id"}, what, defaults or {})


def _parse_rows(
    frame: pd.DataFrame, columns: Mapping[str, Column[Any]], what: str, defaults: Mapping[str, object]
) -> Rows:
    missing = [name for name, column in columns.items() if _is_needed(column, defaults) and name not in frame.columns]
    unknown = [str(name) for name in frame.columns if name not in columns]
    if missing or unknown:
        faults = [f"has no column {', '.join(missing)}"] if missing else []
        faults += [f"has unknown columns {', '.join(unknown)}"] if unknown else []
        raise InvalidInput(f"{what} {' and '.join(faults)}; its columns are {', '.join(columns)}")
    names = list(frame.columns)
    return [
        _parse_row(dict(zip(names, cells, strict=True)), columns, defaults, f"{what}, row {number}")
        for number, cells in enumerate(frame.itertuples(index=False, name=None), 1)
    ]


def to_frame(rows: Iterable[RowMapping], columns: Iterable[Column[Any]]) -> pd.DataFrame:
    """Return rows as a frame, with the same columns and dtypes when there are none."""
    columns, found = list(columns), [dict(row) for row in rows]
    frame = pd.DataFrame(found, columns=[column.name for column in columns])
    return frame.astype({column.name: dtype for column in columns if (dtype := _dtype(column))})


def refuse_repeated(rows: Rows, key: tuple[str, ...], *, what: str) -> None:
    """Raise `InvalidInput` when two rows have the same key."""
    seen: dict[tuple[Any, ...], int] = {}
    for number, row in enumerate(rows, 1):
        value = tuple(row[name] for name in key)
        if value in seen:
            raise InvalidInput(
                f"{what}, row {number}: {' '.join(map(str, value))} is there already, in row {seen[value]}"
            )
        seen[value] = number


def _is_needed(column: Column[Any], defaults: Mapping[str, object]) -> bool:
    return not column.nullable and column.name not in defaults


def _parse_row(
    cells: dict[str, Any], columns: Mapping[str, Column[Any]], defaults: Mapping[str, object], place: str
) -> dict[str, Any]:
    symbol = f" ({cells['symbol']})" if "symbol" in cells else ""
    row: dict[str, Any] = {}
    for name, column in columns.items():
        value = cells.get(name)
        if _is_missing(value):
            value = defaults.get(name)
        if value is None and (column.nullable or name in defaults):
            row[name] = None
            continue
        if value is None:
            raise InvalidInput(f"{place}{symbol}: {name} is missing")
        try:
            row[name] = _parser(column)(value)
        except (ValueError, TypeError) as error:
            raise InvalidInput(f"{place}{symbol}: {name}: {error}") from None
    return row


def _is_missing(value: Any) -> bool:
    return value is None or (pd.api.types.is_scalar(value) and bool(pd.isna(value)))


def _parser(column: Column[Any]) -> Callable[[Any], object]:
    if column.name == "symbol":
        return check_symbol
    if column.name == "side":
        return _parse_side
    if isinstance(column.type, String):
        return partial(_parse_text, most=column.type.length)
    return next(parse for kind, parse in _PARSERS.items() if isinstance(column.type, kind))


def _parse_side(value: object) -> str:
    if value not in SIDES:
        raise ValueError(f"{value!r} is neither long nor short")
    return str(value)


def parse_instant(value: object) -> datetime:
    """Return an instant in UTC, to the microsecond. Raises `ValueError` for one without a zone."""
    if not isinstance(value, datetime):
        raise ValueError(f"{value!r} is no instant; pass a datetime with its time zone")
    moment = value.floor("us").to_pydatetime() if isinstance(value, pd.Timestamp) else value
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return moment.astimezone(UTC)


def _parse_number(value: object) -> float:
    number = float(value)  # type: ignore[arg-type]
    if isinstance(value, str) or not isfinite(number):
        raise ValueError(f"{value!r} is no finite number")
    return number


def _parse_integer(value: object) -> int:
    number = int(value)  # type: ignore[call-overload]
    if isinstance(value, str) or number != value:
        raise ValueError(f"{value!r} is no whole number")
    return int(number)


def _parse_text(value: object, most: int | None = None) -> str:
    if not isinstance(value, str) or "\x00" in value:
        raise ValueError(f"{value!r} is no text")
    if most is not None and len(value) > most:
        raise ValueError(f"{value!r} is longer than {most} characters")
    return value


def _parse_json(value: object) -> object:
    """Return lists, dicts, texts and finite numbers; arrays become lists, instants texts."""
    if not isinstance(value, list | tuple | dict) and not hasattr(value, "tolist"):
        raise ValueError(f"{value!r} is neither a list nor a dict")
    return json.loads(json.dumps(value, allow_nan=False, default=_plain))


_PARSERS: dict[type, Callable[[Any], object]] = {
    UtcTimestamp: parse_instant,
    JSON: _parse_json,
    Double: _parse_number,
    Integer: _parse_integer,
}


def _plain(value: Any) -> object:
    if isinstance(value, date):
        return value.isoformat()
    if hasattr(value, "tolist"):
        return value.tolist()
    raise ValueError(f"{value!r} is neither text nor number")


def _dtype(column: Column[Any]) -> str:
    if isinstance(column.type, UtcTimestamp):
        return "datetime64[us, UTC]"
    if isinstance(column.type, Double):
        return "float64"
    if isinstance(column.type, Integer):
        return "Int64" if column.nullable else "int64"
    return "object" if isinstance(column.type, JSON | Date) else "str"

"""Bars into columns for the indicators, and their values back: frames of pandas or polars, and panels.

What would give a wrong value in silence is refused: bars in disorder or twice, two symbols taken for one, text that
looks like a number, a price that is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from workbench.errors import InvalidBars
from workbench.indicators.suite import Floats, Indicator
from workbench.market.bars import TIMESTAMP

if TYPE_CHECKING:
    import polars as pl

    Frame = TypeVar("Frame", pd.DataFrame, pl.DataFrame)

Rows = npt.NDArray[np.int64]

SYMBOL = "symbol"
_TIMES = ("Datetime", "Date")
_NUMBERS = ("integer", "floating", "mixed-integer-float", "decimal", "empty")
_NO_SYMBOLS = "the bars of a universe have a column symbol; there is none"


class Panel(Protocol):
    """The newest bars of many symbols: arrays of symbols by bars, the newest bar last."""

    @property
    def symbols(self) -> Sequence[str]:
        """Whose the rows are."""

    @property
    def timestamps(self) -> np.ndarray:
        """The bars' starts in UTC; NaT at the begin of a row that has fewer bars."""

    def __getitem__(self, column: str) -> np.ndarray: ...


def columns_of(bars: Frame, suite: Sequence[Indicator]) -> dict[str, Floats]:
    """Return the columns of one series that a suite needs, as TA-Lib wants them. Raises `InvalidBars`."""
    view = _view(bars)
    columns = _columns(view, suite)
    begins = view.begins()
    if begins is not None and len(begins) > 1:
        raise InvalidBars("these are bars of several symbols; each needs indicators of its own: calculate_universe")
    _refuse_disorder(view.order(), np.zeros(1, np.int64), view.place)
    return columns


def universe_of(bars: Frame, suite: Sequence[Indicator]) -> tuple[dict[str, Floats], list[int]]:
    """Return the columns of many series, one after the other, and the rows that bound them. Raises `InvalidBars`."""
    view = _view(bars)
    columns = _columns(view, suite)
    begins = view.begins()
    if begins is None:
        raise InvalidBars(_NO_SYMBOLS)
    _refuse_disorder(view.order(), begins, view.place)
    return columns, np.append(begins, len(bars)).tolist()


def panel_of(panel: Panel, suite: Sequence[Indicator]) -> tuple[dict[str, Floats], list[int], npt.NDArray[np.bool_]]:
    """Return the columns of a panel's rows, one after the other, what bounds them, and where there are bars."""
    stamps = panel.timestamps
    present: npt.NDArray[np.bool_] = ~np.isnat(stamps)
    bounds = [0, *np.cumsum(present.sum(axis=1)).tolist()]
    order = stamps[present]

    def place(row: int) -> str:
        symbol = panel.symbols[int(np.searchsorted(bounds, row, side="right")) - 1]
        return f"the row of {symbol} at {order[row]}"

    _refuse_disorder(order.view(np.int64), np.array(bounds[:-1]), place)
    columns = {name: panel[name][present] for name in _needed(suite)}
    for name, column in columns.items():
        _refuse_missing(name, column, place)
    return columns, bounds, present


def with_columns(bars: Frame, values: Mapping[str, Floats]) -> Frame:
    """Return the bars with columns added, or replaced; the bars are left as they are."""
    if isinstance(bars, pd.DataFrame):
        columns: dict[Hashable, Any] = {name: column for name, column in bars.items() if name not in values}
        columns.update(values)
        # Nothing is copied: pandas copies a shared column when it is written to.
        frame = pd.DataFrame(columns, index=bars.index, copy=False)
        frame.attrs = dict(bars.attrs)
        return frame
    import polars as pl

    return bars.with_columns(pl.Series(name, column) for name, column in values.items())


def place_of(bars: Frame, row: int) -> object:
    """Return the time of a row, or its number where the bars tell none."""
    return _view(bars).stamp(row)


class _View(Protocol):
    """What indicators ask of a frame, of whatever kind."""

    @property
    def names(self) -> Sequence[Hashable]: ...

    def column(self, name: str) -> Floats:
        """Return a column as contiguous floats, NaN for what is missing. Raises `InvalidBars` for what is no number."""

    def begins(self) -> Rows | None:
        """Return the rows at which another symbol begins; None where the bars name no symbol."""

    def order(self) -> Rows:
        """Return what rises from bar to bar."""

    def stamp(self, row: int) -> object: ...

    def place(self, row: int) -> str:
        """Return what a message calls a row."""


def _view(bars: object) -> _View:
    if isinstance(bars, pd.DataFrame):
        return _Pandas(bars, list(bars.columns))
    if type(bars).__module__.partition(".")[0] == "polars" and type(bars).__name__ == "DataFrame":
        frame = cast("pl.DataFrame", bars)
        return _Polars(frame, frame.columns)
    raise InvalidBars(f"bars come as a pandas or polars DataFrame, not as {type(bars).__name__}")


@dataclass(frozen=True, slots=True)
class _Pandas:
    bars: pd.DataFrame
    names: Sequence[Hashable]

    def column(self, name: str) -> Floats:
        column = self.bars[name]
        if not _is_of_numbers(column):
            raise InvalidBars(f"the column {name} holds {column.dtype}, which is no number; see pd.to_numeric()")
        return np.ascontiguousarray(column.to_numpy(dtype=np.float64, na_value=np.nan))

    def begins(self) -> Rows | None:
        symbols = self._level(SYMBOL)
        if symbols is None:
            return None
        values = symbols.to_numpy() if symbols.dtype == object else symbols.array
        if len(values) and symbols.isna().any():
            raise InvalidBars(f"row {int(np.argmax(symbols.isna()))} has no symbol")
        begins = np.flatnonzero(np.append(np.ones(min(1, len(values)), bool), np.asarray(values[1:] != values[:-1])))
        return _refuse_scattered(begins, symbols.iloc[begins].nunique())

    def order(self) -> Rows:
        times = self._times()
        if times is None:
            return self.bars.index.to_numpy()
        if times.hasnans:
            raise InvalidBars(f"row {int(np.argmax(times.isna()))} has no time")
        return times.asi8

    def stamp(self, row: int) -> object:
        times = self._times()
        return row if times is None else times[row]

    def place(self, row: int) -> str:
        symbols, times = self._level(SYMBOL), self._times()
        known = ([] if symbols is None else [symbols.iloc[row]]) + ([] if times is None else [times[row]])
        return f"row {row} ({', '.join(map(str, known))})" if known else f"row {row}"

    def _times(self) -> pd.DatetimeIndex | None:
        """Return when the bars begin; None where the frame does not say, and its rows are only numbered."""
        index = self.bars.index
        if not isinstance(index, pd.DatetimeIndex):
            level = self._level(TIMESTAMP)
            if level is None and isinstance(index, pd.RangeIndex) and SYMBOL not in self.names:
                return None
            index = index if level is None else pd.Index(level)
        if not isinstance(index, pd.DatetimeIndex):
            raise InvalidBars(
                f"the bars' times are {index.dtype}, not timestamps; make them the index by pd.to_datetime(…, utc=True)"
            )
        return index

    def _level(self, name: str) -> pd.Series | None:
        """Return a column, or a level of the index, of that name."""
        if name in self.bars.columns:
            return self.bars[name]
        index = self.bars.index
        if not isinstance(index, pd.MultiIndex):
            return None
        if name not in index.names:
            raise InvalidBars(f"the levels of the index are {list(index.names)}; name them {SYMBOL} and {TIMESTAMP}")
        return pd.Series(index.get_level_values(name).array)


@dataclass(frozen=True, slots=True)
class _Polars:
    bars: pl.DataFrame
    names: Sequence[Hashable]

    def column(self, name: str) -> Floats:
        column = self.bars[name]
        if not column.dtype.is_numeric():
            raise InvalidBars(f"the column {name} holds {column.dtype}, which is no number; see cast(pl.Float64)")
        return np.ascontiguousarray(column.fill_null(np.nan).to_numpy(), dtype=np.float64)

    def begins(self) -> Rows | None:
        if SYMBOL not in self.names:
            return None
        symbols = self.bars[SYMBOL]
        if symbols.null_count():
            raise InvalidBars(f"row {symbols.is_null().arg_max()} has no symbol")
        begins = np.flatnonzero(symbols.ne_missing(symbols.shift()).to_numpy())
        return _refuse_scattered(begins, symbols.gather(begins).n_unique())

    def order(self) -> Rows:
        if TIMESTAMP not in self.names:
            raise InvalidBars(f"a polars frame of bars has its time in the column {TIMESTAMP}; there is none")
        times = self.bars[TIMESTAMP]
        if times.dtype.base_type().__name__ not in _TIMES:
            raise InvalidBars(f"the column {TIMESTAMP} holds {times.dtype}, which is no time; see str.to_datetime()")
        if times.null_count():
            raise InvalidBars(f"row {times.is_null().arg_max()} has no time")
        return times.to_physical().to_numpy().astype(np.int64, copy=False)

    def stamp(self, row: int) -> object:
        return self.bars[TIMESTAMP][row] if TIMESTAMP in self.names else row

    def place(self, row: int) -> str:
        return f"row {row} ({f'{self.bars[SYMBOL][row]}, ' if SYMBOL in self.names else ''}{self.stamp(row)})"


def _columns(view: _View, suite: Sequence[Indicator]) -> dict[str, Floats]:
    needed = _needed(suite)
    missing = [name for name in needed if name not in view.names]
    if missing:
        raise InvalidBars(f"indicators need the columns {', '.join(needed)}; {_told(missing, view.names)}")
    if len(set(view.names)) < len(view.names):
        raise InvalidBars("a column occurs twice")
    columns = {name: view.column(name) for name in needed}
    for name, column in columns.items():
        _refuse_missing(name, column, view.place)
    return columns


def _needed(suite: Sequence[Indicator]) -> list[str]:
    made = {name for indicator in suite for name in indicator.outputs}
    return list(dict.fromkeys(name for indicator in suite for name in indicator.inputs if name not in made))


def _told(missing: Sequence[str], names: Sequence[Hashable]) -> str:
    """Return what is missing, and what to do if it is there under another name."""
    told = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
    if any(isinstance(name, tuple) for name in names):
        return f"{told}: the columns have several levels; take one symbol's, such as bars[{names[0][0]!r}]"  # type: ignore[index]
    likely = [name for name in names if isinstance(name, str) and name.lower() in missing]
    return f"{told}, but {', '.join(likely)} is there: write the names small, see rename()" if likely else told


def _is_of_numbers(column: pd.Series) -> bool:
    if column.dtype == object:
        return types.infer_dtype(column) in _NUMBERS
    is_other = types.is_bool_dtype(column.dtype) or types.is_complex_dtype(column.dtype)
    return types.is_numeric_dtype(column.dtype) and not is_other


def _refuse_scattered(begins: Rows, different: int) -> Rows:
    if len(begins) > different:
        raise InvalidBars("the rows of a symbol do not lie together; sort them by symbol and time")
    return begins


def _refuse_disorder(order: Rows, begins: Rows, place: Callable[[int], str]) -> None:
    steps = np.diff(order)
    later = begins[(begins > 0) & (begins < len(order))]
    steps[later - 1] = 1  # another symbol begins
    if len(steps) and steps.min() <= 0:
        row = int(np.argmax(steps <= 0)) + 1
        raise InvalidBars(
            f"{place(row)} is not later than the one before: bars come oldest first, none twice; see sort_index()"
        )


def _refuse_missing(name: str, column: Floats, place: Callable[[int], str]) -> None:
    finite = np.isfinite(column)
    if not finite.all():
        row = int(np.argmin(finite))
        raise InvalidBars(f"{place(row)} has no finite {name}: an indicator over it would be wrong")

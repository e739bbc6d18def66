"""Bars from other people's files, and to them: CSV and parquet.

What a file holds is first understood, then shown, then read: which column is what, which time zone its times are in,
and whether they are the begin of a bar or its end. What is not said and cannot be told is an error, never a guess.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from uuid import uuid4
from zoneinfo import ZoneInfo

import pandas as pd
import polars as pl

from workbench.errors import InvalidBars, InvalidInput, StoreError, WorkbenchError
from workbench.market.bars import COLUMNS, REQUIRED, TIMESTAMP, to_table
from workbench.market.contracts import WHAT_TO_SHOW, check_what_to_show
from workbench.market.timeframes import Timeframe, parse_timeframe
from workbench.store.annexes import is_annex, take_annexes, write_annexes
from workbench.store.files import replacing
from workbench.store.historical import HistoricalDataManager
from workbench.store.layout import parse_part_name
from workbench.store.merge import SaveReport
from workbench.store.source import refuse_source

Stamps = Literal["start", "end"]
SYMBOL = "symbol"
SUFFIXES = (".csv", ".parquet")
_KNOWN = {
    TIMESTAMP: ("timestamp", "datetime", "date", "time"),
    **{name: (name,) for name in COLUMNS},
    SYMBOL: ("symbol", "ticker"),
}
"""By which names a column is known when it is not mapped, in any case."""
_ZONE = r"(?i)(\d\d:?\d\d(:?\d\d(\.\d+)?)?) ?(z|[+-]\d\d(:?\d\d)?)$"
"""The zone that a time of day ends with."""
_DATE = r"^(\d{4}-\d\d-\d\d|\d{8})([T ]|$)"
"""How every time begins: a year by itself is no date."""
_HEADER = 65_536


@dataclass(frozen=True, slots=True)
class Layout:
    """What is said of the files: their timeframe, columns (ours to theirs), time zone, and what the times mark."""

    timeframe: Timeframe
    zone: str = ""
    stamps: Stamps = "start"
    columns: Mapping[str, str] | None = None
    symbol: str = ""
    """The symbol of all bars; else a column's, a folder's or the file's name."""
    what_to_show: str = ""
    """The price of all bars; else the file's name tells it as an export writes it, else they are `TRADES`."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.columns or () if name not in _KNOWN]
        if unknown:
            raise InvalidInput(f"bars have no column {', '.join(unknown)}; they have {', '.join(_KNOWN)}")
        try:
            ZoneInfo(self.zone or "UTC")
        except (OSError, ValueError) as error:
            raise InvalidInput(f"{self.zone!r} is no time zone; write America/New_York or UTC") from error
        if self.what_to_show:
            check_what_to_show(self.what_to_show)
        if self.timeframe.is_daily and self.stamps == "end":
            raise InvalidInput("a daily bar is known by its session's date, not by its end: leave --stamps end out")


@dataclass(frozen=True, slots=True)
class Understood:
    """A file as it was understood: the bars of one symbol in it."""

    path: Path
    symbol: str
    bars: pd.DataFrame
    what_to_show: str = "TRADES"

    def __str__(self) -> str:
        whose = self.symbol if self.what_to_show == "TRADES" else f"{self.symbol} {self.what_to_show}"
        if self.bars.empty:
            return f"{self.path}: no bars of {whose}"
        first, last, close = self.bars.index[0], self.bars.index[-1], self.bars["close"].iloc[-1]
        return f"{self.path}: {len(self.bars):,} bars of {whose}, {first} to {last}, last close {close:g}"


def find_files(path: Path) -> list[Path]:
    """Return a file, or all CSV and parquet files below a folder. Raises `InvalidInput`."""
    below = [path] if path.is_file() else sorted(path.rglob("*"))
    found = [one for one in below if one.is_file() and (one == path or one.suffix.lower() in SUFFIXES)]
    found = [one for one in found if one == path or not is_annex(one)]
    if not found:
        raise InvalidInput(f"{path} holds no files that end with {' or '.join(SUFFIXES)}")
    parts = [one for one in found if parse_part_name(one.name) and one.parent.suffix == ".parquet"]
    if parts:
        raise InvalidInput(
            f"{parts[0]} is part of a store of the workbench. To take a store over: workbench backup there, workbench "
            "restore here; to take some of it, workbench export first"
        )
    return found


def understand(path: Path, layout: Layout) -> list[Understood]:
    """Return the bars of a file, by symbol. Raises `InvalidBars`, which names the file and the row."""
    frame = _read(path)
    names = _columns(path, list(frame.columns), layout)
    stamps = _starts(path, _times(frame, names, layout), layout)
    numbers = {ours: _numbers(path, frame[theirs]) for ours, theirs in names.items() if ours in COLUMNS}
    bars = pd.DataFrame(numbers).set_axis(stamps, axis=0)
    symbols = frame[names[SYMBOL]].cast(pl.String).to_numpy() if SYMBOL in names and not layout.symbol else None
    named, price = _told_by_name(path, layout)
    if symbols is None:
        found = [Understood(path, layout.symbol or named, bars, price)]
    else:
        if pd.isna(symbols).any():
            raise InvalidBars(f"{path}, row {int(pd.isna(symbols).argmax())}: no symbol")
        found = [Understood(path, str(name), rows, price) for name, rows in bars.groupby(symbols, sort=True)]
    return [_checked(one, layout.timeframe) for one in found]


def save(
    store: HistoricalDataManager, found: Understood, timeframe: Timeframe, *, source: str = "import",
    use_rth: bool = True,
) -> SaveReport:  # fmt: skip
    """Save the bars of a file, and what goes with it. Raises `SourceMismatch` where the store has another source."""
    refuse_source(store.data_dir, source)
    key = found.symbol, str(timeframe), found.what_to_show
    take_annexes(store, found.path, *key)  # before, so that the door knows the verdicts
    try:
        report = store.save_bars(
            found.symbol, str(timeframe), found.bars, what_to_show=found.what_to_show, use_rth=use_rth, source=source
        )
    except InvalidBars as error:
        raise InvalidBars(f"{found.path}: {error}") from error
    take_annexes(store, found.path, *key)  # after, for a save forgets what is held back where there is a bar
    return report


def export(
    store: HistoricalDataManager, symbols: Sequence[str], timeframe: str, target: Path, *,
    start: str | None = None, end: str | None = None, kind: Literal["csv", "parquet"] = "parquet",
    what_to_show: str = "TRADES",
) -> Iterator[tuple[Path, int]]:  # fmt: skip
    """Write a file a symbol, `SYMBOL_TIMEFRAME.parquet` or `.csv`, times in UTC; yield each with its number of bars.

    Prices other than trades have theirs in the name: `AAPL_1day-MIDPOINT.csv`.

    What the review holds of it, and the record of splits, go into files beside it, without bars.
    """
    for symbol in symbols:
        bars = store.load_bars(symbol, timeframe, start, end, what_to_show=what_to_show)
        if bars.empty:
            raise StoreError(
                f"nothing is stored of {symbol} {timeframe} {what_to_show} there; see what is with workbench status"
            )
        price = "" if what_to_show == "TRADES" else f"-{what_to_show}"
        name = f"{store.home(symbol).name}_{parse_timeframe(timeframe)}{price}.{kind}"
        frame = pl.from_arrow(to_table(bars))
        assert isinstance(frame, pl.DataFrame)  # noqa: S101  a table gives a frame
        with replacing(target / name, target / f".{name}-{uuid4().hex}.tmp") as file:
            if kind == "csv":
                frame.write_csv(file, datetime_format="%Y-%m-%dT%H:%M:%S%.fZ")
            else:
                frame.write_parquet(file)
        yield target / name, len(bars)
        for annex in write_annexes(store, symbol, timeframe, what_to_show, target / name):
            yield annex, 0


def _read(path: Path) -> pl.DataFrame:
    try:
        if path.suffix.lower() == ".parquet":
            return pl.read_parquet(path, glob=False)
        with path.open("rb") as file:
            header = file.readline(_HEADER)
        mark = next((mark for mark in (",", ";", "\t") if mark.encode() in header), ",")
        return pl.read_csv(path, separator=mark, infer_schema=False)  # as text: no number is then told by its row
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InvalidInput(f"{path} cannot be read: {str(error).splitlines()[0]}") from error


def _columns(path: Path, theirs: list[str], layout: Layout) -> dict[str, str]:
    """Return which column of a file is which of ours."""
    mapped = dict(layout.columns or {})
    absent = [name for name in mapped.values() if name not in theirs]
    by_name = _by_name(theirs)
    for ours, known in _KNOWN.items():
        match = next((by_name[name] for name in known if name in by_name), None)
        if ours not in mapped and match is not None:
            mapped[ours] = match
    missing = [name for name in (TIMESTAMP, *REQUIRED) if name not in mapped]
    if absent or missing:
        raise InvalidInput(
            f"{path} has the columns {', '.join(theirs)}; not found: {', '.join([*absent, *missing])}. Say which is "
            "which, as --column timestamp=Date --column volume=Vol"
        )
    return mapped


def _by_name(theirs: Iterable[str]) -> dict[str, str]:
    """Return columns by the names by which they are known: ` <DATE>` is `date`."""
    return {name.strip().strip("<>").lower(): name for name in theirs}


def _times(frame: pl.DataFrame, names: Mapping[str, str], layout: Layout) -> pl.Series:
    """Return the column of times; where a file has dates and times of day in two columns, both as one."""
    theirs, column = _by_name(frame.columns), frame[names[TIMESTAMP]]
    apart = names[TIMESTAMP] == theirs.get("date") and theirs.get("time") not in (None, *names.values())
    if layout.timeframe.is_daily or not apart:
        return column
    clock = frame[theirs["time"]]
    return column.cast(pl.String).str.strip_chars() + " " + clock.cast(pl.String).str.strip_chars()


def _starts(path: Path, column: pl.Series, layout: Layout) -> pd.DatetimeIndex:
    """Return the bars' starts in UTC. A daily bar's time is its session's date, whatever the zone."""
    stamps = _instants(path, column, keep_date=layout.timeframe.is_daily)
    if stamps.hasnans:
        raise InvalidBars(f"{path}, row {int(stamps.isna().argmax())}: no time")
    if layout.timeframe.is_daily:
        return stamps.tz_localize(None).normalize().tz_localize("UTC").as_unit("us")
    if stamps.tz is None:
        if not layout.zone:
            raise InvalidInput(f"{path}: its times have no time zone; say which, as --zone America/New_York")
        try:
            stamps = stamps.tz_localize(ZoneInfo(layout.zone))
        except ValueError as error:  # an hour that does not exist, or twice
            raise InvalidBars(f"{path}: a time does not exist once in {layout.zone}: {error}") from error
    utc = stamps.tz_convert("UTC").as_unit("us")
    return utc - layout.timeframe.length if layout.stamps == "end" else utc


def _instants(path: Path, column: pl.Series, *, keep_date: bool) -> pd.DatetimeIndex:
    """Return times as they are written: with a zone where they have one, which may change with the clocks.

    To `keep_date` is to leave zones out: in UTC it may be another date.
    """
    try:
        if column.dtype.is_temporal():
            return pd.DatetimeIndex(column.to_list())
        text = column.cast(pl.String).str.strip_chars()
        is_odd = ~text.str.contains(_DATE) & text.is_not_null()
        if is_odd.any():
            row = int(is_odd.to_numpy().argmax())
            raise ValueError(f"{text[row]!r} in row {row} does not begin with a date")
        has_zone = text.str.contains(_ZONE)
        if keep_date:
            text = text.str.replace(_ZONE, "$1")
        elif has_zone.any() and not has_zone.all():
            raise InvalidBars(f"{path}: some of its times have a time zone and some have none; write all alike")
        is_utc = bool(has_zone.any()) and not keep_date
        return pd.DatetimeIndex(pd.to_datetime(text.to_list(), format="ISO8601", utc=is_utc))
    except (ValueError, TypeError) as error:
        said = str(error).splitlines()[0].partition(". You might")[0]
        raise InvalidBars(f"{path}: its times cannot be read ({said}); write them as 2026-11-20 09:30:00") from error


def _numbers(path: Path, column: pl.Series) -> pd.Series:
    numbers = column.cast(pl.Float64, strict=False)
    bad = (numbers.is_null() & column.is_not_null()).arg_max()
    if bad is not None and numbers[bad] is None and column[bad] is not None:
        raise InvalidBars(f"{path}, row {bad}: {column[bad]!r} under {column.name} is no number")
    return pd.Series(numbers.to_numpy())


def _told_by_name(path: Path, layout: Layout) -> tuple[str, str]:
    """Return the symbol and the price that a file's name tells: `AAPL_1day-MIDPOINT`.

    A file that is named by the timeframe alone has its folder's symbol. Raises `InvalidInput` when the name tells
    another price than was said.
    """
    stem, _, price = path.stem.rpartition("-")
    if price not in WHAT_TO_SHOW or not stem.endswith(str(layout.timeframe)):
        stem, price = path.stem, ""
    if price and layout.what_to_show not in ("", price):
        raise InvalidInput(f"{path} holds {price}, as its name tells, not {layout.what_to_show}; rename it if not so")
    symbol = path.parent.name if stem == str(layout.timeframe) else stem.removesuffix(f"_{layout.timeframe}").upper()
    return symbol.rstrip("_"), layout.what_to_show or price or "TRADES"


def _checked(found: Understood, timeframe: Timeframe) -> Understood:
    """Return bars that keep the rules; in files the newest may come first."""
    bars = found.bars if not found.bars.index.is_monotonic_decreasing else found.bars.iloc[::-1]
    try:
        to_table(bars, timeframe)
    except WorkbenchError as error:
        raise InvalidBars(f"{found.path}, {found.symbol}: {error}") from error
    return replace(found, bars=bars)

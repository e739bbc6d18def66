"""The review: bars that the door held back, and what was decided about them, in `<data_dir>/review.parquet`.

A bar that is held back is not in its series, and its time is not covered: the next backfill asks for it again. When it
comes back otherwise, or its neighbours explain it, it is stored and the review forgets it. When it comes back the same
it stays here until somebody accepts it (it is stored) or drops it (it is left out, and its time counts as covered).
Either is remembered with the bar's own values: another bar at that time is judged anew.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Literal
from uuid import uuid4

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from workbench.errors import StoreError
from workbench.market.bars import REQUIRED, SCHEMA, TIMESTAMP, to_frame
from workbench.market.coverage import Coverage, Interval
from workbench.market.sessions import SessionCalendar
from workbench.market.timeframes import Timeframe
from workbench.store.files import locked, replacing

Judgement = Literal["held back", "accepted", "dropped"]

_KEY = ("symbol", "timeframe", "what_to_show")
REVIEW_SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in _KEY),
        *SCHEMA,
        pa.field("use_rth", pa.bool_()),
        pa.field("source", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("judgement", pa.string()),
        pa.field("noted_at", pa.timestamp("us", tz="UTC")),
    ]
)


@cache
def _nothing_held() -> pd.DataFrame:
    """Return no rows; made once, for it would take as long as all the rest of the door."""
    return _to_pandas(REVIEW_SCHEMA.empty_table())


@dataclass(frozen=True, slots=True)
class Sifted:
    """Bars at the door: those that are stored, those that are held back, and the time that is not covered thereby."""

    passed: pa.Table
    held: pd.DataFrame = field(default_factory=_nothing_held)
    uncovered: Coverage = Coverage()  # noqa: RUF009  a value

    def pieces(self, covers: Interval | None) -> list[tuple[pa.Table, Interval | None]]:
        """Return what is saved, each piece with the interval it covers."""
        if covers is None or not len(self.uncovered):
            return [(self.passed, covers)]
        covered = list(self.uncovered.missing(covers))
        stamps = self.passed.column(TIMESTAMP).to_numpy()
        edges = [[np.datetime64(end.replace(tzinfo=None)) for end in (span.begin, span.end)] for span in covered]
        bounds = [np.searchsorted(stamps, edge) for edge in edges]
        return [
            (self.passed.slice(int(first), int(last - first)), span)
            for span, (first, last) in zip(covered, bounds, strict=True)
        ]


class Review:
    """The file of what was held back and judged. Several processes may use it at once."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "review.parquet"
        self._lock = data_dir / ".review.lock"

    def load(self) -> pd.DataFrame:
        """Return all of it, a row a bar. Raises `StoreError` when the file cannot be read."""
        try:
            return _to_pandas(pq.read_table(self._path).cast(REVIEW_SCHEMA))
        except FileNotFoundError:
            return _to_pandas(REVIEW_SCHEMA.empty_table())
        except (pa.ArrowException, OSError, ValueError) as error:
            raise StoreError(
                f"{self._path}, which lists the bars held back, cannot be read ({error}). Move it away: what it lists "
                "is not covered, so the next backfill asks for it again"
            ) from error

    def of(self, symbol: str, timeframe: str, what_to_show: str) -> pd.DataFrame:
        """Return what it holds of one series."""
        rows = self.load()
        return rows[_is_series(rows, symbol, timeframe, what_to_show)]

    def note(self, rows: pd.DataFrame) -> None:
        """Add rows; one of the same series and time takes the place of the older."""
        if rows.empty:
            return
        with locked(self._lock, str(self._path)):
            both = pd.concat([self.load(), rows], ignore_index=True) if self._path.exists() else rows
            self._write(both.drop_duplicates([*_KEY, TIMESTAMP], keep="last"))

    def settle(self, symbol: str, timeframe: str, what_to_show: str, sifted: Sifted, covers: Interval | None) -> None:
        """Forget the bars held back whose time has been answered by a save: by another bar, or by none."""
        if not self._path.exists():
            return
        with locked(self._lock, str(self._path)):
            rows = self.load()
            waiting = _is_series(rows, symbol, timeframe, what_to_show) & (rows["judgement"] == "held back")
            answered = rows[TIMESTAMP].isin(sifted.passed.column(TIMESTAMP).to_pandas())
            for span in sifted.uncovered.missing(covers) if covers else ():
                answered |= (rows[TIMESTAMP] >= span.begin) & (rows[TIMESTAMP] < span.end)
            gone = waiting & answered & ~rows[TIMESTAMP].isin(sifted.held[TIMESTAMP])
            if gone.any():
                self._write(rows[~gone])

    def _write(self, rows: pd.DataFrame) -> None:
        table = pa.Table.from_pandas(rows, schema=REVIEW_SCHEMA, preserve_index=False)
        with replacing(self._path, self._path.with_name(f".review-{uuid4().hex}.tmp")) as file:
            pq.write_table(table.replace_schema_metadata(None), file)


def sift(
    table: pa.Table, doubts: dict[int, str], judged: pd.DataFrame, timeframe: Timeframe, calendar: SessionCalendar
) -> Sifted:
    """Part the bars that are stored from those that are held back.

    `judged` is what the review holds of the series. A bar that was accepted passes, one that was dropped is left out;
    both only with the very values that were judged. What starts outside of the sessions leaves nothing uncovered:
    nothing is expected there.
    """
    frame = to_frame(table.take(pa.array(list(doubts), pa.int64()))).reset_index()
    frame = frame.assign(reason=list(doubts.values()))
    known = [_judgement(row, judged) for row in frame.to_dict("records")]
    held = frame[[judgement == "held back" for judgement in known]]
    out = [row for row, judgement in zip(doubts, known, strict=True) if judgement != "accepted"]
    passed = table.filter(pa.array(~np.isin(np.arange(table.num_rows), out)))
    slots = (slot_of(stamp.to_pydatetime(), timeframe, calendar) for stamp in held[TIMESTAMP])
    return Sifted(passed, held, Coverage(slot for slot in slots if slot is not None))


def slot_of(start: datetime, timeframe: Timeframe, calendar: SessionCalendar) -> Interval | None:
    """Return the time that the bar at `start` stands for; None when it is in no session."""
    after = calendar.first_start(start + timedelta(microseconds=1), timeframe)
    return Interval(start, after) if calendar.during(start, after, timeframe) else None


def moment_of(micros: int) -> datetime:
    """Return microseconds since 1970 as a moment in UTC."""
    return np.datetime64(int(micros), "us").item().replace(tzinfo=UTC)


def to_rows(
    frame: pd.DataFrame, symbol: str, timeframe: str, what_to_show: str, *, use_rth: bool, source: str,
    judgement: Judgement,
) -> pd.DataFrame:  # fmt: skip
    """Return bars, with their timestamp and reason as columns, as rows of the review."""
    key = {"symbol": symbol, "timeframe": timeframe, "what_to_show": what_to_show}
    noted = pd.Timestamp(datetime.now(UTC)).as_unit("us")
    rows: pd.DataFrame = frame.assign(**key, use_rth=use_rth, source=source, judgement=judgement, noted_at=noted)
    return rows[list(REVIEW_SCHEMA.names)]


def same_bars(bars: pd.DataFrame, judged: pd.DataFrame, judgement: Judgement) -> np.ndarray:
    """Return which of the bars, indexed by timestamp, were judged so, with the very values that they have."""
    known = judged[judged["judgement"] == judgement].set_index(TIMESTAMP)
    known = known[~known.index.duplicated(keep="last")][list(REQUIRED)].reindex(bars.index)
    return np.asarray((known.to_numpy() == bars[list(REQUIRED)].to_numpy()).all(axis=1))


def _judgement(bar: Mapping[Hashable, object], judged: pd.DataFrame) -> str:
    """Return what was decided about the very bar, or that it is held back."""
    same = judged[judged[TIMESTAMP] == bar[TIMESTAMP]]
    for name in REQUIRED:
        same = same[same[name] == bar[name]]
    return "held back" if same.empty else str(same["judgement"].iloc[-1])


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    frame = table.to_pandas()
    assert isinstance(frame, pd.DataFrame)  # noqa: S101  for the types: pyarrow has none
    return frame


def _is_series(rows: pd.DataFrame, symbol: str, timeframe: str, what_to_show: str) -> pd.Series:
    return (rows["symbol"] == symbol) & (rows["timeframe"] == timeframe) & (rows["what_to_show"] == what_to_show)

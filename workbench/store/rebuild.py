"""All series of a symbol replaced as one step: after a split no bar in old shares may stand beside one in new shares.

What takes their place is fetched into a *staging* store inside the symbol's own folder. The switch is one commit over
all its series (`commit.py`), with the record of it: a reader sees all old or all new, and so does who comes after a
crash.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from shutil import rmtree

from workbench import html
from workbench.errors import StoreError
from workbench.market.bars import COLUMNS, to_frame, to_table
from workbench.market.coverage import Coverage, Interval
from workbench.store.commit import replace_all, settle
from workbench.store.files import locked, sync_folder, written
from workbench.store.historical import HistoricalDataManager
from workbench.store.parts import ALWAYS, read_info
from workbench.store.series import Series
from workbench.store.splits import Ratio, adjusted, share_adjusted

EVENTS, _STAGING, _LOCK = "splits.json", ".rebuild", ".rebuild.lock"
_MOSTLY = 0.9


@dataclass(frozen=True, slots=True)
class RebuildEvent:
    """That all series of a symbol were fetched anew. `kept` bars IB does not have any more: they were adjusted here."""

    symbol: str
    at: str
    """When, by the gateway's clock."""
    ratio: str
    """The split, such as 7:1; empty when it was asked for by hand."""
    series: tuple[str, ...]
    bars: int
    kept: int

    def __str__(self) -> str:
        why = f"a split of {self.ratio} was found" if self.ratio else "as was asked for"
        kept = f"; {self.kept:,} bars that IB does not have any more were adjusted here" if self.kept else ""
        return f"{self.symbol}: {why}, {len(self.series)} series ({self.bars:,} bars) were fetched anew{kept}"

    def _repr_html_(self) -> str:
        return html.card(str(self), html.facts({"when": self.at, "series": self.series}))


def load_events(store: HistoricalDataManager, symbol: str) -> list[RebuildEvent]:
    """Return the rebuilds of a symbol, oldest first. Raises `StoreError`."""
    path = store.home(symbol) / EVENTS
    settle(store.home(symbol))
    try:
        return [RebuildEvent(**one | {"series": tuple(one["series"])}) for one in json.loads(path.read_text("utf-8"))]
    except FileNotFoundError:
        return []
    except (OSError, TypeError, ValueError, LookupError) as error:
        raise StoreError(f"{path}, the record of splits, cannot be read ({error}); move it away") from error


def stored_series(store: HistoricalDataManager, symbol: str) -> list[Series]:
    """Return the series of a symbol that hold bars. Raises `CorruptPart` when one cannot be read."""
    return [one for one in store.series_of(symbol) if one.info().bars]


def span_of(series: Series) -> datetime:
    """Return the first instant that a series tells of: a bar, coverage, or what was lost."""
    told = [info for _, info in series.told(read_info)]
    firsts = [info.first for info in told if info.first] + [span.begin for info in told for span in info.coverage]
    return min(firsts + [span.begin for info in told for span in info.lost])


@contextmanager
def staging(store: HistoricalDataManager, symbol: str, day: date) -> Iterator[HistoricalDataManager]:
    """Give the store in which a symbol is rebuilt; only one process at a time does.

    What was fetched on the same exchange date is still there when a rebuild was ended: splits take effect overnight.
    """
    home = store.home(symbol)
    with locked(home / _LOCK, f"the rebuild of {home}"):
        settle(home)
        for old in (home / _STAGING).glob("*"):
            if old.name != day.isoformat():
                rmtree(old)
        yield HistoricalDataManager(home / _STAGING / day.isoformat(), universe=store.universe)


def switch(
    store: HistoricalDataManager, staged: HistoricalDataManager, symbol: str, ratio: Ratio | None, at: datetime
) -> RebuildEvent:
    """Let what was staged take the place of all series of a symbol, as one step, and record that.

    Raises `StoreError`, and changes nothing, when it is not the same bars in the shares after the split.
    """
    home, events = store.home(symbol), load_events(store, symbol)
    with _all_locked(stored_series(store, symbol)) as series:
        settle(home)
        pairs = [(old, Series.at(staged.home(symbol) / old.folder.name)) for old in series]
        for old, new in pairs:
            if not new.info().bars:  # adjusting all of it here would be wrong if it was stored since, in new shares
                raise StoreError(f"no bars of {' '.join(old.key)} were fetched anew. Nothing was changed; run it again")
        kept = sum(_keep_older(old, new, ratio) for old, new in pairs)
        for old, new in pairs:
            _refuse_other(old, new, ratio, staged)
        moves = {old.folder / part.path.name: part.path for old, new in pairs for part in new.parts()}
        gone = [part.path for old in series for part in old.parts() if part.path not in moves]
        names = tuple(one.folder.stem for one in series)
        bars = sum(new.info().bars for _, new in pairs)
        event = RebuildEvent(symbol, at.isoformat(), str(ratio or ""), names, bars, kept)
        moves[home / EVENTS] = _write_events(staged.data_dir / EVENTS, [*events, event])
        replace_all(home, moves, gone)
    store.review.note(staged.review.load())
    rmtree(home / _STAGING, ignore_errors=True)
    store.record(symbol)
    return event


@contextmanager
def _all_locked(series: Sequence[Series]) -> Iterator[Sequence[Series]]:
    """Keep other writers of these series out; always taken in the same order."""
    with ExitStack() as stack:
        for one in sorted(series, key=lambda one: one.folder):
            stack.enter_context(one.lock())
        yield series


def _keep_older(old: Series, new: Series, ratio: Ratio | None) -> int:
    """Adjust the bars before the first that IB still has, and stage them; return how many."""
    first = new.info().first
    assert first is not None  # noqa: S101  it has bars
    bars = to_frame(old.load(ALWAYS[0], first, COLUMNS))
    if bars.empty:
        return 0
    if ratio is None:
        raise StoreError(
            f"IB has no bars of {' '.join(old.key)} before {first} any more, {len(bars):,} are stored: drop them first "
            "(workbench drop), or keep what is stored. Nothing was changed"
        )
    covered = old.coverage().clip(ALWAYS[0], first)
    with new.lock():
        provenance = old.told(read_info)[0][1].provenance
        new.save(to_table(adjusted(bars, ratio)), provenance, None)
        for span in Coverage(covered):
            inside = adjusted(bars[(bars.index >= span.begin) & (bars.index < span.end)], ratio)
            new.save(to_table(inside), provenance, Interval(span.begin, span.end))
    return len(bars)


def _refuse_other(old: Series, new: Series, ratio: Ratio | None, staged: HistoricalDataManager) -> None:
    """Raise `StoreError` when the staged bars are not the stored ones in other shares."""
    problem = ""
    if old.told(read_info)[0][1].provenance != new.told(read_info)[0][1].provenance:
        problem = "they come from another source, or are of other hours"
    elif ratio is not None:
        before, after = (to_frame(one.load(*ALWAYS, ["close"])) for one in (old, new))
        share = share_adjusted(before, after, ratio)
        problem = f"only {share:.0%} of them differ by the ratio {ratio}" if share < _MOSTLY else ""
    if problem:
        rmtree(staged.data_dir, ignore_errors=True)
        raise StoreError(
            f"the bars of {' '.join(old.key)} that were fetched anew cannot take the place of those stored: {problem}. "
            "Nothing was changed; look at them, then run it again"
        )


def _write_events(path: Path, events: Sequence[RebuildEvent]) -> Path:
    path.unlink(missing_ok=True)
    with written(path) as file:
        file.write(json.dumps([asdict(event) for event in events], indent=1).encode())
    sync_folder(path.parent)
    return path

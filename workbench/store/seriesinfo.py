"""What a stored series holds, told by the footers of its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from workbench.market.coverage import Coverage
from workbench.store.footer import PartInfo
from workbench.store.parts import Part


@dataclass(frozen=True, slots=True)
class SeriesInfo:
    """What a stored series holds. `first` and `last` are bar starts in UTC."""

    symbol: str
    timeframe: str
    what_to_show: str
    source: str = ""
    bars: int = 0
    first: datetime | None = None
    last: datetime | None = None
    coverage: Coverage = Coverage()  # noqa: RUF009  a value
    bytes: int = 0
    parts: int = 0
    fetched_at: datetime | None = None
    gateway_version: str = ""
    use_rth: bool = True
    volume_unit: str = ""
    lost: Coverage = Coverage()  # noqa: RUF009  a value
    """What could not be read, was set aside, and has not been fetched again."""
    problem: str = ""
    """Why some of it cannot be read, or nothing."""


def told_by(series: SeriesInfo, parts: Sequence[tuple[Part, PartInfo]]) -> SeriesInfo:
    """Return what the parts tell of a series of which so far only the key is known."""
    infos = [info for _, info in parts]
    if not infos:
        return series
    newest = max(infos, key=lambda info: info.fetched_at)
    bounds = [(info.first, info.last) for info in infos if info.rows]
    lost = Coverage(span for info in infos for span in info.lost)
    return replace(
        series,
        source=newest.provenance.source,
        bars=sum(info.rows for info in infos),
        first=bounds[0][0] if bounds else None,
        last=bounds[-1][1] if bounds else None,
        coverage=Coverage(span for info in infos for span in info.coverage),
        bytes=sum(part.bytes for part, _ in parts),
        parts=len(infos),
        fetched_at=newest.fetched_at,
        gateway_version=newest.gateway_version,
        use_rth=newest.provenance.use_rth,
        volume_unit=newest.provenance.volume_unit,
        lost=lost,
        problem="; ".join(f"bars of {span} could not be read, fetch them again" for span in lost),
    )

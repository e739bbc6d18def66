"""What a part says of its bars, in the footer of its file: where they come from, and which time they cover."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from workbench.market.coverage import Coverage, Interval

KEY = b"workbench"
SCHEMA_VERSION = 2
"""1 had neither the unit of the volume, which was shares, nor the gateway's version, nor lost intervals."""
SHARES = "shares"


class NewerSchema(ValueError):
    """A footer that a newer version of this program wrote."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where bars come from: the same for all parts of a series."""

    source: str
    what_to_show: str
    use_rth: bool
    volume_unit: str = SHARES

    def __str__(self) -> str:
        hours = "regular hours" if self.use_rth else "all hours"
        unit = "" if self.volume_unit == SHARES else f", volume in {self.volume_unit},"
        return f"{self.what_to_show} bars of {hours}{unit} from {self.source}"


@dataclass(frozen=True, slots=True)
class PartInfo:
    """What a part tells without its bars being read. `first` and `last` are bar starts.

    `lost` is what was stored once, in a file that could not be read any more and was set aside, and has not been
    fetched again.
    """

    provenance: Provenance
    coverage: Coverage
    fetched_at: datetime
    gateway_version: str = ""
    lost: Coverage = Coverage()  # noqa: RUF009  a value
    rows: int = 0
    first: datetime | None = None
    last: datetime | None = None


def format_footer(info: PartInfo) -> bytes:
    """Return the footer of a part."""
    return json.dumps(
        {
            "schema": SCHEMA_VERSION,
            "source": info.provenance.source,
            "what_to_show": info.provenance.what_to_show,
            "use_rth": info.provenance.use_rth,
            "volume_unit": info.provenance.volume_unit,
            "fetched_at": info.fetched_at.isoformat(),
            "gateway_version": info.gateway_version,
            "coverage": _format_spans(info.coverage),
            "lost": _format_spans(info.lost),
        }
    ).encode()


def parse_footer(text: bytes, rows: int, first: datetime | None, last: datetime | None) -> PartInfo:
    """Return what a footer says. Raises `NewerSchema`, or one of Python's errors when it is malformed."""
    footer = json.loads(text)
    version = footer["schema"]
    if version > SCHEMA_VERSION:
        raise NewerSchema(f"schema version {version}, this program reads up to {SCHEMA_VERSION}")
    footer = footer | ({"volume_unit": SHARES, "gateway_version": "", "lost": []} if version == 1 else {})
    return PartInfo(
        provenance=Provenance(
            footer["source"], footer["what_to_show"], footer["use_rth"], volume_unit=footer["volume_unit"]
        ),
        coverage=_parse_spans(footer["coverage"]),
        fetched_at=datetime.fromisoformat(footer["fetched_at"]),
        gateway_version=footer["gateway_version"],
        lost=_parse_spans(footer["lost"]),
        rows=rows,
        first=first,
        last=last,
    )


def _format_spans(spans: Coverage) -> list[list[str]]:
    return [[span.begin.isoformat(), span.end.isoformat()] for span in spans]


def _parse_spans(spans: list[list[str]]) -> Coverage:
    return Coverage(Interval(datetime.fromisoformat(begin), datetime.fromisoformat(end)) for begin, end in spans)

"""A workbench in a notebook: what is connected, what is stored, what may come next. Showing it connects nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench import html
from workbench.errors import WorkbenchError
from workbench.store.historical import BY_UTC

if TYPE_CHECKING:
    import pandas as pd

    from workbench.app.desk import Workbench

_FIRST = [
    ('desk.backfill(["AAPL", "MSFT"])', "fetches bars and stores them"),
    ("desk.doctor()", "examines the gateway"),
]
_NEXT = [
    ('desk.chart("{symbol}", "{timeframe}")', "draws it with its indicators"),
    ('desk.bars("{symbol}", "{timeframe}", last="60d")', "its bars; desk.indicators(…) adds the indicators"),
    ("desk.screen()", "ranks what is stored; desk.watchlist()"),
    ('desk.live.start(["{symbol}"])', "records live bars"),
    ("desk.check()", "looks for what is missing or wrong; desk.backfill(…) fetches what is new"),
]


def show_desk(desk: Workbench) -> str:
    """Return the HTML of a workbench."""
    trouble, stored = "", None
    try:
        stored = _stored(desk)
    except WorkbenchError as error:
        trouble = html.note(str(error), state="bad")
    told = {"connection": _connection(desk), "data": str(desk.settings.market_dir), "live": _live(desk)}
    table = "" if stored is None else html.table(stored) + html.note(BY_UTC)
    return html.card("Workbench", html.facts(told), trouble, table, html.steps(_steps(desk, stored)))


def _connection(desk: Workbench) -> str:
    ib, settings = desk.known_ib, desk.settings
    if ib is not None:
        place = "the built-in gateway (simulated data)" if settings.uses_built_in_gateway else str(ib.config)
        return f"{place}, {'connected' if ib.connected else 'not connected'}"
    if settings.uses_built_in_gateway:
        return "not connected; the first request starts the built-in gateway (simulated data)"
    return f"not connected; the first request connects to {settings.ib.host or '127.0.0.1'}:{settings.ib.port or 7497}"


def _live(desk: Workbench) -> str:
    is_made = "live" in desk.__dict__
    return str(desk.live.status()) if is_made and desk.live.is_running else ""


def _stored(desk: Workbench) -> pd.DataFrame | None:
    """Return what is stored, None where there is no store yet: showing a workbench makes none."""
    if not (desk.settings.market_dir / "historical").is_dir():
        return None
    return desk.store.overview()


def _steps(desk: Workbench, stored: pd.DataFrame | None) -> list[tuple[str, str]]:
    if stored is None or stored.empty:
        return _FIRST
    symbols, lengths = desk.store.symbols(), list(stored["timeframe"])
    shown = {
        "symbol": "AAPL" if "AAPL" in symbols else symbols[0],
        "timeframe": "15min" if "15min" in lengths else lengths[-1],
    }
    return [(code.format(**shown), words) for code, words in _NEXT]

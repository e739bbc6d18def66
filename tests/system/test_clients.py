"""A table of message types by client libraries: every cell is a real conversation over TCP.

Each library lives in an environment of its own under `.venv-clients/`, which `make test-clients` builds. A script
there (`clients/`) is given all the steps of the table, holds the conversations, and prints what it was told; the cells
compare that with what the tape has.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from workbench.gateway.asof import AsOf
from workbench.gateway.behaviour import Behaviour
from workbench.gateway.clock import GatewayClock
from workbench.gateway.hours import hours
from workbench.gateway.serving import running
from workbench.gateway.simulated import SimulatedTape
from workbench.gateway.tape import DAY, BarColumns, Instrument
from workbench.gateway.ticks import Quotes

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parents[1] / ".venv-clients"
NEW_YORK = ZoneInfo("America/New_York")
FRIDAY_NOON = datetime(2026, 11, 20, 12, 0, 2, tzinfo=NEW_YORK).timestamp()
SPEED = 100.0
FARMS = {2104, 2106, 2158}
IN_SHARES, FRACTIONS, SCHEDULES = 175, 163, 165


@dataclass(frozen=True)
class Library:
    """A client library: where it is, which script speaks it, and the version it agrees on with the gateway."""

    name: str
    script: str
    module: str
    version: int

    @property
    def python(self) -> Path:
        return Path(sys.executable) if self.name == "ib_insync" else ENVIRONMENTS / self.name / "bin" / "python"


LIBRARIES = {
    it.name: it
    for it in (
        Library("ib_insync", "speak_ib_insync.py", "ib_insync", 176),
        Library("ib_async", "speak_ib_insync.py", "ib_async", 178),
        Library("ibapi", "speak_ibapi.py", "ibapi", 157),
        Library("nautilus-ibapi", "speak_ibapi.py", "ibapi", 178),
    )
}


@dataclass(frozen=True)
class Told:
    """What a client was told in one conversation."""

    answer: Any
    errors: list[tuple[int, str]]
    library: Library


@cache
def tape() -> SimulatedTape:
    return SimulatedTape(seed=1)


def instrument(symbol: str) -> Instrument:
    return next(it for it in tape().instruments if it.symbol == symbol)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp())


def contract(symbol: str, sec_type: str = "STK", exchange: str = "SMART", currency: str = "USD") -> dict[str, Any]:
    return {"symbol": symbol, "secType": sec_type, "exchange": exchange, "currency": currency}


AAPL = contract("AAPL")
APPLE_BY_ID = {**AAPL, "conId": 265598}  # ib_async asks for market data by nothing less
ROYAL = contract("RY", currency="")  # listed in New York and in Toronto
INDEX = contract("VIX", "IND", "CBOE")


# What must be true


def bars_of(symbol: str, step: int, begin: int, end: int, library: Library) -> list[list[Any]]:
    return [list(row) for row in _rows(tape().bars(symbol, step, begin, end, use_rth=True), library)]


def _rows(bars: BarColumns, library: Library) -> Any:
    volume = in_units(bars.volume, library) if bars.volume.any() else bars.volume
    columns = (bars.start, bars.open, bars.high, bars.low, bars.close, volume, bars.average, bars.count)
    return zip(*[column.tolist() for column in columns], strict=True)


def in_units(shares: Any, library: Library) -> Any:
    """Return shares of a stock in the unit of the library's version."""
    units = shares if library.version >= IN_SHARES else np.asarray(shares) / 100
    return units if library.version >= FRACTIONS else np.rint(units)


def instant(text: str) -> int:
    """Return the instant, or a date's midnight in UTC, that a stamp means."""
    if text.isdigit():
        return int(text) if len(text) > 8 else int(datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC).timestamp())
    wall, _, zone = text.rpartition(" ")
    return int(datetime.strptime(wall, "%Y%m%d %H:%M:%S").replace(tzinfo=ZoneInfo(zone)).timestamp())


def placed(bars: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [[instant(bar[0]), *bar[1:]] for bar in bars]


def is_handshake(told: Told) -> None:
    assert told.answer == {"version": told.library.version, "accounts": [tape().account], "next_id": True}


def is_apple(told: Told) -> None:
    (details,) = told.answer
    assert details.pop("trading_hours").startswith("20261120:0400-20261120:2000;20261121:CLOSED;")
    liquid = details.pop("liquid_hours")
    assert liquid.startswith("20261120:0930-20261120:1600;20261121:CLOSED;20261122:CLOSED;20261123:0930-")
    assert len(liquid.split(";")) == 6
    assert details == {
        "con_id": 265598, "symbol": "AAPL", "exchange": "SMART", "currency": "USD", "primary_exchange": "NASDAQ",
        "long_name": "APPLE INC", "min_tick": 0.01, "zone": "US/Eastern", "isin": ["US0378331005"],
    }  # fmt: skip


def is_volatility(told: Told) -> None:
    (details,) = told.answer
    assert (details["con_id"], details["zone"], details["exchange"]) == (13455763, "US/Central", "CBOE")
    assert details["liquid_hours"].startswith("20261120:0830-20261120:1500;")


def are_two_listings(told: Told) -> None:
    assert {(it["primary_exchange"], it["currency"]) for it in told.answer} == {("NYSE", "USD"), ("TSE", "CAD")}
    assert told.errors == []


def are_samples(told: Told) -> None:
    assert [it[1:] for it in told.answer] == [["RY", "NYSE", "USD"], ["RY", "TSE", "CAD"]]


def are_bars(symbol: str, step: int, begin: str, end: str) -> Callable[[Told], None]:
    def check(told: Told) -> None:
        edges = (at(begin), at(end)) if step < DAY else (_label(begin), _label(end))
        expected = bars_of(symbol, step, *edges, told.library)
        assert len(expected) > 4
        assert placed(told.answer) == expected

    return check


def _label(text: str) -> int:
    return int(datetime.fromisoformat(text[:10]).replace(tzinfo=UTC).timestamp())


def are_quotes(told: Told) -> None:
    expected = tape().bars("AAPL", 60, at("2026-11-19 09:30"), at("2026-11-19 16:00"), use_rth=True)
    assert [bar[4] for bar in told.answer] == np.round(expected.close - 0.005, 6).tolist()
    assert {(bar[5], bar[6], bar[7]) for bar in told.answer} == {(-1, -1, -1)}


def is_refused(code: int, words: str) -> Callable[[Told], None]:
    def check(told: Told) -> None:
        assert not told.answer
        assert told.errors[0][0] == code
        assert words in told.errors[0][1]

    return check


def stay_up_to_date(step: int) -> Callable[[Told], None]:
    def check(told: Told) -> None:
        initial, updates = placed(told.answer["initial"]), placed(told.answer["updates"])
        last_words = {bar[0]: bar for bar in [*initial, *updates]}
        newest = max(last_words)
        expected = bars_of("AAPL", step, initial[0][0], newest, told.library)
        assert newest > initial[-1][0]
        assert [last_words[start] for start in sorted(last_words) if start < newest] == expected
        assert told.errors[-1][0] == 162
        assert "API historical data query cancelled: " in told.errors[-1][1]

    return check


def is_schedule(told: Told) -> None:
    if told.library.version < SCHEDULES:
        assert told.errors[0][0] == 321
        return
    assert told.answer == {
        "zone": "US/Eastern",
        "sessions": [[f"202611{day}-09:30:00", f"202611{day}-16:00:00", f"202611{day}"] for day in (17, 18, 19)],
    }


def is_head(told: Told) -> None:
    assert told.answer == str(tape().head("AAPL", use_rth=True))


def are_live_bars(told: Told) -> None:
    bars = placed(told.answer)
    assert len(bars) >= 5
    assert bars == bars_of("AAPL", 5, bars[0][0], bars[-1][0] + 1, told.library)


def _day(told: Told) -> dict[str, float]:
    label = _label("2026-11-20")
    known = AsOf(tape(), hours(), FRIDAY_NOON).bars("AAPL", DAY, label, label + 1, use_rth=True)
    before = tape().bars("AAPL", DAY, label - DAY, label, use_rth=True)
    return {"open": known.open[0], "close": before.close[0], "volume": float(in_units(known.volume[0], told.library))}


def is_quote(told: Told, kind: int = 1) -> None:
    day, quote = _day(told), told.answer
    assert (quote["kind"], quote["min_tick"], quote["open"], quote["close"]) == (kind, 0.01, day["open"], day["close"])
    assert quote["low"] <= quote["last"] <= quote["high"]
    assert quote["bid"] < quote["last"] < quote["ask"]


def is_snapshot(told: Told) -> None:
    is_quote(told)
    assert told.answer["volume"] >= _day(told)["volume"]


def are_ticks(told: Told) -> None:
    is_quote(told)
    assert told.answer["volume"] > _day(told)["volume"]
    assert len(told.answer["trades"]) > 12
    _are_trades_of_the_tape(told, FRIDAY_NOON)


def are_delayed_ticks(told: Told) -> None:
    is_quote(told, kind=3)
    assert told.errors[0] == (10167, "Requested market data is not subscribed. Displaying delayed market data.")
    _are_trades_of_the_tape(told, FRIDAY_NOON - 900)


def _are_trades_of_the_tape(told: Told, begin: float) -> None:
    """Check that the trades, but for the one before, are some of the tape's, in its order."""
    ticks = Quotes(AsOf(tape(), hours(), begin), instrument("AAPL")).until(at("2026-11-20 15:59"))
    on_tape = iter([[tick.value, float(in_units(tick.size, told.library))] for tick in ticks if tick.name == "last"])
    assert all(trade in on_tape for trade in told.answer["trades"][1:])


def is_time(told: Told) -> None:
    assert 0 <= told.answer - int(FRIDAY_NOON) < 4 * 3600


def is_empty(told: Told) -> None:
    assert told.answer == {"positions": 0, "orders": 0, "fills": 0, "values": 0}


def is_in_use(told: Told) -> None:
    assert told.answer == [326]


# The table


@dataclass(frozen=True)
class Row:
    """A conversation, and what must be true of it; `subscribed` says what the account of the gateway may see."""

    ask: str
    arguments: dict[str, Any]
    holds: Callable[[Told], None]
    subscribed: bool = True


def history(size: str, duration: str, end: str = "20261119-21:00:00", **other: Any) -> dict[str, Any]:
    asked = {"contract": AAPL, "what": "TRADES", "rth": True, "format": 2}
    return {**asked, "size": size, "duration": duration, "end": end, **other}


FROM_OPEN = ("2026-11-19 09:30", "2026-11-19 16:00")
ROWS = {
    "handshake": Row("handshake", {}, is_handshake),
    "contract details": Row("details", {"contract": AAPL}, is_apple),
    "details of an index": Row("details", {"contract": INDEX}, is_volatility),
    "ambiguous details": Row("details", {"contract": ROYAL}, are_two_listings),
    "unknown contract": Row("details", {"contract": contract("NOPE")}, is_refused(200, "No security definition")),
    "matching symbols": Row("matching", {"pattern": "RY"}, are_samples),
    "5 secs": Row("history", history("5 secs", "1800 S"), are_bars("AAPL", 5, "2026-11-19 15:30", FROM_OPEN[1])),
    "1 min": Row("history", history("1 min", "1 D"), are_bars("AAPL", 60, *FROM_OPEN)),
    "1 min as texts": Row("history", history("1 min", "1 D", format=1), are_bars("AAPL", 60, *FROM_OPEN)),
    "15 mins": Row("history", history("15 mins", "1 D"), are_bars("AAPL", 900, *FROM_OPEN)),
    "1 hour": Row("history", history("1 hour", "2 D"), are_bars("AAPL", 3600, "2026-11-18 09:30", FROM_OPEN[1])),
    "1 hour as texts": Row("history", history("1 hour", "1 D", format=1), are_bars("AAPL", 3600, *FROM_OPEN)),
    "4 hours": Row("history", history("4 hours", "1 W"), are_bars("AAPL", 14_400, "2026-11-12 16:00", FROM_OPEN[1])),
    "1 day": Row("history", history("1 day", "5 D"), are_bars("AAPL", DAY, "2026-11-13", "2026-11-20")),
    "1 day of an index": Row(
        "history", history("1 day", "5 D", contract=INDEX), are_bars("VIX", DAY, "2026-11-13", "2026-11-20")
    ),
    "bids": Row("history", history("1 min", "1 D", what="BID"), are_quotes),
    "ambiguous history": Row(
        "history", history("1 day", "5 D", contract=ROYAL), is_refused(200, "specified for RY is ambiguous.")
    ),
    "no data": Row(
        "history",
        history("1 day", "1 D", "19900101-00:00:00"),
        is_refused(162, "HMDS query returned no data: AAPL@SMART"),
    ),
    "bad bar size": Row("history", history("1 mins", "1 D"), is_refused(321, "Legal ones are: 1 secs, 5 secs")),
    "kept up to date, 5 secs": Row("kept_up", history("5 secs", "300 S", "", count=4), stay_up_to_date(5)),
    "kept up to date, 1 min": Row("kept_up", history("1 min", "600 S", "", count=30), stay_up_to_date(60)),
    "schedule": Row("schedule", {"contract": AAPL, "days": 3, "end": "20261120-00:00:00"}, is_schedule),
    "head timestamp": Row("head", {"contract": AAPL}, is_head),
    "real-time bars": Row("live_bars", {"contract": AAPL, "count": 5}, are_live_bars),
    "ticks": Row("ticks", {"contract": APPLE_BY_ID, "count": 12}, are_ticks),
    "snapshot": Row("snapshot", {"contract": APPLE_BY_ID}, is_snapshot),
    "delayed ticks": Row(
        "ticks", {"contract": APPLE_BY_ID, "count": 4, "kind": 3}, are_delayed_ticks, subscribed=False
    ),
    "current time": Row("current_time", {}, is_time),
    "account": Row("account", {}, is_empty),
    "order": Row("order", {"contract": APPLE_BY_ID}, is_refused(321, "currently in Read-Only mode")),
    "client id in use": Row("same_id", {}, is_in_use),
}


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_every_library_is_told_what_the_tape_has(library: str, row: str) -> None:
    speaks = LIBRARIES[library]
    _require(speaks)

    told = conversations(speaks, subscribed=ROWS[row].subscribed)[row]

    answer = None if str(told["answer"]).startswith("raised") and told["errors"] else told["answer"]
    errors = [(code, text) for code, text in told["errors"] if code not in FARMS]
    assert not str(answer).startswith("raised"), answer
    ROWS[row].holds(Told(answer, errors, speaks))


def _require(library: Library) -> None:
    if library.python.exists():
        return
    reason = f"{library.name} has no environment: `make test-clients` builds it"
    if os.environ.get("WORKBENCH_REQUIRE_CLIENTS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@cache
def conversations(library: Library, *, subscribed: bool) -> dict[str, Any]:
    """Hold all conversations of a library with one gateway; return what it printed."""
    steps = [
        {"name": name, "ask": row.ask, **row.arguments} for name, row in ROWS.items() if row.subscribed == subscribed
    ]
    with running(tape(), GatewayClock(FRIDAY_NOON, SPEED), behaviour=Behaviour(market_data=subscribed)) as gateway:
        done = subprocess.run(
            [library.python, HERE / "clients" / library.script, library.module, gateway.host, str(gateway.port)],
            input=json.dumps(steps),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))

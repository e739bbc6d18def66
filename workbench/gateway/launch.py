"""From what a user writes to what a gateway plays, and from when."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import GatewayError
from workbench.gateway.hours import NEW_YORK
from workbench.gateway.tape import Tape

if TYPE_CHECKING:
    from workbench.gateway.rulebook import Rulebook

log = logging.getLogger(__name__)

SIMULATED = "simulated"
MARKET_DATA_LINES = 100


def open_tape(name: str, *, seed: int, start: float | None, splits: Path | None = None, revise: float = 0.0) -> Tape:
    """Return the tape of that name: the simulated market, or the replay of a folder.

    With `splits`, a CSV, its past is adjusted from each ex-date on; with `revise`, a share, its history differs
    slightly from what is streamed.
    """
    tape = _opened(name, seed=seed, start=start)
    if splits is not None:
        from workbench.gateway.splits import SplitTape, read_splits

        tape = SplitTape(tape, read_splits(splits), continuous=name == SIMULATED)
        if tape.unknown:
            log.warning("%s: the tape %s has no %s; their splits change nothing", splits, name, ", ".join(tape.unknown))
    if revise:
        from workbench.gateway.revise import RevisedTape

        tape = RevisedTape(tape, revise, seed=seed)
    return tape


def _opened(name: str, *, seed: int, start: float | None) -> Tape:
    if name == SIMULATED:
        from workbench.gateway.simulated import SimulatedTape

        begin = int(datetime.now(NEW_YORK).timestamp() if start is None else start)
        return SimulatedTape(seed, start=begin)
    from workbench.gateway.replay import ReplayTape

    tape = ReplayTape(Path(name))
    tape.examine()
    return tape


def open_rules(
    name: str, clock: str, *, lines: int = MARKET_DATA_LINES
) -> tuple[Rulebook | None, Callable[[], float] | None]:
    """Return IB's limits or none of them, and the clock of their windows; None is the gateway's.

    Raises GatewayError.
    """
    if name not in ("ib", "off") or clock not in ("gateway", "real"):
        raise GatewayError(f"rules {name!r} by the clock {clock!r}: write ib or off, and gateway or real")
    if lines < 1:
        raise GatewayError(f"an account of {lines} market data lines cannot be; IB's least is {MARKET_DATA_LINES}")
    if name == "off":
        return None, None
    from workbench.gateway.rulebook import Rulebook
    from workbench.gateway.rules import rules_for

    return Rulebook(rules_for(lines)), time.monotonic if clock == "real" else None


def parse_start(text: str | None) -> float | None:
    """Return exchange time such as `2026-11-20T09:25` in epoch seconds; None stays None.

    >>> parse_start("2026-11-20T09:25")
    1795184700.0
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise GatewayError(f"start {text!r} is no time; write exchange time such as 2026-11-20T09:25") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=NEW_YORK)).timestamp()


def format_exchange_time(moment: float) -> str:
    """Return epoch seconds in exchange time, for people.

    >>> format_exchange_time(1795184700.0)
    'Fri 2026-11-20 09:25:00 New York'
    """
    return f"{datetime.fromtimestamp(moment, NEW_YORK):%a %Y-%m-%d %H:%M:%S} New York"

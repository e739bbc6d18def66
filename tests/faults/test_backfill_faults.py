"""Every fault of the gateway befalls a backfill: the store is in the end as if nothing had happened.

The real ib_insync talks to the real gateway, a process of its own. Where a fault cannot pass, for a contract that is
unknown or a permission that is missing, the report says so by its kind, and the other symbol is whole.

What nobody can detect: a number that was changed and still fits its bar, and IB's word that there are no data when
nothing else is wrong. The first is stored and the second covered; the last test states the second.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest

from workbench.errors import NoPermission, RequestRefused, UnknownContract, UnreadableAnswer, WorkbenchError
from workbench.gateway.faults import (
    Action,
    Bust,
    ClientIdStuck,
    Close,
    CompetingSession,
    ConnectivityLost,
    ConnectivityRestored,
    ContractsUnknown,
    Corrupt,
    Delay,
    Dribble,
    Drop,
    Duplicate,
    FarmBroken,
    FarmInactive,
    Fault,
    Garbage,
    LiveUpdatesFailed,
    NightlyReset,
    PortReset,
    Refuse,
    Reorder,
    Reset,
    Restart,
    ServerBroken,
    Silence,
    Split,
    Stall,
    Tell,
    Truncate,
    WeekendReset,
    When,
    WrongLength,
)
from workbench.gateway.faults.connectivity import REASONS
from workbench.gateway.process import GatewayProcess
from workbench.ib.backfill import BackfillReport, download_historical_universe
from workbench.ib.connection import IBDataManager
from workbench.ib.dial import IBConnectionConfig
from workbench.store.historical import HistoricalDataManager

SYMBOLS, TIMEFRAMES = ("AAPL", "MSFT"), ("1min", "1day")
SINCE, UNTIL = "2026-10-19", "2026-11-18"
SPEED = 60
OUTAGE_S = 30.0  # of the gateway's time: half a second
FOR_EVER = 1e9

Contents = dict[tuple[str, str], tuple[pd.DataFrame, str]]


@dataclass(frozen=True)
class Row:
    """Faults, and by symbol what the report says of them in the end."""

    faults: tuple[Fault, ...]
    fails: dict[str, type[WorkbenchError]] = field(default_factory=dict)

    @property
    def symbols(self) -> tuple[str, ...]:
        """What is fetched: one that fails, of which no other row knows, and one that does not."""
        return ("MSFT", *self.fails) if self.fails else SYMBOLS

    @property
    def moves(self) -> bool:
        """Whether the gateway is not where it was for the next row."""
        return any(isinstance(it.action, PortReset) for it in self.faults)


def at_answer(action: Action, nth: int = 2, **when: object) -> Row:
    return Row((Fault(When("historicalData", nth=nth, **when), action),))  # type: ignore[arg-type]


def at_request(action: Action, nth: int = 2, **when: object) -> Row:
    return Row((Fault(When("reqHistoricalData", nth=nth, **when), action),))  # type: ignore[arg-type]


def always(symbol: str, action: Action, error: type[WorkbenchError], message: str = "reqHistoricalData") -> Row:
    return Row((Fault(When(message, symbol=symbol, times=0), action),), {symbol: error})


BYTES: dict[str, Row] = {
    "dribble": at_answer(Dribble(every=0.0001)),
    "split": at_answer(Split(1000, every=0.01)),
    "truncate, honestly": at_answer(Truncate()),
    "truncate, and read on into the next": at_answer(Truncate(honest=False)),
    "garbage": at_answer(Garbage()),
    "garbage, other": at_answer(Garbage(size=7, seed=3)),
    "wrong length, too long": at_answer(WrongLength(by=1000)),
    "wrong length, far too long": at_answer(WrongLength(by=1 << 30)),
    "wrong length, too short": at_answer(WrongLength(by=-1000)),
    "stall, then on": at_request(Stall(seconds=20)),
    "stall for ever": at_request(Stall()),
    "close after an answer": at_answer(Close()),
    "close in an answer": at_answer(Close(keep=0.5)),
    "close at a request": at_request(Close()),
    "reset in an answer": at_answer(Reset(keep=0.99)),
    "reset at a request": at_request(Reset()),
    "reset again and again": at_request(Reset(), nth=1, times=4),
}
MESSAGES: dict[str, Row] = {
    "an answer lost": at_answer(Drop()),
    "a request lost": at_request(Drop()),
    "an answer twice": at_answer(Duplicate()),
    "a request twice": at_request(Duplicate()),
    "an answer late": at_answer(Delay(20)),
    "an answer later than its time-out": at_answer(Delay(600)),
    "answers swapped": at_answer(Reorder(within=60)),
    "requests swapped": at_request(Reorder(within=60)),
    "an empty price": at_answer(Corrupt(6)),
    "a price that is no number": at_answer(Corrupt(7, "12.x")),
    "a price against the logic of its bar": at_answer(Corrupt(7, "0.01")),
    "fewer bars announced than come": at_answer(Corrupt(4, "10")),
    "more bars announced than come": at_answer(Corrupt(4, "100000")),
    "another bar's start": at_answer(Corrupt(13, "1760000000")),
    "an answer to nobody": at_answer(Corrupt(1, "987654")),
    "an answer of no kind": at_answer(Corrupt(0, "999")),
    "a request that is invalid": always("CVX", Corrupt(16, "1 mins"), RequestRefused),
    "answers that stay broken": always("KO", Corrupt(6), UnreadableAnswer, "historicalData"),
    "pacing": at_request(Refuse("pacing")),
    "timed-out": at_request(Refuse("timed-out")),
    "other-address": at_request(Refuse("other-address")),
    "simultaneous": at_request(Refuse("simultaneous")),
    "competing": at_request(Refuse("competing")),
    "real-time-pacing": at_request(Refuse("real-time-pacing")),
    "no-permission": always("JPM", Refuse("no-permission"), NoPermission),
    "unknown": always("XOM", Refuse("unknown"), UnknownContract),
    "ambiguous": always("TSLA", Refuse("ambiguous"), UnknownContract),
    "not-subscribed": always("NVDA", Refuse("not-subscribed"), NoPermission),
    "real-time-permission": always("AMZN", Refuse("real-time-permission"), NoPermission),
    "no-subscription": always("META", Refuse("no-subscription"), NoPermission),
    "a code that nobody knows": always("GOOGL", Refuse(code=9999, text="of a newer TWS"), RequestRefused),
}
SESSION: dict[str, Row] = {
    "IB lost": at_request(ConnectivityLost(OUTAGE_S)),
    "IB lost, told every second": at_request(ConnectivityLost(OUTAGE_S, every=1)),
    "IB lost, data too": at_request(ConnectivityLost(OUTAGE_S, data="lost")),
    "IB back without having been lost": at_request(ConnectivityRestored()),
    "a notice that nobody knows": at_request(Tell(9998, "of a newer TWS")),
    "history's farm broken": at_request(FarmBroken("historical", OUTAGE_S)),
    "the contracts' farm broken": at_request(FarmBroken("secdef", OUTAGE_S)),
    "live data's farm broken": at_request(FarmBroken("market", OUTAGE_S)),
    "a farm asleep": at_request(FarmInactive()),
    "the server broken": at_request(ServerBroken(OUTAGE_S)),
    "updates ended": at_request(LiveUpdatesFailed()),
    "a bust": at_request(Bust()),
    "another port": at_request(PortReset()),
    "contracts unknown, and the farm told": Row(
        (
            Fault(When("reqHistoricalData", nth=2), FarmBroken("secdef", OUTAGE_S)),
            Fault(When("reqHistoricalData", nth=2), ContractsUnknown(OUTAGE_S)),
        )
    ),
    "contracts unknown": Row(
        (Fault(When("reqHistoricalData"), ContractsUnknown(FOR_EVER, symbols=("HD",))),), {"HD": UnknownContract}
    ),
    "no live data": at_request(Silence()),
    "a competing session": at_request(CompetingSession(OUTAGE_S)),
    "a restart": at_request(Restart(OUTAGE_S)),
    "a client id that stays in use": at_request(ClientIdStuck(FOR_EVER)),
    "the night": at_request(NightlyReset(OUTAGE_S)),
    "the weekend": at_request(WeekendReset(OUTAGE_S)),
}
TOGETHER: dict[str, Row] = {
    "a restart, then garbage in the handshake": Row(
        (
            Fault(When("reqHistoricalData", nth=2), Restart(OUTAGE_S)),
            Fault(When("handshake", after=1), Garbage()),
        )
    ),
    "a reset, and again in the handshake": Row(
        (
            Fault(When("reqHistoricalData", nth=2), Reset()),
            Fault(When("handshake"), Reset(keep=0.5)),
        )
    ),
    "one thing after the other": Row(
        (
            Fault(When("historicalData", nth=1), Corrupt(6)),
            Fault(When("reqHistoricalData", nth=2), ConnectivityLost(OUTAGE_S)),
            Fault(When("reqHistoricalData", nth=6), Refuse("pacing")),
            Fault(When("historicalData", nth=4), Close(keep=0.5)),
            Fault(When("reqHistoricalData", nth=9), Restart(OUTAGE_S)),
        )
    ),
}
ROWS = BYTES | MESSAGES | SESSION | TOGETHER


@contextmanager
def gateway() -> Iterator[GatewayProcess]:
    process = GatewayProcess(["--start", "2026-11-19T03:00", "--speed", str(SPEED), "--control"])
    try:
        yield process
    finally:
        process.close()


def filled(
    process: GatewayProcess,
    folder: Path,
    faults: tuple[Fault, ...] = (),
    symbols: tuple[str, ...] = SYMBOLS,
    *,
    watchdog_s: float = 0.5,
) -> tuple[BackfillReport, Contents]:
    """Run a backfill that faults befall; return its report, and what is stored."""
    config = IBConnectionConfig(
        process.host,
        process.port,
        timeout=2.0,
        request_timeout_s=3.0,
        paced=False,
        patience_s=60.0,
        watchdog_s=watchdog_s,
    )
    control, store = process.control, HistoricalDataManager(folder)
    with IBDataManager(config) as ib:
        control.inject(*faults)
        report = download_historical_universe(ib, store, symbols, TIMEFRAMES, since=SINCE, until=UNTIL, progress=False)
    contents = {
        (symbol, timeframe): (store.load_bars(symbol, timeframe), str(list(store.coverage(symbol, timeframe))))
        for symbol in symbols
        for timeframe in TIMEFRAMES
    }
    return report, contents


@pytest.fixture(scope="module")
def shared() -> Iterator[GatewayProcess]:
    """A gateway for all faults that pass; what is left of one may as well befall the next row."""
    with gateway() as process:
        yield process


@pytest.fixture(scope="module")
def undisturbed(shared: GatewayProcess, tmp_path_factory: pytest.TempPathFactory) -> Contents:
    report, contents = filled(shared, tmp_path_factory.mktemp("undisturbed"))
    assert not report.failed
    assert [len(bars) for bars, _ in contents.values()] == [22 * 390, 22, 22 * 390, 22]
    return contents


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.ib.supervision.GRACE_S", 0.3)
    monkeypatch.setattr("workbench.ib.asking._PAUSE_S", 0.05)
    monkeypatch.setattr("workbench.ib.pacing.COOL_DOWN_S", 0.5)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_the_store_is_as_if_nothing_had_happened_after(
    row: Row, tmp_path: Path, shared: GatewayProcess, undisturbed: Contents
) -> None:
    with gateway() if row.moves else nullcontext(shared) as process:
        report, contents = filled(process, tmp_path, row.faults, row.symbols)

    assert {one.symbol: type(one.error) for one in report.failed} == row.fails
    for (symbol, timeframe), (bars, coverage) in contents.items():
        if symbol in row.fails:
            assert bars.empty  # nothing of it was believed
            assert coverage == "[]"
            continue
        whole, covered = undisturbed[symbol, timeframe]
        pd.testing.assert_frame_equal(bars, whole, check_exact=True)
        assert coverage == covered


def test_no_fault_and_no_reason_is_without_a_row() -> None:
    struck = [fault.action for row in ROWS.values() for fault in row.faults]

    assert {type(action) for action in struck} == set(get_args(Action))
    assert {action.reason for action in struck if isinstance(action, Refuse)} | {"no-data"} == set(REASONS)


def test_what_ib_denies_once_between_other_bars_is_asked_for_again_and_found(
    tmp_path: Path, undisturbed: Contents
) -> None:
    """With nothing else wrong there is no telling: but it lies after older bars, and IB must say it twice."""
    denied = Fault(When("reqHistoricalData", symbol="AAPL", containing="1 min"), Refuse("no-data"))
    with gateway() as process:
        # a busy machine shall not be taken for a dead gateway: what is denied then is not believed at all
        report, contents = filled(process, tmp_path, (denied,), watchdog_s=30.0)

    assert not report.failed
    assert {one.symbol: one.empty for one in report.series if one.timeframe == "1min"}["AAPL"] == 1
    for series in contents:
        pd.testing.assert_frame_equal(contents[series][0], undisturbed[series][0], check_exact=True)
        assert contents[series][1] == undisturbed[series][1]

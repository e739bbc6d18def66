"""Faults as data: what goes wrong, and when.

A script is a list of `Fault(when, action)`. It is written in Python or in a file:

    # workbench gateway --faults outage.toml
    [[fault]]                                   # the second answer with bars of AAPL breaks off in the middle
    when = { message = "historicalData", symbol = "AAPL", nth = 2 }
    action = { do = "truncate", keep = 0.5 }

    [[fault]]                                   # a minute after the start IB is lost for 20 s, and the bars stay away
    when = { after = 60 }
    action = { do = "connectivity-lost", seconds = 20, streams = "dead" }

    [[fault]]                                   # every request for bars of one symbol is refused
    when = { message = "reqHistoricalData", symbol = "MSFT", times = 0 }
    action = { do = "refuse", reason = "pacing" }

`when` names a time, a message, or a message from a time on (see `When`); without either it is at once. Times are
gateway time. `do` is one of these, with its arguments and their defaults:

    bytes
    dribble                 every = 0.001
    split                   size = 7, every = 0.0
    truncate                keep = 0.5, honest = true
    garbage                 size = 64, seed = 0
    wrong-length            by = 1000
    stall                   seconds = inf
    close                   keep = 1.0
    reset                   keep = 0.0

    messages
    drop
    duplicate               times = 1
    corrupt                 field, text = ""
    delay                   seconds = 1.0
    reorder                 within = 1.0
    refuse                  reason = "pacing", code = 0, text = ""
                            pacing, timed-out, no-data, other-address, no-permission, unknown, ambiguous,
                            simultaneous, not-subscribed, real-time-pacing, real-time-permission, no-subscription,
                            competing; or with any code and text: code = 354, text = "Requested market data is not
                            subscribed."; {symbol} in the text is the request's

    session
    connectivity-lost       seconds = 60.0, data = "maintained", streams = "alive", every = inf
                            1100, then 1102, or 1101 when data are "lost"; streams may be "dead"
    connectivity-restored   data = "maintained", streams = "alive"
                            1102 or 1101 alone
    tell                    code, text = ""
                            any code and text about no request (id -1): code = 2110, text = "Connectivity ..."
    farm-broken             farm = "market", seconds = 5.0, streams = "alive"
                            2103 and 2104; "historical" 2105 and 2106; "secdef" 2157 and 2158
    farm-inactive           farm = "historical", streams = "alive"
                            2107; "market" 2108
    server-broken           seconds = 30.0, streams = "alive"
                            2110
    live-updates-failed     symbols = []
                            10182
    bust                    symbols = []
                            10225
    port-reset              port = 0
                            1300
    contracts-unknown       seconds = 60.0, symbols = []
                            200 for valid contracts
    silence                 seconds = inf, symbols = []
                            live data stop, all else is well
    competing-session       seconds = 60.0, symbols = []
                            10197
    restart                 seconds = 60.0
                            connections are refused for so long
    client-id-stuck         seconds = 60.0
                            326 for so long after a reset
    nightly-reset           seconds = 5400.0
                            1100, 200 and 162 "Request Timed Out", 1102
    weekend-reset           seconds = 14400.0
                            the handshake works, requests time out

An action on a message befalls the message that met `when`, be it a request or an answer. Bytes are those that the
gateway sends: at a request, or at a time, they are the next message that the client is sent; stall, close and reset
are at once, or as soon as there is a client. A session's fault befalls all clients unless `when` names one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import time

from workbench.errors import GatewayError
from workbench.gateway.faults.outages import (
    Bust,
    ClientIdStuck,
    CompetingSession,
    ConnectivityLost,
    ConnectivityRestored,
    ContractsUnknown,
    FarmBroken,
    FarmInactive,
    LiveUpdatesFailed,
    NightlyReset,
    PortReset,
    Restart,
    ServerBroken,
    Silence,
    Tell,
    WeekendReset,
)
from workbench.gateway.faults.stream import (
    Close,
    Corrupt,
    Delay,
    Dribble,
    Drop,
    Duplicate,
    Garbage,
    Refuse,
    Reorder,
    Reset,
    Split,
    Stall,
    Truncate,
    WrongLength,
    require,
)
from workbench.gateway.messages import ANSWER_NAMES, REQUEST_NAMES

__all__ = [
    "Action", "Bust", "ClientIdStuck", "Close", "CompetingSession", "ConnectivityLost", "ConnectivityRestored",
    "ContractsUnknown", "Corrupt", "Delay", "Dribble", "Drop", "Duplicate", "FarmBroken", "FarmInactive", "Fault",
    "Garbage", "LiveUpdatesFailed", "NightlyReset", "OnBytes", "OnMessages", "OnSession", "PortReset", "Refuse",
    "Reorder", "Reset", "Restart", "ServerBroken", "Silence", "Split", "Stall", "Tell", "Truncate", "WeekendReset",
    "When", "WrongLength",
]  # fmt: skip

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True, slots=True)
class When:
    """The condition of a fault: a time, a message, or a message from a time on.

    `message` is a name of IB's API, of a request (`reqHistoricalData`) or of an answer (`realtimeBar`), `received` or
    `sent` for any, or `handshake`; `messages.py` has them all. It may be narrowed to a `symbol`, to a `client` id and
    to messages with a field that equals `containing`. The fault begins with the `nth` such message and befalls
    `times` of them, 0 meaning all.

    `after` is seconds from the start (or from the injection), `at` an instant in epoch seconds; a file may write
    exchange time, `"2026-11-20T10:00"`. `daily` is exchange time, `"00:15"`, perhaps on some `weekdays` only,
    `"Mon Fri"`; then `times` counts the days.
    """

    message: str = ""
    symbol: str = ""
    client: int | None = None
    containing: str = ""
    nth: int = 1
    times: int = 1
    after: float | None = None
    at: float | None = None
    daily: str = ""
    weekdays: str = ""

    def __post_init__(self) -> None:
        known = ("", *REQUEST_NAMES, *ANSWER_NAMES)
        require(self.message in known, f"message {self.message!r} is unknown; for example reqHistoricalData or sent")
        require(self.nth >= 1, f"nth is {self.nth}; the first message is 1")
        require(self.times >= 0, f"times is {self.times}; 0 means always")
        require(self.after is None or 0 <= self.after < math.inf, f"after is {self.after}; give seconds from the start")
        require(self.at is None or 0 <= self.at < math.inf, f"at is {self.at}; give exchange time or epoch seconds")
        times = [it for it in (self.after, self.at, self.daily or None) if it is not None]
        require(len(times) <= 1, "after, at and daily exclude each other")
        require(not (self.daily and self.message), "daily goes without a message")
        require(bool(self.message) or not (self.symbol or self.containing), "symbol and containing need a message")
        unknown = set(self.weekdays.split()) - set(WEEKDAYS)
        require(not unknown, f"weekdays {self.weekdays!r} are not among {' '.join(WEEKDAYS)}")
        if self.daily:
            _time_of_day(self.daily)

    @property
    def is_request(self) -> bool:
        """Whether the condition is a message that the gateway receives."""
        return self.message in REQUEST_NAMES


def _time_of_day(text: str) -> time:
    try:
        return time.fromisoformat(text)
    except ValueError as error:
        raise GatewayError(f"daily {text!r} is no time of day; write exchange time such as 00:15") from error


OnBytes = Dribble | Split | Truncate | Garbage | WrongLength | Stall | Close | Reset
OnMessages = Drop | Duplicate | Corrupt | Delay | Reorder | Refuse
OnSession = (
    ConnectivityLost
    | ConnectivityRestored
    | Tell
    | FarmBroken
    | FarmInactive
    | ServerBroken
    | LiveUpdatesFailed
    | Bust
    | PortReset
    | ContractsUnknown
    | Silence
    | CompetingSession
    | Restart
    | ClientIdStuck
    | NightlyReset
    | WeekendReset
)
Action = OnBytes | OnMessages | OnSession


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    when: When
    action: Action

    def __post_init__(self) -> None:
        if isinstance(self.action, Refuse):
            require(self.when.is_request, "refuse needs a request as its message, for example reqHistoricalData")
        if isinstance(self.action, OnSession):
            self.action.episode()  # a length of time that is none is refused here, not when it strikes

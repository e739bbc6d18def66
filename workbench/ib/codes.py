"""IB's message codes explained: what each means, why it comes, what to do, and how the workbench reacts. Pure.

One table. Codes that stand for many things (162, 322, 420 and others) have a row for each text that is known, found by
a fragment of it, and last a row for any other text. What stands between `request.-'` and `'` in IB's texts is a class
name that changes with every build of TWS; no fragment looks there, and none at what TWS translates.

Sources: IB's own list of message codes, its notes on pacing and market data, and what users of real gateways reported.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from workbench.errors import (
    ConnectionFailed,
    Disconnected,
    IBError,
    NoPermission,
    PacingViolation,
    RequestRefused,
    RequestTimeout,
    Unavailable,
    UnknownContract,
)


class Reaction(Enum):
    """What is done when IB tells a code, in words for people."""

    EMPTY = "taken as an answer: IB has nothing there"
    PERMANENT = "final: the same request would fail again, so it is not repeated"
    RETRY = "may pass: the request may be repeated"
    COOL_DOWN = "nothing is asked for a while, then the same request is repeated"
    FEWER = "fewer requests at the same time, then the same request is repeated"
    STOP_ADDING = "no further subscription is added until one is given up"
    WAIT = "requests wait until IB's side is well again; nothing learned meanwhile is taken as permanent"
    RESUME = "what waited goes on; a live stream that stays silent is to be requested again"
    RESUBSCRIBE = "the stream is dead: cancel it, request it again, fill the hole from history"
    RECONNECT = "the connection is made anew, and what was under way is repeated"
    NEXT_CLIENT_ID = "the next client id is tried"
    MARKED = "the data that come are kept, but as delayed or incomplete; never as live"
    INFORM = "nothing: it is a piece of information, and data keep coming"
    OUR_BUG = "a mistake of the workbench: please report it with the whole message"


@dataclass(frozen=True, slots=True)
class Explanation:
    """One row of the table: a code, and where it stands for many things, the fragments of which one tells this one.

    `cause` and `next_step` are sentences for the user. `error` is what is raised for a request that is told the code;
    None where a request goes on.
    """

    code: int
    name: str
    meaning: str
    cause: str
    next_step: str
    reaction: Reaction
    error: type[IBError] | None = None
    fragments: tuple[str, ...] = ()

    def fits(self, text: str) -> bool:
        """Return whether it explains the code when it comes with this text."""
        lowered = text.lower()
        return not self.fragments or any(fragment in lowered for fragment in self.fragments)


R = Reaction
_SUBSCRIBE = (
    "Subscribe to the exchange's data in IB's Client Portal (Settings, Market Data Subscriptions), log in to TWS "
    "again, or leave the symbol out."
)
_UNSUBSCRIBED = "The account has no subscription to these data, or one that does not hold for the API."
_LOGGED_IN_ELSEWHERE = "The same user is logged in to IB elsewhere (another TWS, the phone, the web), and has the data."
_LOG_OUT = "Log out there, or use a second user name for the workbench; data come back within a minute or so."
_REPORT = "Report it with the whole message; a newer version of the workbench may have mended it."
_AGAIN = "Repeat it: it gets another number. If that fails too, report it with the whole message."
_PACED = (
    "More was asked of IB's history than it allows: of bars up to 30 seconds 60 requests in ten minutes, six of one "
    "contract in two seconds, or the same one twice in 15 seconds."
)
_WAIT_A_MINUTE = "Wait a minute, then repeat it; end other programs that fetch history through the same account."
_NOT_EXPECTED = "Nothing needs doing unless bars stay away; then restart TWS or IB Gateway."
_AT_IB = "IB's servers, or the way to them, are away: a nightly reset, the weekend's, or the internet connection."
_LOOK_AT_TWS = (
    "Wait. If it lasts, look at the connection lights of TWS, at this machine's internet, and at IB's system status."
)


def _paced(code: int) -> Explanation:
    return Explanation(
        code, "pacing violation", "IB's limits on requests were exceeded.", _PACED, _WAIT_A_MINUTE,
        R.COOL_DOWN, PacingViolation, ("pacing violation",),
    )  # fmt: skip


def _unpermitted(code: int) -> Explanation:
    return Explanation(
        code, "no market data permission", "The account may not see these data.", _UNSUBSCRIBED, _SUBSCRIBE,
        R.PERMANENT, NoPermission,
        ("no market data permissions", "requires additional subscription", "not subscribed"),
    )  # fmt: skip


def _elsewhere(code: int) -> Explanation:
    return Explanation(
        code, "logged in elsewhere", "Another login of the same user holds the market data.", _LOGGED_IN_ELSEWHERE,
        _LOG_OUT, R.WAIT, Unavailable, ("connected from a different ip address",),
    )  # fmt: skip


ROWS: tuple[Explanation, ...] = (
    Explanation(
        100, "too many messages a second", "The gateway was sent more messages in a second than it takes.",
        "TWS takes half as many messages a second as the account has market data lines: 50 for the usual 100.",
        "Wait some seconds and repeat it; let other programs on this TWS ask for less, for a third time ends the "
        "connection.",
        R.COOL_DOWN, PacingViolation,
    ),
    Explanation(
        101, "no market data line is free", "As many symbols are followed live as the account may follow.",
        "Market data lines, 100 unless more are paid for, are shared by the watchlists of TWS and all API programs.",
        "Close watchlists and charts in TWS, follow fewer symbols, or buy a booster pack.",
        R.STOP_ADDING, Unavailable,
    ),
    Explanation(
        102, "duplicate request id", "The id of a request is in use already.",
        "Two requests of one connection had the same number.", _AGAIN, R.RETRY, Unavailable,
    ),
    _paced(162),
    Explanation(
        162, "no data", "IB has no bars in what was asked for.",
        "There was no trading then, or it lies before IB's history of the contract.",
        "Nothing needs doing. `workbench doctor` shows how far back IB's history of a symbol reaches.",
        R.EMPTY, None, ("returned no data",),
    ),
    Explanation(
        162, "query cancelled", "A request for history was cancelled.",
        "The workbench itself gave it up, as after Ctrl-C or a time-out.", "Nothing needs doing; ask again if wanted.",
        R.INFORM, Unavailable, ("query cancelled",),
    ),
    _unpermitted(162),
    _elsewhere(162),
    Explanation(
        162, "IB timed out", "IB's servers did not answer the gateway in time.",
        "Too much was asked for at once, or IB's servers are busy or in their reset.",
        "Repeat it later, or ask for a shorter span.", R.RETRY, RequestTimeout, ("timed out",),
    ),
    Explanation(
        162, "no such prices", "The contract has no prices of this kind.",
        "An index has no market of its own: no bid, no ask, no midpoint.", "Ask for TRADES.",
        R.PERMANENT, RequestRefused, ("no historical market data for",),
    ),
    Explanation(
        162, "exchange without history", "IB has no combined history of this contract.",
        "The exchange SMART does not stand for history of this contract.",
        "Name the exchange that lists it: workbench universe add SYMBOL --primary-exchange NYSE.",
        R.PERMANENT, RequestRefused, ("queries are not supported",),
    ),
    Explanation(
        162, "invalid bar size and duration", "This bar size does not go with this duration.",
        "IB's table of durations and bar sizes does not have the pair.",
        "Ask for a shorter duration or longer bars. If it came of a backfill, report it.",
        R.OUR_BUG, RequestRefused, ("invalid step",),
    ),
    Explanation(
        162, "duration too long", "The duration is longer than IB gives at once.",
        "IB's table of durations and bar sizes does not have the pair.",
        "Ask for a shorter duration or longer bars. If it came of a backfill, report it.",
        R.OUR_BUG, RequestRefused, ("time length exceed max",),
    ),
    Explanation(
        162, "history service error", "IB's history service refused the request.",
        "Its text says why; it may be in the language of TWS.",
        "Repeat it once. If the text is not English, set TWS to show API errors in English, and look again.",
        R.RETRY, Unavailable,
    ),
    Explanation(
        165, "history message", "IB's history or scanner service reports on a query that goes on.",
        "It is about the progress of a query, or a scan that has no more matches.", "Nothing needs doing.", R.INFORM,
    ),
    Explanation(
        166, "expired contract", "The contract has expired, and IB keeps no such history of it.",
        "Futures keep two years of history after their end, options none.", "Leave the symbol out of the universe.",
        R.PERMANENT, UnknownContract,
    ),
    Explanation(
        200, "ambiguous contract", "More than one contract fits the symbol.",
        "The symbol is listed on several exchanges, and none was named as the primary one.",
        "Name its primary exchange (NASDAQ, NYSE, ARCA …): workbench universe add SYMBOL --primary-exchange NYSE.",
        R.PERMANENT, UnknownContract, ("is ambiguous",),
    ),
    Explanation(
        200, "unknown contract", "IB knows no contract like that.",
        "The symbol, its kind or its exchange is not as IB has it, or it is no longer listed. While IB's servers are "
        "reset, valid contracts are unknown too.",
        "Check the symbol, its kind and its primary exchange (workbench universe list); at night or on a weekend, try "
        "again later.",
        R.PERMANENT, UnknownContract,
    ),
    Explanation(
        300, "no such request", "What was cancelled is not there.",
        "A live request had ended by itself, or had been refused, when it was cancelled.", "Nothing needs doing.",
        R.INFORM, Unavailable,
    ),
    Explanation(
        309, "too many order books", "As many order books are open as the account may have.",
        "Market depth is limited to three at once for most accounts; bars need none.",
        "Close an order book in TWS or in another program.", R.PERMANENT, RequestRefused,
    ),
    Explanation(
        320, "request cannot be read", "The gateway could not read a field of a request.",
        "A field had a value of the wrong kind, or the client is too old or too new for this gateway.", _REPORT,
        R.OUR_BUG, RequestRefused,
    ),
    Explanation(
        321, "read-only API", "What was asked for is closed to a read-only session.",
        "TWS keeps orders from its API when Read-Only API is ticked, which is how the workbench wants it.",
        "Leave ib.readonly at true: the workbench places no orders and needs none.",
        R.PERMANENT, RequestRefused, ("read-only mode",),
    ),
    Explanation(
        321, "exchange missing", "The request names no exchange.", "The symbol's line in the universe has none.",
        "Set its exchange by workbench universe add: SMART for stocks and ETFs, CBOE for VIX and SPX.",
        R.PERMANENT, RequestRefused, ("please enter exchange",),
    ),
    Explanation(
        321, "request not valid", "The gateway found a field of the request invalid.",
        "Its text says which; this request will never be served as it is.",
        "Change what the text names. If it came of a backfill, report it.", R.PERMANENT, RequestRefused,
    ),
    Explanation(
        322, "too many requests at once", "More requests for history are open at once than IB allows.",
        "IB serves 50 at once to a connection, streams that are kept up to date included.",
        "Repeat it; end other programs that fetch history over the same connection.",
        R.FEWER, PacingViolation, ("simultaneous api historical data requests",),
    ),
    Explanation(
        322, "duplicate request id", "The id of a request for history is in use already.",
        "Two requests of one connection had the same number.", _AGAIN,
        R.RETRY, Unavailable, ("duplicate ticker id",),
    ),
    Explanation(
        322, "request not processed", "The gateway failed at the request.", "Its text says why.",
        "Repeat it once; if it fails again, restart TWS or IB Gateway.", R.RETRY, Unavailable,
    ),
    Explanation(
        326, "client id in use", "Another program is connected to this TWS under the same client id.",
        "Another notebook or program holds it; a killed one holds it for some seconds more.",
        "End the other program, or choose another: client_id under [ib] in workbench.toml.",
        R.NEXT_CLIENT_ID, ConnectionFailed,
    ),
    Explanation(
        354, "not subscribed", "The account may not see these data live.", _UNSUBSCRIBED, _SUBSCRIBE,
        R.PERMANENT, NoPermission,
    ),
    Explanation(
        366, "no such history request", "The request for history is not, or no longer, there.",
        "It had ended when it was cancelled; for bars that are kept up to date it means that the stream is dead.",
        "Nothing needs doing after a cancel; else request the bars again.", R.RETRY, Unavailable,
    ),
    _paced(420),
    _unpermitted(420),
    _elsewhere(420),
    Explanation(
        420, "live bars refused", "The request for live five-second bars was refused.", "Its text says why.",
        "Act on the text; `workbench doctor` tells which live data this account has.", R.PERMANENT, RequestRefused,
    ),
    Explanation(
        430, "no fundamentals", "IB has no fundamental data of this contract.",
        "Such data were asked for by another request than one for bars.", "Nothing needs doing: bars are not affected.",
        R.PERMANENT, RequestRefused,
    ),
    Explanation(
        501, "already connected", "The client is connected already.", "It was told to connect twice.",
        "Nothing needs doing.", R.INFORM, Unavailable,
    ),
    Explanation(
        502, "cannot connect", "Nobody takes the connection.",
        "TWS or IB Gateway does not run, its API is off, it listens on another port, or this machine is not trusted.",
        "Start it and log in; look at Configure, API, Settings: Enable ActiveX and Socket Clients, the socket port, "
        "the trusted IPs.",
        R.RECONNECT, ConnectionFailed,
    ),
    Explanation(
        503, "TWS out of date", "TWS or IB Gateway is too old for this client.",
        "It speaks an older protocol than 157, that of TWS 972.", "Update TWS or IB Gateway, then connect again.",
        R.PERMANENT, ConnectionFailed,
    ),
    Explanation(
        504, "not connected", "There is no connection.", "TWS or IB Gateway was closed, restarted, or hung up.",
        "Connect again; if that fails, look whether TWS or IB Gateway runs.", R.RECONNECT, Disconnected,
    ),
    Explanation(
        507, "broken connection", "A message broke off: the connection is dead.",
        "The gateway hung up within a message, often because the client id is in use.",
        "Connect again; if it happens again, choose another client_id under [ib] in workbench.toml.",
        R.RECONNECT, Disconnected,
    ),
    Explanation(
        1100, "IB is lost", "TWS has lost its connection to IB; the one to the workbench stands.", _AT_IB,
        _LOOK_AT_TWS, R.WAIT, Disconnected,
    ),
    Explanation(
        1101, "IB is back, data lost", "TWS has its connection to IB again, but all live requests are gone.",
        "The outage was too long, or IB's servers were reset.",
        "Nothing needs doing for history; live streams are to be requested again.", R.RESUBSCRIBE,
    ),
    Explanation(
        1102, "IB is back", "TWS has its connection to IB again, and kept the live requests.",
        "The outage is over.", "Nothing needs doing unless a symbol stays silent; then request it again.", R.RESUME,
    ),
    Explanation(
        1300, "port changed", "TWS has moved to another port and ends this connection.",
        "Somebody changed the socket port in the settings of TWS.",
        "Set the new port, which the text names, in workbench.toml under [ib], and connect again.",
        R.RECONNECT, Disconnected,
    ),
    Explanation(
        2103, "market data farm lost", "Live data stop: TWS has lost the servers that send them.", _AT_IB,
        _LOOK_AT_TWS, R.WAIT,
    ),
    Explanation(
        2104, "market data farm well", "The servers of live data are connected.", "TWS tells so at every login.",
        "Nothing needs doing.", R.RESUME,
    ),
    Explanation(
        2105, "history farm lost", "History stops: TWS has lost the servers that send it.", _AT_IB,
        _LOOK_AT_TWS, R.WAIT,
    ),
    Explanation(
        2106, "history farm well", "The servers of history are connected.", "TWS tells so at every login.",
        "Nothing needs doing.", R.RESUME,
    ),
    Explanation(
        2107, "history farm asleep", "The servers of history are connected when they are needed.",
        "Nobody has asked for history for a while.", "Nothing needs doing: the next request wakes them.", R.INFORM,
    ),
    Explanation(
        2108, "market data farm asleep", "The servers of live data are connected when they are needed.",
        "Nobody has asked for live data for a while.", "Nothing needs doing: the next request wakes them.", R.INFORM,
    ),
    Explanation(
        2110, "IB is lost, comes back by itself", "TWS has lost its server and is connecting again.", _AT_IB,
        _LOOK_AT_TWS, R.WAIT,
    ),
    Explanation(
        2119, "market data farm connecting", "TWS is connecting to the servers of live data.",
        "It has just started, or the farm was asleep.", _NOT_EXPECTED, R.INFORM,
    ),
    Explanation(
        2157, "contract farm lost", "Contracts cannot be looked up: TWS has lost the servers that know them.", _AT_IB,
        _LOOK_AT_TWS, R.WAIT,
    ),
    Explanation(
        2158, "contract farm well", "The servers that know the contracts are connected.",
        "TWS tells so at every login.", "Nothing needs doing.", R.RESUME,
    ),
    Explanation(
        2174, "time without zone", "A request had a time without its zone; TWS took its own.",
        "Only a program that writes local times does so; the workbench sends UTC.",
        "Do not trust the answer's end. " + _REPORT, R.OUR_BUG,
    ),
    Explanation(
        2188, "newest part delayed", "The newest bars are left out or late; the others come.",
        "The account has no live data of this exchange.",
        "Nothing needs doing for history. For the newest bars: " + _SUBSCRIBE, R.MARKED,
    ),
    *(
        Explanation(
            code, "API subscription missing", "The account may not see these data over the API.", _UNSUBSCRIBED,
            _SUBSCRIBE, R.PERMANENT, NoPermission,
        )
        for code in (10089, 10091)
    ),
    Explanation(
        10090, "partly subscribed", "Some of the data asked for come, others do not.",
        "The account is subscribed to some of the exchanges that the request is about.", _SUBSCRIBE,
        R.MARKED, NoPermission,
    ),
    Explanation(
        10167, "delayed data", "Data come 15 to 20 minutes late.", _UNSUBSCRIBED, _SUBSCRIBE, R.MARKED,
    ),
    *(
        Explanation(
            code, "neither live nor delayed", "No live data, and delayed ones were not asked for.", _UNSUBSCRIBED,
            _SUBSCRIBE, R.PERMANENT, NoPermission,
        )
        for code in (10168, 10186)
    ),
    Explanation(
        10182, "updates ended", "Bars that were kept up to date are so no longer.", "TWS lost the servers of history.",
        "Wait until they are back, then request the bars again.", R.RESUBSCRIBE, Disconnected,
    ),
    *(
        row
        for code in (10187, 10189)
        for row in (
            _paced(code),
            _unpermitted(code),
            _elsewhere(code),
            Explanation(
                code, "ticks refused", "The request for ticks was refused.", "Its text says why.",
                "Act on the text; `workbench doctor` tells which live data this account has.",
                R.PERMANENT, RequestRefused,
            ),
        )
    ),
    Explanation(
        10197, "competing session", "Another login of the same user holds the live data.", _LOGGED_IN_ELSEWHERE,
        _LOG_OUT, R.WAIT, Unavailable,
    ),
    Explanation(
        10225, "bust", "A trade was annulled, and the live bars of its symbol were ended.",
        "The exchange took back a trade.", "Request the live bars again, and fetch the bars around it again.",
        R.RESUBSCRIBE, Unavailable,
    ),
    Explanation(
        10314, "end of the request not valid", "The gateway could not read the end of a request.",
        "A time was written in another form than IB's.", _REPORT, R.OUR_BUG, RequestRefused,
    ),
    Explanation(
        386, "duplicate request id", "The id of a request is in use already.",
        "Two requests of one connection had the same number.", _AGAIN, R.RETRY, Unavailable,
    ),
)  # fmt: skip
"""All rows; among those of one code the first that fits the text holds."""


def rows_of(code: int) -> list[Explanation]:
    """Return all that a code may stand for."""
    return [row for row in ROWS if row.code == code]


def explain(code: int, text: str = "") -> Explanation | None:
    """Return what a code means when it comes with this text; None where neither is known.

    A code that is not in the table is told by its text where that is of the kinds that several codes have.

    >>> explain(162, "Historical Market Data Service error message:invalid step: 1").name
    'invalid bar size and duration'
    """
    rows = rows_of(code) or [replace(row, code=code) for row in rows_of(_LIVE_BARS) if row.fragments]
    return next((row for row in rows if row.fits(text)), None)


_LIVE_BARS = 420


def describe(code: int, text: str) -> str:
    """Return IB's text with its cause and next step, for an error or a log.

    >>> describe(504, "Not connected")
    'Not connected. TWS or IB Gateway was closed, ... Connect again; if that fails, ...'
    """
    said, row = text.strip().rstrip("."), explain(code, text)
    if row is None:
        return f"{said}. The workbench has no explanation of this code. {WHERE_TO_LOOK}"
    return f"{said}. {row.cause} {row.next_step}"


WHERE_TO_LOOK = (
    'Look for it in IB\'s list of message codes (search for "TWS API message codes"), and in the log of TWS or IB '
    "Gateway (Help, Troubleshooting, Diagnostics)."
)

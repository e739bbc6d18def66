"""Why a request is refused: IB's codes with IB's words.

The texts are those that real gateways were seen to send. Where none is on record the comment says so.
The two letters after `request.-` are a class name of one build of TWS and change with every build: nobody may
match on them.
"""

from __future__ import annotations

from dataclasses import dataclass

HMDS = "Historical Market Data Service error message:"
VALIDATING = "Error validating request.-'bK' : cause - "

_SUBSCRIBE = (
    "Requested market data requires additional subscription for API. See link in 'Market Data Connections' dialog "
    "for more details."
)

NO_REQUEST = -1
"""The request id of a notice that belongs to no request."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What message 4 tells: a code and its text."""

    code: int
    text: str


class Refused(Exception):
    """A request that IB answers by a notice instead of data."""

    def __init__(self, notice: Notice) -> None:
        self.notice = notice
        super().__init__(f"{notice.code}: {notice.text}")


def invalid(cause: str) -> Notice:
    """Return the error of a request that fails validation."""
    return Notice(321, VALIDATING + cause)


def historical(cause: str) -> Notice:
    """Return the error of the historical data service."""
    return Notice(162, HMDS + cause)


def no_data(symbol: str, exchange: str, what_to_show: str) -> Notice:
    """Return the answer "there are no bars".

    >>> no_data("DELL", "SMART", "TRADES").text
    'Historical Market Data Service error message:HMDS query returned no data: DELL@SMART Trades'
    """
    return historical(f"HMDS query returned no data: {symbol}@{exchange} {_kind(what_to_show)}")


def no_market(symbol: str, exchange: str, what_to_show: str, size: int) -> Notice:
    """Return the answer of an index to what only a market has.

    >>> no_market("SPX", "CBOE", "MIDPOINT", 60).text
    'Historical Market Data Service error message:No historical market data for SPX/IND@CBOE MidPoint 60'
    """
    return historical(f"No historical market data for {symbol}/IND@{exchange} {_kind(what_to_show)} {size}")


def _kind(what_to_show: str) -> str:
    return {"MIDPOINT": "MidPoint"}.get(what_to_show, what_to_show.capitalize())


def no_permission(exchange: str, sec_type: str) -> Notice:
    """Return the answer to history that the account may not have.

    >>> no_permission("NYSE", "STK").text[:88]
    'Historical Market Data Service error message:No market data permissions for NYSE STK. Re'
    """
    return historical(f"No market data permissions for {exchange} {sec_type}. {_SUBSCRIBE}")


def cancelled(req_id: int) -> Notice:
    """Return what ends a historical request that its client cancelled."""
    return historical(f"API historical data query cancelled: {req_id}")


def no_live_bars(symbol: str) -> Notice:
    """Return the answer to real-time bars of what the tape cannot stream."""
    return Notice(420, f"Invalid Real-time Query:{_unstreamed(symbol)}")


def no_live_market(symbol: str, what_to_show: str) -> Notice:
    """Return the answer of an index to live quotes; IB's text is on no record, the code is that of live bars."""
    return Notice(
        420, f"Invalid Real-time Query:No market for {symbol}/IND {_kind(what_to_show)}: an index is computed"
    )


def no_live_ticks(symbol: str) -> Notice:
    """Return the answer to ticks of what the tape cannot stream."""
    return Notice(354, f"Requested market data is not subscribed. {_unstreamed(symbol)}")


def _unstreamed(symbol: str) -> str:
    return f"The tape has no five-second bars of {symbol}; give it {symbol}/5sec.parquet to stream"


WHAT_TO_SHOW_INVALID = invalid("What to show field is missing or incorrect.")
UNKNOWN_CONTRACT = Notice(200, "No security definition has been found for the request")
READ_ONLY = invalid("The API interface is currently in Read-Only mode.")
ID_IN_USE = Notice(326, "Unable to connect as the client id is already in use. Retry with a unique client id.")
DUPLICATE_ID = Notice(102, "Duplicate ticker ID.")
INVALID_END = Notice(
    10314,
    "End Date/Time: The date, time, or time-zone entered is invalid. The correct format is yyyymmdd hh:mm:ss "
    "xx/xxxx where yyyymmdd and xx/xxxx are optional. E.g.: 20031126 15:59:00 US/Eastern  Note that there is a "
    "space between the date and time, and between the time and time-zone.  If no date is specified, current date "
    "is assumed. If no time-zone is specified, local time-zone is assumed(deprecated).  You can also provide "
    "yyyymmddd-hh:mm:ss time is in UTC. Note that there is a dash between the date and time in UTC notation.",
)
IMPLIED_ZONE = Notice(
    2174,
    "Warning: You submitted request with date-time attributes without explicit time zone. Please switch to use "
    "yyyymmdd-hh:mm:ss in UTC or use instrument time zone, like US/Eastern. Implied time zone functionality will "
    "be removed in the next API release",
)
PACING = historical("Historical data request pacing violation")
NEW_LIVE_BARS_PACING = Notice(420, "Invalid Real-time Query:Historical data request pacing violation")
TOO_MANY_SIMULTANEOUS = Notice(322, "Error processing request:Only 50 simultaneous API historical data requests")
DUPLICATE_QUERY = Notice(
    322, "Error processing request.-'bK' : cause - Duplicate ticker ID for API historical data query"
)
TOO_MANY_TICKERS = Notice(101, "Max number of tickers has been reached.")
TOO_MANY_MESSAGES = Notice(100, "Max rate of messages per second has been exceeded.")
NO_TICKS = Notice(10089, _SUBSCRIBE)
NEWEST_LEFT_OUT = Notice(2188, "Up-to-the-second historical data requires additional subscription for the API.")
DELAYED_SHOWN = Notice(10167, "Requested market data is not subscribed. Displaying delayed market data.")
FARMS = (
    Notice(2104, "Market data farm connection is OK:usfarm"),
    Notice(2106, "HMDS data farm connection is OK:ushmds"),
    Notice(2158, "Sec-def data farm connection is OK:secdefnj"),
)

"""What IB tells while its own connections come and go: codes and words.

The texts are those that real gateways were seen to send, but for 1101 (by analogy with 1102), 1300, 2105, 2157 and
10182, of which only the codes are sure.
"""

from __future__ import annotations

from workbench.gateway.refusals import FARMS, Notice, historical

LOST = Notice(1100, "Connectivity between IBKR and Trader Workstation has been lost.")
RESTORED_LOST = Notice(1101, "Connectivity between IBKR and Trader Workstation has been restored - data lost.")
RESTORED = Notice(
    1102,
    "Connectivity between IBKR and Trader Workstation has been restored - data maintained. All data farms are "
    "connected: usfarm; ushmds; secdefnj.",
)
BROKEN = {
    "market": Notice(2103, "Market data farm connection is broken:usfarm"),
    "historical": Notice(2105, "HMDS data farm connection is broken:ushmds"),
    "secdef": Notice(2157, "Sec-def data farm connection is broken:secdefnj"),
}
OK = dict(zip(BROKEN, FARMS, strict=True))
INACTIVE = {
    "historical": Notice(2107, "HMDS data farm connection is inactive but should be available upon demand.ushmds"),
    "market": Notice(2108, "Market data farm connection is inactive but should be available upon demand.usfarm"),
}
SERVER_BROKEN = Notice(
    2110, "Connectivity between Trader Workstation and server is broken. It will be restored automatically."
)
NO_LIVE_UPDATES = Notice(10182, "Failed to request live updates (disconnected).")
COMPETING = Notice(10197, "No market data during competing live session")
BUST = Notice(
    10225,
    "Bust event occurred, current subscription is deactivated. Please resubscribe real-time bars immediately.",
)


def port_reset(port: int) -> Notice:
    """Return what is told when the gateway moves to another port; its words are not on record."""
    return Notice(
        1300,
        "TWS socket port has been reset and this connection is being dropped. Please reconnect on the new port - "
        f"{port}",
    )


_SUBSCRIBE = (
    "Requested market data requires additional subscription for API. See link in 'Market Data Connections' dialog "
    "for more details."
)
REASONS: dict[str, Notice] = {
    "pacing": historical("Historical data request pacing violation"),
    "timed-out": historical("Request Timed Out"),
    "no-data": historical("HMDS query returned no data: {symbol}@SMART Trades"),
    "other-address": historical("Trading TWS session is connected from a different IP address"),
    "no-permission": historical("No market data permissions for {symbol}. " + _SUBSCRIBE),
    "unknown": Notice(200, "No security definition has been found for the request"),
    "ambiguous": Notice(200, "The contract description specified for {symbol} is ambiguous."),
    "simultaneous": Notice(322, "Error processing request:Only 50 simultaneous API historical data requests"),
    "not-subscribed": Notice(354, "Requested market data is not subscribed."),
    "real-time-pacing": Notice(420, "Invalid Real-time Query:Historical data request pacing violation"),
    "real-time-permission": Notice(
        420, "Invalid Real-time Query:No market data permissions for {symbol}. " + _SUBSCRIBE
    ),
    "no-subscription": Notice(10089, _SUBSCRIBE),
    "competing": COMPETING,
}
"""Why a request may be refused on demand, by name; `{symbol}` is the request's."""


def because(reason: str, symbol: str) -> Notice:
    """Return the refusal of that name.

    >>> because("ambiguous", "KWEB")
    Notice(code=200, text='The contract description specified for KWEB is ambiguous.')
    """
    return about(REASONS[reason], symbol)


def about(notice: Notice, symbol: str) -> Notice:
    """Return a notice with the request's symbol in its place."""
    return Notice(notice.code, notice.text.replace("{symbol}", symbol))

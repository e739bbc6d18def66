"""What the answers of a gateway mean for its user: observations in, plain words and a remedy out. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import NamedTuple

from workbench.errors import IBError
from workbench.ib.codes import explain
from workbench.ib.doctor.probe import OLDEST_VERSION, Found, Probe
from workbench.market.sessions import EXCHANGE_ZONE, Session


class State(Enum):
    """What a check came to."""

    OK = "ok"
    UNKNOWN = "not known"
    LOOK = "look at this"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of a report. `answer` is what was found in a word, for whoever reads it back; empty when unknown."""

    name: str
    state: State
    found: str
    remedy: str = ""
    answer: str = ""


SHARES_IN_HISTORY = 175
"""The server version from which on history counts US stocks in shares."""

SETTINGS = "Configure, API, Settings"
_AWAY = (
    "Wait: IB resets its servers at night and on weekends. If it lasts, look at the connection lights of TWS, this "
    "machine's internet and IB's system status."
)
_SUBSCRIBE = "Subscribe to the exchange's data in IB's Client Portal (Settings, Market Data Subscriptions)."


PORTS = "TWS paper 7497, live 7496; IB Gateway paper 4002, live 4001"


def reach(where: str, probe: Probe) -> Check:
    """Say who listens at an address."""
    start = f"Start TWS or IB Gateway, log in, and enable its API ({SETTINGS}: Enable ActiveX and Socket Clients)."
    port = f"Compare host and port with what it shows there ({PORTS})."
    said = {
        Found.REFUSED: ("nobody listens", f"{start} {port}"),
        Found.UNREACHABLE: (
            "the machine does not answer",
            f"Check that it runs, its address, and the firewalls in between. {port}",
        ),
        Found.UNKNOWN_HOST: ("there is no machine of that name", "Correct ib.host in workbench.toml."),
        Found.SILENT: (
            "somebody accepts the connection and then says nothing",
            "Look at TWS or IB Gateway: a dialog may wait for your consent, or it is still logging in. If not, "
            f"restart it. {port}",
        ),
        Found.HUNG_UP: (
            "somebody accepts the connection and hangs up at once",
            f"Add this machine to the trusted IPs of TWS ({SETTINGS}), and end API programs that are not needed.",
        ),
        Found.OTHER: (f'another program listens: it says "{probe.text}"', f"Use the port of TWS or IB Gateway. {port}"),
    }
    if probe.found is Found.GATEWAY:
        return Check("connection", State.OK, f"the API of {where} is on and answers", answer="reachable")
    found, remedy = said[probe.found]
    return Check("connection", State.PROBLEM, f"{where}: {found}", remedy, probe.found.name.lower())


def server_version(version: int) -> Check:
    """Say whether a gateway is too old."""
    name, answer = "server version", str(version)
    if version < OLDEST_VERSION:
        return Check(
            name,
            State.PROBLEM,
            f"{version}; at least {OLDEST_VERSION} is needed",
            "Update TWS to 972 or later.",
            answer,
        )
    if version < SHARES_IN_HISTORY:
        return Check(
            name, State.LOOK, f"{version}: volumes of US stocks come in lots of 100 below {SHARES_IN_HISTORY}",
            "Update TWS or IB Gateway, before bars are stored.", answer,
        )  # fmt: skip
    return Check(name, State.OK, f"{version}, or newer than this client", answer=answer)


def servers(trouble: str) -> Check:
    """Say whether IB's servers are connected; `trouble` is what is known to be wrong with the way to them."""
    if not trouble:
        return Check("IB's servers", State.OK, "live data, history and contracts are connected", answer="connected")
    return Check("IB's servers", State.PROBLEM, trouble, _AWAY, "away")


def market(now: datetime, session: Session | None, following: Session) -> Check:
    """Say whether the regular session is open at `now`."""
    clock = f"it is {_exchange_time(now)} at the gateway"
    if session:
        return Check("market", State.OK, f"open until {_exchange_time(session.end)}; {clock}", answer="open")
    return Check(
        "market", State.OK, f"closed until {_exchange_time(following.begin)}; {clock}. What is live is not checked",
        answer="closed",
    )  # fmt: skip


CLOCK_OFF_S, CLOCK_WRONG_S = 2.0, 60.0


def clock(difference_s: float, *, simulated: bool) -> Check:
    """Judge how far the gateway's clock is ahead of this machine's; it is told in whole seconds."""
    off = abs(difference_s)
    if simulated and off > CLOCK_OFF_S:
        own = f"the built-in gateway plays at a time of its own, {_span(difference_s)} this machine"
        return Check("clock", State.OK, own, answer="its own")
    found, answer = f"the gateway is {_span(difference_s)} this machine", f"{difference_s:+.1f} s"
    if off <= CLOCK_OFF_S:
        return Check("clock", State.OK, f"the gateway's and this machine's agree within {CLOCK_OFF_S:.0f} s",
                     answer=answer)  # fmt: skip
    state = State.LOOK if off <= CLOCK_WRONG_S else State.PROBLEM
    return Check("clock", state, found, "Let both machines set their clocks by a time server (NTP).", answer)


def time_zone(told: str, wanted: datetime, last: datetime | None) -> Check:
    """Say whether times are understood: the last bar of those asked for must be the one that ends at `wanted`."""
    name, note = "time zone", f'TWS tells its own as "{told}"'
    if last is None:
        return Check(name, State.UNKNOWN, f"{note}; there were no bars to see it by")
    if last == wanted:
        return Check(name, State.OK, f"requests and bars are in UTC, whatever TWS has: {told}", answer="UTC")
    return Check(
        name, State.PROBLEM, f"{note}; the last bar asked for starts {wanted:%Y-%m-%d %H:%M}, the last that came "
        f"{last:%Y-%m-%d %H:%M} UTC", "Do not store bars of this gateway; report this line.", "wrong",
    )  # fmt: skip


def orders(refused: bool | None, *, simulated: bool) -> Check:  # noqa: FBT001
    """Say whether the gateway itself keeps orders away from its API."""
    if simulated:
        return Check("read-only", State.OK, "nothing can be ordered at the built-in gateway", answer="yes")
    if refused:
        return Check("read-only", State.OK, "TWS refuses orders of API programs", answer="yes")
    if refused is None:
        return Check("read-only", State.UNKNOWN, "TWS did not say; the workbench sends no orders")
    return Check(
        "read-only", State.LOOK, "TWS would take orders of API programs; the workbench sends none",
        f"To be safe from other programs, tick Read-Only API ({SETTINGS}).", "no",
    )  # fmt: skip


class Refusal(NamedTuple):
    """What IB told instead of data."""

    code: int
    text: str

    @property
    def said(self) -> str:
        """IB's words, as a part of a sentence."""
        return f'IB says "{self.text}" (IB code {self.code})'

    @property
    def remedy(self) -> str:
        """Its cause and the next step."""
        row = explain(self.code, self.text)
        return f"{row.cause} {row.next_step}" if row else f"`workbench explain {self.code}`"


class Quotes(Enum):
    """What comes when quotes are asked for."""

    LIVE = "live quotes"
    DELAYED = "delayed quotes"
    REFUSED = "no quotes"
    SILENT = "no quotes came"


def permission(what: str, quotes: Quotes, refusal: Refusal | None, history: int | IBError, *, is_open: bool) -> Check:
    """Say which data of a sample the account may see; `history` is how many bars came, or why none did."""
    kind = quotes.name.lower()
    if isinstance(history, IBError):
        return Check(what, State.PROBLEM, f"{quotes.value}; no history: {history}", "", f"{kind}, no history")
    found = f"{quotes.value}; history" if history else f"{quotes.value}; history is empty"
    if not history:
        return Check(what, State.LOOK, found, "IB has no daily bars of the last year: check the symbol.", kind)
    if quotes is Quotes.LIVE:
        return Check(what, State.OK, found, answer=kind)
    if quotes is Quotes.SILENT and not is_open:
        return Check(what, State.UNKNOWN, "no quotes came, as the market is closed; history")
    if quotes is Quotes.SILENT:
        return Check(what, State.LOOK, found, "Look whether TWS shows quotes of it; if so, restart TWS.", kind)
    if refusal:
        return Check(what, State.LOOK, f"{found}. {refusal.said}", refusal.remedy, kind)
    return Check(what, State.LOOK, found, f"For live bars: {_SUBSCRIBE}", kind)


def live_bars(symbol: str, count: int, refusal: Refusal | None, *, is_open: bool) -> Check:
    """Say whether five-second bars are streamed."""
    if refusal:
        return Check("live bars", State.LOOK, f"none: {refusal.said}", refusal.remedy, "none")
    if count:
        return Check("live bars", State.OK, f"five-second bars of {symbol} are streamed", answer="live")
    if is_open:
        return Check("live bars", State.LOOK, f"none of {symbol} came, though the market is open and none was refused",
                     "Ask the doctor again; if none come then either, restart TWS.", "silent")  # fmt: skip
    return Check("live bars", State.UNKNOWN, "not refused; none are sent while the market is closed")


def lines(subscribed: int | None, *, met: bool) -> Check:
    """Say how many market data lines there are: `subscribed` found a line, and `met` tells whether one did not."""
    name = "market data lines"
    if subscribed is None:
        return Check(
            name, State.UNKNOWN, "IB tells no number; 100 unless more are paid for, shared with TWS's own windows",
            "`workbench doctor --count-lines` counts those that are free; for some seconds it takes all of them.",
        )  # fmt: skip
    if not met:
        return Check(name, State.OK, f"at least {subscribed} are free: all that were tried", answer=f"{subscribed}+")
    state = State.OK if subscribed else State.PROBLEM
    remedy = "" if subscribed else "Close watchlists and charts in TWS, or end other API programs."
    return Check(name, state, f"{subscribed} are free: the next one was refused (IB code 101)", remedy, str(subscribed))


def history_depth(symbol: str, head: datetime) -> Check:
    """Say how far back IB's history of a sample reaches."""
    return Check("history", State.OK, f"of {symbol} since {head:%Y-%m-%d}", answer=f"{head:%Y-%m-%d}")


def _exchange_time(moment: datetime) -> str:
    return f"{moment.astimezone(EXCHANGE_ZONE):%a %Y-%m-%d %H:%M} New York"


def _span(seconds: float) -> str:
    size = abs(seconds)
    units = ((86_400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds"))
    length, name = next(((unit, name) for unit, name in units if size >= 2 * unit), units[-1])
    return f"{size / length:.0f} {name} {'ahead of' if seconds > 0 else 'behind'}"

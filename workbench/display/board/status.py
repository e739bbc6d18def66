"""The status line: what is known, and what is said of it. Pure.

It says the worst first, in a sentence with the next step. Nothing is taken for well because nothing was heard: where a
viewer cannot know the connection it says so, and the browser itself tells when the kernel is silent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from math import inf
from typing import Literal

from workbench.ib.live.liveness import SILENCE_S
from workbench.ib.live.status import name_some
from workbench.market.aggregate.clock import SessionClock
from workbench.market.sessions import EXCHANGE_ZONE, session_calendar
from workbench.market.timeframes import TIMEFRAMES

Level = Literal["live", "calm", "warn", "bad"]

SILENT_S = 8.0
"""A viewer knows no connection: so long after the last bar of any symbol, in real seconds, something is wrong."""
LAG_S = 1.0
"""How much later than due, in real seconds, a bar may be shown."""
_LONGEST_WAIT = timedelta(days=10)
_FIVE = TIMEFRAMES["5sec"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a board knows at one moment. `now` is the gateway's time in epoch seconds, None where nothing told it.

    Ages are seconds of the session since the end of each symbol's newest bar, infinite before the first.
    """

    symbols: tuple[str, ...]
    source: str
    viewer: bool = False
    recording: bool = False
    """Whether this kernel records."""
    wanted: bool = False
    """Whether it was told to."""
    error: str = ""
    """What has ended its recording."""
    connected: bool = False
    trouble: str = ""
    """What is wrong with the way to IB, and since when, in real seconds."""
    trouble_s: float = 0.0
    gateway: str = ""
    now: float | None = None
    speed: float = 1.0
    rate: float = 0.0
    ages: Mapping[str, float] = field(default_factory=dict)
    silent_s: float = 0.0
    """Real seconds since a bar came, of any symbol, or since any could."""
    holes: int = 0
    unfilled: int = 0
    waiting: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    history: str = ""
    opening: int = 0
    holders: Mapping[str, str] = field(default_factory=dict)
    """Who records each symbol, this kernel or another process; symbols that nobody records are not in it."""
    gone: Mapping[str, str] = field(default_factory=dict)
    """Whose recorder has died, and which one it was."""
    own: str = ""
    """The name of this kernel's recorder."""
    lines: int = 0
    lines_used: int = 0
    stuck_s: float = 0.0
    """Real seconds since the journal was read."""
    stopped: str = ""
    """What has ended the board itself."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the status line."""

    name: str
    text: str
    level: Level = "calm"
    title: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """What the status line shows: a word, a sentence where one is needed, and its parts."""

    level: Level
    word: str
    sentence: str
    parts: tuple[Part, ...]

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return asdict(self)

    def __str__(self) -> str:
        told = [self.word, self.sentence, *(part.text for part in self.parts)]
        return " · ".join(text for text in told if text)


def judge_status(facts: Facts) -> Status:
    """Return what the status line says."""
    level, word, sentence = _judge(facts)
    parts = (_connection(facts), _source(facts), _clock(facts), _rate(facts), _age(facts), _holes(facts))
    return Status(level, word, sentence, (*parts, _lines(facts), _recorder(facts)))


def _how_to_practise(facts: Facts) -> str:
    """Return how a simulated market is had while the real one would be closed."""
    if facts.now is None or not _is_simulated(facts):
        return ""
    calendar = session_calendar()
    past = calendar.numbered(int(calendar.recent(datetime.fromtimestamp(facts.now, EXCHANGE_ZONE), 1)[-1]))
    return f' To practise now: start = "{past.label}T10:30" under [gateway] in workbench.toml, then open it anew.'


def is_whole(facts: Facts) -> bool:
    """Return whether each symbol has live bars, and nothing is missing or still to come."""
    heard = len(facts.ages) == len(facts.symbols) and all(age < inf for age in facts.ages.values())
    return heard and not facts.opening and not facts.holes and not facts.history


def _judge(facts: Facts) -> tuple[Level, str, str]:
    """Return the worst of what is known."""
    for sentence in _wrong(facts):
        return "bad", "trouble", sentence
    if not facts.symbols:
        return "calm", "empty", "No symbols: add one, or follow the watchlist."
    closed = closed_until(facts.now)
    if closed:
        return "calm", "closed", f"The market is closed; it opens {closed}.{_how_to_practise(facts)}"
    if not facts.holders:
        how = "`workbench live` in a terminal does" if facts.viewer else "press Start"
        return "calm", "stopped", f"Nothing is recorded: {how}."
    for sentence in _doubtful(facts):
        return "warn", "viewer" if not facts.recording else "live", sentence
    count = len(facts.symbols)
    return "live", "live" if facts.recording else "viewer", f"{count} of {count} symbols have live bars."


def _wrong(facts: Facts) -> list[str]:
    found = []
    if facts.stopped:
        found.append(f"The board has stopped: {facts.stopped}. Run its cell again.")
    if facts.error and facts.wanted:
        found.append(f"Recording has ended: {facts.error}. Press Start to begin again.")
    if facts.recording and not facts.connected:
        found.append(f"{_sentence(facts.trouble)}. It is dialled until it answers, {facts.trouble_s:.0f} s so far.")
    elif facts.recording and facts.trouble:
        found.append(f"{_sentence(facts.trouble)}, {facts.trouble_s:.0f} s so far; live bars may stay away.")
    if facts.stuck_s > SILENT_S:
        found.append(f"The database has not answered for {facts.stuck_s:.0f} s; what is shown is that old.")
    if facts.gone and not facts.recording:
        who, symbols = next(iter(facts.gone.values())), name_some(list(facts.gone))
        again = "Start `workbench live` again" + ("" if facts.viewer else ", or press Start")
        found.append(f"The recorder of {symbols}, {who}, has died. {again}.")
    if facts.holders and (silent_s := min(facts.silent_s, _open_for_s(facts))) > _silence_s(facts):
        found.append(f"No bar for {silent_s:.0f} s, though the market is open{_why_silent(facts)}")
    return found


def _doubtful(facts: Facts) -> list[str]:
    found = []
    if facts.refused:
        symbol, reason = next(iter(facts.refused.items()))
        found.append(f"{symbol} is refused: {reason}")
    if facts.waiting:
        found.append(f"The streams of {name_some(facts.waiting)} are not requested yet; they wait for their turn.")
    if unrecorded := [one for one in facts.symbols if one not in facts.holders]:
        found.append(f"Nobody records {name_some(unrecorded)}.")
    if facts.now is None:
        found.append("No bar has come yet, so the time is not known; the market may be closed.")
    elif late := [one for one, age in facts.ages.items() if age > _late_s(facts) and one in facts.holders]:
        found.append(f"No new bars of {name_some(late)}{'; they are requested again.' if facts.recording else '.'}")
    if facts.unfilled:
        found.append(f"{facts.unfilled} gaps could not be filled; `workbench save-session` tries again at the end.")
    if facts.history.startswith("history NOT"):
        found.append(f"{facts.history}.")
    if facts.holes and not facts.unfilled:
        how = "; they are fetched from history." if facts.recording else "."
        found.append(f"Five-second bars of the session are missing, {facts.holes:,} so far{how}")
    return found


def _silence_s(facts: Facts) -> float:
    """Return how long nothing may come: a recorder knows its connection, and may be more patient."""
    return SILENCE_S + LAG_S if facts.recording else SILENT_S


def _open_for_s(facts: Facts) -> float:
    """Return for how many real seconds the market has been open; none while it is closed, or nobody knows."""
    clock = SessionClock(session_calendar())
    return (facts.now - clock.begin) / facts.speed if facts.now is not None and clock.move(int(facts.now)) else 0.0


def _late_s(facts: Facts) -> float:
    return SILENCE_S + LAG_S * facts.speed


def _why_silent(facts: Facts) -> str:
    if facts.recording:
        return "; the streams are requested again."
    who = next(iter(facts.holders.values()))
    return f": {who} records, look there whether its gateway is reached."


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] if text else "There is no connection to the gateway"


def _connection(facts: Facts) -> Part:
    if facts.recording or facts.connected:
        if facts.connected and not facts.trouble:
            return Part("connection", f"connected {facts.gateway}".strip(), "live", "the connection to the gateway")
        return Part("connection", "not connected" if not facts.connected else "no IB", "bad", facts.trouble)
    if facts.viewer or facts.holders:
        return Part("connection", "viewer, no connection", "calm", "it shows what another process records")
    return Part("connection", "not connected", "calm", "Start connects")


def _source(facts: Facts) -> Part:
    if not facts.source:
        return Part("source", "", "calm")
    if facts.source == "IB":
        return Part("source", "IB", "calm", "bars of Interactive Brokers")
    if _is_simulated(facts):
        return Part("source", "built-in gateway: simulated data", "warn", facts.source)
    return Part("source", f"built-in gateway: {facts.source}", "warn", facts.source)


def _is_simulated(facts: Facts) -> bool:
    return "SIMULATED" in facts.source.upper()


def _clock(facts: Facts) -> Part:
    if facts.now is None:
        return Part("clock", "clock not known", "calm", "nothing has told the gateway's time yet")
    moment = datetime.fromtimestamp(facts.now, EXCHANGE_ZONE)
    told = "the gateway's clock" if facts.recording else "as the newest bars tell it"
    about = "" if facts.recording and facts.connected else "≈ "
    return Part("clock", f"{about}{moment:%a %b} {moment.day} {moment:%H:%M:%S} New York", "calm", told)


def _rate(facts: Facts) -> Part:
    return Part("rate", f"{facts.rate:.1f} bars/s", "calm", "five-second bars of these symbols in the last 30 s")


def _age(facts: Facts) -> Part:
    known = {one: age for one, age in facts.ages.items() if age < inf}
    if not known:
        return Part("age", "no live data yet", "calm")
    oldest = max(known, key=lambda one: known[one])
    level: Level = "warn" if known[oldest] > _late_s(facts) else "calm"
    title = f"{oldest}: seconds of the session since the end of its newest bar"
    return Part("age", f"oldest data {age_text(known[oldest])}", level, title)


def _holes(facts: Facts) -> Part:
    title = "five-second bars of the session that are missing up to each symbol's newest one"
    if facts.opening:
        return Part("holes", f"{facts.opening} symbols are being read", "calm", title)
    if not facts.holes:
        return Part("holes", "no holes", "calm", title)
    return Part("holes", f"{facts.holes:,} bars missing", "warn", title)


def _lines(facts: Facts) -> Part:
    level: Level = "warn" if facts.lines and facts.lines_used > facts.lines else "calm"
    text = f"{facts.lines_used} of {facts.lines} lines"
    return Part("lines", text, level, "market data lines that recorders of this database use")


def _recorder(facts: Facts) -> Part:
    names = list(dict.fromkeys(facts.holders.values()))
    if facts.recording:
        others = [name for name in names if name != facts.own]
        also = f" and {', '.join(others)}" if others else ""
        return Part("recorder", f"recorded by this kernel{also}", "live", facts.own)
    if names:
        return Part("recorder", f"recorded by {', '.join(names)}", "live", "the board only shows it")
    return Part("recorder", "not recorded", "bad" if facts.gone else "calm")


def closed_until(now: float | None) -> str:
    """Return when the market opens next, in words; empty when it trades, and where nothing tells the time.

    >>> closed_until(1795239000.0), closed_until(1795194000.0)
    ('Mon 09:30 New York', '')
    """
    if now is None or SessionClock(session_calendar()).move(int(now)):
        return ""
    moment = datetime.fromtimestamp(now, EXCHANGE_ZONE)
    following = session_calendar().during(moment, moment + _LONGEST_WAIT, _FIVE)
    return f"{following[0].begin.astimezone(EXCHANGE_ZONE):%a %H:%M} New York" if following else "some day"


def age_text(seconds: float) -> str:
    """Return an age in words.

    >>> age_text(4.4), age_text(300.0), age_text(9000.0), age_text(200_000.0)
    ('4 s', '5 min', '2.5 h', '2 days')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 129_600 else f"{seconds / 86_400:.0f} days"

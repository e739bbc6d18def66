"""Whether live streams are alive, told by their silence. Pure: the time is an argument, in epoch seconds.

A stream that has died looks like a quiet one: the connection stands, and nothing is told. But in a session a bar comes
every five seconds, trades or not; so silence beyond a limit is a dead stream. Outside of sessions nothing is due, and
nothing is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from workbench.market.aggregate.clock import SessionClock
from workbench.market.aggregate.levels import STEP_S
from workbench.market.sessions import SessionCalendar

SILENCE_S = 15.0
"""Three bars. Beyond it a stream is requested again."""
_LONGEST_S = 300.0
"""A symbol that stays silent is requested again less and less often, for IB allows sixty in ten minutes; where time
passes faster, these are real seconds, for how fast a gateway works does not change with its clock."""
LAG_S = 1.0
"""How much later than due, in real seconds, a bar may be heard."""


@dataclass(slots=True)
class _Pulse:
    asked: float
    newest: float = -inf
    """The end of its newest bar."""
    heard: float = -inf
    """When that came."""
    patience: float = SILENCE_S


class Liveness:
    """The pulses of streams. `lag_s` is how much later than due a bar may be heard.

    >>> from workbench.market.sessions import session_calendar
    >>> noon = 1795194000.0
    >>> liveness = Liveness(session_calendar())
    >>> liveness.asked("AAPL", noon)
    >>> [liveness.silent(noon + seconds) for seconds in (0, 10, 20, 30)], liveness.age("AAPL", noon + 20)
    ([[], [], ['AAPL'], []], inf)
    """

    def __init__(self, calendar: SessionCalendar, *, lag_s: float = 0.0) -> None:
        self._clock = SessionClock(calendar)
        self._lag_s, self._longest_s = lag_s, _LONGEST_S * max(1.0, lag_s / LAG_S)
        self._pulses: dict[str, _Pulse] = {}
        self._looked = self._awake_since = -inf

    def asked(self, symbol: str, now: float) -> None:
        """Know that a stream was requested, or requested again."""
        if pulse := self._pulses.get(symbol):
            pulse.asked = now
        else:
            self._pulses[symbol] = _Pulse(now)

    def heard(self, symbol: str, start: int, now: float) -> None:
        """Know that a bar has come. A late one is a sign of life too: who lags is not asked for more."""
        pulse = self._pulses.get(symbol)
        if pulse is None or start + STEP_S <= pulse.newest:
            return
        pulse.newest, pulse.heard = start + STEP_S, now
        if now - pulse.newest <= SILENCE_S + self._lag_s:
            pulse.patience = SILENCE_S

    def forget(self, symbol: str) -> None:
        """Know that a stream has been ended."""
        self._pulses.pop(symbol, None)

    def silent(self, now: float) -> list[str]:
        """Return the streams that have been silent for too long; ask again only after as long again, and longer.

        Who has not looked for a while was asleep, and what came meanwhile may not be heard yet: silence counts from
        now on only.
        """
        if now - self._looked > SILENCE_S + self._lag_s:
            self._awake_since = now
        self._looked = now
        if not self._clock.move(int(now)):
            return []
        since = max(self._awake_since, self._clock.begin)
        found = [
            symbol
            for symbol, pulse in self._pulses.items()
            if now - max(since, pulse.asked, pulse.newest, pulse.heard) > pulse.patience + self._lag_s
        ]
        for symbol in found:
            pulse = self._pulses[symbol]
            pulse.asked, pulse.patience = now, min(2 * pulse.patience, self._longest_s)
        return found

    def age(self, symbol: str, now: float) -> float:
        """Return how many seconds of the session have passed since the end of the newest bar; infinity before any."""
        pulse = self._pulses.get(symbol)
        if pulse is None or pulse.newest == -inf:
            return inf
        self._clock.move(int(now))
        return max(0.0, min(now, self._clock.end) - max(pulse.newest, self._clock.begin))


class TimeKeeper:
    """The gateway's time, from what it tells and from the bars that come; it passes at `speed`.

    What is told is late, never early: of what was told lately the one that lay furthest ahead is nearest to the truth.

    >>> keeper = TimeKeeper(speed=2.0)
    >>> keeper.tell(1000.0, at=50.0)
    >>> keeper.now(at=53.0)
    1006.0
    """

    _KEPT = 8

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = speed
        self._offsets: list[float] = []

    @property
    def is_set(self) -> bool:
        """Whether the time is known at all."""
        return bool(self._offsets)

    def tell(self, moment: float, at: float) -> None:
        """Know that it was `moment` at the gateway, or later, at `at` of the own clock."""
        self._offsets = [*self._offsets[1 - self._KEPT :], moment - at * self._speed]

    def now(self, at: float) -> float:
        """Return the gateway's time at `at` of the own clock."""
        return max(self._offsets) + at * self._speed

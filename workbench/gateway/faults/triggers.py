"""When a fault strikes: conditions met by messages and by the time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from workbench.gateway.faults import WEEKDAYS, Fault, When
from workbench.gateway.hours import NEW_YORK
from workbench.gateway.messages import RECEIVED, SENT, Message


@dataclass(slots=True)
class Trigger:
    """One fault, ready to strike: how often its message has come, how often it has struck.

    `due` is when it begins: then it strikes if it needs no message, else it begins to count.
    """

    fault: Fault
    due: float
    seen: int = 0
    struck: int = 0

    @property
    def is_spent(self) -> bool:
        """Whether it will never strike again."""
        when = self.fault.when
        return bool(self.struck) and (
            0 < when.times <= self.struck or not (when.message or when.daily)  # an instant does not come again
        )

    def strikes_at(self, now: float) -> bool:
        """Return whether it strikes because of the time, and count it."""
        when = self.fault.when
        if when.message or now < self.due:
            return False
        self.struck += 1
        if when.daily:
            self.due = next_daily(when, now)
        return True

    def strikes(self, message: Message, client_id: int | None, now: float) -> bool:
        """Return whether it strikes this message, and count it."""
        when = self.fault.when
        if now < self.due or self.is_spent or not _is_meant(when, message, client_id):
            return False
        self.seen += 1
        if self.seen < when.nth:
            return False
        self.struck += 1
        return True


def ready(fault: Fault, now: float) -> Trigger:
    """Return the trigger of a fault that is given to the gateway at `now`."""
    when = fault.when
    if when.daily:
        return Trigger(fault, next_daily(when, now))
    return Trigger(fault, when.at if when.at is not None else now + (when.after or 0.0))


def next_daily(when: When, now: float) -> float:
    """Return the next instant after `now` at which a daily fault strikes."""
    moment = datetime.fromtimestamp(now, NEW_YORK)
    days = when.weekdays.split() or WEEKDAYS
    for ahead in range(9):  # a week from today, and the hour that a change of the clocks may skip
        day = moment.date() + timedelta(days=ahead)
        due = datetime.combine(day, time.fromisoformat(when.daily), NEW_YORK).timestamp()
        if due > now and WEEKDAYS[day.weekday()] in days:
            return due
    raise AssertionError(when)


def struck(triggers: Iterable[Trigger], message: Message, client_id: int | None, now: float) -> list[Fault]:
    """Return the faults that strike a message."""
    return [it.fault for it in triggers if it.strikes(message, client_id, now)]


def _is_meant(when: When, message: Message, client_id: int | None) -> bool:
    return (
        when.message in (message.name, RECEIVED if message.is_request else SENT)
        and when.symbol in ("", message.symbol)
        and when.client in (None, client_id)
        and (not when.containing or when.containing in message.texts)
    )

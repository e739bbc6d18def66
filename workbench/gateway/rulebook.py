"""The account of what IB's limits have admitted.

What is refused counts nowhere: whether IB counts it is not verified. Time is an argument, so a window runs in
whichever time the caller lives in. When that time goes back, what was admitted later than it is forgotten.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Iterable
from typing import NamedTuple, Protocol

from workbench.gateway.refusals import Refused
from workbench.gateway.requests import HistoricalRequest, Request
from workbench.gateway.rules import GUARDS, HELD, RULES, SMALL_BARS_KEPT, Asked, Counted, Rule, Scope, counted, is_small

MANY_GROUPS = 1000  # so many groups of one rule: time to drop those whose window has passed


class Meter(Protocol):
    """What one rule has admitted, as far as it still counts."""

    rule: Rule

    def has_room(self, asked: Asked, at: float) -> bool:
        """Return whether one more is within the limit at `at`."""

    def book(self, asked: Asked, at: float) -> None:
        """Count one more."""

    def release(self, client: Hashable, req_id: int) -> None:
        """Give back the place of a request."""

    def forget(self, client: Hashable) -> None:
        """Forget a client that has gone; the account's windows go on."""


class Entry(NamedTuple):
    """What was admitted: when, how much it counts, and whose it was."""

    at: float
    weight: int
    client: Hashable


class WindowMeter:
    """The account of a rule with a window of time."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._admitted: dict[Hashable, deque[Entry]] = {}

    def has_room(self, asked: Asked, at: float) -> bool:
        """Return whether one more is within the limit at `at`."""
        used = sum(entry.weight for entry in self._counting(self.rule.group(asked), at))
        return used + self.rule.weight(asked) <= self.rule.limit

    def book(self, asked: Asked, at: float) -> None:
        """Count one more."""
        if len(self._admitted) >= MANY_GROUPS:
            kept = {group: self._counting(group, at) for group in self._admitted}
            self._admitted = {group: entries for group, entries in kept.items() if entries}
        entry = Entry(at, self.rule.weight(asked), asked.client)
        self._admitted.setdefault(self.rule.group(asked), deque()).append(entry)

    def release(self, client: Hashable, req_id: int) -> None:
        """Give back nothing: what was admitted counts until its window has passed."""

    def forget(self, client: Hashable) -> None:
        """Forget a client that has gone; the account's windows go on."""
        if self.rule.scope is Scope.CLIENT:
            kept = {group: it for group, it in self._admitted.items() if it and it[-1].client is not client}
            self._admitted = kept

    def _counting(self, group: Hashable, at: float) -> deque[Entry]:
        """Return what counts at `at`: neither out of the window, nor ahead because the time was set back."""
        entries = self._admitted.get(group, deque())
        while entries and at - entries[0].at >= self.rule.window_s:
            entries.popleft()
        while entries and entries[-1].at > at:
            entries.pop()
        return entries


class HeldMeter:
    """The account of a rule about what is held at the same time."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._held: dict[Hashable, dict[tuple[Hashable, int], None]] = {}

    def has_room(self, asked: Asked, at: float) -> bool:  # noqa: ARG002
        """Return whether one more is within the limit."""
        return len(self._held.get(self.rule.group(asked), ())) < self.rule.limit

    def book(self, asked: Asked, at: float) -> None:  # noqa: ARG002
        """Count one more, until it is released."""
        self._held.setdefault(self.rule.group(asked), {})[asked.client, asked.req_id] = None

    def release(self, client: Hashable, req_id: int) -> None:
        """Give back the place of a request."""
        for held in self._held.values():
            held.pop((client, req_id), None)

    def forget(self, client: Hashable) -> None:
        """Give back all places of a client that has gone."""
        kept = {group: {it: None for it in held if it[0] is not client} for group, held in self._held.items()}
        self._held = {group: held for group, held in kept.items() if held}


class Rulebook:
    """The account of all rules that a gateway enforces; with no rules everything is admitted.

    `small_bars_kept_s` is the age from which on small bars are not served.
    """

    def __init__(self, rules: Iterable[Rule] = RULES, small_bars_kept_s: float = SMALL_BARS_KEPT) -> None:
        self.small_bars_kept_s = small_bars_kept_s
        self._meters: list[Meter] = [HeldMeter(rule) if rule.window_s == HELD else WindowMeter(rule) for rule in rules]
        self._strikes: dict[Hashable, int] = {}

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules in force."""
        return tuple(meter.rule for meter in self._meters)

    def message(self, client: Hashable, request: Request, at: float) -> None:
        """Count a message, or raise Refused when it comes too fast, which is a strike."""
        try:
            self._admit(frozenset({Counted.MESSAGES}), Asked(client, request), at)
        except Refused:
            self._strikes[client] = self._strikes.get(client, 0) + 1
            raise

    def has_struck_out(self, client: Hashable) -> bool:
        """Return whether a client was refused as often as ends its session; nothing clears the count; not verified."""
        most = [meter.rule.strikes for meter in self._meters if meter.rule.strikes]
        return bool(most) and self._strikes.get(client, 0) >= min(most)

    def admit(self, asked: Asked, at: float) -> None:
        """Count a request that passed validation, or raise Refused and count nothing."""
        self._admit(counted(asked.request), asked, at)

    def oldest_kept(self, request: HistoricalRequest, now: float) -> float:
        """Return the instant before which a request gets no bars at gateway time `now`, in epoch seconds."""
        return now - self.small_bars_kept_s if is_small(request) else -math.inf

    def release(self, client: Hashable, req_id: int, what: Counted) -> None:
        """Give back the place that a request held: it was answered, or cancelled."""
        for meter in self._meters:
            if meter.rule.counted is what:
                meter.release(client, req_id)

    def forget(self, client: Hashable) -> None:
        """Give back all that a client held."""
        self._strikes.pop(client, None)
        for meter in self._meters:
            meter.forget(client)

    def _admit(self, kinds: frozenset[Counted], asked: Asked, at: float) -> None:
        meters = [meter for meter in self._meters if meter.rule.counted in kinds]
        for meter in meters:
            if not meter.has_room(asked, at):
                raise Refused(meter.rule.notice)
        for meter in meters:
            meter.book(asked, at)


def no_rules() -> Rulebook:
    """Return a book of our guards alone, which admits whatever a client can mean, however old."""
    return Rulebook(GUARDS, small_bars_kept_s=math.inf)

"""Bars that were made once and may be wanted again, as many as weigh no more than a limit."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import fields

from workbench.gateway.tape import BarColumns


class KeptBars:
    """Runs of bars by a key; those not wanted for longest go first.

    >>> kept = KeptBars(most_bytes=0)
    >>> kept.get(("SPY", 60))
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._runs: OrderedDict[Hashable, BarColumns] = OrderedDict()
        self.weight = 0
        """Bytes of all columns."""

    def get(self, key: Hashable) -> BarColumns | None:
        """Return a run, or None where it is not kept."""
        if key in self._runs:
            self._runs.move_to_end(key)
        return self._runs.get(key)

    def put(self, key: Hashable, bars: BarColumns) -> None:
        """Keep a run. It should own its columns: a view would keep alive what it is cut from."""
        if key in self._runs:
            self.weight -= _weight(self._runs.pop(key))
        self._runs[key] = bars
        self.weight += _weight(bars)
        while self.weight > self._most:
            self.weight -= _weight(self._runs.popitem(last=False)[1])


def _weight(bars: BarColumns) -> int:
    return sum(getattr(bars, column.name).nbytes for column in fields(BarColumns))

"""Five-second bars of many symbols around the present, looked up in one pass.

Live bars are asked for a few seconds at a time, but a chunk of minutes costs hardly more than one bar. So a tape
computes chunks of groups of symbols, which are kept, and a look-up is a slice of each group's chunk. Groups end
their chunks at different moments: not all symbols need a new one in the same tick. Few symbols make few groups, for
one of many symbols costs little more than one of a single one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from zlib import crc32

import numpy as np

from workbench.gateway.aggregate import concatenate, nothing, select
from workbench.gateway.tape import BarColumns, Block, Counts, Tape

STEP = 5
CHUNK = 300  # seconds
GROUPS = (1, 4, 12, CHUNK // STEP)
GROUP = 64  # symbols at least, where there is more than one group

Compute = Callable[[tuple[str, ...], int, int, bool], Block]
"""Symbols, begin, end, regular hours only; the bars of five seconds in between."""


class Windows:
    """Keeps chunks of what `compute` returns and cuts windows out of them."""

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        self._chunk = lru_cache(maxsize=3 * GROUPS[-1])(self._computed)
        self._groups = lru_cache(maxsize=8)(_grouped)

    def window(self, symbols: Sequence[str], begin: int, end: int, *, use_rth: bool) -> Block:
        """Return the bars of each symbol whose start lies in `[begin, end)`."""
        if end - begin > CHUNK:
            return self._compute(tuple(symbols), begin, end, use_rth)
        parts = []
        for shift, (names, places) in self._groups(tuple(symbols)).items():
            for start in range((begin - shift) // CHUNK * CHUNK + shift, end, CHUNK):
                place, bars = self._chunk(names, start, use_rth)
                rows = slice(*np.searchsorted(bars.start, [begin, max(begin, end)]).tolist())
                parts.append(Block(places[place[rows]], select(bars, rows)))
        return joined_blocks(parts)

    def _computed(self, symbols: tuple[str, ...], start: int, use_rth: bool) -> tuple[Counts, BarColumns]:  # noqa: FBT001
        """Return a chunk's bars by time, and the place of each one's symbol."""
        block = self._compute(symbols, start, start + CHUNK, use_rth)
        order = np.argsort(block.bars.start, kind="stable")
        return block.place[order], select(block.bars, order)


def _grouped(symbols: tuple[str, ...]) -> dict[int, tuple[tuple[str, ...], Counts]]:
    """Return the symbols, and their places, of each group by the seconds that its chunks are shifted."""
    count = max(it for it in GROUPS if it == 1 or it * GROUP <= len(symbols))
    groups: dict[int, list[int]] = {}
    for place, symbol in enumerate(symbols):
        groups.setdefault(crc32(symbol.encode()) % count * (CHUNK // count), []).append(place)
    return {shift: (tuple(symbols[it] for it in places), np.array(places)) for shift, places in groups.items()}


def joined_blocks(parts: Sequence[Block]) -> Block:
    """Return blocks of different symbols, or of the same at different times, as one."""
    if not parts:
        return Block(np.empty(0, dtype=np.int64), nothing())
    place = np.concatenate([part.place for part in parts])
    bars = concatenate(*[part.bars for part in parts])
    order = np.lexsort((bars.start, place))
    return Block(place[order], select(bars, order))


def one_by_one(tape: Tape, symbols: Sequence[str], begin: int, end: int, *, use_rth: bool) -> Block:
    """Return the same as `BatchTape.window` does, of any tape: its slow twin."""
    each = [tape.bars(symbol, STEP, begin, end, use_rth=use_rth) for symbol in symbols]
    place = np.repeat(np.arange(len(each)), [len(bars) for bars in each])
    return Block(place, concatenate(*each) if each else nothing())

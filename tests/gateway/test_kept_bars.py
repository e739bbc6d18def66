from dataclasses import fields

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from workbench.gateway.simulated.kept import KeptBars
from workbench.gateway.tape import BarColumns

BYTES_OF_A_BAR = 64


def bars(count: int) -> BarColumns:
    return BarColumns(*(np.zeros(count) for _ in fields(BarColumns)))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 8), st.booleans()), max_size=60), st.integers(0, 20))
def test_what_is_kept_never_weighs_more_than_the_limit_and_is_what_was_used_last(steps, most) -> None:
    kept, recent = KeptBars(most_bytes=most * BYTES_OF_A_BAR), {}

    for key, count, is_put in steps:
        if is_put:
            recent.pop(key, None)
            recent[key] = count
            kept.put(key, bars(count))
            while sum(recent.values()) > most:
                del recent[next(iter(recent))]
        elif key in recent:
            recent[key] = recent.pop(key)
        found = kept.get(key)
        assert (None if found is None else len(found)) == recent.get(key)
        assert kept.weight == sum(recent.values()) * BYTES_OF_A_BAR

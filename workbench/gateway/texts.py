"""Columns of bars as the fields of messages, whole columns at a time.

The texts are exactly those that `repr` and `str` give one value at a time, at a fifth of what that costs: Arrow too
writes the shortest decimal that reads back as the same float. Where its form is another one, for numbers very large
or very small, `repr` itself is asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workbench.gateway.tape import Counts, Floats

LEAST, MOST = 1e-4, 1e10
"""Between these Arrow writes what `repr` writes, but for the `.0` of whole numbers."""
LARGEST_INTEGER = 2.0**63


def decimals(*columns: Floats) -> list[pa.StringArray]:
    """Return `repr` of all numbers of columns of one length. Equal ones are written once: a session has few prices.

    >>> [texts.to_pylist() for texts in decimals(np.array([100.1, 100.0]), np.array([1e-5, 100.1]))]
    [['100.1', '100.0'], ['1e-05', '100.1']]
    """
    count = len(columns[0])
    numbers = pc.dictionary_encode(pa.array(np.concatenate(columns)))
    texts = different_decimals(numbers.dictionary.to_numpy()).take(numbers.indices)
    return [texts.slice(place * count, count) for place in range(len(columns))]


def different_decimals(values: Floats) -> pa.StringArray:
    """Return `repr` of each number."""
    if not _written_alike(values):
        return pa.array(map(repr, values.tolist()), pa.string())
    points = pa.array(["", ".0"]).take(pa.array((values == np.rint(values)).astype(np.int8)))
    return pc.binary_join_element_wise(_arrow(values), points, "")


def shortest(values: Floats) -> pa.StringArray:
    """Return `repr` of each number, but whole ones without a decimal point.

    >>> shortest(np.array([1200.0, 0.25, -1.0])).to_pylist()
    ['1200', '0.25', '-1']
    """
    if np.all((values == np.rint(values)) & (np.abs(values) < LARGEST_INTEGER)):
        return integers(values.astype(np.int64))
    if _written_alike(values):
        return _arrow(values + 0.0)  # no negative zero
    return pa.array(map(shortest_of, values.tolist()), pa.string())


def shortest_of(value: float) -> str:
    """Return `repr` of a number, or a whole one without a decimal point."""
    return str(int(value)) if value.is_integer() else repr(value)


def integers(values: Counts) -> pa.StringArray:
    """Return `str` of each number."""
    return _arrow(values)


def rows(columns: Sequence[pa.StringArray | Sequence[str]]) -> pa.StringArray:
    r"""Return the fields of each row, each ended by NUL.

    >>> rows([["a", "b"], integers(np.array([1, 2]))]).to_pylist()
    ['a\x001\x00', 'b\x002\x00']
    """
    return pc.binary_join_element_wise(*(pa.array(it, pa.string()) for it in columns), "", "\0")


def joined(fields: pa.StringArray) -> bytes:
    """Return all rows one after the other."""
    whole = pa.ListArray.from_arrays(pa.array([0, len(fields)], pa.int32()), fields.cast(pa.binary()))
    body: bytes = pc.binary_join(whole, b"")[0].as_py()
    return body


def separate(fields: pa.StringArray) -> list[bytes]:
    """Return each row."""
    bodies: list[bytes] = fields.cast(pa.binary()).to_pylist()
    return bodies


def _arrow(values: Floats | Counts) -> pa.StringArray:
    return pc.cast(pa.array(values), pa.string())


def _written_alike(values: Floats) -> bool:
    size = np.abs(values)
    return bool(np.all((size < MOST) & ((size >= LEAST) | (size == 0))))

"""Each column at once against each number by itself."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workbench.gateway import texts

CENTS = st.integers(0, 10_000_000).map(lambda cents: cents / 100)
WHOLE = st.integers(-(10**22), 10**22).map(float)
ANY = st.floats(allow_nan=False, allow_infinity=False)
MODERATE = st.one_of(st.floats(-1e11, 1e11), st.floats(-1, 1), st.floats(-1e17, 1e17))
EDGES = st.sampled_from([
    edge
    for power in (1e-5, 1e-4, 1e9, 1e10, 1e11, 1e15, 1e16, 2.0**53, 2.0**63)
    for sign in (1, -1)
    for edge in (sign * power, sign * np.nextafter(power, 0).item(), sign * np.nextafter(power, np.inf).item())
])  # fmt: skip
NUMBERS = st.one_of(*(st.lists(st.one_of(CENTS, kind)) for kind in (CENTS, WHOLE, MODERATE, ANY, EDGES)))


def column(numbers: list[float]) -> np.ndarray:
    return np.array(numbers, dtype=np.float64)


@settings(deadline=None)  # the first use of Arrow imports pandas
@given(NUMBERS)
@example([0.0, -0.0, 5e-324, 1.7976931348623157e308, 99999999999999.98, 0.1 + 0.2])
def test_decimals_are_the_repr_of_each_number(numbers: list[float]) -> None:
    expected = [repr(number) for number in numbers]

    assert texts.different_decimals(column(numbers)).to_pylist() == expected
    assert [it.to_pylist() for it in texts.decimals(column(numbers), column(numbers[::-1]))] == [
        expected,
        expected[::-1],
    ]


@settings(deadline=None)  # the first use of Arrow imports pandas
@given(NUMBERS)
@example([0.0, -0.0, -1.0, 0.5, 1e19, 12345678901234567890.0])
def test_whole_numbers_have_no_decimal_point_where_the_shortest_is_wanted(numbers: list[float]) -> None:
    expected = [str(int(number)) if number == int(number) else repr(number) for number in numbers]

    assert texts.shortest(column(numbers)).to_pylist() == expected


@settings(deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_integers_are_the_str_of_each_number(numbers: list[int]) -> None:
    assert texts.integers(np.array(numbers, dtype=np.int64)).to_pylist() == [str(number) for number in numbers]


@settings(deadline=None)
@given(st.lists(st.tuples(st.text("0123456789.", max_size=4), st.text("ab :/", max_size=4))))
def test_every_field_ends_with_nul_in_the_order_of_the_rows(pairs: list[tuple[str, str]]) -> None:
    expected = [f"{left}\0{right}\0".encode() for left, right in pairs]

    rows = texts.rows([[left for left, _ in pairs], [right for _, right in pairs]])

    assert texts.separate(rows) == expected
    assert texts.joined(rows) == b"".join(expected)

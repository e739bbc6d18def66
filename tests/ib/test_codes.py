"""The table of IB's message codes: complete, decided by code and text, and never without a next step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import (
    ConnectionFailed,
    Disconnected,
    IBError,
    NoPermission,
    PacingViolation,
    RequestRefused,
    RequestTimeout,
    Unavailable,
    UnknownContract,
)
from workbench.ib.codes import ROWS, Explanation, Reaction, describe, explain, rows_of

MESSAGE_CODES = (
    *(100, 101, 102, 162, 165, 166, 200, 300, 309, 320, 321, 322, 326, 354, 366, 386, 420, 430),
    *(501, 502, 503, 504, 507),
    *(1100, 1101, 1102, 1300),
    *(2103, 2104, 2105, 2106, 2107, 2108, 2110, 2119, 2157, 2158, 2174, 2188),
    *(10089, 10090, 10091, 10167, 10168, 10182, 10186, 10187, 10189, 10197, 10225, 10314),
)  # fmt: skip
"""IB's message codes that a program which fetches history and live bars meets: from IB's own list of message codes,
and those that users of real gateways reported beside it (10182, 2188)."""

HMDS = "Historical Market Data Service error message:"
LIVE = "Invalid Real-time Query:"
NO_PERMISSION = (
    "No market data permissions for NYSE STK. Requested market data requires additional subscription for API. See link "
    "in 'Market Data Connections' dialog for more details."
)
ELSEWHERE = "Trading TWS session is connected from a different IP address"


def test_every_message_code_has_a_row() -> None:
    assert {row.code for row in ROWS} == set(MESSAGE_CODES)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.code} {row.name}")
def test_a_row_says_what_why_and_what_to_do_in_whole_sentences(row: Explanation) -> None:
    for sentence in (row.meaning, row.cause, row.next_step):
        assert sentence[0].isupper() or sentence[0] in '`"'
        assert sentence.endswith(".")
        assert len(sentence) < 260


@pytest.mark.parametrize("code", MESSAGE_CODES)
def test_a_code_has_one_row_for_texts_that_are_not_known_and_it_comes_last(code: int) -> None:
    rows = rows_of(code)

    assert [bool(row.fragments) for row in rows] == [True] * (len(rows) - 1) + [False]
    assert explain(code, "Texto en otro idioma") is rows[-1]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.code} {row.name}")
def test_only_what_is_final_raises_an_error_that_is_permanent(row: Explanation) -> None:
    """Whoever sees a permanent error does not ask again."""
    if row.error in (None, ConnectionFailed, Disconnected) or row.reaction is Reaction.MARKED:
        return
    assert row.error is not None
    assert row.error.permanent == (row.reaction in (Reaction.PERMANENT, Reaction.OUR_BUG))


def test_fragments_are_lower_case_and_match_no_class_name_of_a_build() -> None:
    """`Error validating request.-'bK' : cause - …`: the letters change with every build of TWS."""
    fragments = [fragment for row in ROWS for fragment in row.fragments]

    assert all(fragment == fragment.lower() for fragment in fragments)
    assert not any("-'" in fragment or "request.-" in fragment for fragment in fragments)


@pytest.mark.parametrize("letters", ["bH", "bK", "bT", "cw", "jd", "vd"])
def test_the_class_name_in_a_text_makes_no_difference(letters: str) -> None:
    for cause, name in (("Please enter exchange", "exchange missing"), ("Anything else", "request not valid")):
        for text in (f"Error validating request.-'{letters}' : cause - {cause}", f"request:-'{letters}' : {cause}"):
            row = explain(321, text)

            assert row is not None
            assert row.name == name


@pytest.mark.parametrize(
    ("code", "text", "reaction", "error"),
    [
        (162, f"{HMDS}Historical data request pacing violation", Reaction.COOL_DOWN, PacingViolation),
        (162, f"{HMDS}HMDS query returned no data: DELL@SMART Trades", Reaction.EMPTY, None),
        (162, f"{HMDS}API historical data query cancelled: 28", Reaction.INFORM, Unavailable),
        (162, f"{HMDS}No market data permissions for ISLAND STK", Reaction.PERMANENT, NoPermission),
        (162, f"{HMDS}{NO_PERMISSION}", Reaction.PERMANENT, NoPermission),
        (162, f"{HMDS}{ELSEWHERE}", Reaction.WAIT, Unavailable),
        (162, f"{HMDS}Request Timed Out", Reaction.RETRY, RequestTimeout),
        (162, f"{HMDS}No historical market data for SPX/IND@CBOE MidPoint 60", Reaction.PERMANENT, RequestRefused),
        (162, f"{HMDS}BEST queries are not supported for this contract", Reaction.PERMANENT, RequestRefused),
        (162, "Mensaje de error del Servicio de datos:invalid step: 1", Reaction.OUR_BUG, RequestRefused),
        (162, f"{HMDS}Time length exceed max.", Reaction.OUR_BUG, RequestRefused),
        (162, f"{HMDS}Something new", Reaction.RETRY, Unavailable),
        (200, "No security definition has been found for the request", Reaction.PERMANENT, UnknownContract),
        (200, "The contract description specified for KWEB is ambiguous.", Reaction.PERMANENT, UnknownContract),
        (321, "'bK' : cause - The API interface is currently in Read-Only mode.", Reaction.PERMANENT, RequestRefused),
        (322, "Error processing request:Only 50 simultaneous API historical data requests", Reaction.FEWER,
         PacingViolation),
        (322, "Error processing request.-'bX' : cause - Duplicate ticker ID for API historical data query",
         Reaction.RETRY, Unavailable),
        (322, "Error processing request.-'bX' : cause - anything", Reaction.RETRY, Unavailable),
        *((code, text, reaction, error) for code in (420, 10187, 10189) for text, reaction, error in (
            (f"{LIVE}Historical data request pacing violation", Reaction.COOL_DOWN, PacingViolation),
            (f"{LIVE}{NO_PERMISSION}", Reaction.PERMANENT, NoPermission),
            (f"{LIVE}{ELSEWHERE}", Reaction.WAIT, Unavailable),
            (f"{LIVE}Something new", Reaction.PERMANENT, RequestRefused),
        )),
    ],
)  # fmt: skip
def test_where_a_code_stands_for_many_things_the_text_decides(
    code: int, text: str, reaction: Reaction, error: type[IBError] | None
) -> None:
    for told in (text, text.upper()):
        row = explain(code, told)

        assert row is not None
        assert (row.reaction, row.error) == (reaction, error)


def test_a_code_that_is_not_known_is_told_by_its_text_where_that_is_known() -> None:
    row = explain(19_999, "Historical data request pacing violation")

    assert row is not None
    assert (row.code, row.error) == (19_999, PacingViolation)
    assert explain(19_999, "Something new") is None
    assert "no explanation of this code" in describe(19_999, "Something new.")


@given(code=st.sampled_from(MESSAGE_CODES), text=st.text(max_size=80))
def test_whatever_the_text_it_is_kept_and_a_next_step_follows(code: int, text: str) -> None:
    row = explain(code, text)

    assert row is not None
    assert describe(code, text).startswith(text.strip().rstrip("."))
    assert describe(code, text).endswith(row.next_step)

"""The pieces of HTML that objects show themselves with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import html


class Tags(HTMLParser):
    """What a browser sees: the tags, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


PIECES: list[Callable[[str], str]] = [
    lambda words: html.card(words, state="bad"),
    lambda words: html.card("title", html.note(words)),
    lambda words: html.facts({words or "name": "value"}),
    lambda words: html.facts({"name": words or "value"}),
    lambda words: html.rows([words], [[1]]),
    lambda words: html.rows(["name"], [[words]], marks={words: "look"}),
    lambda words: html.table(pd.DataFrame({"name": [words], "other": [(words, words)]})),
    lambda words: html.steps([(words, words)]),
]
plain = st.text(st.characters(exclude_categories=["Cs", "Cc"])) | st.text("<>&\"'/= ab", min_size=1)


@given(plain, st.sampled_from(PIECES))
def test_no_text_becomes_markup(words: str, piece: Callable[[str], str]) -> None:
    shown, empty = Tags(piece(words)), Tags(piece("x"))

    assert shown.open == empty.open == []
    assert words in shown.text
    assert piece(words).count("<") == piece("x").count("<")


def test_numbers_stand_right_and_words_left() -> None:
    page = html.table(pd.DataFrame({"symbol": ["AAPL", None], "bars": [1234567, 2], "close": [1.5, np.nan]}))

    assert '<td style="text-align:left">AAPL</td>' in page
    assert '<td style="text-align:right">1,234,567</td>' in page
    assert page.count('<td style="text-align:right"></td>') == 1


def test_moments_are_not_broken() -> None:
    page = html.rows(["since"], [[datetime(2026, 11, 20, 14, 30, tzinfo=UTC)], [None]])

    assert '<td style="text-align:left;white-space:nowrap">2026-11-20 14:30</td>' in page


def test_a_long_table_is_cut_and_says_so() -> None:
    page = html.rows(["number"], [[at] for at in range(100)], most=10)

    assert page.count("<tr>") == 11
    assert "and 90 more" in page


def test_an_empty_table_is_none() -> None:
    assert html.table(pd.DataFrame({"a": []})) == html.facts({"a": "", "b": None, "c": ()}) == ""


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (datetime(2026, 11, 20, 14, 30, tzinfo=UTC), "2026-11-20 14:30"),
        (pd.Timestamp("2026-11-20 14:30Z"), "2026-11-20 14:30"),
        (date(2026, 11, 20), "2026-11-20"),
        (pd.NaT, ""),
        (np.int64(1000), "1,000"),
        (np.float64(0.5), "0.50"),
        (np.bool_(True), "yes"),
        (False, "no"),
        (["a", 1000], "a, 1,000"),
    ],
)
def test_values_read_as_people_write_them(value: object, words: str) -> None:
    assert html.text(value) == words

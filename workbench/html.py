"""What objects look like in a notebook: small pieces of HTML, for light and dark pages, with everything escaped.

A page's own colours are used where it names them, as JupyterLab does; no script, no picture, no address. The pieces are
made here and nowhere else, so that no text of IB's, of a file or of an error can become markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from html import escape
from numbers import Real
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd

State = Literal["good", "plain", "look", "bad"]

_COLOURS: Mapping[State, str] = {
    "good": "var(--jp-success-color1, #12907f)",
    "plain": "inherit",
    "look": "var(--jp-warn-color0, #b45309)",
    "bad": "var(--jp-error-color1, #d8404a)",
}
_FAINT = "var(--jp-ui-font-color2, #6b7280)"
_MOST_ROWS = 60


def card(title: str, *pieces: str, state: State = "plain") -> str:
    """Return pieces under a title, whose colour tells how things are."""
    colour = f";color:{_COLOURS[state]}" if state != "plain" else ""
    return f'<div><p style="margin:0 0 .3em;font-weight:600{colour}">{escape(title)}</p>{"".join(pieces)}</div>'


def facts(told: Mapping[str, object]) -> str:
    """Return names and what there is to say of them; those of which there is nothing are left out."""
    rows = "".join(
        f'<tr><td style="text-align:left;color:{_FAINT}">{escape(name)}</td>'
        f'<td style="text-align:left">{escape(text(value))}</td></tr>'
        for name, value in told.items()
        if text(value)
    )
    return f'<table style="margin:0 0 .5em">{rows}</table>' if rows else ""


def table(frame: pd.DataFrame, *, most: int = _MOST_ROWS, decimals: int = 2) -> str:
    """Return a frame without its index, as `rows` does."""
    return rows(frame.columns, zip(*(frame[name] for name in frame), strict=True), most=most, decimals=decimals)


def rows(
    names: Iterable[str],
    lines: Iterable[Sequence[object]],
    *,
    most: int = _MOST_ROWS,
    decimals: int = 2,
    marks: Mapping[str, State] = MappingProxyType({}),
) -> str:
    """Return a table: numbers to the right, words to the left; `most` lines and how many more. None is no table.

    Cells whose text is in `marks` have the colour of that state.
    """
    told = list(lines)
    if not told:
        return ""
    shown = told[:most]
    sides = [_side(column) for column in zip(*shown, strict=True)]
    head = "".join(_cell("th", str(name), side) for name, side in zip(names, sides, strict=True))
    body = "".join(
        f"<tr>{''.join(_cell('td', text(one, decimals), at, marks) for one, at in zip(line, sides, strict=True))}</tr>"
        for line in shown
    )
    more = note(f"and {len(told) - most:,} more") if len(told) > most else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def note(words: str, *, state: State = "plain") -> str:
    """Return a line of text."""
    colour = _FAINT if state == "plain" else _COLOURS[state]
    return f'<p style="margin:.2em 0;color:{colour}">{escape(words)}</p>'


def steps(lines: Iterable[tuple[str, str]]) -> str:
    """Return what may come next: code, and what it does."""
    rows = "".join(f"<li><code>{escape(code)}</code> {escape(words)}</li>" for code, words in lines)
    return f'<ul style="margin:.2em 0;color:{_FAINT}">{rows}</ul>' if rows else ""


def text(value: object, decimals: int = 2) -> str:
    """Return a value as people read it: moments to the minute, in UTC where they have a zone.

    >>> text(1234.5), text(1234567), text(float("nan")), text(True), text(("a", "b"))
    ('1,234.50', '1,234,567', '', 'yes', 'a, b')
    """
    item = getattr(value, "item", None)
    plain: Any = item() if callable(item) else value  # a scalar of numpy is one of Python's
    match plain:
        case None:
            return ""
        case bool():
            return "yes" if plain else "no"
        case str():
            return plain
        case datetime():
            return f"{plain:%Y-%m-%d %H:%M}" if plain == plain else ""
        case date():
            return f"{plain:%Y-%m-%d}"
        case int():
            return f"{plain:,}"
        case float():
            return f"{plain:,.{decimals}f}" if plain == plain else ""
        case list() | tuple() | set() | frozenset():
            return ", ".join(text(one, decimals) for one in plain)
    return str(plain)


def _cell(tag: str, words: str, side: str, marks: Mapping[str, State] = MappingProxyType({})) -> str:
    colour = f";color:{_COLOURS[marks[words]]}" if words in marks else ""
    return f'<{tag} style="text-align:{side}{colour}">{escape(words)}</{tag}>'


def _side(column: Iterable[object]) -> str:
    """Return how a column is aligned; moments are not broken into two lines."""
    told = [one for one in column if one is not None and one == one and one != ""]
    if told and all(isinstance(one, datetime) for one in told):
        return "left;white-space:nowrap"
    return "right" if told and all(isinstance(one, Real) and not isinstance(one, bool) for one in told) else "left"

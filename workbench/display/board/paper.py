"""A board as it was at one moment, for readers without a kernel: executed notebooks, HTML, paper."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from workbench.display.board.status import Status
from workbench.display.board.table import Cells, Column
from workbench.display.charts import DASH

_ARROWS = {1: "▲", -1: "▼", 0: ""}
_COLOURS = {"live": "#12907f", "calm": "#5d6675", "warn": "#b45309", "bad": "#d8404a"}


@dataclass(frozen=True, slots=True)
class BoardPicture:
    """Status, table, alerts and charts, as HTML that needs nothing but itself."""

    status: Status
    columns: Sequence[Column]
    rows: Sequence[Cells]
    alerts: Sequence[Mapping[str, str]]
    charts: Sequence[bytes]

    def __repr__(self) -> str:
        return f"<BoardPicture {self.status}>"

    def _repr_html_(self) -> str:
        parts = " · ".join(escape(part.text) for part in self.status.parts if part.text)
        colour = _COLOURS[self.status.level]
        head = f'<p style="margin:0 0 6px"><b style="color:{colour}">{escape(self.status.word)}</b> {parts}</p>'
        sentence = f'<p style="margin:0 0 6px;color:{colour}">{escape(self.status.sentence)}</p>'
        told = "".join(f"<li>{escape(one['time'])} {escape(one['text'])}</li>" for one in self.alerts)
        alerts = f'<ul style="margin:6px 0;padding-left:18px">{told}</ul>' if told else ""
        return (
            '<div style="font:12px/1.4 system-ui,sans-serif;font-variant-numeric:tabular-nums">'
            f"{head}{sentence if self.status.sentence else ''}{self._table()}{alerts}{self._pictures()}</div>"
        )

    def _table(self) -> str:
        if not self.rows:
            return ""
        groups = dict.fromkeys(column.group for column in self.columns if column.group)
        heads = "".join(f"<th>{escape(column.group)} {escape(column.label)}</th>" for column in self.columns)
        rows = "".join(
            "<tr>" + "".join(f"<td>{shown(column, cell)}</td>" for column, cell in zip(self.columns, row, strict=True))
            + "</tr>" for row in self.rows
        )  # fmt: skip
        caption = f"watchlist, readings at {', '.join(groups)}"
        return (
            f"<table><caption>{escape(caption)}</caption><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
        )

    def _pictures(self) -> str:
        pictures = "".join(
            f'<img alt="chart" style="width:49%;min-width:320px" src="data:image/png;base64,{_text(one)}">'
            for one in self.charts
        )
        return f'<div style="display:flex;flex-wrap:wrap;gap:1%">{pictures}</div>' if pictures else ""


def shown(column: Column, cell: object) -> str:
    """Return a cell as people read it.

    >>> shown(Column("turn 1day", "", "turn", ""), -1), shown(Column("last", "", "price", ""), 1234.5)
    ('▼', '1,234.50')
    """
    if cell is None:
        return DASH
    if column.kind == "turn":
        return _ARROWS[int(str(cell))]
    if isinstance(cell, str):
        return escape(cell)
    number = float(str(cell))
    match column.kind:
        case "price":
            return f"{number:,.{2 if number >= 1 else 4}f}"
        case "percent":
            return f"{number:+.2f}"
        case "signed":
            return f"{number:+.0f}" if number else ""
        case "age":
            return "&lt; 10 s" if number == 0 else f"{number:.0f} s"
        case "whole":
            return f"{number:.0f} %"
        case _:
            return f"{number:.0f}"


def _text(picture: bytes) -> str:
    return base64.b64encode(picture).decode("ascii")

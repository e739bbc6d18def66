"""What a board's own part of the page is: status line, buttons, table and alerts; an anywidget without libraries.

Its state is a few plain values. What changes is sent as one numbered message; a browser that has missed one, was
reloaded or is a second one asks for all of it. Nothing but the beat of the status is sent when nothing has changed, and
a browser that hears no beat says so.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from workbench.display.board.table import Cells, changes

_HERE = Path(__file__).parent

OnMessage = Callable[[Mapping[str, Any]], None]


class BoardPanel(anywidget.AnyWidget):
    """Status, buttons, table and alerts. Any thread may call `put` and `put_rows`.

    `on_message` is called with what a browser asks for, on any thread of the kernel: it must not take long.
    """

    state = traitlets.Unicode().tag(sync=True)
    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)

    def __init__(self, on_message: OnMessage = lambda _content: None, **fixed: Any) -> None:
        self._lock = threading.RLock()
        self._values: dict[str, Any] = dict(fixed)
        self._rows: dict[str, Cells] = {}
        self._number = 0
        self._on_asked = on_message
        self._done: deque[object] = deque(maxlen=100)
        self.is_shown = False
        super().__init__(_esm=_read("board.js"), _css=_read("board.css"))
        self.on_msg(self._on_message)

    def __repr__(self) -> str:
        return f"<BoardPanel of {len(self._rows)} symbols>"

    @property
    def number(self) -> int:
        """How many changes there were; a browser tells up to which it has come in `data-n`."""
        return self._number

    @property
    def values(self) -> dict[str, Any]:
        """What is shown beside the rows."""
        with self._lock:
            return dict(self._values)

    @property
    def rows(self) -> list[Cells]:
        """The rows of the table."""
        with self._lock:
            return [list(cells) for cells in self._rows.values()]

    def put(self, **values: Any) -> None:
        """Show other values; they are sent even when they are the same, as a sign of life."""
        with self._lock:
            self._values.update(values)
            self._tell(values)

    def put_rows(self, rows: Mapping[str, Cells], symbols: Sequence[str]) -> None:
        """Show these rows anew, and of all rows those of `symbols`, in that order; send what has changed."""
        with self._lock:
            before, after = self._rows, {**self._rows, **rows}
            self._rows = {symbol: after[symbol] for symbol in symbols if symbol in after}
            if list(before) != list(self._rows):
                self._tell({"rows": list(self._rows.values())})
                return
            cells = [
                [at, *changed]
                for at, symbol in enumerate(self._rows)
                if symbol in rows and (changed := changes(before[symbol], rows[symbol]))
            ]
            if cells:
                self._tell({"cells": cells})

    def _tell(self, message: dict[str, Any]) -> None:
        self._number += 1
        if self.is_shown:
            self.send({"n": self._number, **message})

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002
        """Return what a browser needs to show all that is there now; made when it asks."""
        state: dict[str, Any] = super().get_state(key, drop_defaults)
        if "state" in state:
            with self._lock:
                state["state"] = json.dumps(self._all())
        return state

    def _all(self) -> dict[str, Any]:
        return {"n": self._number, **self._values, "rows": list(self._rows.values())}

    def _on_message(self, _widget: object, content: Mapping[str, Any], _buffers: object) -> None:
        """Hear from a browser. Any thread of the kernel may be the one that hears."""
        kind = content.get("kind")
        with self._lock:
            if kind == "shown":
                self.is_shown = True
                if content.get("n") != self._number:
                    self.send({"all": self._all()})
            elif kind == "hidden":  # here; another browser may still show it, and says so
                self.is_shown = False
                self.send({"who": True})
        if kind not in ("shown", "hidden") and self._is_new(content.get("id")):
            self._on_asked(content)

    def _is_new(self, order: object) -> bool:
        """Confirm an order; return whether it came for the first time: a browser repeats what is not confirmed."""
        with self._lock:
            is_new = order is None or order not in self._done
            self._done.append(order)
            self.send({"done": order})
        return is_new


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")

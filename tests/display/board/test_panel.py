"""What a board sends. The comm is a fake that keeps what is sent; the widget is the real one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import comm
import pytest
from comm.base_comm import BaseComm
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.display.board.panel import BoardPanel


class KeptComm(BaseComm):
    """Keeps what is sent, until a browser takes it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.sent: list[dict[str, Any]] = []
        super().__init__(*args, **options)

    def publish_msg(self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **_: Any) -> None:
        if msg_type == "comm_msg" and data["method"] == "custom":
            self.sent.append(json.loads(json.dumps(data["content"])))


@pytest.fixture(autouse=True, scope="module")
def kept_comm() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comm, "create_comm", KeptComm)
        yield


class Browser:
    """Does what `board.js` does with messages."""

    def __init__(self, panel: BoardPanel) -> None:
        self.panel = panel
        self.state = json.loads(panel.get_state()["state"])
        self.say("shown")

    def say(self, kind: str, **more: Any) -> None:
        said = {"method": "custom", "content": {"kind": kind, "n": self.state["n"], **more}}
        self.panel.comm.handle_msg({"content": {"data": said}, "buffers": []})

    def take(self, lost: int = 0) -> None:
        """Take what was sent but for the first messages, which were lost; ask for all where one is missed."""
        while messages := self.panel.comm.sent[lost:]:
            self.panel.comm.sent.clear()
            lost = 0
            for message in messages:
                self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        if "all" in message:
            self.state = message["all"]
        elif "done" in message:
            pass
        elif "who" in message:
            self.say("shown")
        elif message["n"] == self.state["n"] + 1:
            for at, *pairs in message.pop("cells", []):
                for place, value in zip(pairs[::2], pairs[1::2], strict=True):
                    self.state["rows"][at][place] = value
            self.state.update(message)
        elif message["n"] > self.state["n"]:
            self.say("shown")


def test_the_state_is_all_that_a_browser_needs() -> None:
    panel = BoardPanel(selected="KO")
    panel.put_rows({"KO": [1, "KO", 5.0], "AAPL": [2, "AAPL", None]}, ["AAPL", "KO"])

    state = json.loads(panel.get_state()["state"])

    assert (state["rows"], state["selected"]) == ([[2, "AAPL", None], [1, "KO", 5.0]], "KO")
    assert panel.comm.sent == []


def test_only_cells_that_changed_are_sent() -> None:
    panel = BoardPanel()
    panel.put_rows({"KO": [1, "KO", 5.0], "AAPL": [2, "AAPL", 7.0]}, ["KO", "AAPL"])
    browser = Browser(panel)

    panel.put_rows({"KO": [1, "KO", 5.0], "AAPL": [2, "AAPL", 7.5]}, ["KO", "AAPL"])
    panel.put_rows({"KO": [1, "KO", 5.0]}, ["KO", "AAPL"])

    assert panel.comm.sent == [{"n": 2, "cells": [[1, 2, 7.5]]}]
    browser.take()
    assert browser.state["rows"] == [[1, "KO", 5.0], [2, "AAPL", 7.5]]


SYMBOLS = st.lists(st.sampled_from(["KO", "AAPL", "XOM", "JPM"]), unique=True)
STEP = st.one_of(
    st.tuples(st.just("rows"), SYMBOLS, st.integers(0, 3)),
    st.tuples(st.just("put"), st.sampled_from(["selected", "told"]), st.integers(0, 3)),
    st.tuples(st.just("take"), st.integers(0, 3)),
    st.tuples(st.just("hide")),
)


@settings(max_examples=150)
@given(st.lists(STEP, max_size=25))
def test_whatever_is_lost_a_browser_ends_with_what_the_kernel_has(steps: list[tuple[Any, ...]]) -> None:
    panel = BoardPanel(selected="", told="")
    browser, other = Browser(panel), None
    for step in steps:
        match step:
            case ("rows", symbols, value):
                panel.put_rows({one: [value, one, value % 2] for one in symbols}, [*symbols, "KO"])
            case ("put", name, value):
                panel.put(**{name: str(value)})
            case ("take", lost):
                browser.take(lost)
            case ("hide",):
                other = Browser(panel)
                other.say("hidden")  # this one still shows it

    panel.put(told="the end")  # the beat: what comes next tells that something was missed
    browser.take()

    assert browser.state == json.loads(panel.get_state()["state"])


def test_nothing_is_sent_to_nobody() -> None:
    panel = BoardPanel()
    browser = Browser(panel)
    browser.say("hidden")
    panel.comm.sent.clear()

    panel.put(told="?")

    assert panel.comm.sent == []


def test_what_a_browser_asks_for_is_handed_on_once_and_confirmed_each_time() -> None:
    asked: list[Any] = []
    panel = BoardPanel(asked.append)
    browser = Browser(panel)

    for number in (7, 7, 8, 7):
        browser.say("select", value="KO", id=number)

    assert [(one["kind"], one["id"]) for one in asked] == [("select", 7), ("select", 8)]
    assert panel.comm.sent == [{"done": 7}, {"done": 7}, {"done": 8}, {"done": 7}]

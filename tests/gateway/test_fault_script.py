from __future__ import annotations

import json
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.cli.gateway import gateway
from workbench.errors import GatewayError
from workbench.gateway import faults
from workbench.gateway.faults import (
    WEEKDAYS,
    Action,
    Bust,
    Close,
    ConnectivityLost,
    Corrupt,
    Delay,
    Fault,
    Refuse,
    Silence,
    Tell,
    Truncate,
    When,
)
from workbench.gateway.faults.connectivity import REASONS
from workbench.gateway.faults.script import action_names, format_faults, load_faults, parse_faults
from workbench.gateway.messages import ANSWER_NAMES, REQUEST_NAMES

HUGE = "9" * 400
EXAMPLE = """
[[fault]]                                   # the second answer
when = { message = "historicalData", symbol = "AAPL", nth = 2 }
action = { do = "truncate", keep = 0.5 }

[[fault]]
when = { after = 60 }
action = { do = "connectivity-lost", seconds = 20, streams = "dead" }

[[fault]]
when = { at = "2026-11-20T10:00", client = 3 }
action = { do = "bust", symbols = ["AAPL", "BRK B"] }

[[fault]]
action = { do = "silence" }
"""


def test_a_script_is_read_as_it_is_written() -> None:
    assert parse_faults(EXAMPLE) == [
        Fault(When("historicalData", symbol="AAPL", nth=2), Truncate(keep=0.5)),
        Fault(When(after=60), ConnectivityLost(seconds=20, streams="dead")),
        Fault(When(at=1_795_186_800.0, client=3), Bust(symbols=("AAPL", "BRK B"))),
        Fault(When(), Silence()),
    ]


def test_the_example_of_the_module_can_be_used() -> None:
    assert faults.__doc__ is not None
    example = faults.__doc__.partition("in a file:")[2].partition("`when`")[0]

    assert [type(it.action).__name__ for it in parse_faults(example)] == ["Truncate", "ConnectivityLost", "Refuse"]


@pytest.mark.parametrize("name", action_names())
def test_every_action_is_documented_with_its_arguments_and_their_defaults(name: str) -> None:
    assert faults.__doc__ is not None
    named = [
        it.name if it.default is MISSING else f"{it.name} = {json.dumps(it.default).replace('Infinity', 'inf')}"
        for it in fields(action_names()[name])
    ]

    assert f"    {name:<24}{', '.join(named)}".rstrip() in faults.__doc__.splitlines()


def test_every_reason_of_a_refusal_is_documented() -> None:
    words = set((faults.__doc__ or "").replace(",", " ").replace(";", " ").split())

    assert [name for name in REASONS if name not in words] == []


def test_the_help_of_the_command_names_every_action() -> None:
    words = set((gateway.__doc__ or "").replace(".", " ").split())

    assert [name for name in action_names() if name not in words] == []


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("[[fault]", "no TOML: .*line 1"),
        ("faults = 3", "'faults' is unknown"),
        pytest.param(f"fault = {HUGE * 13}", "no TOML", id="a number of too many digits"),
        pytest.param(f"fault = {'[' * 50_000}", "no TOML", id="lists in lists"),
        ("fault = '\ud800'", "each fault begins"),
        pytest.param(
            f"[[fault]]\nwhen = {{ after = {HUGE} }}\naction = {{ do = 'drop' }}", "after is inf", id="no float"
        ),
        pytest.param(
            f"[[fault]]\nwhen = {{ at = -{HUGE} }}\naction = {{ do = 'drop' }}",
            "it is a number",
            id="no negative float",
        ),
        ("fault = 3", r"begins with the line \[\[fault\]\]"),
        ("[[fault]]\nwhen = {}", "line 1: it needs an action"),
        ("\n\n[[fault]]\naction = { do = 'explode' }", "line 3: do = 'explode' is none of dribble, split"),
        ("[[fault]]\naction = { do = 'close' }\n[[fault]]\nwhere = 1\naction = { do = 'drop' }", "line 3: 'where'"),
        ("fault = [{ action = { do = 'nothing' } }]", "fault 1: do = 'nothing'"),
        ("[[fault]]\naction = { do = 'close', kept = 1 }", "line 1: action.kept is unknown; there are keep"),
        ("[[fault]]\naction = { do = 'corrupt' }", "action.field is missing"),
        ("[[fault]]\naction = { do = 'stall', seconds = 'long' }", "action.seconds is 'long'; it is a number"),
        ("[[fault]]\naction = { do = 'stall', seconds = nan }", "action.seconds is nan"),
        ("[[fault]]\naction = { do = 'split', size = 2.5 }", "action.size is 2.5; it is a whole number"),
        ("[[fault]]\naction = { do = 'split', size = true }", "action.size is True"),
        ("[[fault]]\naction = { do = 'truncate', honest = 1 }", "action.honest is 1; it is a truth value"),
        ("[[fault]]\naction = { do = 'bust', symbols = 'AAPL' }", "action.symbols is 'AAPL'; it is a list"),
        ("[[fault]]\naction = { do = 'farm-broken', farm = 'dairy' }", "'dairy'; it is one of market, historical"),
        ("[[fault]]\naction = { do = 'close', keep = 2 }", "keep is 2.0; give the share"),
        ("[[fault]]\naction = { do = 'silence', seconds = -1 }", "seconds is -1.0"),
        ("[[fault]]\naction = { do = 'refuse' }", "needs a request as its message"),
        (
            "[[fault]]\nwhen = { message = 'reqIds' }\naction = { do = 'refuse', reason = 'no' }",
            "or give code and text",
        ),
        ("[[fault]]\nwhen = { message = 'reqIds' }\naction = { do = 'refuse', text = 'no' }", "text 'no' needs a code"),
        ("[[fault]]\nwhen = { message = 'reqIds' }\naction = { do = 'refuse', code = -1 }", "code is -1"),
        ("[[fault]]\naction = { do = 'tell', text = 'no' }", "action.code is missing"),
        ("[[fault]]\naction = { do = 'tell', code = 0 }", "code is 0; IB's codes are positive"),
        ("[[fault]]\nwhen = { message = 'reqHistory' }\naction = { do = 'drop' }", "message 'reqHistory' is unknown"),
        ("[[fault]]\nwhen = { nth = 0 }\naction = { do = 'drop' }", "nth is 0; the first message is 1"),
        ("[[fault]]\nwhen = { symbol = 'AAPL' }\naction = { do = 'drop' }", "symbol and containing need a message"),
        ("[[fault]]\nwhen = { at = 'noon' }\naction = { do = 'drop' }", "'noon' is no time"),
        ("[[fault]]\nwhen = { after = 1, at = 5 }\naction = { do = 'drop' }", "exclude each other"),
        ("[[fault]]\nwhen = { daily = '25:00' }\naction = { do = 'drop' }", "daily '25:00' is no time of day"),
        ("[[fault]]\nwhen = { daily = '10:00', weekdays = 'Fry' }\naction = { do = 'drop' }", "weekdays 'Fry'"),
    ],
)
def test_a_script_that_cannot_be_used_says_where_and_why(script: str, complaint: str) -> None:
    with pytest.raises(GatewayError, match=complaint):
        parse_faults(script)


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    script = tmp_path / "script.toml"
    script.write_bytes(b"\xff")

    for path in (script, tmp_path / "none.toml"):
        with pytest.raises(GatewayError, match=rf"{path.name} cannot be read"):
            load_faults(path)
    script.write_text("[[fault]]")
    with pytest.raises(GatewayError, match=r"script\.toml cannot be used: line 1: it needs an action"):
        load_faults(script)


shares = st.floats(0, 1)
lengths = st.floats(0, 1e6) | st.just(float("inf"))
names = st.text(max_size=5)
codes = st.integers(1, 2**31 - 1)
whens = st.one_of(
    st.builds(
        When,
        message=st.sampled_from(sorted(REQUEST_NAMES | ANSWER_NAMES)),
        symbol=names,
        client=st.none() | st.integers(0, 99),
        containing=names,
        nth=st.integers(1, 9),
        times=st.integers(0, 9),
        after=st.none() | st.floats(0, 1e9),
    ),
    st.builds(When, at=st.floats(0, 1e12)),
    st.builds(
        When,
        daily=st.times().map(lambda it: f"{it:%H:%M}"),
        weekdays=st.lists(st.sampled_from(WEEKDAYS), unique=True).map(" ".join),
    ),
)
actions: st.SearchStrategy[Action] = st.one_of(
    st.builds(Truncate, keep=shares, honest=st.booleans()),
    st.builds(Close, keep=shares),
    st.builds(Corrupt, field=st.integers(-99, 99), text=st.text()),
    st.builds(Delay, seconds=lengths),
    st.builds(Bust, symbols=st.lists(names).map(tuple)),
    st.builds(
        ConnectivityLost,
        seconds=lengths,
        data=st.sampled_from(["maintained", "lost"]),
        streams=st.sampled_from(["alive", "dead"]),
    ),
    *[st.builds(kind) for kind in action_names().values() if kind not in (Corrupt, Refuse, Tell)],
    st.builds(Tell, code=codes, text=st.text()),
)
refused = st.builds(Refuse, st.sampled_from(sorted(REASONS))) | st.builds(Refuse, code=codes, text=st.text())
requested = st.builds(Fault, st.sampled_from(sorted(REQUEST_NAMES)).map(When), refused)


@given(st.lists(requested | st.builds(Fault, whens, actions), max_size=5))
def test_parsing_what_was_formatted_gives_the_same_script(script: list[Fault]) -> None:
    assert parse_faults(format_faults(script)) == script

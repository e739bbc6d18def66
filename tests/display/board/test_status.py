"""What the status line says, fact by fact."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.display.board.status import SILENT_S, Facts, judge_status

NOON = 1_795_194_000.0  # a session's, in New York
NIGHT = NOON + 12 * 3600
WELL = Facts(
    ("AAPL", "KO"),
    "built-in gateway (SIMULATED1)",
    recording=True,
    wanted=True,
    connected=True,
    now=NOON,
    rate=0.4,
    ages={"AAPL": 2.0, "KO": 4.0},
    silent_s=3.0,
    holders={"AAPL": "process 1 on here", "KO": "process 1 on here"},
    own="process 1 on here",
    lines=100,
    lines_used=2,
)
VIEWER = replace(WELL, viewer=True, recording=False, wanted=False, connected=False)


def test_a_board_that_records_and_lacks_nothing_is_live() -> None:
    status = judge_status(WELL)

    assert (status.level, status.word, status.sentence) == ("live", "live", "2 of 2 symbols have live bars.")
    assert str(status) == (
        "live · 2 of 2 symbols have live bars. · connected · built-in gateway: simulated data · "
        "Fri Nov 20 12:00:00 New York · 0.4 bars/s · oldest data 4 s · no holes · 2 of 100 lines · "
        "recorded by this kernel"
    )


def test_a_viewer_says_that_it_is_one_and_who_records() -> None:
    status = judge_status(VIEWER)

    assert (status.level, status.word) == ("live", "viewer")
    assert "viewer, no connection" in str(status)
    assert "≈ Fri Nov 20 12:00:00 New York" in str(status)
    assert "recorded by process 1 on here" in str(status)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (replace(WELL, connected=False, trouble="there is no connection to the gateway"), "There is no connection"),
        (replace(WELL, trouble="TWS or IB Gateway has lost IB", trouble_s=7.0), "has lost IB, 7 s so far"),
        (replace(WELL, recording=False, error="the database is full"), "has ended: the database is full. Press Start"),
        (replace(WELL, silent_s=20.0), "No bar for 20 s, though the market is open; the streams are requested again"),
        (replace(VIEWER, silent_s=9.0), "look there whether its gateway is reached"),
        (
            replace(VIEWER, holders={}, gone={"KO": "process 1 on here"}),
            "process 1 on here, has died. Start `workbench",
        ),
        (replace(WELL, stuck_s=9.0), "database has not answered for 9 s"),
        (replace(WELL, stopped="KeyError: 7"), "has stopped: KeyError: 7. Run its cell again"),
    ],
)
def test_what_is_wrong_is_red_and_has_a_next_step(facts: Facts, said: str) -> None:
    status = judge_status(facts)

    assert (status.level, status.word) == ("bad", "trouble")
    assert said in status.sentence


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (replace(WELL, refused={"KO": "no permission"}), "KO is refused: no permission"),
        (replace(WELL, holders={"AAPL": "process 1 on here"}), "Nobody records KO"),
        (replace(WELL, ages={"AAPL": 2.0, "KO": 40.0}), "No new bars of KO"),
        (replace(WELL, ages={"AAPL": 2.0, "KO": inf}), "No new bars of KO"),
        (replace(WELL, waiting=("AAPL", "KO")), "streams of AAPL, KO are not requested yet"),
        (replace(VIEWER, now=None, ages={"AAPL": inf, "KO": inf}), "No bar has come yet"),
        (replace(WELL, unfilled=2), "2 gaps could not be filled"),
        (replace(WELL, holes=1442), "bars of the session are missing, 1,442 so far; they are fetched"),
        (replace(WELL, history="history NOT JOINED: KO 1day: pacing"), "history NOT JOINED"),
    ],
)
def test_what_is_doubtful_is_said_though_bars_come(facts: Facts, said: str) -> None:
    status = judge_status(facts)

    assert status.level == "warn"
    assert said in status.sentence


@pytest.mark.parametrize("source", ["SIMULATED-1-R1", "IB"])
def test_between_sessions_silence_is_no_trouble_and_the_next_open_is_told(source: str) -> None:
    status = judge_status(replace(WELL, source=source, now=NIGHT, silent_s=5000.0, ages={"AAPL": 0.0, "KO": 0.0}))

    assert (status.level, status.word) == ("calm", "closed")
    assert status.sentence.startswith("The market is closed; it opens Mon 09:30 New York.")
    assert ('start = "2026-11-20T10:30" under [gateway]' in status.sentence) == (source == "SIMULATED-1-R1")


def test_silence_counts_from_the_open_on() -> None:
    opened = NOON - 2.5 * 3600

    assert judge_status(replace(WELL, now=opened + 4, silent_s=60_000.0)).level == "live"
    assert judge_status(replace(WELL, now=opened + 30, silent_s=60_000.0)).level == "bad"
    assert judge_status(replace(WELL, now=opened + 30, silent_s=60_000.0, speed=10.0)).level == "live"


def test_a_board_that_nobody_feeds_says_how_to_begin() -> None:
    idle = replace(WELL, recording=False, wanted=False, connected=False, holders={})

    assert judge_status(idle).sentence == "Nothing is recorded: press Start."
    assert "workbench live" in judge_status(replace(idle, viewer=True)).sentence
    assert judge_status(replace(idle, symbols=())).sentence.startswith("No symbols")


@given(
    st.builds(
        replace,
        st.just(WELL),
        connected=st.booleans(),
        recording=st.booleans(),
        viewer=st.booleans(),
        trouble=st.sampled_from(["", "IB's servers of history are away"]),
        silent_s=st.floats(0, 100),
        stuck_s=st.floats(0, 100),
        stopped=st.sampled_from(["", "KeyError"]),
        now=st.sampled_from([None, NOON, NIGHT]),
        source=st.sampled_from(["", "IB", "built-in gateway (SIMULATED1)", "replay (REPLAY7)"]),
        gone=st.sampled_from([{}, {"KO": "process 7"}]),
    )
)
def test_nothing_that_is_wrong_is_ever_green(facts: Facts) -> None:
    status = judge_status(facts)
    parts = {part.name: part for part in status.parts}

    if facts.stopped or facts.stuck_s > SILENT_S or (facts.recording and not facts.connected):
        assert status.level == "bad"
    if facts.now == NOON and facts.silent_s > 17:
        assert status.level == "bad"
    assert (status.level == "bad") == (status.word == "trouble") == bool(status.sentence and status.level == "bad")
    assert (parts["source"].level == "warn") == ("built-in" in facts.source or "replay" in facts.source)

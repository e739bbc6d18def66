"""`workbench check` and `workbench review` as their user has them: processes in a folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from workbench.cli import main
from workbench.market.coverage import Interval
from workbench.store.historical import HistoricalDataManager

AS_OF = "2026-11-01"


def workbench(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command without the settings of whoever runs the tests."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("WORKBENCH_", "DATABASE"))}
    return subprocess.run(
        [sys.executable, "-m", "workbench", *arguments],
        cwd=cwd,
        env=inherited | {"COLUMNS": "220"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def store_in(folder: Path) -> HistoricalDataManager:
    return HistoricalDataManager(folder / "data" / "demo" / "historical")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with simulated bars."""
    folder = tmp_path_factory.mktemp("desk")
    done = workbench(
        "backfill", "KO", "-t", "15min", "-t", "1hour", "-t", "1day", "--since", "2026-08-03", "--until", AS_OF,
        cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def test_sound_bars_give_exit_code_0(filled: Path) -> None:
    shown = workbench("check", "--as-of", AS_OF, cwd=filled)

    assert (shown.returncode, shown.stdout) == (0, "3 series checked, nothing found\n")


def test_what_is_wrong_is_told_with_exit_code_1_and_fetched_again_by_fix(filled: Path) -> None:
    store = store_in(filled)
    good = {name: store.load_bars("KO", name) for name in ("15min", "1hour", "1day")}
    day = Interval(datetime(2026, 9, 10, 13, 30, tzinfo=UTC), datetime(2026, 9, 10, 20, tzinfo=UTC))
    store.save_bars("KO", "15min", good["15min"].iloc[:0], covers=day)  # an answer that lost a session
    store.forget("KO", "1hour", Interval(day.begin + timedelta(days=4), day.end + timedelta(days=5)))
    wrong = good["1day"].loc["2026-10-06":"2026-10-06"]  # type: ignore[misc]
    store.save_bars("KO", "1day", wrong.assign(low=wrong["low"] * 0.93))

    found = workbench("check", "--as-of", AS_OF, cwd=filled)

    assert found.returncode == 1
    assert "3 series checked, 3 findings" in found.stdout
    assert "2026-09-10 lacks 26 of 26 bars" in found.stdout
    assert "2 sessions are not covered, 2026-09-14 09:30 to 2026-09-15 16:00" in found.stdout
    assert "2026-10-06" in found.stdout

    mended = workbench("check", "--as-of", AS_OF, "--fix", cwd=filled)

    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert mended.stdout.endswith("3 series checked, nothing found\n")
    for name, bars in good.items():
        pd.testing.assert_frame_equal(store.load_bars("KO", name), bars, check_exact=True)


def test_a_bar_that_was_held_back_and_comes_back_sound_needs_no_decision(filled: Path) -> None:
    store = store_in(filled)
    bars = store.load_bars("KO", "1day")
    at = bars.index[-15].to_pydatetime()
    odd = bars.loc[[at]].assign(high=999.0)
    store.save_bars("KO", "1day", odd, covers=Interval(at, at + timedelta(days=1)))
    assert workbench("check", "-t", "1day", "--as-of", AS_OF, cwd=filled).returncode == 1

    mended = workbench("check", "-t", "1day", "--as-of", AS_OF, "--fix", cwd=filled)

    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert workbench("review", cwd=filled).stdout == "No bars are held back.\n"
    pd.testing.assert_frame_equal(store.load_bars("KO", "1day"), bars, check_exact=True)


def test_bars_that_were_held_back_are_listed_and_decided(filled: Path) -> None:
    store = store_in(filled)
    bars = store.load_bars("KO", "1day")
    at = bars.index[-8].to_pydatetime()
    odd = bars.loc[[at]].assign(low=1.0)
    store.save_bars("KO", "1day", odd, covers=Interval(at, at + timedelta(days=1)))

    listed = workbench("review", cwd=filled)
    found = workbench("check", "KO", "--as-of", AS_OF, cwd=filled)
    accepted = workbench("review", "KO", "-t", "1day", "--at", f"{at:%Y-%m-%d}", "--accept", cwd=filled)
    after = workbench("check", "KO", "-t", "1day", "--as-of", AS_OF, cwd=filled)

    assert f"{at:%Y-%m-%d}" in listed.stdout
    assert "sticks out of the bars beside it" in listed.stdout
    assert found.returncode == 1
    assert "1 held back" in found.stdout
    assert (accepted.returncode, accepted.stdout) == (0, "1 bar of KO 1day accepted\n")
    assert after.returncode == 0
    assert store.load_bars("KO", "1day").loc[at, "low"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("check", "XYZ"), "nothing is stored of XYZ"),
        (("check", "../evil"), "is no symbol"),
        (("check", "-t", "15mins"), "did you mean 15min?"),
        (("check", "--since", "yesterday"), "'yesterday' is no date"),
        (("review", "--accept"), "say whose bars"),
        (("review", "KO", "-t", "1hour", "--accept"), "no bars of KO 1hour are held back"),
        (("review", "KO", "-t", "1day", "--accept", "--drop"), "accepted or dropped, not both"),
        (("check", "-t", "5sec"), "nothing of that is stored in data/demo/historical, so nothing was checked"),
    ],
)
def test_bad_input_is_one_clear_error(
    filled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...],
    said: str,
) -> None:  # fmt: skip
    for name in [name for name in os.environ if name.startswith(("WORKBENCH_", "DATABASE"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(filled)
    monkeypatch.setattr(sys, "argv", ["workbench", *arguments])

    with pytest.raises(SystemExit) as exit_:
        main()

    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1
    assert exit_.value.code == 2


@pytest.mark.parametrize("command", ["check", "review"])
def test_the_help_shows_an_example(tmp_path: Path, command: str) -> None:
    shown = workbench(command, "--help", cwd=tmp_path)

    assert f"Example: workbench {command}" in " ".join(shown.stdout.split())

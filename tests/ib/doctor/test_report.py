"""What the doctor keeps, and what it tells of the last time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from workbench.ib.doctor import Check, DoctorReport, State


def report(day: int, *answers: tuple[str, str], gateway: str = "127.0.0.1:7497") -> DoctorReport:
    checks = tuple(Check(name, State.OK, "found", answer=answer) for name, answer in answers)
    return DoctorReport(gateway, datetime(2026, 11, day, 12, tzinfo=UTC), checks)


def test_what_has_changed_since_the_gateways_last_report_is_told(tmp_path: Path) -> None:
    path = tmp_path / "data" / "doctor.jsonl"
    first = report(2, ("volume unit", "shares"), ("server version", "176"), ("market", "open")).kept(path)
    report(3, ("volume unit", "lots"), gateway="127.0.0.1:4001").kept(path)

    second = report(9, ("volume unit", "lots"), ("server version", "176"), ("market", "closed")).kept(path)

    assert first.changes == ()
    assert second.changes == ("changed since 2026-11-02: volume unit was shares, is lots",)
    assert second.changes[0] in repr(second)
    assert second.changes[0] in second._repr_html_()
    assert len(path.read_text().splitlines()) == 3


@pytest.mark.parametrize("now", ["history shares", "shares", ""])
def test_what_is_not_known_at_this_hour_has_not_changed(tmp_path: Path, now: str) -> None:
    report(2, ("volume unit", "shares"), ("15min bars", "")).kept(tmp_path / "doctor.jsonl")

    assert report(3, ("volume unit", now), ("15min bars", "09:30")).kept(tmp_path / "doctor.jsonl").changes == ()


@pytest.mark.parametrize("left", [b"", b"{cut off", b"\xff\xfe", b"[1]\n7\n"])
def test_a_file_that_is_damaged_tells_of_no_change_and_is_gone_on_with(tmp_path: Path, left: bytes) -> None:
    path = tmp_path / "doctor.jsonl"
    path.write_bytes(left)

    assert report(2, ("volume unit", "shares")).kept(path).changes == ()
    assert report(3, ("volume unit", "lots")).kept(path).changes

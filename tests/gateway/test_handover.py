from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from workbench.errors import GatewayError
from workbench.gateway.handover import ControlFile, control_file, left_ports, read_control_file


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "workbench"


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps others out by the profile folder, not by mode bits")
def test_the_file_can_be_read_by_its_user_only() -> None:
    control_file(4002).parent.mkdir()
    control_file(4002).touch(mode=0o666)  # left by another, or by a gateway that was killed

    path = ControlFile(5555, "secret").leave(4002)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()) == {"port": 5555, "token": "secret"}
    assert left_ports() == [4002]


def test_the_file_goes_with_its_gateway_from_port_to_port_and_away_with_it() -> None:
    file = ControlFile(5555, "secret")

    file.leave(4002)
    file.leave(4003)
    assert left_ports() == [4003]
    assert read_control_file(4003) == (5555, "secret")
    file.withdraw()
    assert left_ports() == []


def test_the_file_of_another_gateway_stays() -> None:
    first, second = ControlFile(5555, "first"), ControlFile(6666, "second")
    first.leave(4002)
    second.leave(4002)  # on another address of the machine

    first.withdraw()

    assert read_control_file(4002) == (6666, "second")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"port": null, "token": 1}'])
def test_a_file_that_is_damaged_is_no_gateway(text: str) -> None:
    ControlFile(1, "x").leave(4002).write_text(text)

    with pytest.raises(GatewayError, match="unreadable"):
        read_control_file(4002)


def test_a_file_that_is_gone_already_is_withdrawn_all_the_same() -> None:
    file = ControlFile(1, "x")
    file.leave(4002).unlink()

    file.withdraw()

    assert left_ports() == []

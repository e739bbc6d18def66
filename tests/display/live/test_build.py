"""What becomes of the build where the bundle cannot be made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workbench.display.live import assets
from workbench.display.live.build import bundle


def test_a_bundle_that_cannot_be_made_leaves_the_reason_and_nothing_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, built = tmp_path / "src", tmp_path / "static"
    source.mkdir()
    (source / "package.json").write_text(json.dumps({"name": "x", "dependencies": {"nothing": "file:./nowhere"}}))
    built.mkdir()
    (built / "chart.js").write_text("of an older version")
    monkeypatch.setattr(assets, "BUILT", built)

    problem = bundle(source, built)

    assert problem.startswith("npm ci failed: ")
    assert not (built / "chart.js").exists()
    assert assets.why_not().startswith(f"No live chart: {problem}. This picture stands still; ")


def test_what_is_bundled_is_named_with_its_version_and_checksum_and_with_no_address() -> None:
    folder = Path(assets.__file__).parent / "src"
    locked = json.loads((folder / "package-lock.json").read_text())["packages"]

    for name, version in json.loads((folder / "package.json").read_text())["dependencies"].items():
        assert locked[f"node_modules/{name}"]["version"] == version
    assert all(one["integrity"] and "resolved" not in one for name, one in locked.items() if name)


def test_none_of_the_library_s_code_is_in_the_repository() -> None:
    sources = (Path(assets.__file__).parent / "src").glob("*.js")

    assert all(len(source.read_text().splitlines()) < 300 for source in sources)

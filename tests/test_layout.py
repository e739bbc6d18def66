"""The project's own folder: what may lie at its top, so that a reader finds a thing where its name says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    *("pyproject.toml", "README.md", "notebooks", "workbench", "tests", "data", "papermill_runs"),
    *("Makefile", "LICENSE", "CONTRIBUTING.md", "CHANGELOG.md", "requirements.txt"),
}
_LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")


def committed() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no clone of the repository")
    return listed.stdout.splitlines()


def test_nothing_else_lies_at_the_top() -> None:
    top = {name.partition("/")[0] for name in committed()}
    assert {name for name in top if not name.startswith(".")} == ALLOWED


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "notebooks/guide.md"])
def test_every_link_of_a_text_leads_somewhere(name: str) -> None:
    page = ROOT / name
    for path, heading in _LINK.findall(page.read_text("utf-8")):
        target = page.parent / path if path else page
        assert target.exists(), path
        if heading:
            assert heading in {anchor(line) for line in target.read_text("utf-8").splitlines()}, heading


def anchor(line: str) -> str:
    """Return what a heading is known by in a link; empty when the line is none."""
    if not line.startswith("#"):
        return ""
    words = re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower())
    return words.replace(" ", "-")

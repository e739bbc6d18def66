"""The house rules of the curated notebooks, as checks; and each of them run by nbval."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.pipeline.notebooks import read_parameters

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def cells_of(path: Path) -> list[dict[str, object]]:
    return list(json.loads(path.read_text(encoding="utf-8"))["cells"])


def source_of(cell: dict[str, object]) -> str:
    return "".join(cell["source"])  # type: ignore[arg-type]


def test_there_are_notebooks() -> None:
    assert {path.stem for path in NOTEBOOKS} >= {"01-backfill-history", "02-explore-indicators"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestEveryNotebook:
    def test_is_named_by_number_verb_and_object(self, path: Path) -> None:
        assert re.fullmatch(r"\d\d-[a-z]+(-[a-z]+)+", path.stem)

    def test_carries_no_outputs(self, path: Path) -> None:
        for cell in cells_of(path):
            assert not cell.get("outputs")
            assert cell.get("execution_count") is None

    def test_begins_with_its_question_and_ends_with_where_to_go(self, path: Path) -> None:
        texts = [source_of(cell) for cell in cells_of(path) if cell["cell_type"] == "markdown"]

        assert texts[0].startswith("# ")
        assert "**The question:**" in texts[0]
        assert any(text.startswith("## What we found") for text in texts)
        assert texts[-1].startswith("## Where to go next")

    def test_declares_typed_parameters_with_help_in_its_first_code_cell(self, path: Path) -> None:
        first = next(cell for cell in cells_of(path) if cell["cell_type"] == "code")

        assert first["metadata"] == {"tags": ["parameters"]}
        assert all(one.type and one.help for one in read_parameters(path))

    def test_has_short_cells_each_after_a_sentence(self, path: Path) -> None:
        cells = cells_of(path)
        code = [cell for cell in cells if cell["cell_type"] == "code"]

        assert max(len(source_of(cell).splitlines()) for cell in code) <= 14
        assert sum(cell["cell_type"] == "markdown" for cell in cells) >= len(code) - 1

    def test_is_named_in_the_readme(self, path: Path) -> None:
        assert path.stem in (FOLDER.parent / "README.md").read_text(encoding="utf-8")


def test_nbval_runs_every_notebook_from_top_to_bottom(tmp_path: Path) -> None:
    """In one folder, in their order: what 01 stores, 02 reads."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("WORKBENCH_", "DATABASE_URL"))}

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-cell-timeout=200", "-q", "-p", "no:cacheprovider",
         "-c", os.devnull, "--rootdir", str(tmp_path), "--nbval-current-env", *map(str, NOTEBOOKS)],
        cwd=tmp_path, env=clean | {"WORKBENCH_DATA_DIR": str(tmp_path / "data")}, capture_output=True, text=True,
        timeout=280, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout[-3000:]
    assert not list(FOLDER.glob("data"))

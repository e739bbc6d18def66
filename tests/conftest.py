"""What tests share: where the real bars are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_bars() -> Path:
    """Return the folder of real market bars, or skip where the machine has none."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("WORKBENCH_TEST_BARS", default))
    if not (folder / "manifest.csv").is_file():
        pytest.skip(f"no real bars at {folder}; set WORKBENCH_TEST_BARS to the folder that holds manifest.csv")
    return folder

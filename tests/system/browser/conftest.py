"""A real Chromium, and where its pictures go."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    *("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run", "--disable-component-update"),
    *("--disable-background-networking", "--disable-sync"),
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Return a browser; of this module alone, for Playwright's event loop would be in the way of other tests."""
    path = find_chromium()
    if path is None:
        reason = "no Chromium here; install one (Debian: apt-get install chromium), or name it in WORKBENCH_CHROMIUM"
        (pytest.fail if os.environ.get("WORKBENCH_REQUIRE_CHROMIUM") else pytest.skip)(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where screenshots are kept: the folder that WORKBENCH_SCREENSHOTS names, else a temporary one."""
    named = os.environ.get("WORKBENCH_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def find_chromium() -> str | None:
    named = os.environ.get("WORKBENCH_CHROMIUM")
    return named or next((path for name in _NAMES if (path := shutil.which(name))), None)

"""The live chart as its user has it: in JupyterLab, in a real browser, on bars that the built-in gateway streams."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbconvert import HTMLExporter
from PIL import Image

from tests.system.browser.lab import running_lab
from tests.system.browser.window import Window, window_on
from workbench.display.live import assets
from workbench.display.live.chart import MOST
from workbench.display.theme import THEMES

CELLS = (
    "import workbench as wb\ndesk = wb.open()",
    "desk.backfill(['AAPL'], ['1min'], since='2026-11-19', progress=False)\ndesk.live.start(['AAPL'])",
    "chart = desk.chart('AAPL', '1min', live=True, last=150)\nchart",
)
FLOOD = """
last = int(chart.bars.index[-1].timestamp())
prices = {"open": 300.0, "high": 600.0, "low": 1.0, "forming": 0.0}
for first in (0, 200, 400):
    places = range(first, first + 200)
    chart.update([{**prices, "timestamp": last + 60 * (1 + at), "close": at - 99.5} for at in places])
"""
CHART = "document.querySelector('.workbench-chart')"
READY = f"{CHART}?.dataset.ready === 'yes'"


def test_a_live_chart_moves_follows_the_theme_and_survives_a_reload(
    tmp_path: Path, chromium: Any, pictures: Path
) -> None:
    if assets.why_not() and not os.environ.get("WORKBENCH_REQUIRE_CHROMIUM"):
        pytest.skip(assets.why_not())
    assert not assets.why_not()
    settings = {
        "WORKBENCH_DATA_DIR": str(tmp_path / "data"),
        "WORKBENCH_GATEWAY__SPEED": "20",
        "WORKBENCH_GATEWAY__START": "2026-11-20T10:30:00",
    }
    (tmp_path / "lab").mkdir()
    with running_lab(tmp_path / "lab", settings) as lab:
        lab.write("chart.ipynb", *CELLS)
        with window_on(lab, chromium, pictures) as window:
            window.open("chart.ipynb")
            window.run_all()
            window.wait_for(READY)
            moves(window)
            tells_the_bar_under_the_crosshair(window)
            draws_in_the_colours_of(window, "light")
            window.picture("live-chart-1280-light")
            window.set_style("dark")
            window.wait_for(f"{CHART}.dataset.style === 'dark' && {READY}")
            draws_in_the_colours_of(window, "dark")
            window.save()

        with window_on(lab, chromium, pictures, width=1920, height=1080) as window:
            window.open("chart.ipynb", style="dark")
            window.wait_for(READY)
            moves(window)
            window.picture("live-chart-1920-dark")
            shows_what_the_kernel_has(window)
            drops_old_bars(window)
            is_a_picture_on_paper(window, tmp_path / "lab")


def moves(window: Window) -> None:
    """Wait until a bar has been completed, and the next one forms."""
    first = shown(window)["last"]
    window.wait_for(f"{CHART}.dataset.updates > 3 && {CHART}.dataset.last > {first} && {CHART}.dataset.forming === '1'")
    assert window.page.locator("[data-part=pulse]").inner_text() == "live"
    assert window.page.locator("[data-part=source]").inner_text() == "simulated data"


def tells_the_bar_under_the_crosshair(window: Window) -> None:
    newest = window.page.locator("[data-part=when]").inner_text()
    assert newest.startswith("forming since Fri Nov 20 2026 10:")
    box = window.page.locator(".workbench-chart-panes").bounding_box()
    window.page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 100)
    window.wait_for(f"!{CHART}.querySelector('[data-part=when]').textContent.startsWith('forming')")
    legend = window.page.locator(".workbench-chart-legend").first.inner_text()
    assert all(word in legend for word in ("O ", "H ", "L ", "C ", "Vol ", "Bollinger 20, 2", "SMA 200")), legend
    window.page.mouse.move(box["x"] - 5, box["y"] - 5)
    window.wait_for(f"{CHART}.querySelector('[data-part=when]').textContent.startsWith('forming')")


def draws_in_the_colours_of(window: Window, style: str) -> None:
    """Look at the pixels: paper, bars that rise, bars that fall."""
    drawn = Image.open(io.BytesIO(window.page.locator(".workbench-chart-panes").screenshot())).convert("RGB")
    colours = {colour: count for count, colour in drawn.getcolors(1 << 24) or ()}
    theme = THEMES[style]
    for name, least in ((theme.paper, 10_000), (theme.up, 100), (theme.down, 100), (theme.fast, 20)):
        assert colours.get(tuple(bytes.fromhex(name[1:])), 0) > least, (style, name)


def shows_what_the_kernel_has(window: Window) -> None:
    """Compare the bars in the browser with those in the kernel when no more of them come."""
    window.ask("desk.live.stop(); desk.feed.close()")
    close, bars = json.loads(
        window.ask("import json; print(json.dumps([float(chart.bars['close'].iloc[-1]), len(chart.bars)]))")
    )
    window.wait_for(f"Number({CHART}.dataset.close) === {close!r}")
    assert bars <= int(shown(window)["bars"]) <= 1.2 * MOST  # old bars are dropped from time to time only
    window.wait_for(f"{CHART}.querySelector('[data-part=pulse]').textContent.startsWith('no live bar for')")


def drops_old_bars(window: Window) -> None:
    """Let days pass at once: what the browser keeps has an end."""
    window.ask(FLOOD)
    window.wait_for(f"Number({CHART}.dataset.close) === 499.5 && {READY}")
    assert MOST <= int(shown(window)["bars"]) <= 1.2 * MOST


def is_a_picture_on_paper(window: Window, folder: Path) -> None:
    """Export what was saved, and open it: no kernel, no other address."""
    exporter = HTMLExporter(mathjax_url="", require_js_url="", jquery_url="")
    exporter.config.NbConvertBase.display_data_priority = ["image/png", "text/html", "text/plain"]
    page, _ = exporter.from_notebook_node(nbformat.read(folder / "chart.ipynb", as_version=4))
    (folder / "chart.html").write_text(page, encoding="utf-8")
    window.page.goto((folder / "chart.html").as_uri())
    window.wait_for("document.querySelector('.jp-RenderedImage img').naturalWidth > 1000")


def shown(window: Window) -> dict[str, str]:
    return dict(window.page.evaluate(f"({{...{CHART}.dataset}})"))

"""A window of a real browser on JupyterLab: what a user would see and do, and nothing that is waited for by the clock.

Every address but this machine's is refused. When a window is closed, any request to another one fails the test, and so
does every error in the browser's console.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlparse

from tests.system.browser.lab import Lab

READY_MS = 60_000
_HARMLESS = ("favicon", "ResizeObserver loop")
"""Parts of messages in the console that say nothing about us."""


@dataclass
class Window:
    """A page of the browser, and what went wrong on it."""

    page: Any
    lab: Lab
    pictures: Path
    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def open(self, notebook: str, *, style: Literal["light", "dark"] = "light") -> Self:
        """Open a notebook in JupyterLab and wait until its kernel is idle; one that is open already is loaded anew."""
        self.page.goto(f"{self.lab.url}/lab/tree/{notebook}?token={self.lab.token}&reset")
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=READY_MS)
        self.set_style(style)
        self.wait_idle()
        return self

    def set_style(self, style: Literal["light", "dark"]) -> None:
        """Choose JupyterLab's theme."""
        theme = f"JupyterLab {style.title()}"
        self.page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", theme)
        self.page.wait_for_selector(f"body[data-jp-theme-name='{theme}']", state="attached", timeout=READY_MS)

    def wait_idle(self) -> None:
        """Wait until there is a kernel, and it has nothing to do."""
        self.page.wait_for_function(_IS_IDLE, timeout=READY_MS)

    def run_all(self) -> None:
        """Run all cells, all of them queued at once, and wait until they have run without an error."""
        self.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")
        self.page.wait_for_function(_ALL_RUN, timeout=READY_MS)
        failed = self.page.locator(
            ".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']"
        ).all_inner_texts()
        assert not failed, failed

    def save(self) -> None:
        """Save the notebook."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")

    def ask(self, code: str) -> str:
        """Run code in the notebook's kernel, beside its cells; return what it prints."""
        return str(self.page.evaluate(_ASK, code))

    def wait_for(self, condition: str) -> None:
        """Wait until a condition holds, in JavaScript."""
        self.page.wait_for_function(condition, timeout=READY_MS)

    def picture(self, name: str) -> Path:
        """Keep a screenshot."""
        path = self.pictures / f"{name}.png"
        self.page.screenshot(path=path)
        return path

    def assert_clean(self) -> None:
        """Fail on any request to another machine, and on every error in the console."""
        assert not self.outside, f"requests outside of this machine: {self.outside}"
        assert not self.errors, f"errors in the browser: {self.errors}"


_IS_IDLE = """() => window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"""
_ALL_RUN = r"""() => {
    const prompts = [...document.querySelectorAll('.jp-Notebook .jp-CodeCell .jp-InputPrompt')];
    return prompts.length > 0 && prompts.every((prompt) => /^\[\d+\]:$/.test(prompt.textContent.trim()));
}"""
_ASK = """async (code) => {
    let printed = '';
    const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;
    const asked = kernel.requestExecute({ code, store_history: false });
    asked.onIOPub = ({ header, content }) => {
        if (header.msg_type === 'stream') printed += content.text;
        if (header.msg_type === 'error') throw new Error(`${content.ename}: ${content.evalue}`);
    };
    await asked.done;
    return printed.trim();
}"""


@contextmanager
def window_on(lab: Lab, browser: Any, pictures: Path, *, width: int = 1280, height: int = 900) -> Iterator[Window]:
    """Open a window of the browser; it fails on requests outside and on errors when it is closed."""
    context = browser.new_context(viewport={"width": width, "height": height})
    window = Window(context.new_page(), lab, pictures)

    def judge(route: Any) -> None:
        if urlparse(route.request.url).hostname in ("127.0.0.1", "localhost", None):
            route.continue_()
        else:
            window.outside.append(route.request.url)
            route.abort()

    context.route("**/*", judge)
    window.page.on("console", lambda message: _note(window, message.type, message.text))
    window.page.on("pageerror", lambda error: _note(window, "error", str(error)))
    try:
        yield window
        window.assert_clean()
    except BaseException:
        window.picture("failed")
        raise
    finally:
        context.close()


def _note(window: Window, kind: str, text: str) -> None:
    if kind == "error" and not any(part in text for part in _HARMLESS):
        window.errors.append(text)

"""Errors in a real kernel: what is seen of them, and what is not touched."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

from workbench.errors import RunFailed
from workbench.pipeline.notebooks import run_notebook

NOTHING = 'def ask():\n    return desk.bars("KO", "1day")\n\nask()'


class Kernel:
    """A kernel of this interpreter, and what its cells show."""

    def __init__(self, folder: Path) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("WORKBENCH_", "DATABASE"))}
        self.manager = KernelManager(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
        self.manager.start_kernel(cwd=str(folder), env=clean | {"WORKBENCH_DATA_DIR": str(folder)})
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def run(self, code: str) -> str:
        """Return what a cell shows: its output and its error, without colours."""
        shown: list[str] = []

        def on_output(message: dict[str, Any]) -> None:
            content = message["content"]
            shown.extend(content["traceback"] if message["msg_type"] == "error" else [content.get("text", "")])

        self.reply = self.client.execute_interactive(code, timeout=60, output_hook=on_output)["content"]
        return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(filter(None, shown)))

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    one = Kernel(tmp_path_factory.mktemp("kernel"))
    one.run("import os, workbench as wb\nfrom IPython import get_ipython\nshell = get_ipython()")
    yield one
    one.close()


def test_an_error_of_ours_is_short_and_its_traceback_a_line_away(kernel: Kernel) -> None:
    kernel.run("desk = wb.open()")

    shown = kernel.run(NOTHING)

    assert shown.splitlines() == [
        'NothingStored: nothing is stored of KO 1day. To fetch it: desk.backfill("KO", "1day"), '
        "or workbench backfill KO -t 1day",
        'in line 2 of the cell: return desk.bars("KO", "1day")',
        "%tb shows the whole traceback",
    ]
    assert (kernel.reply["status"], kernel.reply["ename"]) == ("error", "NothingStored")
    assert kernel.reply["evalue"].startswith("nothing is stored of KO 1day")
    whole = kernel.run("%tb")
    assert "looking.py" in whole
    assert "ask()" in whole
    assert whole.count("\n") > 15
    assert "looking.py" in kernel.run("import traceback, sys; traceback.print_tb(sys.last_traceback)")
    # and after a note was added, in a coroutine, from a kernel that has closed its workbench
    shown = kernel.run("desk.close()\ntry:\n    ask()\nexcept Exception as e:\n    e.add_note('a <note>')\n    raise")
    assert shown.splitlines()[1:3] == ["a <note>", 'in line 2 of the cell: return desk.bars("KO", "1day")']
    assert len(kernel.run("import asyncio\nawait asyncio.sleep(0)\nask()").splitlines()) == 3


def test_other_exceptions_and_handlers_of_others_are_untouched(kernel: Kernel) -> None:
    kernel.run("shell.set_custom_exc((), None)")
    before = kernel.run("1 / 0")
    kernel.run("desk = wb.open()")

    assert "ZeroDivisionError" in before
    assert without_numbers(kernel.run("1 / 0")) == without_numbers(before)

    kernel.run("shell.set_custom_exc((KeyError,), lambda *_, **__: print('theirs'))\nwb.open().close()")
    assert kernel.run("{}['a']").strip() == "theirs"
    assert "looking.py" in kernel.run(NOTHING)
    kernel.run("shell.set_custom_exc((), None)")


def test_a_setting_leaves_all_as_it_was(kernel: Kernel) -> None:
    kernel.run("desk = wb.open()")  # short, from now on
    kernel.run("os.environ['WORKBENCH_SHORT_ERRORS'] = 'false'\ndesk = wb.open()")

    assert "looking.py" in kernel.run(NOTHING)
    kernel.run("del os.environ['WORKBENCH_SHORT_ERRORS']")


def test_settings_that_cannot_be_used_are_told_shortly(kernel: Kernel) -> None:
    shown = kernel.run("os.environ['WORKBENCH_IB__PORT'] = 'none'\nwb.open()")

    assert shown.startswith("InvalidSettings: settings (workbench.toml and WORKBENCH_ variables): ib.port:")
    assert len(shown.splitlines()) == 3
    kernel.run("del os.environ['WORKBENCH_IB__PORT']")


def without_numbers(shown: str) -> str:
    """Return a traceback without the number of its cell."""
    return re.sub(r"In\[\d+\]", "In[]", shown)


def test_a_headless_run_keeps_the_whole_traceback_and_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_DATA_DIR", str(tmp_path / "data"))
    cell = nbformat.v4.new_code_cell('import workbench as wb\nwb.open("built-in").bars("KO", "1day")')
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "fails.ipynb")

    with pytest.raises(RunFailed, match="NothingStored: nothing is stored of KO 1day") as caught:
        run_notebook(tmp_path / "fails.ipynb", {}, tmp_path / "runs")

    outputs = nbformat.read(caught.value.output, as_version=4).cells[-1].outputs
    assert (outputs[0].ename, outputs[0].evalue[:22]) == ("NothingStored", "nothing is stored of K")
    assert "looking.py" in "\n".join(outputs[0].traceback)

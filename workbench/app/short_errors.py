"""Errors of ours in a notebook: the cause, the next step and the line of the cell, instead of a page of traceback.

IPython is told how to show `WorkbenchError`, and nothing else: any other exception is shown as ever, `%tb` shows the
whole traceback, `%debug` goes into it, and whoever executes the notebook gets the error all the same. A handler that
somebody else has set stays. `short_errors = false` in `workbench.toml` leaves all as it was.
"""

from __future__ import annotations

import linecache
import sys
import traceback
from types import TracebackType
from typing import Any

from workbench.errors import WorkbenchError

_BOLD_RED, _FAINT, _PLAIN = "\x1b[1;31m", "\x1b[2m", "\x1b[0m"


def show_errors_shortly(*, wanted: bool = True) -> None:
    """Let the IPython that runs this, if one does, show our errors in a few lines from now on, or not any more."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None or (not (is_ours := _is_ours(shell)) and shell.custom_exceptions):
        return
    if wanted and not is_ours:
        shell.set_custom_exc((WorkbenchError,), _show)
    elif is_ours and not wanted:
        shell.set_custom_exc((), None)


def _is_ours(shell: Any) -> bool:
    return bool(shell.custom_exceptions == (WorkbenchError,))


def _show(
    shell: Any, kind: type[WorkbenchError], error: WorkbenchError, trace: TracebackType, tb_offset: int | None = None
) -> list[str]:
    """Show an error, and keep its traceback where `%tb` and `%debug` look for it."""
    del tb_offset
    sys.last_type, sys.last_value, sys.last_traceback = kind, error, trace
    sys.last_exc = error  # type: ignore[attr-defined]  # where Python 3.12 and later look
    lines = _short_lines(error, trace, shell.compile)
    shell._showtraceback(kind, error, lines)  # noqa: SLF001  the way of IPython's own handlers; it has no public one
    return lines


def _short_lines(error: WorkbenchError, trace: TracebackType | None, compiler: Any) -> list[str]:
    """Return what is shown: the error, its notes, the line of the cell that led to it, and how to see more."""
    lines = [f"{_BOLD_RED}{type(error).__name__}{_PLAIN}: {error}", *getattr(error, "__notes__", ())]
    cells = [
        (frame, number) for frame, number in traceback.walk_tb(trace) if _is_cell(frame.f_code.co_filename, compiler)
    ]
    if cells:
        frame, number = cells[-1]
        code = linecache.getline(frame.f_code.co_filename, number, frame.f_globals).strip()
        lines.append(f"{_FAINT}in line {number} of the cell: {code}{_PLAIN}")
    return [*lines, f"{_FAINT}%tb shows the whole traceback{_PLAIN}"]


def _is_cell(filename: str, compiler: Any) -> bool:
    """Whether code comes from a cell: IPython's compiler knows the names that it gave."""
    name = compiler.format_code_name(filename)
    return name is not None and name[0] in ("Cell", "Input")

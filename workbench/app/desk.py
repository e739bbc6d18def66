"""The workbench: settings in, parts out. The only place that wires everything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from workbench.app.keeping import Keeping
from workbench.app.looking import Looking
from workbench.app.screens import Screens
from workbench.app.short_errors import show_errors_shortly
from workbench.app.shown import show_desk
from workbench.ib.doctor import Check, DoctorReport, examine
from workbench.market.universe import Universe
from workbench.settings import Settings, load_settings

if TYPE_CHECKING:
    import pandas as pd


def open_workbench(
    gateway: str = "", *, data_dir: str | Path | None = None, settings: Settings | None = None
) -> Workbench:
    """Open a workbench with the settings of the working folder; use it as a context manager, or close it.

    `gateway` (`127.0.0.1:7497`, or `built-in`) and `data_dir` overrule the settings. Nothing is connected yet: the
    first use of `.ib` does that, and starts the built-in gateway when no other is configured. What is stored can be
    read without. In a notebook errors of ours are short from now on, and `%tb` shows the whole traceback, unless the
    settings say `short_errors = false`.
    """
    show_errors_shortly()  # those of the settings too
    settings = settings or load_settings(gateway=gateway, data_dir=data_dir)
    show_errors_shortly(wanted=settings.short_errors)
    return Workbench(settings, gateway=gateway)


class Workbench(Looking, Screens, Keeping):
    """The parts of a workbench: `.ib`, `.store`, `.db`, `.indicators`, `.live`, `.pipeline`; and the jobs over them."""

    def __repr__(self) -> str:
        connection = repr(self._ib) if self._ib else "not connected"
        return f"Workbench(data in {self.settings.market_dir}, {connection})"

    def _repr_html_(self) -> str:
        return show_desk(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def doctor(
        self,
        *,
        count_lines: bool = False,
        on_step: Callable[[str], None] = lambda _label: None,
        on_check: Callable[[Check], None] = lambda _check: None,
    ) -> DoctorReport:
        """Examine the gateway, over a connection of its own, and keep the answers in `doctor.jsonl` beside the data.

            desk.doctor()

        It takes half a minute while the market is open. See `workbench.ib.doctor.examine` for the arguments.
        """
        report = examine(
            self._manager().config,
            universe=self.universe,
            open_ledger=self._open_ledger,
            count_lines=count_lines,
            on_step=on_step,
            on_check=on_check,
        )
        if self.settings.uses_built_in_gateway:
            report = replace(report, gateway="built-in gateway")  # its port is another one each time
        return report.kept(self.settings.market_dir / "doctor.jsonl")


def load_current_universe() -> Universe:
    """Return the contracts of the universe, by symbol, with the settings of the working folder."""
    with open_workbench() as desk:
        return desk.universe


def fetch_current_watchlist() -> pd.DataFrame:
    """Return the watchlist, the first rank first, with the settings of the working folder."""
    with open_workbench() as desk:
        return desk.db.load_latest_watchlist()

"""Kernels that end with the page that they were started for.

Each visit of a Voila page has a kernel of its own. The server sees when the page's last connection closes: the page
was left, reloaded, or its browser is gone. No timer of the browser is asked, for those of hidden pages are let sleep.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.ioloop import IOLoop
from traitlets import Float, default


class VisitorKernels(AsyncMappingKernelManager):
    """Ends a kernel `away_s` after its page was left, and `arrive_s` after its start when no page has come."""

    away_s = Float(3.0, config=True)
    arrive_s = Float(300.0, config=True)

    async def start_kernel(self, **options: Any) -> str:  # type: ignore[override]  # as its own parent
        """Start a kernel, and wait for its page."""
        kernel_id: str = await super().start_kernel(**options)
        self._look_after(self.arrive_s, kernel_id)
        return kernel_id

    def notify_disconnect(self, kernel_id: str) -> None:
        """Hear that a connection has closed."""
        super().notify_disconnect(kernel_id)  # type: ignore[no-untyped-call]
        self._look_after(self.away_s, kernel_id)

    def cwd_for_path(self, path: str, **_: object) -> str:  # noqa: ARG002
        """Return where kernels work: where the command was given, for there its settings and data are found."""
        return str(Path.cwd())

    def _look_after(self, seconds: float, kernel_id: str) -> None:
        IOLoop.current().call_later(seconds, self._end_if_left, kernel_id)

    async def _end_if_left(self, kernel_id: str) -> None:
        if kernel_id in self and not self.kernel_model(kernel_id)["connections"]:  # type: ignore[no-untyped-call]
            await self.shutdown_kernel(kernel_id)  # type: ignore[no-untyped-call]


class ThisInterpreter(KernelSpecManager):
    """Knows one kernel: this very interpreter, whatever is called `python3` on the machine."""

    @default("kernel_dirs")
    def _search_nowhere(self) -> list[str]:
        return []

"""A thread with an event loop of its own.

ib_insync is not thread-safe, and it must be imported where an event loop was set: it lives here and nowhere else.
Cells, threads and other loops hand their coroutines in and wait.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from workbench.errors import Disconnected

T = TypeVar("T")

_SLICE_S = 0.2
_TELL_AGAIN_S = 5.0


def await_done(futures: Iterable[Future[Any]]) -> None:
    """Wait until all are done, in slices: some libraries (polars) leave a plain wait deaf to Ctrl-C."""
    while wait(futures, timeout=_SLICE_S).not_done:
        pass


class LoopThread:
    """A running event loop in a daemon thread."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name=name, daemon=True)
        self._submitting = threading.Lock()
        self._is_closing = False
        self._thread.start()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine on the loop. Raises `Disconnected` when the loop is being closed."""
        with self._submitting:  # whatever gets in before the closing is cancelled by it, and nothing is forgotten
            if not self._is_closing:
                running = self._until_closed(coroutine, lambda: future.cancelled())
                future = asyncio.run_coroutine_threadsafe(running, self._loop)
                return future
        coroutine.close()
        raise Disconnected("the connection is being closed; call connect()")

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for its result. Ctrl-C cancels it."""
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError("a blocking call on the IB thread would wait for itself; await the async twin")
        future = self.submit(coroutine)
        try:
            await_done([future])
        except BaseException:
            future.cancel()
            raise
        return future.result()

    def close(self) -> None:
        """Cancel what still runs, then end the loop and its thread."""
        with self._submitting:
            if self._is_closing:
                return
            self._is_closing = True
        asyncio.run_coroutine_threadsafe(_cancel_others(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _until_closed(self, coroutine: Coroutine[Any, Any, T], is_given_up: Callable[[], bool]) -> T:
        """Return what the coroutine does; where `close` ends it, raise what its caller, if he waits, can understand."""
        try:
            return await coroutine
        except asyncio.CancelledError:
            if self._is_closing and not is_given_up():
                raise Disconnected("disconnect() was called before the answer came") from None
            raise

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()


async def cancelled(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel tasks and wait until each has ended. One that lost a cancellation on its way is told again."""
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        ended, running = await asyncio.wait(running, timeout=_TELL_AGAIN_S)
        for task in ended:
            _ = task.cancelled() or task.exception()  # nobody else asks for it


async def _cancel_others() -> None:
    await cancelled(task for task in asyncio.all_tasks() if task is not asyncio.current_task())
    await asyncio.get_running_loop().shutdown_default_executor()

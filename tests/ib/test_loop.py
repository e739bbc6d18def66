"""The thread of the IB connection: what it says to those who wait, and to those who gave up."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from contextlib import suppress

import pytest

from workbench.errors import Disconnected
from workbench.ib import loop
from workbench.ib.loop import LoopThread


async def forever() -> None:
    await asyncio.Event().wait()


def test_a_caller_who_waits_is_told_that_the_connection_was_closed() -> None:
    thread = LoopThread("t")
    waiting = thread.submit(forever())

    thread.close()

    with pytest.raises(Disconnected, match="before the answer came"):
        waiting.result(timeout=5)


def test_giving_up_just_before_the_close_leaves_no_complaint_behind(caplog: pytest.LogCaptureFixture) -> None:
    thread = LoopThread("t")
    waiting = thread.submit(forever())
    thread.run(asyncio.sleep(0))
    thread._loop.call_soon_threadsafe(time.sleep, 0.1)  # both the giving up and the close come while the loop is busy

    with caplog.at_level(logging.ERROR, logger="asyncio"):
        waiting.cancel()
        thread.close()
        del waiting
        gc.collect()

    assert caplog.messages == []


def test_a_task_that_lost_a_cancellation_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_TELL_AGAIN_S", 0.01)

    async def deaf_once() -> None:
        with suppress(asyncio.CancelledError):
            await forever()
        await forever()

    thread = LoopThread("t")
    thread.submit(deaf_once())
    thread.run(asyncio.sleep(0))

    thread.close()  # and comes back

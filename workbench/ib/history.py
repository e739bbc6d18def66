"""Historical requests to IB, and what came of each.

ib_insync answers a time-out, a refusal and a message that it could not read alike: with an empty list, some of them
after a minute. So the answers are taken from its decoder as the fields that IB sent and read strictly here; and the
errors that IB tells about a request are kept with it. What comes of a request is its bars, or an `IBError` that says
what happened: `NoData` is IB's word that it has nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from workbench.errors import (
    Disconnected,
    IBError,
    InvalidBars,
    NoData,
    RequestTimeout,
    Unavailable,
    UnreadableAnswer,
)
from workbench.ib.codes import Reaction, explain
from workbench.ib.mailbox import Mailbox, goes_on
from workbench.ib.plan import HistoryRequest
from workbench.ib.translate import BAR_SIZES, format_end, is_confirmed_empty, to_error, to_ib_contract
from workbench.market.bars import COLUMNS, TIMESTAMP, VOLUME, to_table
from workbench.market.contracts import Contract
from workbench.market.timeframes import Timeframe

if TYPE_CHECKING:
    import ib_insync

_BARS_FROM = 5
"""The fields before the bars: message id, request id, begin, end, number of bars."""
_UNKNOWN_VOLUME = -1.0


class Note(NamedTuple):
    """What IB told about a request that it answered nevertheless."""

    code: int
    text: str


class Reply(NamedTuple):
    """The fields of an answer, and what IB told beside it."""

    fields: Sequence[str]
    notes: Sequence[Note]


class _Asked(NamedTuple):
    """A request under way."""

    what: str
    reply: asyncio.Future[Sequence[str]]
    notes: list[Note]

    def take(self, fields: Sequence[str]) -> None:
        """Take IB's answer."""
        if not self.reply.done():
            self.reply.set_result(fields)

    def hear(self, code: int, text: str) -> None:
        """Take what IB tells instead of an answer, or beside it."""
        if goes_on(code, text):
            self.notes.append(Note(code, text))
        elif is_confirmed_empty(code, text):
            self.fail(NoData(f"{self.what}: IB has none ({text})", code=code))
        else:
            self.fail(to_error(code, text, request=self.what))

    def fail(self, error: IBError) -> None:
        """End without an answer."""
        if not self.reply.done():
            self.reply.set_exception(error)


class Desk:
    """The requests under way on one connection, by their ids. It lives on the connection's loop."""

    def __init__(self, ib: ib_insync.IB, source: str) -> None:
        self.ib, self.source = ib, source
        self.mailbox = Mailbox(ib)
        self._asked: dict[int, _Asked] = {}

    @property
    def messages(self) -> int:
        """How many messages have come. Bytes do not count: after a broken length prefix they never become one."""
        return self.ib.client.connectionStats().numMsgRecv if self.ib.isConnected() else -1

    async def ask(
        self, send: Callable[[int], None], cancel: Callable[[int], None], *, what: str, timeout_s: float
    ) -> Reply:
        """Send a request under a new id and return IB's answer; raise an `IBError` when there is none.

        One that ends without an answer, by a time-out or because nobody waits any more, is cancelled at IB.
        """
        if not self.ib.isConnected():
            raise _disconnected(what)
        asked = _Asked(what, asyncio.get_running_loop().create_future(), [])
        number = self.mailbox.open(asked.take, asked.hear)
        self._asked[number] = asked
        try:
            send(number)
            async with asyncio.timeout(timeout_s):
                return Reply(await asked.reply, asked.notes)
        except TimeoutError as error:
            raise RequestTimeout(
                f"{what}: no answer within {timeout_s:g} s; ask for less, or try again later"
            ) from error
        finally:
            del self._asked[number]
            if self.mailbox.close(number) and asked.reply.cancelled():
                cancel(number)

    def end_all(self) -> None:
        """Fail every request under way: the connection has ended."""
        for asked in self._asked.values():
            asked.fail(_disconnected(asked.what))


def _disconnected(what: str) -> Disconnected:
    return Disconnected(f"{what}: the connection ended before the answer")


async def request_bars(
    desk: Desk, contract: Contract, request: HistoryRequest, *, what_to_show: str, use_rth: bool, timeout_s: float
) -> pd.DataFrame:
    """Return the bars that IB answers with, the forming one included; there is one at least.

    Its `attrs` tell the `source` of the connection, whether the newest bars are `delayed`, and `answer_s`, the seconds
    it took.
    """
    what = f"{what_to_show} {request.timeframe} bars of {contract.symbol}"
    client, asked_for = desk.ib.client, to_ib_contract(contract)

    def send(number: int) -> None:
        client.reqHistoricalData(
            number,
            asked_for,
            format_end(request.end),
            request.duration,
            BAR_SIZES[request.timeframe.name],
            what_to_show,
            use_rth,
            2,  # formatDate: instants; text stamps follow the time zone of TWS
            False,  # noqa: FBT003  keepUpToDate
            None,
        )

    clock = asyncio.get_running_loop()
    sent = clock.time()
    reply = await desk.ask(send, client.cancelHistoricalData, what=what, timeout_s=timeout_s)
    answer_s = clock.time() - sent
    bars = decode_bars(reply.fields, request.timeframe, what=what)
    delayed = any(_is_marked(note) for note in reply.notes)
    bars.attrs = {"source": desk.source, "delayed": delayed, "answer_s": answer_s}
    return bars


def _is_marked(note: Note) -> bool:
    row = explain(note.code, note.text)
    return row is not None and row.reaction is Reaction.MARKED


async def request_head_timestamp(
    desk: Desk, contract: Contract, *, what_to_show: str, use_rth: bool, timeout_s: float
) -> datetime:
    """Return the earliest instant of which IB has data."""
    what = f"head timestamp of {contract.symbol}"
    client, asked_for, answered = desk.ib.client, to_ib_contract(contract), list[int]()

    def send(number: int) -> None:
        client.reqHeadTimeStamp(number, asked_for, what_to_show, use_rth, 2)
        answered.append(number)

    reply = await desk.ask(send, client.cancelHeadTimeStamp, what=what, timeout_s=timeout_s)
    with suppress(ConnectionError):
        client.cancelHeadTimeStamp(answered[0])  # answered ones count among the 50 until they are cancelled, too
    try:
        return datetime.fromtimestamp(int(reply.fields[2]), UTC)
    except (IndexError, ValueError, OverflowError, OSError) as error:
        raise UnreadableAnswer(f"{what}: IB answered {list(reply.fields[2:])}, which is no instant") from error


def decode_bars(fields: Sequence[str], timeframe: Timeframe, *, what: str) -> pd.DataFrame:
    """Return the bars of an answer with historical data, as its fields came over the wire.

    IB marks what it does not know by -1 (the volume of quotes, a count) or 0 (the average price of an index): volume
    becomes 0, average and bar_count become NaN. Raises `UnreadableAnswer` when the number of fields is not that of the
    bars announced, when a field is no number, or when a bar breaks a rule of the data model: nothing of it is used.
    """
    try:
        bars = _decode(fields)
        to_table(bars, timeframe)
    except (InvalidBars, ValueError, IndexError, OverflowError) as error:
        raise UnreadableAnswer(f"{what}: IB's answer is broken and nothing of it was used ({error})") from error
    if bars.empty:
        raise Unavailable(f"{what}: IB answered without bars and without a reason")
    return bars


def _decode(fields: Sequence[str]) -> pd.DataFrame:
    values, number = fields[_BARS_FROM:], int(fields[_BARS_FROM - 1])
    width = 1 + len(COLUMNS)
    if len(values) != number * width:
        raise ValueError(f"{number} bars are announced, and {len(values)} fields come where a bar has {width}")
    columns = [_numbers(values[place::width]) for place in range(1, width)]
    bars = pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)), index=_stamps(values[::width]))
    bars[VOLUME] = bars[VOLUME].where(bars[VOLUME] != _UNKNOWN_VOLUME, 0.0)
    bars["average"] = bars["average"].where(bars["average"] > 0)
    bars["bar_count"] = bars["bar_count"].where(bars["bar_count"] >= 0)
    return bars


def _numbers(texts: Sequence[str]) -> np.ndarray:
    return np.asarray(pa.array(texts, pa.string()).cast(pa.float64()))


def _stamps(texts: Sequence[str]) -> pd.DatetimeIndex:
    """Return the bars' starts: instants as seconds, or a daily bar's date."""
    if all(len(text) == len("yyyymmdd") for text in texts):
        stamps = pd.to_datetime(list(texts), format="%Y%m%d").to_numpy()
    else:
        stamps = np.asarray(pa.array(texts, pa.string()).cast(pa.int64())).astype("datetime64[s]")
    return pd.DatetimeIndex(stamps, name=TIMESTAMP, tz="UTC").as_unit("us")

"""How much of what ib_insync can take the built-in gateway serves; `make bench` prints it.

The gateway runs in a process of its own. Beside each rate to the real ib_insync stands what its decoder takes of the
very same bytes, fed to it without a network, in the same run: the ratio of the two says whether the gateway or the
client is the bottleneck. Each figure is the median of some rounds, with the least and the most.
"""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from workbench.gateway.clock import GatewayClock
from workbench.gateway.serving import serve
from workbench.gateway.simulated import SimulatedTape
from workbench.gateway.simulated.table import Listing, listings
from workbench.gateway.wire import GREETING, FrameReader, encode, fields, frame

if TYPE_CHECKING:
    from ib_insync import IB, BarDataList, Stock

START = datetime(2026, 11, 20, 11, 0, tzinfo=ZoneInfo("America/New_York")).timestamp()
ROUNDS = 5
VERSION = 176
SPEED_OF_FLOOD = 1000.0
FLOODED, COPIES = 40, 10  # symbols of the flood and subscriptions to each: 80 000 bars a second are due
REQUESTS, DURATION, BARS = 12, "10 D", 3900
OPEN = 5  # historical requests at the same time


def synthetic(count: int) -> dict[str, Listing]:
    """Return a market of so many stocks, `S0000` and on: those of the table over and over."""
    stocks = [it for it in listings().values() if not it.is_index and it.instrument.currency == "USD"]
    market = {}
    for number in range(count):
        like, symbol = stocks[number % len(stocks)], f"S{number:04}"
        instrument = replace(like.instrument, con_id=10_000_000 + number, symbol=symbol, line="", isin="")
        market[symbol] = replace(like, instrument=instrument)
    return market


@dataclass(frozen=True)
class Served:
    """A gateway in another process."""

    port: int
    pid: int

    def cpu_s(self) -> float:
        """Return the processor time it has used, in seconds."""
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as stat:  # noqa: PTH123
            ticks = stat.read().rsplit(")", 1)[1].split()[11:13]
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Rates:
    """Bars a second: served to ib_insync, taken by its decoder; processor time a bar of either process, in µs."""

    served: list[float]
    limits: list[float]
    gateway_us: float
    client_us: float

    def print(self, name: str) -> None:
        ratios = [rate / limit for rate, limit in zip(self.served, self.limits, strict=True)]
        print(f"{name:48}{spread(self.served)}")
        print(f"{'  its decoder alone, same bytes':48}{spread(self.limits)}")
        print(f"{'  ratio (aim: 0.8 or more)':48}{spread(ratios, 2)}")
        print(f"{'  processor time a bar, µs':48}{self.gateway_us:>9.1f}  gateway, {self.client_us:.1f} ib_insync; "
              f"ratio of what they can {self.client_us / self.gateway_us:.2f}", flush=True)  # fmt: skip


@contextmanager
def gateway(symbols: int, speed: float) -> Iterator[Served]:
    """Run a gateway of so many synthetic symbols in another process."""
    command = [sys.executable, "-m", "tests.benchmarks.gateway", "serve", str(symbols), str(speed)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Served(int(process.stdout.readline()), process.pid)
    finally:
        process.communicate()


def run_gateway(symbols: int, speed: float) -> None:
    """Serve until standard input ends."""
    tape = SimulatedTape(1, market=synthetic(symbols))
    serve(
        tape,
        GatewayClock(START, speed),
        port=0,
        on_ready=lambda _, port: print(port, flush=True),
        until_stdin_closes=True,
    )


# A client that only counts


class Counter:
    """A raw socket that asks, and counts what comes."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = FrameReader(limit=1 << 30)
        self.ask(GREETING + frame(b"v157..176"))
        self.until(lambda payload: True)
        self.ask(encode(71, 2, 9, None))
        self.until(lambda payload: fields(payload)[0] == "9")

    def ask(self, data: bytes) -> None:
        self.socket.sendall(data)

    def until(self, wanted: Callable[[bytes], bool]) -> bytes:
        """Return the first wanted message."""
        while True:
            for payload in self.reader.frames():
                if wanted(payload):
                    return payload
            self.reader.feed(self.socket.recv(1 << 20))

    def count(self, seconds: float) -> tuple[int, float]:
        """Return how many live bars come in so many seconds, and how many seconds it were."""
        begin, bars = time.perf_counter(), 0
        self.socket.settimeout(seconds)
        while (left := seconds - (time.perf_counter() - begin)) > 0:
            self.socket.settimeout(left)
            try:
                self.reader.feed(self.socket.recv(1 << 20))
            except TimeoutError:
                break
            bars += sum(payload.startswith(b"50\x00") for payload in self.reader.frames())
        self.socket.settimeout(None)
        return bars, time.perf_counter() - begin

    def close(self) -> None:
        self.socket.close()


def contract(symbol: str) -> list[str]:
    return ["0", symbol, "STK", "", "0.0", "", "", "SMART", "", "USD", "", ""]


def history(req_id: int, symbol: str, size: str, duration: str) -> bytes:
    return encode(20, req_id, *contract(symbol), 0, "20261120-05:00:00", size, duration, 1, "TRADES", 2, 0, None)


def live_bars(req_id: int, symbol: str) -> bytes:
    return encode(50, 3, req_id, *contract(symbol), 5, "TRADES", 1, None)


# What the client's decoder takes, without a network


def decoding_ib() -> IB:
    """Return an IB whose client believes to be connected."""
    from ib_insync import IB

    ib = IB()
    ib.client._serverVersion = ib.client.decoder.serverVersion = VERSION
    ib.client.connState = ib.client.CONNECTED
    ib.client._apiReady = True
    return ib


def decoded_history(payloads: Sequence[bytes]) -> float:
    """Return how many historical bars a second the decoder takes."""
    from ib_insync import BarDataList

    ib = decoding_ib()
    for payload in payloads:
        ib.wrapper.startReq(int(fields(payload)[1]), None, BarDataList())
    data = b"".join(frame(payload) for payload in payloads)
    begin = time.perf_counter()
    ib.client._onSocketHasData(data)
    return len(payloads) * BARS / (time.perf_counter() - begin)


def decoded_live(payloads: Sequence[bytes]) -> float:
    """Return how many live bars a second the decoder takes, with handlers, in pieces as large as asyncio reads."""
    from ib_insync import RealTimeBarList

    ib = decoding_ib()
    for req_id in {int(fields(payload)[2]) for payload in payloads}:
        bars = RealTimeBarList()
        bars.updateEvent += lambda *_: None
        ib.wrapper.startSubscription(req_id, bars, None)
    data = b"".join(map(frame, payloads))
    begin = time.perf_counter()
    for first in range(0, len(data), 1 << 18):
        ib.client._onSocketHasData(data[first : first + (1 << 18)])
    return len(payloads) / (time.perf_counter() - begin)


# The measurements


@contextmanager
def connected(port: int) -> Iterator[tuple[IB, asyncio.AbstractEventLoop]]:
    from ib_insync import IB

    ib, loop = IB(), asyncio.get_event_loop_policy().get_event_loop()
    ib.client.MaxRequests = 0  # it would throttle itself
    loop.run_until_complete(ib.connectAsync("127.0.0.1", port, clientId=1, readonly=True))
    try:
        yield ib, loop
    finally:
        ib.disconnect()
        loop.run_until_complete(asyncio.sleep(0.05))


def served_history(served: Served) -> Rates:
    """Ask for much history at once."""
    from ib_insync import Stock

    symbols = [f"S{number:04}" for number in range(REQUESTS)]
    counter = Counter(served.port)
    payloads = []
    for number, symbol in enumerate(symbols):
        counter.ask(history(number + 1, symbol, "1 min", DURATION))
        payloads.append(counter.until(lambda payload: payload.startswith(b"17\x00")))
    counter.close()
    rates, bars = [], 0
    with connected(served.port) as (ib, loop):
        gateway_s, client_s = served.cpu_s(), time.process_time()
        for _ in range(ROUNDS):
            begin = time.perf_counter()
            answers = loop.run_until_complete(backfilled(ib, [Stock(it, "SMART", "USD") for it in 3 * symbols]))
            rates.append(sum(map(len, answers)) / (time.perf_counter() - begin))
            bars += sum(map(len, answers))
        gateway_s, client_s = served.cpu_s() - gateway_s, time.process_time() - client_s
    limits = [decoded_history(payloads) for _ in range(ROUNDS)]
    return Rates(rates, limits, gateway_s / bars * 1e6, client_s / bars * 1e6)


async def backfilled(ib: IB, contracts: Sequence[Stock]) -> list[BarDataList]:
    """Ask as a backfill does: the next request goes out while others are open."""
    places = asyncio.Semaphore(OPEN)

    async def asked(contract: Stock) -> BarDataList:
        async with places:
            return await ib.reqHistoricalDataAsync(
                contract, "20261120-05:00:00", DURATION, "1 min", "TRADES", True, 2
            )  # fmt: skip

    return await asyncio.gather(*map(asked, contracts))


def served_live(served: Served) -> Rates:
    """Let live bars flood the client."""
    from ib_insync import Stock

    symbols = [f"S{number % FLOODED:04}" for number in range(FLOODED * COPIES)]
    counter = Counter(served.port)
    counter.ask(b"".join(live_bars(number, symbol) for number, symbol in enumerate(symbols)))
    payloads = [counter.until(lambda payload: payload.startswith(b"50\x00")) for _ in range(50 * len(symbols))]
    counter.close()
    rates = []
    with connected(served.port) as (ib, loop):
        lists = [ib.reqRealTimeBars(Stock(symbol, "SMART", "USD"), 5, "TRADES", True) for symbol in symbols]
        for bars in lists:
            bars.updateEvent += lambda *_: None
        while not all(lists):
            loop.run_until_complete(asyncio.sleep(0.1))
        gateway_s, client_s, first = served.cpu_s(), time.process_time(), sum(map(len, lists))
        for _ in range(ROUNDS):  # short: what the client leaves unread is bounded
            before, begin = sum(map(len, lists)), time.perf_counter()
            loop.run_until_complete(asyncio.sleep(0.4))
            rates.append((sum(map(len, lists)) - before) / (time.perf_counter() - begin))
        bars = sum(map(len, lists)) - first
        gateway_s, client_s = served.cpu_s() - gateway_s, time.process_time() - client_s
    limits = [decoded_live(payloads) for _ in range(ROUNDS)]
    return Rates(rates, limits, gateway_s / bars * 1e6, client_s / bars * 1e6)


def day_of_minutes(port: int) -> list[float]:
    """Return how many milliseconds pass from a request for 390 one-minute bars to its whole answer."""
    counter, milliseconds = Counter(port), []
    for number in range(40):
        begin = time.perf_counter()
        counter.ask(history(number, f"S{number % 4:04}", "1 min", "1 D"))
        counter.until(lambda payload: payload.startswith(b"17\x00"))
        milliseconds.append((time.perf_counter() - begin) * 1000)
    counter.close()
    return milliseconds[4:]  # the first of each symbol makes its daily path


def load_of_counter(served: Served, symbols: int, due: float, seconds: float) -> tuple[float, str]:
    """Return the live bars a second to a client that only counts, and the gateway's share of a core."""
    counter = Counter(served.port)
    counter.ask(b"".join(live_bars(number, f"S{number:04}") for number in range(symbols)))
    counter.until(lambda payload: payload.startswith(b"50\x003\x00%d\x00" % (symbols - 1)))  # the last has begun
    while counter.count(5.0)[0] > 6 * due:  # what came due while so many were subscribed
        pass
    cpu = served.cpu_s()
    bars, passed = counter.count(seconds)
    busy = (served.cpu_s() - cpu) / passed
    counter.close()
    return bars / passed, f"the gateway uses {busy:.0%} of a core"


def load_of_ib_insync(served: Served, symbols: int, due: float, seconds: float) -> tuple[float, str]:
    """Return the live bars a second to ib_insync, and the client's share of a core."""
    from ib_insync import Stock

    with connected(served.port) as (ib, loop):
        lists = [ib.reqRealTimeBars(Stock(f"S{n:04}", "SMART", "USD"), 5, "TRADES", True) for n in range(symbols)]
        while not all(lists):
            loop.run_until_complete(asyncio.sleep(0.2))
        settled = False
        while not settled:
            before = sum(map(len, lists))
            loop.run_until_complete(asyncio.sleep(5.0))
            settled = sum(map(len, lists)) - before <= 6 * due
        cpu = time.process_time()
        before, begin = sum(map(len, lists)), time.perf_counter()
        loop.run_until_complete(asyncio.sleep(seconds))
        passed = time.perf_counter() - begin
        rate = (sum(map(len, lists)) - before) / passed
        return rate, f"the client uses {(time.process_time() - cpu) / passed:.0%} of a core"


def print_load(symbols: int, speed: float, seconds: float) -> None:
    with gateway(symbols, speed) as served:
        for name, measure in (("a counter", load_of_counter), ("ib_insync", load_of_ib_insync)):
            rate, busy = measure(served, symbols, symbols / 5 * speed, seconds)
            text = f"{symbols} symbols at {speed:g} x, bars/s to {name}"
            print(f"{text:48}{rate:>9,.0f}  of {symbols / 5 * speed:,.0f} due; {busy}", flush=True)


def spread(values: Sequence[float], digits: int = 0) -> str:
    middle, least, most = (f"{it:,.{digits}f}" for it in (statistics.median(values), min(values), max(values)))
    return f"{middle:>9}  ({least} to {most})"


def main() -> None:
    asyncio.set_event_loop(asyncio.new_event_loop())  # ib_insync looks for one when it is imported
    with gateway(FLOODED, SPEED_OF_FLOOD) as served:
        day = day_of_minutes(served.port)
        served_history(served).print("history bars/s to ib_insync")
        served_live(served).print("live bars/s to ib_insync")
    print(f"{'one day of one-minute bars, ms (aim: under 10)':48}{spread(day, 1)}")
    print_load(1000, 50.0, 5.0)
    print_load(5000, 1.0, 15.0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        run_gateway(int(sys.argv[2]), float(sys.argv[3]))
    else:
        main()

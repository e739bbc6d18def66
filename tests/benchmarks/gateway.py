"""How much of what ib_insync can take the built-in gateway serves; `make bench` prints it.

The gateway runs in a process of its own. Beside each rate to the real ib_insync stands what its decoder takes of such
bytes, fed to it without a network: the ratio of the two says whether the gateway or the client is the bottleneck. How
near the client's whole process, its sockets included, comes to a core of its own says the same. Rates are measured in
turns, each figure is the median of the rounds, with the least and the most.

By the clock that is true of a machine with nothing else to do: the gateway needs a core beside the client's. What other
programs used of it meanwhile stands at the end. The processor time of a bar says the same on a busy machine too.
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
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from workbench.gateway.clock import GatewayClock
from workbench.gateway.serving import serve
from workbench.gateway.simulated import SimulatedTape
from workbench.gateway.simulated.table import Listing, listings
from workbench.gateway.wire import GREETING, FrameReader, encode, fields, frame

if TYPE_CHECKING:
    from ib_insync import IB, BarDataList, Stock

START = datetime(2026, 11, 20, 9, 35, tzinfo=ZoneInfo("America/New_York")).timestamp()
"""Regular hours last for 23 seconds of the flood, which has a gateway of its own."""
ROUNDS = 5
VERSION = 176
SPEED_OF_FLOOD = 1000.0
FLOODED, COPIES = 40, 15  # symbols of the flood and subscriptions to each: 120 000 bars a second are due
FLOOD_S = 0.5  # short: who leaves 16 MB unread is dropped, and at worst a tenth of a kB comes for each bar due
REQUESTS, DURATION = 12, "10 D"  # symbols whose history is asked for, and how much at once
ENDS = [datetime(2026, 11, 20, 5, tzinfo=UTC) - timedelta(days=16 * number) for number in range(3 * ROUNDS)]
"""Of the intervals, newest first; no two overlap."""
FLOOD_DUE = FLOODED * COPIES * SPEED_OF_FLOOD / 5
PATIENCE_S = 1.0  # until the flood has reached every subscription
SETTLING_S = 60.0  # until the load of many symbols is steady
OPEN = 5  # historical requests at the same time
GATEWAYS_S: list[float] = []
"""Processor time of the gateways that have ended."""
BUSY = 0.1  # share of the machine that other programs may use before the times of a run say little


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
        return _cpu_s(self.pid)


def _cpu_s(pid: int) -> float:
    ticks = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


@dataclass
class Machine:
    """What others use of the machine: all of it that neither this process nor the gateways use."""

    begin: float = field(default_factory=time.perf_counter)
    used_s: float = field(default_factory=lambda: -Machine.busy_s()[0])
    stolen_s: float = field(default_factory=lambda: -Machine.busy_s()[1])
    own_s: float = field(default_factory=lambda: -time.process_time())

    @staticmethod
    def busy_s() -> tuple[float, float]:
        """Return the seconds that all cores were busy, and those that the machine's host kept for others."""
        columns = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
        user, nice, system, _idle, _wait, irq, soft, steal = map(int, columns[:8])
        tick = os.sysconf("SC_CLK_TCK")
        return (user + nice + system + irq + soft) / tick, steal / tick

    def print(self, gateways_s: float) -> None:
        """Say whether the figures by the clock can be relied on."""
        machine_s = (time.perf_counter() - self.begin) * (os.cpu_count() or 1)
        used, stolen = self.busy_s()
        others = (self.used_s + used - self.own_s - time.process_time() - gateways_s) / machine_s
        stolen = (self.stolen_s + stolen) / machine_s
        text = f"other programs used {others:.0%} of {os.cpu_count()} cores, the host kept {stolen:.0%}"
        quiet = others + stolen < BUSY
        print(f"{'the machine was ' + ('quiet' if quiet else 'BUSY'):48}{text}; load {os.getloadavg()[0]:.1f}"
              + ("" if quiet else ": go by the processor time"), flush=True)  # fmt: skip


@dataclass
class Rounds:
    """Bars a second, served to ib_insync and taken by its decoder; processor time a bar of either process, in µs."""

    served: list[float] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)
    gateway_us: list[float] = field(default_factory=list)
    client_us: list[float] = field(default_factory=list)

    @contextmanager
    def round(self, gateway: Served, bars: Callable[[], int]) -> Iterator[None]:
        """Measure what is served meanwhile; `bars` counts what has come so far."""
        gateway_s, client_s, first, begin = gateway.cpu_s(), time.process_time(), bars(), time.perf_counter()
        yield
        passed, count = time.perf_counter() - begin, bars() - first
        if not count:  # the machine is so busy that a tick of the flood takes longer than this round
            return
        self.served.append(count / passed)
        self.client_us.append((time.process_time() - client_s) / count * 1e6)
        self.gateway_us.append((gateway.cpu_s() - gateway_s) / count * 1e6)

    def print(self, name: str) -> None:
        if not self.served:
            print(f"{name:48}not measured: the machine is too busy", flush=True)
            return
        by_clock = statistics.median(self.served) / statistics.median(self.limits)
        gateway_us, client_us = statistics.median(self.gateway_us), statistics.median(self.client_us)
        print(f"{name:48}{spread(self.served)}")
        print(f"{'  its decoder alone':48}{spread(self.limits)}")
        print(f"{'  ratio of the medians (aim: 0.8 or more)':48}{by_clock:>9.2f}")
        whole = statistics.median(self.served) * client_us / 1e6
        print(f"{'  share of its process, sockets and all (0.8)':48}{whole:>9.2f}")
        print(f"{'  processor time a bar, µs':48}{gateway_us:>9.1f}  gateway, {client_us:.1f} ib_insync; "
              f"ratio of what they can {client_us / gateway_us:.2f}", flush=True)  # fmt: skip


@contextmanager
def gateway(symbols: int, speed: float) -> Iterator[Served]:
    """Run a gateway of so many synthetic symbols in another process."""
    command = [sys.executable, "-m", "tests.benchmarks.gateway", "serve", str(symbols), str(speed)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield (served := Served(int(process.stdout.readline()), process.pid))
        GATEWAYS_S.append(served.cpu_s())
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
            if not (data := self.socket.recv(1 << 20)):
                raise ConnectionError("the gateway has hung up")
            self.reader.feed(data)

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


def history(req_id: int, symbol: str, size: str, duration: str, end: datetime = ENDS[0]) -> bytes:
    return encode(20, req_id, *contract(symbol), 0, text_of(end), size, duration, 1, "TRADES", 2, 0, None)


def text_of(end: datetime) -> str:
    return f"{end:%Y%m%d-%H:%M:%S}"


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
    return sum(int(fields(payload)[4]) for payload in payloads) / (time.perf_counter() - begin)


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


def served_history(served: Served) -> tuple[Rounds, Rounds]:
    """Ask for much history, back in time as a backfill does, and for the same once more; both in turns."""
    from ib_insync import Stock

    symbols = [f"S{number:04}" for number in range(REQUESTS)]
    counter, payloads = Counter(served.port), []
    for number, symbol in enumerate(symbols):  # of an interval that is not measured; it makes the daily paths
        counter.ask(history(number + 1, symbol, "1 min", DURATION, ENDS[-1] - timedelta(days=16)))
        payloads.append(counter.until(lambda payload: payload.startswith(b"17\x00")))
    counter.close()
    fresh, again, came = Rounds(), Rounds(), [0]
    with connected(served.port) as (ib, loop):
        for number in range(ROUNDS):
            ends = ENDS[3 * number : 3 * number + 3]
            wanted = [(Stock(symbol, "SMART", "USD"), end) for end in ends for symbol in symbols]
            for rounds in (fresh, again):
                with rounds.round(served, lambda: sum(came)):
                    came.append(sum(map(len, loop.run_until_complete(backfilled(ib, wanted)))))
                rounds.limits.append(decoded_history(payloads))
    return fresh, again


async def backfilled(ib: IB, wanted: Sequence[tuple[Stock, datetime]]) -> list[BarDataList]:
    """Ask as a backfill does: the next request goes out while others are open."""
    places = asyncio.Semaphore(OPEN)

    async def asked(contract: Stock, end: datetime) -> BarDataList:
        async with places:
            return await ib.reqHistoricalDataAsync(contract, text_of(end), DURATION, "1 min", "TRADES", True, 2)

    return await asyncio.gather(*(asked(*it) for it in wanted))


def served_live(served: Served) -> Rounds:
    """Let live bars flood the client; more than `FLOOD_DUE` a second cannot come."""
    from ib_insync import Stock

    payloads = flood(served, FLOODED * COPIES, 50)
    rounds = Rounds()
    for _ in range(ROUNDS):
        with connected(served.port) as (ib, loop):
            lists = [
                ib.reqRealTimeBars(Stock(flooded(it), "SMART", "USD"), 5, "TRADES", True)
                for it in range(FLOODED * COPIES)
            ]
            for bars in lists:
                bars.updateEvent += lambda *_: None
            if waited(loop, lambda lists=lists: all(lists), PATIENCE_S, every=0.02):
                with rounds.round(served, lambda lists=lists: sum(map(len, lists))):
                    loop.run_until_complete(asyncio.sleep(FLOOD_S))
        rounds.limits.append(decoded_live(payloads))
    return rounds


def waited(loop: asyncio.AbstractEventLoop, true: Callable[[], bool], seconds: float, *, every: float) -> bool:
    """Let the client live until something is true; return whether it came true in so many seconds."""
    until = time.perf_counter() + seconds
    while not (done := true()) and time.perf_counter() < until:
        loop.run_until_complete(asyncio.sleep(every))
    return done


def flooded(number: int) -> str:
    return f"S{number % FLOODED:04}"


def flood(served: Served, subscriptions: int, bars: int) -> list[bytes]:
    """Return so many live bars of each subscription."""
    counter = Counter(served.port)
    counter.ask(b"".join(live_bars(number, flooded(number)) for number in range(subscriptions)))
    payloads = [counter.until(lambda payload: payload.startswith(b"50\x00")) for _ in range(bars * subscriptions)]
    counter.close()
    return payloads


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
    until = time.perf_counter() + SETTLING_S
    while counter.count(5.0)[0] > 6 * due and time.perf_counter() < until:  # what came due while so many began
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
        if not waited(loop, lambda: all(lists), SETTLING_S, every=0.2):
            return 0.0, f"not measured: {sum(map(bool, lists))} of {symbols} had bars after {SETTLING_S:.0f} s"
        until, settled = time.perf_counter() + SETTLING_S, False
        while not settled and time.perf_counter() < until:
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
    machine = Machine()
    with gateway(REQUESTS, 1.0) as served:
        day = day_of_minutes(served.port)
        for rounds, name in zip(served_history(served), ("", ", asked for again"), strict=True):
            rounds.print(f"history bars/s to ib_insync{name}")
    with gateway(FLOODED, SPEED_OF_FLOOD) as served:
        served_live(served).print(f"live bars/s to ib_insync, {FLOOD_DUE:,.0f} due")
    print(f"{'one day of one-minute bars, ms (aim: under 10)':48}{spread(day, 1)}")
    print_load(1000, 50.0, 5.0)
    print_load(5000, 1.0, 15.0)
    machine.print(sum(GATEWAYS_S))


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        run_gateway(int(sys.argv[2]), float(sys.argv[3]))
    else:
        main()

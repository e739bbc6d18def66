"""Hostile peers: the gateway lives, its memory stays, and a well-behaved real ib_insync notices nothing.

The gateway runs in a process of its own, so that its memory is its own; the good client works during every attack.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import pairwise
from pathlib import Path

import pytest

from workbench.gateway import peers
from workbench.gateway import server as shell
from workbench.gateway.clock import GatewayClock
from workbench.gateway.process import GatewayProcess
from workbench.gateway.serving import running
from workbench.gateway.simulated import SimulatedTape
from workbench.gateway.wire import GREETING, MAX_FRAME, encode, frame

AAPL = ("0", "AAPL", "STK", "", "0.0", "", "", "SMART", "", "USD", "", "")
HELLO = GREETING + frame(b"v157..176")
MIB = 1 << 20
NOON = 1_795_194_002.0  # Friday 2026-11-20 12:00:02 in New York

Attack = Callable[[tuple[str, int]], None]


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewayProcess]:
    process = GatewayProcess(["--start", "2026-11-20T10:00", "--speed", "100"])
    yield process
    process.close()


def memory_of(process: GatewayProcess, field: str = "VmRSS") -> int:
    """Return the memory of a gateway in bytes; `VmHWM` is the most that it ever had."""
    status = Path(f"/proc/{process._process.pid}/status")
    if not status.exists():
        pytest.skip("the memory of another process is read from /proc, which this system has not")
    return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith(field))


def dial(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, timeout=10)


def hurl(address: tuple[str, int], data: bytes) -> None:
    """Send bytes, and wait until they are hung up on."""
    with dial(address) as peer, suppress(ConnectionError):
        peer.sendall(data)
        while peer.recv(65_536):
            pass


def send_garbage(address: tuple[str, int]) -> None:
    dice = random.Random(1)
    for _ in range(200):
        hurl(address, dice.randbytes(dice.randrange(1, 5000)) + b"\xff" * 5)
        hurl(address, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")


def announce_huge_messages(address: tuple[str, int]) -> None:
    for _ in range(100):
        hurl(address, GREETING + b"\xff\xff\xff\xff")
        hurl(address, HELLO + (5000).to_bytes(4, "big"))
        hurl(address, HELLO + encode(71, 2, 77, None) + (MAX_FRAME + 1).to_bytes(4, "big"))


def fill_the_largest_messages_and_never_end_them(address: tuple[str, int]) -> None:
    with ExitStack() as stack:
        for number in range(25):
            peer = stack.enter_context(dial(address))
            peer.sendall(HELLO + encode(71, 2, 100 + number, None))
            with suppress(ConnectionError):
                peer.sendall(MAX_FRAME.to_bytes(4, "big") + b"1" * (MAX_FRAME - 1))


def connect_ten_thousand_times(address: tuple[str, int]) -> None:
    for number in range(10_000):
        with dial(address) as peer:
            if number % 3 == 0:
                peer.sendall(GREETING)


def keep_idle_connections(address: tuple[str, int]) -> None:
    with ExitStack() as stack:
        for number in range(600):
            peer = stack.enter_context(dial(address))
            with suppress(ConnectionError):
                peer.sendall((b"", GREETING, HELLO)[number % 3])


def ask_for_much_and_read_nothing(address: tuple[str, int]) -> None:
    request = encode(20, 1, *AAPL, 0, "20261119-21:00:00", "5 secs", "15 D", 1, "TRADES", 2, 0, None)
    with ExitStack() as stack:
        for number in range(4):
            peer = stack.enter_context(dial(address))
            peer.sendall(HELLO + encode(71, 2, 200 + number, None))
            peer.settimeout(0.2)
            with suppress(TimeoutError, ConnectionError):
                peer.sendall(request * 5000)
        for number in range(3):  # each would be 1.7 million bars
            hurl(address, HELLO + encode(71, 2, 300 + number, None) + longest_request() + encode(25, 1, "x"))


def longest_request() -> bytes:
    return encode(20, 2, *AAPL, 0, "", "5 secs", "365 D", 0, "TRADES", 2, 0, None)


def pass_every_number_there_is(address: tuple[str, int]) -> None:
    dice = random.Random(2)
    for number in range(300):
        texts = [str(dice.choice([dice.randrange(-1, 110), 10**30, "", "nan", "AAPL", "-1"])) for _ in range(20)]
        hello = HELLO + encode(71, 2, 400 + number, None)
        hurl(address, hello + encode(dice.randrange(110), *texts) + encode(25, 1, "x"))


ATTACKS: list[Attack] = [
    send_garbage,
    announce_huge_messages,
    fill_the_largest_messages_and_never_end_them,
    connect_ten_thousand_times,
    keep_idle_connections,
    ask_for_much_and_read_nothing,
    pass_every_number_there_is,
]


async def work_during(attack: Attack, address: tuple[str, int]) -> tuple[int, list[int]]:
    """Stream and ask for history while an attack lasts; return how often it was answered, and the streamed starts."""
    from ib_insync import IB, Stock  # where a loop runs: it looks for one when it is imported

    ib, answered = IB(), 0
    await ib.connectAsync(*address, clientId=1, timeout=20, readonly=True)
    try:
        live = ib.reqRealTimeBars(Stock("MSFT", "SMART", "USD"), 5, "TRADES", True)
        attacking = asyncio.create_task(asyncio.to_thread(attack, address))
        while not attacking.done() or answered < 3 or len(live) < 3:
            bars = await ib.reqHistoricalDataAsync(
                Stock("AAPL", "SMART", "USD"), "20261119-21:00:00", "1 D", "1 min", "TRADES", True, formatDate=2
            )
            assert len(bars) == 390
            answered += 1
            await asyncio.sleep(0.05)  # most of the time belongs to the attack
        await attacking
    finally:
        ib.disconnect()
        await asyncio.sleep(0.01)
    return answered, [int(bar.time.timestamp()) for bar in live]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_an_attack_disturbs_no_other_client_and_costs_no_memory(gateway: GatewayProcess, attack: Attack) -> None:
    address = gateway.host, gateway.port
    asyncio.run(work_during(lambda _: None, address))  # what is read once is not counted as growth
    before = memory_of(gateway)

    answered, starts = asyncio.run(work_during(attack, address))

    growth, peak = memory_of(gateway) - before, memory_of(gateway, "VmHWM") - before
    print(f"{attack.__name__}: {answered} answers, {len(starts)} bars, {growth >> 20} MiB more, peak {peak >> 20} MiB")
    assert answered >= 3
    assert {later - earlier for earlier, later in pairwise(starts)} == {5}
    assert growth < 150 * MIB
    assert peak < 400 * MIB


# Limits that need a look inside, or a shorter time than an hour of waiting


def is_hung_up_on(peer: socket.socket) -> bool:
    try:
        return peer.recv(65_536) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("said", [b"", GREETING, HELLO])
def test_who_does_not_start_in_time_is_hung_up_on_and_who_has_started_is_not(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shell, "HANDSHAKE_S", 0.2)
    with running(SimulatedTape(seed=1), GatewayClock(NOON)) as server:
        address = server.host, server.port
        with dial(address) as good, dial(address) as stranger:
            good.sendall(HELLO + encode(71, 2, 1, None))
            stranger.sendall(said)
            while not is_hung_up_on(stranger):
                pass
            good.sendall(encode(9, 8, 4, *AAPL, 0, None, None, None))
            seen = b""
            while b"APPLE" not in seen.upper():
                seen += good.recv(65_536)


def test_strangers_are_kept_up_to_a_number_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "MOST_STRANGERS", 20)
    with running(SimulatedTape(seed=1), GatewayClock(NOON)) as server, ExitStack() as stack:
        address = server.host, server.port
        dialled = [stack.enter_context(dial(address)) for _ in range(100)]

        assert all(is_hung_up_on(peer) for peer in dialled[:80])
        assert answers_greetings(dialled[-20:])
        assert len(server.peers) <= 21


def answers_greetings(strangers: list[socket.socket]) -> bool:
    for peer in strangers:
        peer.sendall(HELLO)
    return all(b"176" in peer.recv(65_536) for peer in strangers)


def test_one_clients_long_answers_give_others_their_turn() -> None:
    """A score of long requests come in one piece; a short one of another client is answered between them."""
    with running(SimulatedTape(seed=1), GatewayClock(NOON)) as server:
        address = server.host, server.port
        with dial(address) as greedy, dial(address) as good:
            for number, peer in enumerate((greedy, good), 1):
                peer.sendall(HELLO + encode(71, 2, number, None))
                start(peer)
            asked = encode(20, 5, *AAPL, 0, "20261119-21:00:00", "5 secs", "10 D", 1, "TRADES", 2, 0, None)
            greedy.sendall(asked * 8)
            greedy.recv(1)  # its first answer is there: the others are still to come
            good.sendall(encode(49, 1))

            assert good.recv(65_536)[4:].startswith(b"49\0")
            greedy.setblocking(False)
            assert arrived(greedy) < 8 * 46_800 * 40


def start(peer: socket.socket) -> None:
    seen = b""
    while b"2158" not in seen:
        seen += peer.recv(65_536)


def arrived(peer: socket.socket) -> int:
    """Return how many bytes can be read without waiting."""
    count = 0
    with suppress(BlockingIOError):
        while data := peer.recv(1 << 20):
            count += len(data)
    return count

"""The budget at work: turns in the order of asking, and one ledger for all processes of a machine."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import pytest

from tests.ib.test_pacing import ask, keeps_ibs_limits
from workbench.errors import StoreError
from workbench.ib.budget import Budget, Clock, DatabaseLedger, Ledger, MemoryLedger
from workbench.ib.pacing import COOL_DOWN_S, Ask, Booking, Granted, Pacer, limits_for
from workbench.store.database import DatabaseManager

GATEWAY, ACCOUNT = "127.0.0.1:7497", "DU1234567"
SPEED = 600.0
"""Gateway seconds in one: ten minutes pass in one."""


@pytest.fixture
def database(database_url: str) -> Iterator[DatabaseManager]:
    """A database, on SQLite and on PostgreSQL."""
    with DatabaseManager(database_url) as it:
        yield it


def shared(database: DatabaseManager, account: str = ACCOUNT, *, hold_s: float = 75.0) -> DatabaseLedger:
    return DatabaseLedger(database, GATEWAY, account, limits_for(), hold_s=hold_s)


@pytest.fixture(params=["memory", "shared"])
def ledger(request: pytest.FixtureRequest, database: DatabaseManager) -> Ledger:
    """A ledger whose places nobody loses in a test, however long a busy machine takes."""
    return MemoryLedger(Pacer(hold_s=1e6)) if request.param == "memory" else shared(database, hold_s=1e6)


def at(moment: float) -> Clock:
    """Return a clock that stands."""
    return lambda: moment


def small(count: int, start: int = 0) -> list[Ask]:
    return [ask(f"S{number}") for number in range(start, start + count)]


def let_go(ledger: Ledger, asks: Sequence[Ask], now: float, until: float) -> tuple[list[Booking], float]:
    """Let go in time what may; return that, and when the next may."""
    bookings, left = list[Booking](), list(asks)
    while left and now < until:
        granted = ledger.grant(left, [], at(now))
        bookings += granted.bookings.values()
        left = [one for place, one in enumerate(left) if place not in granted.bookings]
        now = granted.again
    return bookings, now


def test_every_ledger_keeps_the_windows_and_the_places(ledger: Ledger) -> None:
    first, _ = let_go(ledger, small(45), 1000.0, 1010.0)
    ledger.grant([], [it.token for it in first], at(1009.0))
    second, again = let_go(ledger, small(20, 45), 1010.0, 1100.0)

    assert (len(first), len(second)) == (45, 15)
    assert again == pytest.approx(1601.0)
    assert len(let_go(ledger, small(20, 45), 1601.0, 1605.0)[0]) == 20


def test_a_violation_cools_every_ledger_down(ledger: Ledger) -> None:
    ledger.cool_down(1000.0)

    assert ledger.grant(small(1), [], at(1001.0)).again == 1000.0 + COOL_DOWN_S
    assert len(ledger.grant(small(1), [], at(1000.0 + COOL_DOWN_S)).bookings) == 1


def test_sizes_are_remembered(ledger: Ledger) -> None:
    ledger.remember_size("1min", 2500)
    ledger.remember_size("1min", 1250)

    assert ledger.sizes() == {"1min": 1250}


def test_a_ledger_in_the_database_is_shared_by_who_uses_the_same_account(database: DatabaseManager) -> None:
    one, same, other = shared(database), shared(database), shared(database, "DU7654321")
    one.grant([ask(rest=str(n)) for n in range(3)], [], at(1000.0))

    assert len(same.grant([ask(rest=str(n)) for n in range(3, 8)], [], at(1000.5)).bookings) == 2
    assert len(other.grant([ask(rest=str(n)) for n in range(3, 8)], [], at(1000.5)).bookings) == 5
    assert same.grant([ask(rest="9")], [], at(1001.0)).again == 1003.0


def test_the_places_of_a_killed_process_come_back(database: DatabaseManager) -> None:
    longer = [ask(f"S{number}", seconds=900) for number in range(60)]
    assert len(let_go(shared(database), longer[:50], 1000.0, 1002.0)[0]) == 50

    assert not shared(database).grant(longer[50:], [], at(1010.0)).bookings
    assert len(let_go(shared(database), longer[50:], 1078.0, 1079.0)[0]) == 10


def test_what_no_limit_looks_at_any_more_is_swept(database: DatabaseManager) -> None:
    ledger = shared(database)
    for number in range(50):
        now = 1000.0 + 700 * number
        granted = ledger.grant([ask(seconds=900), ask(rest=str(number))], [], at(now))
        ledger.grant([], [it.token for it in granted.bookings.values()], at(now + 1))

    with database.transaction() as connection:
        assert connection.exec_driver_sql("select count(*) from request_bookings").scalar() == 2


def test_bookings_from_before_the_clock_was_set_back_are_swept(database: DatabaseManager) -> None:
    ledger = shared(database)
    let_go(ledger, small(45), 1_000_000.0, 1_000_010.0)

    assert len(let_go(ledger, small(45), 1000.0, 1010.0)[0]) == 45


class Noting:
    """A ledger that notes what it let go."""

    def __init__(self, ledger: Ledger) -> None:
        self.sent: list[tuple[float, Ask]] = []
        self.cool_down, self.sizes, self.remember_size = ledger.cool_down, ledger.sizes, ledger.remember_size
        self._ledger = ledger

    def grant(self, asks: Sequence[Ask], released: Collection[str], clock: Clock) -> Granted:
        granted = self._ledger.grant(asks, released, clock)
        self.sent += [(booking.sent, booking.ask) for booking in granted.bookings.values()]
        return granted


def test_whoever_waits_goes_when_the_window_has_room(ledger: Ledger) -> None:
    noted = Noting(ledger)
    budget = Budget(noted, speed=SPEED)

    async def one(asked: Ask) -> None:
        async with budget.turn(asked):
            pass

    async def all_of_them() -> None:
        await asyncio.gather(*[one(asked) for asked in small(70)])

    asyncio.run(all_of_them())
    assert len(noted.sent) == 70
    keeps_ibs_limits(sorted(noted.sent, key=lambda it: it[0]))


def test_no_more_than_fifty_hold_a_place(ledger: Ledger) -> None:
    unhurried = 20.0  # a place that is held comes back after seconds, and no test machine stands still for so long
    budget, inside, most, full = Budget(ledger, speed=unhurried), 0, 0, asyncio.Event()

    async def one(number: int) -> None:
        nonlocal inside, most
        async with budget.turn(ask(f"S{number}", seconds=900)):
            inside += 1
            most = max(most, inside)
            if inside == 50:
                full.set()
            await full.wait()
            await asyncio.sleep(0.02)  # one more would come in now
            inside -= 1

    async def all_of_them() -> None:
        await asyncio.gather(*[one(number) for number in range(120)])

    asyncio.run(all_of_them())
    assert most == 50


def test_who_no_longer_waits_takes_no_turn(ledger: Ledger) -> None:
    booked: list[Booking] = []
    grant = ledger.grant

    def noted(*asked: Any) -> Granted:
        granted = grant(*asked)
        booked.extend(granted.bookings.values())
        return granted

    ledger.grant = noted  # type: ignore[method-assign]

    async def conversation() -> None:
        budget = Budget(ledger, speed=20.0)  # so three seconds are to be waited: he is gone long before
        await budget.cool_down()
        gone = asyncio.create_task(budget.turn(ask()).__aenter__())
        await asyncio.sleep(0.01)
        gone.cancel()
        async with budget.turn(ask(rest="another")):
            assert gone.cancelled()

    asyncio.run(conversation())
    assert [it.ask.rest for it in booked] == ["another"]


def test_a_ledger_that_fails_fails_whoever_waits() -> None:
    class Broken(MemoryLedger):
        def grant(self, *_: object) -> Granted:
            raise StoreError("the disk is full")

    async def conversation() -> None:
        async with Budget(Broken(Pacer())).turn(ask()):
            pass

    with pytest.raises(StoreError, match="the disk is full"):
        asyncio.run(conversation())


ONE_OF_SEVERAL = """
import asyncio, json, random, sys, time
from workbench.ib.budget import Budget, DatabaseLedger
from workbench.ib.pacing import Ask, limits_for
from workbench.store.database import DatabaseManager

url, seed, speed = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
dice, sent = random.Random(seed), []
database = DatabaseManager(url)
budget = Budget(DatabaseLedger(database, "here", "me", limits_for(), hold_s=1000.0, stretch=0.0), speed=speed)

async def one():
    asked = Ask(dice.choice(["AAPL", "MSFT"]), "SMART", dice.choice(["TRADES", "BID_ASK"]), dice.choice([5, 900]),
                str(dice.randrange(40)))
    await asyncio.sleep(dice.random())
    async with budget.turn(asked):
        await asyncio.sleep(dice.random() / 100)

async def main():
    await asyncio.gather(*[one() for _ in range(60)])

asyncio.run(main())
"""


_COLUMNS = "token gateway account sent held_until contract exchange what_to_show bar_seconds rest messages"
_NOTED = f"insert into seen values ({', '.join(f'new.{name}' for name in _COLUMNS.split())})"
COPYING = {
    "sqlite": [f"create trigger note after insert on request_bookings begin {_NOTED}; end"],
    "postgresql": [
        f"create function note() returns trigger language plpgsql as $$ begin {_NOTED}; return null; end $$",
        "create trigger note after insert on request_bookings for each row execute function note()",
    ],
}
"""How each database copies what is booked into the table `seen`."""


def test_no_window_holds_more_than_the_limit_with_several_processes(database_url: str) -> None:
    """What each was granted is read from the table itself, which a trigger copies before it is swept."""
    url = database_url
    with DatabaseManager(url) as database, database.transaction() as connection:
        connection.exec_driver_sql("create table seen as select * from request_bookings")
        for statement in COPYING[connection.dialect.name]:
            connection.exec_driver_sql(statement)
    processes = [
        subprocess.Popen([sys.executable, "-c", ONE_OF_SEVERAL, url, str(seed), str(SPEED)]) for seed in range(3)
    ]

    assert [process.wait(120) for process in processes] == [0, 0, 0]
    with DatabaseManager(url) as database, database.transaction() as connection:
        rows = connection.exec_driver_sql(
            "select sent, contract, exchange, what_to_show, bar_seconds, rest, messages from seen order by sent"
        ).all()
    assert len(rows) == 180
    keeps_ibs_limits([(row[0], Ask(*row[1:])) for row in rows])

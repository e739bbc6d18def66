"""What the doctor makes of what it sees: each observation has its words, its state and its remedy."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from workbench.errors import RequestRefused
from workbench.ib.doctor import checks
from workbench.ib.doctor.checks import Quotes, Refusal, State
from workbench.ib.doctor.probe import Found, Probe
from workbench.market.sessions import Session

REFUSED = Refusal(354, "Requested market data is not subscribed.")
FRIDAY = Session(date(2026, 11, 20), datetime(2026, 11, 20, 14, 30, tzinfo=UTC), datetime(2026, 11, 20, 21, tzinfo=UTC))
MONDAY = Session(date(2026, 11, 23), datetime(2026, 11, 23, 14, 30, tzinfo=UTC), datetime(2026, 11, 23, 21, tzinfo=UTC))


@pytest.mark.parametrize("found", [found for found in Found if found is not Found.GATEWAY])
def test_whoever_does_not_answer_as_a_gateway_is_a_problem_with_a_remedy(found: Found) -> None:
    check = checks.reach("127.0.0.1:7497", Probe(found, text="HTTP/1.1 400 Bad Request"))

    assert check.state is State.PROBLEM
    assert check.found.startswith("127.0.0.1:7497: ")
    assert check.remedy.endswith(".")


@pytest.mark.parametrize(
    ("version", "state", "said"),
    [(100, State.PROBLEM, "at least 157"), (156, State.PROBLEM, "at least 157"), (157, State.LOOK, "lots of 100"),
     (174, State.LOOK, "lots of 100"), (175, State.OK, "175"), (176, State.OK, "176")],
)  # fmt: skip
def test_the_server_version_must_be_one_that_the_client_speaks_and_that_counts_shares(
    version: int, state: State, said: str
) -> None:
    check = checks.server_version(version)

    assert check.state is state
    assert said in check.found
    assert bool(check.remedy) is (state is not State.OK)


@pytest.mark.parametrize(
    ("ahead", "state", "said"),
    [(0.5, State.OK, "agree"), (-1.9, State.OK, "agree"), (5.0, State.LOOK, "5 seconds ahead of"),
     (-30.0, State.LOOK, "30 seconds behind"), (-150.0, State.PROBLEM, "2 minutes behind"),
     (3 * 3600.0, State.PROBLEM, "3 hours ahead of")],
)  # fmt: skip
def test_a_clock_that_is_off_is_told_with_its_size_and_side(ahead: float, state: State, said: str) -> None:
    check = checks.clock(ahead, simulated=False)

    assert check.state is state
    assert said in check.found
    assert bool(check.remedy) is (state is not State.OK)


def test_the_clock_of_the_built_in_gateway_may_be_any() -> None:
    assert checks.clock(-200_000.0, simulated=True).state is State.OK


def test_the_time_of_the_market_is_the_exchanges() -> None:
    noon = datetime(2026, 11, 20, 17, 0, tzinfo=UTC)
    sunday = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)

    assert checks.market(noon, FRIDAY, MONDAY).found.startswith("open until Fri 2026-11-20 16:00 New York")
    assert checks.market(sunday, None, MONDAY).found.startswith("closed until Mon 2026-11-23 09:30 New York")


def test_bars_that_end_elsewhere_than_asked_for_are_a_problem() -> None:
    wanted = datetime(2026, 11, 20, 20, 45, tzinfo=UTC)

    assert checks.time_zone("EST", wanted, wanted).state is State.OK
    assert checks.time_zone("EST", wanted, None).state is State.UNKNOWN
    shifted = checks.time_zone("EST", wanted, datetime(2026, 11, 20, 15, 45, tzinfo=UTC))
    assert shifted.state is State.PROBLEM
    assert "20:45" in shifted.found
    assert "15:45" in shifted.found


def test_orders_are_safest_refused_by_tws_itself() -> None:
    assert checks.orders(refused=True, simulated=False).state is State.OK
    assert checks.orders(refused=None, simulated=False).state is State.UNKNOWN
    assert "Read-Only API" in checks.orders(refused=False, simulated=False).remedy
    assert checks.orders(refused=None, simulated=True).state is State.OK


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("quotes", Quotes)
def test_without_history_a_sample_is_a_problem_whatever_its_quotes(quotes: Quotes, *, is_open: bool) -> None:
    check = checks.permission("AAPL (stock)", quotes, None, RequestRefused("no", code=162), is_open=is_open)

    assert check.state is State.PROBLEM
    assert "no (IB code 162)" in check.found


def test_quotes_are_live_delayed_refused_or_not_to_be_known_now() -> None:
    def judged(quotes: Quotes, *, is_open: bool = True) -> checks.Check:
        refusal = REFUSED if quotes is Quotes.REFUSED else None
        return checks.permission("AAPL (stock)", quotes, refusal, 252, is_open=is_open)

    assert judged(Quotes.LIVE).state is State.OK
    assert judged(Quotes.DELAYED).state is State.LOOK
    assert "Client Portal" in judged(Quotes.DELAYED).remedy
    assert "IB code 354" in judged(Quotes.REFUSED).found
    assert "Client Portal" in judged(Quotes.REFUSED).remedy
    assert judged(Quotes.SILENT).state is State.LOOK
    assert judged(Quotes.SILENT, is_open=False).state is State.UNKNOWN
    assert judged(Quotes.SILENT, is_open=False).answer == ""


def test_silent_live_bars_mean_something_only_while_the_market_is_open() -> None:
    assert checks.live_bars("AAPL", 3, None, is_open=True).state is State.OK
    assert checks.live_bars("AAPL", 0, None, is_open=True).state is State.LOOK
    assert checks.live_bars("AAPL", 0, None, is_open=False).state is State.UNKNOWN
    assert checks.live_bars("AAPL", 0, REFUSED, is_open=False).state is State.LOOK


def test_market_data_lines_are_counted_or_unknown_but_never_guessed() -> None:
    assert checks.lines(None, met=False).state is State.UNKNOWN
    assert checks.lines(59, met=False).answer == "59+"
    assert checks.lines(42, met=True).answer == "42"
    assert checks.lines(0, met=True).state is State.PROBLEM


def test_trouble_at_ib_is_a_problem() -> None:
    assert checks.servers("").state is State.OK
    assert checks.servers("TWS or IB Gateway has lost IB").state is State.PROBLEM

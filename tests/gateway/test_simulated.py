"""The laws of the simulated market. Whatever aggregates here is written apart from the code under test."""

import csv
import hashlib
import subprocess
import sys
from bisect import bisect_right
from dataclasses import fields
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.gateway import simulated
from workbench.gateway.hours import Hours, bar_starts, hours
from workbench.gateway.simulated import SimulatedTape
from workbench.gateway.tape import DAY, BarColumns

GOLDEN = Path(__file__).parents[1] / "golden" / "simulated_bars.csv"
NORMAL, HALF, AFTER_DST, EARLY = "2024-11-20", "2024-11-29", "2025-03-10", "1992-12-24"
LIQUID, CHEAP, THIN, INDEX = "SPY", "F", "SEB", "VIX"
INTRADAY = [5, 10, 15, 30, 60, 120, 180, 300, 600, 900, 1200, 1800, 3600, 7200, 10_800, 14_400, 28_800]


def at(text: str) -> int:
    return int(np.datetime64(text, "s").astype(np.int64))


@cache
def calendar() -> Hours:
    return hours()


@cache
def tape(seed: int = 1) -> SimulatedTape:
    calendar()
    return SimulatedTape(seed)


def session_bars(symbol: str, date: str, step: int, *, use_rth: bool) -> BarColumns:
    return tape().bars(symbol, step, at(date) + 6 * 3600, at(date) + 30 * 3600, use_rth=use_rth)


def aggregated(fine: BarColumns, starts: list[int]) -> list[list[float]]:
    """One row for each start that has bars: quiet bars count only where nothing else is there."""
    groups: dict[int, list[int]] = {}
    for i, start in enumerate(fine.start.tolist()):
        groups.setdefault(starts[bisect_right(starts, start) - 1], []).append(i)
    rows = []
    for begin, inside in groups.items():
        told = [i for i in inside if fine.count[i] > 0] or inside
        volume = sum(fine.volume[i] for i in inside)
        turnover = sum(fine.volume[i] * fine.average[i] for i in inside)
        rows.append([
            begin, fine.open[told[0]], max(fine.high[i] for i in told), min(fine.low[i] for i in told),
            fine.close[told[-1]], volume, turnover / volume if volume else 0.0, sum(fine.count[i] for i in inside),
        ])  # fmt: skip
    return rows


def rows(bars: BarColumns) -> list[list[float]]:
    return np.column_stack([getattr(bars, f.name) for f in fields(BarColumns)]).tolist()


def assert_equal_bars(expected: list[list[float]], actual: list[list[float]]) -> None:
    assert len(expected) == len(actual)
    for wanted, got in zip(expected, actual, strict=True):
        assert wanted[:6] == got[:6]
        assert wanted[7] == got[7]
        assert wanted[6] == pytest.approx(got[6], rel=1e-9)


@pytest.mark.parametrize("use_rth", [True, False])
@pytest.mark.parametrize("date", [NORMAL, HALF, AFTER_DST, EARLY])
@pytest.mark.parametrize("symbol", [LIQUID, CHEAP, THIN, INDEX])
def test_each_step_of_the_ladder_aggregates_exactly(symbol: str, date: str, use_rth: bool) -> None:
    session = calendar()[int(np.searchsorted(calendar().labels, at(date)))]
    regular = use_rth or symbol == INDEX
    for fine, coarse in [(5, 60), (60, 180), (60, 300), (300, 900), (300, 600), (600, 1200), (900, 1800),
                         (1800, 3600), (1800, 7200), (1800, 10_800), (1800, 14_400), (1800, 28_800)]:  # fmt: skip
        starts = bar_starts(session, coarse, use_rth=regular).tolist()

        expected = aggregated(session_bars(symbol, date, fine, use_rth=use_rth), starts)

        assert_equal_bars(expected, rows(session_bars(symbol, date, coarse, use_rth=use_rth)))


@pytest.mark.parametrize("use_rth", [True, False])
@pytest.mark.parametrize("symbol", [LIQUID, CHEAP, THIN, INDEX])
def test_a_day_aggregates_from_its_half_hours_and_from_its_five_seconds(symbol: str, use_rth: bool) -> None:
    for date, fine in [(NORMAL, 5), (HALF, 1800), (AFTER_DST, 60), (EARLY, 60)]:
        begin = at(date)

        expected = aggregated(session_bars(symbol, date, fine, use_rth=use_rth), [begin])

        assert_equal_bars(expected, rows(tape().bars(symbol, DAY, begin, begin + DAY, use_rth=use_rth)))


@pytest.mark.parametrize("symbol", [LIQUID, THIN, INDEX])
def test_seconds_aggregate_to_five_seconds(symbol: str) -> None:
    begin, end = at("2024-11-20T14:30"), at("2024-11-20T14:50")

    expected = aggregated(tape().bars(symbol, 1, begin, end, use_rth=True), list(range(begin, end, 5)))

    assert_equal_bars(expected, rows(tape().bars(symbol, 5, begin, end, use_rth=True)))


@settings(max_examples=60, deadline=None)
@given(
    symbol=st.sampled_from([LIQUID, CHEAP, THIN, INDEX, "BRK B", "NATH"]),
    step=st.sampled_from([1, *INTRADAY]),
    date=st.dates(np.datetime64("1990-01-03").item(), np.datetime64("2027-06-01").item()),
    offset=st.integers(-3 * 3600, 12 * 3600),
    length=st.integers(0, 3 * 3600),
    use_rth=st.booleans(),
)
def test_a_part_asked_for_alone_equals_the_part_of_the_whole(symbol, step, date, offset, length, use_rth) -> None:
    begin = at(str(date)) + 12 * 3600 + offset
    whole = tape().bars(symbol, step, begin - 5000, begin + length + 5000, use_rth=use_rth)
    inside = (whole.start >= begin) & (whole.start < begin + length)

    part = tape().bars(symbol, step, begin, begin + length, use_rth=use_rth)

    assert rows(part) == [row for row, kept in zip(rows(whole), inside, strict=True) if kept]


@settings(max_examples=60, deadline=None)
@given(
    index=st.integers(0, 70),
    step=st.sampled_from([*INTRADAY, DAY]),
    session=st.integers(0, 9300),
    use_rth=st.booleans(),
)
def test_every_bar_is_whole(index, step, session, use_rth) -> None:
    symbol = tape().instruments[index].symbol
    hour = calendar()[session]
    begin, end = (hour.label, hour.label + DAY) if step == DAY else (hour.pre_open, hour.post_close)

    bars = tape().bars(symbol, step, begin, end, use_rth=use_rth)

    prices = np.stack([bars.open, bars.high, bars.low, bars.close])
    assert len(bars) > 0
    assert np.array_equal(np.rint(prices * 100) / 100, prices)
    assert (bars.low <= prices.min(axis=0)).all()
    assert (bars.high >= prices.max(axis=0)).all()
    assert (bars.low >= 1).all()
    traded = bars.volume > 0
    assert (bars.average[traded] >= bars.low[traded] - 1e-9).all()
    assert (bars.average[traded] <= bars.high[traded] + 1e-9).all()
    assert (bars.average[~traded] == 0).all()
    assert (traded | (bars.count == 0) | (symbol in {"VIX", "SPX"})).all()
    single = bars.count == 1
    assert (bars.low[single] == bars.high[single]).all()


@pytest.mark.parametrize("date", [NORMAL, HALF, AFTER_DST, EARLY])
@pytest.mark.parametrize("symbol", [LIQUID, THIN, INDEX])
def test_regular_hours_have_a_bar_for_every_moment(symbol: str, date: str) -> None:
    session = calendar()[int(np.searchsorted(calendar().labels, at(date)))]
    for step in INTRADAY:
        bars = session_bars(symbol, date, step, use_rth=True)

        assert bars.start.tolist() == bar_starts(session, step, use_rth=True).tolist()


def test_quiet_moments_are_flat_at_the_last_close() -> None:
    bars = session_bars(THIN, NORMAL, 5, use_rth=True)

    quiet = np.flatnonzero(bars.count == 0)
    assert len(quiet) > len(bars) / 2
    assert bars.count[0] > 0
    for column in (bars.open, bars.high, bars.low, bars.close):
        assert (column[quiet] == bars.close[quiet - 1]).all()


@pytest.mark.parametrize("step", [5, 60])
def test_a_quiet_moment_asked_for_alone_knows_the_last_price(step: int) -> None:
    whole = rows(session_bars(THIN, NORMAL, step, use_rth=True))

    for row in [row for row in whole if row[7] == 0][::37]:
        alone = SimulatedTape(1).bars(THIN, step, int(row[0]), int(row[0]) + 1, use_rth=True)

        assert rows(alone) == [row]


def test_before_and_after_hours_have_bars_only_where_there_were_trades() -> None:
    bars = session_bars(LIQUID, NORMAL, 5, use_rth=False)

    outside = (bars.start < at("2024-11-20T14:30")) | (bars.start >= at("2024-11-20T21:00"))
    assert 100 < np.count_nonzero(outside) < 6000
    assert (bars.count[outside] > 0).all()


def test_an_index_has_regular_hours_only_and_no_volume() -> None:
    bars = session_bars(INDEX, NORMAL, 300, use_rth=False)

    assert len(bars) == 78
    assert bars.start[0] == at("2024-11-20T14:30")
    assert not bars.volume.any()
    assert bars.count.all()


def test_bars_equal_the_golden_ones() -> None:
    """Who changes them on purpose raises REVISION."""
    with GOLDEN.open(newline="") as lines:
        golden = [[row[0], int(row[1]), *map(float, row[2:])] for row in csv.reader(lines) if row[0] != "symbol"]

    actual = []
    for symbol in (LIQUID, THIN, INDEX):
        noon = at("2024-11-20T17:00")
        for step, begin, end in [(DAY, at("1990-01-02"), at("1990-01-04")), (DAY, at(NORMAL), at(NORMAL) + 1),
                                 (900, noon, noon + 900), (60, noon, noon + 120), (5, noon, noon + 20)]:  # fmt: skip
            bars = tape().bars(symbol, step, begin, end, use_rth=True)
            actual += [[symbol, step, *row] for row in rows(bars)]

    assert actual == golden


def test_no_bar_has_changed_since_the_revision() -> None:
    """A change of what is computed here needs another REVISION; one of how fast must leave the sum as it is."""
    total = hashlib.sha256()
    for symbol in (LIQUID, CHEAP, THIN, INDEX, "BRK B", "NATH"):
        for date in (NORMAL, HALF, AFTER_DST, EARLY):
            for step in (1800, 900, 300, 60, 5, DAY):
                for use_rth in (True, False):
                    bars = session_bars(symbol, date, step, use_rth=use_rth)
                    for column in fields(BarColumns):
                        total.update(np.ascontiguousarray(getattr(bars, column.name)).astype("<f8").tobytes())

    assert simulated.REVISION == 1
    assert total.hexdigest() == "f66527871cc54d1975abd757f477d73ddfa371c28742641f4a16856a4ab01e31"


def digest() -> str:
    bars = [tape().bars("AAPL", step, at(NORMAL), at(NORMAL) + DAY, use_rth=False) for step in (5, 900, DAY)]
    return hashlib.sha256(repr([rows(b) for b in bars]).encode()).hexdigest()


def test_another_process_makes_the_same_market() -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_simulated as t; print(t.digest())"
    )

    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert digest() == other.stdout.strip()


def test_another_seed_makes_another_market() -> None:
    first, second = (tape(seed).bars("AAPL", DAY, at("2020-01-01"), at("2021-01-01"), use_rth=True) for seed in (1, 2))

    assert tape(2).account == "SIMULATED-2-R1"
    assert (first.close != second.close).mean() > 0.95


@pytest.mark.parametrize("symbol", ["SPY", "BAC", "CVCO"])
def test_volume_is_u_shaped(symbol: str) -> None:
    bars = tape().bars(symbol, 1800, at("2024-09-03"), at("2024-10-31"), use_rth=True)

    by_half_hour = bars.volume.reshape(-1, 13).mean(axis=0)
    assert by_half_hour[0] > 1.5 * by_half_hour[6]
    assert by_half_hour[-1] > 1.5 * by_half_hour[6]


def oversold_turns(close: np.ndarray) -> int:
    """Count closes under the lower Bollinger band at an RSI under 35, each followed by a rise within three bars."""
    turns = 0
    gain = loss = 0.0
    previous = False
    for i in range(1, len(close) - 3):
        move = close[i] - close[i - 1]
        gain, loss = (13 * gain + max(move, 0)) / 14, (13 * loss + max(-move, 0)) / 14
        window = close[max(i - 19, 0) : i + 1]
        band = window.mean() - 2 * window.std()
        stretched = i > 30 and close[i] <= band and 100 * gain / (gain + loss) < 35
        turns += stretched and not previous and close[i + 1 : i + 4].max() > close[i]
        previous = stretched
    return turns


@pytest.mark.parametrize(("step", "begin", "a_year"), [(DAY, "2015-01-01", (1.5, 12)), (3600, "2023-01-01", (10, 90))])
def test_oversold_symbols_turn_a_few_times_a_year(step: int, begin: str, a_year: tuple[float, float]) -> None:
    years = (at("2025-01-01") - at(begin)) / (365.25 * DAY)
    stocks = [i.symbol for i in tape().instruments if i.sec_type == "STK"][::6]

    turns = [oversold_turns(tape().bars(s, step, at(begin), at("2025-01-01"), use_rth=True).close) for s in stocks]

    assert min(turns) >= 1
    assert a_year[0] < np.mean(turns) / years < a_year[1]


def test_prices_stay_plausible() -> None:
    for listing in simulated.listings().values():
        bars = tape().bars(listing.symbol, DAY, at("2010-01-01"), at("2027-11-01"), use_rth=True)
        reference = bars.close[np.searchsorted(bars.start, at("2025-01-02"))]

        assert reference == pytest.approx(listing.price, rel=0.005)
        assert bars.low.min() > max(1.0, listing.price / 30)
        assert bars.high.max() < listing.price * 12
        assert np.abs(np.diff(np.log(bars.close))).std() < 3 * listing.volatility


def test_the_market_moves_together_and_fear_against_it() -> None:
    def returns(symbol: str) -> np.ndarray:
        return np.diff(np.log(tape().bars(symbol, DAY, at("2015-01-01"), at("2025-01-01"), use_rth=True).close))

    def correlation(symbol: str) -> float:
        return float(np.corrcoef(returns("SPX"), returns(symbol))[0, 1])

    assert correlation("SPY") > 0.97
    assert correlation("QQQ") > 0.8
    assert 0.4 < correlation("AAPL") < 0.8
    assert abs(correlation("GLD")) < 0.3
    assert correlation("VIX") < -0.5


def test_fear_stays_around_its_mean() -> None:
    close = tape().bars("VIX", DAY, at("1990-01-01"), at("2027-11-01"), use_rth=True).close

    assert 14 < np.median(close) < 21
    assert close.min() > 5
    assert 30 < close.max() < 120


@pytest.mark.parametrize(("step", "begin", "end", "most"), [
    (DAY, "2014-11-20", "2024-11-20", 0),
    (900, "2022-11-21", "2024-11-20", 3),
    (60, "2024-11-20", "2024-11-21", 5),
    (5, "2024-11-20T15:00", "2024-11-20T15:05", 30),
])  # fmt: skip
def test_a_request_makes_no_more_bars_than_it_needs(monkeypatch, step: int, begin: str, end: str, most: int) -> None:
    made = []
    real = simulated.split

    def counted(*args):
        children = real(*args)
        made.append(len(children))
        return children

    monkeypatch.setattr(simulated, "split", counted)

    bars = SimulatedTape(1).bars("SPY", step, at(begin), at(end), use_rth=True)

    assert sum(made) <= most * len(bars)


def test_history_begins_ten_years_and_two_years_before_the_start() -> None:
    limited = SimulatedTape(1, start=at("2026-11-20T14:25"))

    daily = limited.bars("SPY", DAY, 0, at("2026-11-20"), use_rth=True)
    quarter_hours = limited.bars("SPY", 900, 0, at("2026-11-20"), use_rth=True)

    assert daily.start[0] == at("2016-11-21")
    assert at("2024-11-19") < quarter_hours.start[0] < at("2024-11-22")
    assert limited.head("SPY", use_rth=True) == at("2016-11-21T14:30")
    assert limited.head("SPY", use_rth=False) == at("2016-11-21T09:00")
    assert tape().head("SPY", use_rth=True) == at("1990-01-02T14:30")
    assert tape().head("VIX", use_rth=False) == at("1990-01-02T14:30")
    assert tape().head("XYZ", use_rth=True) is None


def test_an_interval_without_a_session_has_no_bars() -> None:
    saturday = at("2024-11-23T06:00")

    for step in (5, 60, 900, DAY):
        assert len(tape().bars("SPY", step, saturday, saturday + DAY, use_rth=False)) == 0
        assert len(tape().bars("SPY", step, saturday + 9, saturday, use_rth=False)) == 0
    with pytest.raises(KeyError):
        tape().bars("XYZ", 60, 0, 1, use_rth=True)


def test_the_table_holds_unique_contracts_with_valid_isins() -> None:
    instruments = tape().instruments
    isins = [i.isin for i in instruments if i.isin and not i.line]  # a second listing is the same security

    assert len({i.key for i in instruments}) == len({i.con_id for i in instruments}) == len(instruments)
    assert all(0 < i.con_id < 2**31 for i in instruments)
    assert len(isins) == len(set(isins)) > 20
    for isin in isins:
        digits = "".join(str(int(letter, 36)) for letter in isin)
        doubled = [int(d) * (2 if place % 2 else 1) for place, d in enumerate(reversed(digits))]
        assert sum(d // 10 + d % 10 for d in doubled) % 10 == 0, isin

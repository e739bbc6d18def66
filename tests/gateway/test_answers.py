from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.gateway import answers
from workbench.gateway.refusals import Notice
from workbench.gateway.tape import BarColumns, Instrument
from workbench.gateway.wire import encode, fields

# The message that a real gateway sent for AAPL (server version 200, April 2026), cut to three exchanges. The last
# field there, the count of a list that came with version 186, is left out.
GOLDEN = (
    "10|1001|AAPL|STK||0||SMART|USD|AAPL|NMS|NMS|265598|0.01||ACTIVETIM,AD|SMART,AMEX,NYSE|1|0|APPLE INC|NASDAQ||"
    "Technology|Computers|Computers|US/Eastern|20260405:CLOSED;20260406:0400-20260406:2000|"
    "20260405:CLOSED;20260406:0930-20260406:1600|||1|ISIN|US0378331005|1|||26,26,26||COMMON|0.0001|0.0001|100|"
)
AAPL = answers.ContractDetails(
    symbol="AAPL",
    sec_type="STK",
    exchange="SMART",
    currency="USD",
    con_id=265598,
    min_tick=0.01,
    order_types="ACTIVETIM,AD",
    valid_exchanges="SMART,AMEX,NYSE",
    market_name="NMS",
    long_name="APPLE INC",
    primary_exchange="NASDAQ",
    industry="Technology",
    category="Computers",
    subcategory="Computers",
    time_zone="US/Eastern",
    trading_hours="20260405:CLOSED;20260406:0400-20260406:2000",
    liquid_hours="20260405:CLOSED;20260406:0930-20260406:1600",
    sec_ids=(("ISIN", "US0378331005"),),
    market_rules="26,26,26",
    stock_type="COMMON",
    size_increment=0.0001,
)
BARS = BarColumns(
    start=np.array([1_775_136_600, 1_775_136_660]),
    open=np.array([100.1, 100.2]),
    high=np.array([100.3, 100.30000000000001]),
    low=np.array([100.0, 99.5]),
    close=np.array([100.2, 100.25]),
    volume=np.array([1200.0, 250.0]),
    average=np.array([100.15, 100.2]),
    count=np.array([7, 3]),
)
BAR_TEXTS = ["a", "100.1", "100.3", "100.0", "100.2", "1200", "100.15", "7"]


def sent(message: bytes) -> list[str]:
    return fields(message[4:])


def history(version: int, bars: BarColumns = BARS, *, lots: bool = True) -> list[str]:
    message = answers.historical_bars(5, ("begin", "end"), ["a", "b"], bars, lots=lots, version=version)
    return sent(message)


def test_contract_details_are_those_of_a_real_gateway() -> None:
    assert "|".join(sent(answers.contract_details(1001, AAPL, 178))) + "|" == GOLDEN


def test_contract_details_before_164_have_a_version_and_a_size_multiplier() -> None:
    texts = sent(answers.contract_details(1001, AAPL, 157))

    assert texts[:3] == ["10", "8", "1001"]
    assert texts[13:17] == ["265598", "0.01", "100", ""]
    assert texts[-1] == "COMMON"


@pytest.mark.parametrize(("version", "fields_after_stock_type"), [(157, 0), (162, 0), (163, 1), (164, 3), (178, 3)])
def test_the_sizes_at_the_end_of_contract_details_follow_the_version(
    version: int, fields_after_stock_type: int
) -> None:
    texts = sent(answers.contract_details(1, AAPL, version))

    assert len(texts) - 1 - texts.index("COMMON") == fields_after_stock_type


def test_a_long_name_is_sent_in_seven_bits() -> None:
    assert "NESTL\\u00c9" in sent(answers.contract_details(1, replace(AAPL, long_name="NESTLÉ"), 176))


@pytest.mark.parametrize(("version", "tail"), [(157, []), (165, []), (166, [""]), (178, [""])])
def test_errors_carry_the_reject_field_from_166_on(version: int, tail: list[str]) -> None:
    assert sent(answers.error(-1, Notice(200, "No"), version)) == ["4", "2", "-1", "200", "No", *tail]


def test_all_bars_are_one_message() -> None:
    texts = history(176)

    assert texts[:5] == ["17", "5", "begin", "end", "2"]
    assert texts[5:13] == BAR_TEXTS
    assert len(texts) == 5 + 2 * 8


def test_prices_are_the_shortest_decimals_that_read_back_exactly() -> None:
    assert history(176)[13:17] == ["b", "100.2", "100.30000000000001", "99.5"]


@pytest.mark.parametrize(("version", "volumes"), [(157, ["12", "2"]), (163, ["12", "2.5"]), (175, ["1200", "250"])])
def test_volumes_are_round_lots_before_175_and_whole_before_163(version: int, volumes: list[str]) -> None:
    texts = history(version)

    assert [texts[10], texts[18]] == volumes


def test_an_index_has_no_lots() -> None:
    assert history(157, lots=False)[10] == "1200"


def test_fractional_volumes_are_sent_beside_whole_ones() -> None:
    texts = history(176, replace(BARS, volume=np.array([1200.0, 0.25])))

    assert [texts[10], texts[18]] == ["1200", "0.25"]


def test_a_real_time_bar_has_its_fields_in_the_order_of_message_50() -> None:
    bodies = answers.realtime_bodies(BARS, lots=True, version=176)

    assert sent(answers.realtime_bars(9, bodies[:1])) == ["50", "3", "9", "1775136600", *BAR_TEXTS[1:]]


def test_an_update_has_its_count_first_and_its_close_before_high_and_low() -> None:
    first, _ = answers.update_bodies(["a", "b"], BARS, lots=True, version=176)

    sent_on = sent(answers.historical_update(5, first))
    assert sent_on == ["90", "5", "7", "a", "100.1", "100.2", "100.3", "100.0", "100.15", "1200"]


@pytest.mark.parametrize("version", [157, 163, 176])
def test_no_volume_is_minus_one_in_shares_and_in_lots(version: int) -> None:
    quotes = replace(BARS, volume=np.array([-1.0, -1.0]))

    assert history(version, quotes)[10] == "-1"


@pytest.mark.parametrize(("version", "tail"), [(175, []), (176, ["NAME", ""])])
def test_samples_of_symbols_carry_name_and_issuer_from_176_on(version: int, tail: list[str]) -> None:
    found = [Instrument(1, "A", "STK", "NYSE", "NAME"), Instrument(2, "A", "STK", "TSE", "NAME", currency="CAD")]

    texts = sent(answers.symbol_samples(5, found, version))

    assert texts == [
        "79",
        "5",
        "2",
        "1",
        "A",
        "STK",
        "NYSE",
        "USD",
        "0",
        *tail,
        "2",
        "A",
        "STK",
        "TSE",
        "CAD",
        "0",
        *tail,
    ]


def test_a_schedule_lists_its_sessions() -> None:
    session = ("20261120-09:30:00", "20261120-16:00:00", "20261120")

    texts = sent(answers.historical_schedule(5, ("begin", "end"), "US/Eastern", [session]))

    assert texts == ["106", "5", "begin", "end", "US/Eastern", "1", *session]


NUMBERS = st.one_of(
    st.integers(0, 10_000_000).map(lambda cents: cents / 100),
    st.integers(-1, 10**18).map(float),
    st.floats(-1e20, 1e20),
)
ROWS = st.lists(st.tuples(*[NUMBERS] * 6, st.integers(-1, 2**40), st.text("0123456789: USEastern/", max_size=30)))


@settings(deadline=None)
@given(rows=ROWS, lots=st.booleans(), version=st.sampled_from([157, 162, 163, 174, 175, 176, 178]))
def test_whole_columns_give_the_bytes_that_each_value_gives(rows: list[tuple], lots: bool, version: int) -> None:
    columns = [np.array(column) for column in zip(*rows, strict=True)] or [np.empty(0)] * 8
    start, count = np.arange(len(rows)) * 60, columns[6].astype(np.int64)
    bars = BarColumns(start, *columns[:6], count)
    stamps = [row[7] for row in rows]
    texts = [text_by_text(row, lots=lots, version=version) for row in rows]

    one = answers.historical_bars(5, ("begin", "end"), stamps, bars, lots=lots, version=version)
    updates = answers.update_bodies(stamps, bars, lots=lots, version=version)
    live = answers.realtime_bodies(bars, lots=lots, version=version)

    flat = [text for stamp, row in zip(stamps, texts, strict=True) for text in (stamp, *row)]
    assert one == encode(17, 5, "begin", "end", len(rows), *flat)
    assert [answers.historical_update(5, body) for body in updates] == [
        encode(90, 5, n, stamp, o, c, h, lo, average, volume)
        for stamp, (o, h, lo, c, volume, average, n) in zip(stamps, texts, strict=True)
    ]
    assert live == [encode(int(it), *row)[4:] for it, row in zip(start, texts, strict=True)]


def text_by_text(row: tuple, *, lots: bool, version: int) -> list[str]:
    """Format a bar value by value: its prices, volume, average and count."""
    *prices, volume, average, count, _ = row
    if lots and version < 175 and volume > 0:
        volume = volume / 100
    if version < 163:
        volume = float(round(volume))
    shown = str(int(volume)) if volume == int(volume) else repr(volume)
    return [*map(repr, prices), shown, repr(average), str(count)]

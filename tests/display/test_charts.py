"""What a chart says and where it puts things; not how its pixels look."""

import ast
import itertools
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection

from workbench.display.charts import Chart, price_chart
from workbench.errors import InvalidInput, UnknownTimeframe

INDICATORS = [
    *("bb_upper", "bb_mid", "bb_lower", "stoch_k", "stoch_d", "macd", "macd_signal", "macd_hist", "rsi", "atr"),
    *("sma_20", "sma_50", "sma_200"),
]


def stamps(*sessions: str, begin: str = "09:30", count: int = 26, minutes: int = 15) -> pd.DatetimeIndex:
    """Return the starts of the bars of sessions in New York, in UTC."""
    parts = [
        pd.date_range(f"{date} {begin}", periods=count, freq=f"{minutes}min", tz="America/New_York")
        for date in sessions
    ]
    return pd.DatetimeIndex(np.concatenate([part.tz_convert("UTC") for part in parts])).as_unit("us")


def make_bars(index: pd.DatetimeIndex, *, indicators: bool = True) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    close = 100 + rng.normal(0, 0.2, len(index)).cumsum()
    opened = np.r_[100, close[:-1]]
    bars = pd.DataFrame(
        {
            "open": opened,
            "high": np.maximum(opened, close) + 0.1,
            "low": np.minimum(opened, close) - 0.1,
            "close": close,
            "volume": rng.integers(1, 1000, len(index)).astype(float),
        },
        index=index.rename("timestamp"),
    )
    if indicators:
        for name in INDICATORS:
            bars[name] = close if name.startswith(("bb", "sma")) else 50 + rng.normal(0, 10, len(index))
        bars["bb_upper"], bars["bb_lower"] = close + 1, close - 1
        bars.loc[bars.index[:5], INDICATORS] = np.nan
    return bars


TWO_SESSIONS = stamps("2026-11-19", "2026-11-20")


def draw(bars: pd.DataFrame, **options: object) -> Chart:
    return price_chart(bars, **{"symbol": "AAPL", "timeframe": "15min", **options})  # type: ignore[arg-type]


def named(ax: Axes, name: str) -> list[object]:
    return [artist for artist in ax.get_children() if artist.get_gid() == name]


def positions(chart: Chart, name: str = "bodies", panel: int = 0) -> list[float]:
    """Return the middle of each rectangle."""
    (collection,) = named(chart.figure.axes[panel], name)
    assert isinstance(collection, PolyCollection)
    return [
        round(float(path.vertices[:, 0].min() + path.vertices[:, 0].max()) / 2, 6) for path in collection.get_paths()
    ]


def tick_labels(chart: Chart) -> list[str]:
    return [label.get_text() for label in chart.figure.axes[-1].get_xticklabels()]


def tick_at(chart: Chart, label: str) -> float:
    return float(chart.figure.axes[-1].get_xticks()[tick_labels(chart).index(label)])


def texts(chart: Chart) -> list[str]:
    return [text.get_text() for text in chart.figure.texts]


# -- bars and where they stand


def test_every_bar_has_a_body_a_wick_and_a_column_of_volume() -> None:
    bars = make_bars(TWO_SESSIONS)

    chart = draw(bars)

    (bodies,) = named(chart.figure.axes[0], "bodies")
    (wicks,) = named(chart.figure.axes[0], "wicks")
    assert isinstance(bodies, PolyCollection)
    assert isinstance(wicks, LineCollection)
    heights = [(path.vertices[:, 1].min(), path.vertices[:, 1].max()) for path in bodies.get_paths()]
    np.testing.assert_allclose(heights, np.c_[bars[["open", "close"]].min(axis=1), bars[["open", "close"]].max(axis=1)])
    np.testing.assert_allclose([s[:, 1] for s in wicks.get_segments()], bars[["low", "high"]])
    assert len(positions(chart, "volume", panel=1)) == len(bars)


def test_nights_take_no_room() -> None:
    assert positions(draw(make_bars(TWO_SESSIONS))) == list(range(52))


def test_missing_bars_leave_their_slots_empty() -> None:
    bars = make_bars(TWO_SESSIONS).drop(TWO_SESSIONS[[3, 4, 5, 30]])

    assert positions(draw(bars)) == [slot for slot in range(52) if slot not in (3, 4, 5, 30)]


def test_a_line_is_interrupted_where_many_bars_are_missing_and_only_there() -> None:
    gap = list(range(10, 16))
    bars = make_bars(TWO_SESSIONS).drop(TWO_SESSIONS[[*gap, 40]])

    (line,) = named(draw(bars).figure.axes[0], "sma_20")

    at, values = line.get_data()  # type: ignore[attr-defined]
    assert np.isnan(at).sum() == 1
    assert np.isnan(values[5:]).sum() == 1  # the first five are warm-up
    assert at[np.flatnonzero(np.isnan(at))[0] - 1] == 9


def test_a_half_day_and_a_switch_of_summer_time_leave_no_gap() -> None:
    index = stamps("2026-10-30").append(stamps("2026-11-02")).append(stamps("2026-11-27", count=14))

    assert positions(draw(make_bars(index))) == list(range(len(index)))


def test_hourly_bars_clipped_at_the_open_follow_each_other() -> None:
    clock = ["09:30", "10:00", "11:00", "12:00", "13:00", "14:00", "15:00"]
    index = pd.DatetimeIndex([f"2026-11-20 {time}" for time in clock], tz="America/New_York").tz_convert("UTC")

    assert positions(draw(make_bars(index), timeframe="1hour")) == list(range(7))


def test_the_hour_that_comes_twice_has_two_places() -> None:
    index = pd.date_range("2026-11-01 04:00", periods=5, freq="1h", tz="UTC")

    assert positions(draw(make_bars(index), timeframe="1hour")) == list(range(5))


def test_daily_bars_follow_each_other_and_keep_their_dates() -> None:
    index = pd.bdate_range("2026-11-02", "2026-11-20", tz="UTC")

    chart = draw(make_bars(index), timeframe="1day")

    assert positions(chart) == list(range(15))
    assert chart.title == "AAPL · 1day · 2026-11-02 \N{EN DASH} 2026-11-20"
    assert tick_labels(chart)[0] == "Nov 2"


# -- what is written


def test_the_figure_says_what_it_shows() -> None:
    chart = draw(make_bars(TWO_SESSIONS))

    axes = chart.figure.axes
    assert chart.title == "AAPL · 15min · 2026-11-19 \N{EN DASH} 2026-11-20"
    assert texts(chart) == [chart.title]
    assert repr(chart) == "<Chart AAPL · 15min · 2026-11-19 \N{EN DASH} 2026-11-20>"
    assert [ax.get_ylabel() for ax in axes] == ["USD", "shares", "0 to 100", "USD", "0 to 100"]
    assert axes[-1].get_xlabel() == "exchange time, New York"
    legends = [
        [text.get_text().split("  ")[0] for text in ax.get_legend().get_texts()] for ax in axes if ax.get_legend()
    ]
    assert legends == [
        ["Bollinger 20, 2", "SMA 20", "SMA 50", "SMA 200"],
        ["StochRSI %K", "%D"],
        ["MACD 12, 26", "signal 9"],
        ["RSI 14"],
    ]


@pytest.mark.parametrize(
    ("source", "note"),
    [
        ("built-in gateway (SIMULATED-1)", "Simulated data: built-in gateway (SIMULATED-1)"),
        ("IB", "Source: IB"),
    ],
)
def test_where_the_bars_come_from_is_said(source: str, note: str) -> None:
    assert note in texts(draw(make_bars(TWO_SESSIONS), source=source))


def test_times_are_those_of_the_exchange_and_stand_at_their_bars() -> None:
    chart = draw(make_bars(TWO_SESSIONS))

    assert tick_labels(chart)[0] == "Nov 19"
    assert tick_at(chart, "Nov 20") == 26
    assert tick_at(chart, "12:00") == 10


def test_another_zone_moves_the_times() -> None:
    chart = draw(make_bars(TWO_SESSIONS), zone="Europe/Berlin")

    assert chart.figure.axes[-1].get_xlabel() == "exchange time, Berlin"
    assert tick_at(chart, "18:00") == 10


def test_a_time_without_a_bar_has_its_tick_in_the_gap() -> None:
    bars = make_bars(TWO_SESSIONS).drop(TWO_SESSIONS[8:13])

    assert tick_at(draw(bars), "12:00") == 10


@pytest.mark.parametrize(
    ("begin", "end", "labels"),
    [
        ("2026-11-02", "2026-11-06", ["Nov 2", "Nov 4", "Nov 6"]),
        ("2026-10-05", "2026-11-20", ["Oct 5", "Oct 12", "Oct 19", "Oct 26", "Nov 2", "Nov 9", "Nov 16"]),
        ("2025-10-15", "2026-04-15", ["Oct 15", "Nov", "Dec", "2026", "Feb", "Mar", "Apr"]),
        ("2020-02-03", "2026-11-20", ["Feb 2020", "2021", "2022", "2023", "2024", "2025", "2026"]),
    ],
)
def test_the_longer_the_span_the_coarser_the_dates(begin: str, end: str, labels: list[str]) -> None:
    chart = draw(make_bars(pd.bdate_range(begin, end, tz="UTC")), timeframe="1day", size=(8, 6))

    assert tick_labels(chart) == labels


@pytest.mark.parametrize("size", [(6, 5), (12, 8), (20, 10)])
@pytest.mark.parametrize("sessions", [1, 2, 5, 9, 40])
def test_labels_of_the_time_axis_do_not_touch(size: tuple[float, float], sessions: int) -> None:
    dates = [f"{date:%Y-%m-%d}" for date in pd.bdate_range("2026-06-01", periods=sessions)]
    index = stamps(*dates)[20:]  # the first session is almost over

    chart = draw(make_bars(index), size=size)

    chart.figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in chart.figure.axes[-1].get_xticklabels()]
    assert all(left.x1 + 3 < right.x0 for left, right in itertools.pairwise(boxes))


def test_the_last_price_is_marked_and_no_tick_label_lies_under_it() -> None:
    bars = make_bars(TWO_SESSIONS)

    ax = draw(bars).figure.axes[0]

    (line,) = named(ax, "last")
    assert line.get_ydata()[0] == bars["close"].iloc[-1]  # type: ignore[attr-defined]
    assert f"{bars['close'].iloc[-1]:,.2f}" in [text.get_text() for text in ax.texts]
    ax.get_figure().draw_without_rendering()  # type: ignore[union-attr]
    mark = ax.texts[0].get_window_extent()
    assert not any(mark.overlaps(label.get_window_extent()) for label in ax.get_yticklabels())


def test_every_second_session_is_shaded_in_every_panel() -> None:
    chart = draw(make_bars(stamps("2026-11-17", "2026-11-18", "2026-11-19", "2026-11-20")))

    for ax in chart.figure.axes:
        spans = [(span.get_x(), span.get_x() + span.get_width()) for span in named(ax, "session")]  # type: ignore[attr-defined]
        assert spans == [(25.5, 51.5), (77.5, 103.5)]


# -- what is drawn


def test_panels_and_overlays_are_chosen_by_name() -> None:
    chart = draw(make_bars(TWO_SESSIONS), panels=("atr", "rsi"), overlays=())

    price, _, atr, rsi = chart.figure.axes
    assert price.get_legend() is None
    assert named(atr, "atr")
    assert named(rsi, "rsi")


def test_without_indicators_bars_and_volume_are_drawn() -> None:
    chart = draw(make_bars(TWO_SESSIONS, indicators=False))

    assert [ax.get_ylabel() for ax in chart.figure.axes] == ["USD", "shares"]


@pytest.mark.parametrize("volume", [None, 0.0, np.nan])
def test_an_index_without_volume_has_no_panel_for_it(volume: float | None) -> None:
    bars = make_bars(TWO_SESSIONS).drop(columns="volume")
    if volume is not None:
        bars["volume"] = volume

    chart = draw(bars, panels=("rsi",), currency="points")

    assert [ax.get_ylabel() for ax in chart.figure.axes] == ["points", "0 to 100"]


def test_indicators_in_their_warm_up_are_said_to_be() -> None:
    bars = make_bars(TWO_SESSIONS)
    bars[INDICATORS] = np.nan

    chart = draw(bars, panels=("stoch", "macd", "rsi", "atr"))

    assert all(
        [text.get_text() for text in ax.texts] == ["no value yet: more bars are needed"] for ax in chart.figure.axes[2:]
    )
    assert chart.to_png().startswith(b"\x89PNG")


def test_a_band_gone_wide_over_a_split_does_not_press_the_bars_flat() -> None:
    bars = make_bars(TWO_SESSIONS)
    bars["bb_upper"], bars["bb_lower"], bars["sma_200"] = 10_000.0, -10_000.0, 5_000.0

    low, high = draw(bars).figure.axes[0].get_ylim()

    height = bars["high"].max() - bars["low"].min()
    assert low < bars["low"].min()
    assert high > bars["high"].max()
    assert high - low < 2.5 * height


def test_the_last_bars_only_are_drawn_on_request() -> None:
    bars = make_bars(TWO_SESSIONS)

    assert len(positions(draw(bars, last=10))) == 10
    assert len(positions(draw(bars, last=1000))) == 52


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("timeframe", ["5sec", "15min", "4hour", "1day"])
def test_a_bar_or_two_are_a_chart(count: int, timeframe: str) -> None:
    chart = draw(make_bars(TWO_SESSIONS[:count], indicators=False), timeframe=timeframe)

    assert len(positions(chart)) == count
    assert chart.to_png().startswith(b"\x89PNG")


def test_a_flat_line_is_a_chart() -> None:
    bars = make_bars(TWO_SESSIONS)
    bars[:] = 100.0

    assert draw(bars, panels=("stoch", "macd", "rsi", "atr")).to_png().startswith(b"\x89PNG")


def test_the_past_looks_the_same_when_the_future_is_appended() -> None:
    bars = make_bars(TWO_SESSIONS)

    earlier, later = draw(bars.iloc[:30]), draw(bars)

    assert positions(later)[:30] == positions(earlier)


# -- what is left alone, and what comes out


@pytest.mark.parametrize("style", ["light", "dark"])
def test_neither_the_bars_nor_the_settings_of_matplotlib_change(style: str) -> None:
    bars, settings = make_bars(TWO_SESSIONS), dict(mpl.rcParams)
    before = bars.copy(deep=True)

    draw(bars, style=style).to_png()

    pd.testing.assert_frame_equal(bars, before)
    assert dict(mpl.rcParams) == settings


def test_what_the_user_has_set_for_other_plots_does_not_reach_the_chart() -> None:
    with mpl.rc_context({"axes.facecolor": "red", "font.size": 30, "lines.marker": "o", "savefig.facecolor": "red"}):
        chart = draw(make_bars(TWO_SESSIONS))

    assert chart.figure.axes[0].get_facecolor() == (1.0, 1.0, 1.0, 1.0)
    assert chart.to_png() == draw(make_bars(TWO_SESSIONS)).to_png()


def test_a_notebook_shows_the_picture_with_a_size() -> None:
    bundle, metadata = draw(make_bars(TWO_SESSIONS), size=(6, 4))._repr_mimebundle_()

    assert set(bundle) == {"image/png", "text/plain"}
    assert metadata == {"image/png": {"width": 600, "height": 400}}


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_a_chart_is_saved_in_the_format_of_the_suffix(tmp_path: Path, suffix: str, magic: bytes) -> None:
    path = draw(make_bars(TWO_SESSIONS), style="dark").save(tmp_path / f"chart.{suffix}")

    assert path.read_bytes().startswith(magic)


def test_importing_charts_does_not_import_matplotlib_and_drawing_not_pyplot() -> None:
    code = """
import sys
import pandas as pd
from workbench.display.charts import price_chart
first = "matplotlib" in sys.modules
index = pd.DatetimeIndex(["2026-11-20 15:00"], tz="UTC")
price_chart(pd.DataFrame({n: [1.0] for n in ("open", "high", "low", "close")}, index=index),
            symbol="A", timeframe="1min").to_png()
print((first, "matplotlib" in sys.modules, "matplotlib.pyplot" in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ast.literal_eval(done.stdout) == (False, True, False)


# -- what is refused


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"panels": ("stock",)}, "there is no panel 'stock'; did you mean stoch"),
        ({"overlays": ("vwap",)}, "there is no overlay 'vwap'; there are bollinger, sma"),
        ({"style": "sepia"}, "there is no style 'sepia'; there are light, dark"),
        ({"zone": "America/Gotham"}, "there is no time zone 'America/Gotham'"),
        ({"zone": "../evil"}, "there is no time zone"),
        ({"last": 0}, "last must be a whole number of bars, at least 1"),
        ({"last": 2.5}, "last must be a whole number of bars"),
        ({"size": (0, 0)}, "size is the width and height in inches"),
    ],
)
def test_what_is_not_there_cannot_be_asked_for(options: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        draw(make_bars(TWO_SESSIONS), **options)


def test_a_panel_asked_for_needs_its_columns() -> None:
    with pytest.raises(InvalidInput, match="the panel rsi needs rsi; calculate the indicators first"):
        draw(make_bars(TWO_SESSIONS, indicators=False), panels=("rsi",))


def test_an_unknown_timeframe_is_refused() -> None:
    with pytest.raises(UnknownTimeframe):
        draw(make_bars(TWO_SESSIONS), timeframe="15mins")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (make_bars(TWO_SESSIONS).iloc[:0], "there are no bars of AAPL 15min to draw"),
        (make_bars(TWO_SESSIONS).drop(columns=["high", "low"]), "without high, low"),
        (make_bars(TWO_SESSIONS).iloc[::-1], "sorted"),
        (make_bars(TWO_SESSIONS).iloc[[0, 0]], "without duplicates"),
        (make_bars(TWO_SESSIONS).tz_localize(None), "with a time zone"),
        (make_bars(TWO_SESSIONS).reset_index(), "with a time zone"),
        (make_bars(TWO_SESSIONS).assign(close=np.nan), "not numbers"),
    ],
)
def test_bars_that_cannot_be_drawn_are_refused(broken: pd.DataFrame, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        draw(broken)

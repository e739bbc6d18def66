"""What a live chart sends, and to whom. The comm is a fake that keeps what is sent; the widget is the real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import comm
import numpy as np
import pandas as pd
import pytest
from comm.base_comm import BaseComm

from workbench.display.live import LiveChart, assets
from workbench.errors import InvalidInput
from workbench.indicators.engine import IndicatorEngine

PNG = b"\x89PNG"


class KeptComm(BaseComm):
    """Keeps what is sent."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.sent: list[tuple[dict[str, Any], list[bytes]]] = []
        super().__init__(*args, **options)

    def publish_msg(self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **_: Any) -> None:
        if msg_type == "comm_msg" and data["method"] == "custom":
            self.sent.append((data["content"], [bytes(buffer) for buffer in buffers or []]))


@pytest.fixture(autouse=True)
def kept_comm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comm, "create_comm", KeptComm)


def make_study(count: int = 60) -> pd.DataFrame:
    index = pd.date_range("2026-11-19 14:30", periods=26, freq="15min", tz="UTC")
    index = index.append(index + pd.Timedelta(days=1)).append(index + pd.Timedelta(days=4))[:count].as_unit("us")
    close = 100 + np.random.default_rng(1).normal(0, 0.2, count).cumsum()
    bars = {"open": close, "high": close + 0.1, "low": close - 0.1, "close": close, "volume": np.full(count, 500.0)}
    return IndicatorEngine.calculate_all_indicators(pd.DataFrame(bars, index=index))


def make_chart(study: pd.DataFrame | None = None, **choices: Any) -> LiveChart:
    study = make_study() if study is None else study
    return LiveChart(study, **({"symbol": "AAPL", "timeframe": "15min"} | choices))


def next_bar(chart: LiveChart, *, after: int = 1, **values: float) -> dict[str, float]:
    stamp = int(chart.bars.index[-1].timestamp()) + 900 * after
    prices = {"open": 100.0, "high": 101.0, "low": 99.0, "close": 100.5, "volume": 7.0, "forming": 1.0, "missing": 0.0}
    return {"timestamp": stamp, **prices, "rsi": 51.5, **values}


def say(chart: LiveChart, kind: str, number: int) -> None:
    """Let a browser say something."""
    said = {"method": "custom", "content": {"kind": kind, "n": number}}
    chart.comm.handle_msg({"content": {"data": said}, "buffers": []})


def sent(chart: LiveChart) -> list[str]:
    return [content["kind"] for content, _ in chart.comm.sent]


def numbers(chart: LiveChart, buffer: bytes) -> pd.DataFrame:
    columns = chart.get_state()["setup"]["columns"]
    return pd.DataFrame(np.frombuffer(buffer).reshape(-1, len(columns)), columns=columns)


def test_the_state_is_all_that_a_browser_needs() -> None:
    study = make_study()

    state = make_chart(study, source="built-in gateway (SIMULATED-1)").get_state()

    table = numbers(make_chart(study), state["history"])
    assert (len(table), state["number"]) == (60, 0)
    pd.testing.assert_frame_equal(
        table[["close", "rsi", "macd_hist", "bb_upper"]],
        study[["close", "rsi", "macd_hist", "bb_upper"]].reset_index(drop=True),
    )
    assert pd.to_datetime(table["wall"].iloc[0], unit="s") == pd.Timestamp("2026-11-19 09:30")
    assert (state["setup"]["symbol"], state["setup"]["zone"]) == ("AAPL", "New York")
    assert [line["column"] for pane in state["setup"]["under"] for line in pane["lines"]] == [
        *("stoch_k", "stoch_d", "macd", "macd_signal", "rsi")
    ]


def test_the_forming_bar_takes_its_own_place_until_the_next_one_comes() -> None:
    chart = make_chart()
    say(chart, "shown", 0)

    chart.update([next_bar(chart, close=100.1)])
    chart.update([next_bar(chart, after=0, close=100.2)])
    chart.update([next_bar(chart, after=0, close=100.3, forming=0.0), next_bar(chart, after=1)])

    closes = [numbers(chart, buffers[0])["close"].tolist() for _, buffers in chart.comm.sent]
    assert closes == [[100.1], [100.2], [100.3, 100.5]]
    assert [content["n"] for content, _ in chart.comm.sent] == [1, 2, 3]
    assert chart.bars["forming"].tolist()[-3:] == [0.0, 0.0, 1.0]
    assert len(chart.bars) == 62


def test_an_update_is_small() -> None:
    chart = make_chart(panels=["stoch", "macd", "rsi", "atr"])
    say(chart, "shown", 0)

    chart.update([next_bar(chart)])

    ((content, (buffer,)),) = chart.comm.sent
    assert len(str(content)) + len(buffer) < 300


def test_empty_slots_before_a_new_bar_are_sent_with_it() -> None:
    chart = make_chart()
    say(chart, "shown", 0)

    chart.update([next_bar(chart, after=3)])

    assert numbers(chart, chart.comm.sent[0][1][0])["close"].isna().tolist() == [True, True, False]


def test_a_bar_older_than_the_newest_changes_nothing() -> None:
    chart = make_chart()
    say(chart, "shown", 0)
    before = chart.bars

    chart.update([next_bar(chart, after=-2)])

    assert chart.comm.sent == []
    pd.testing.assert_frame_equal(chart.bars, before)


def test_nothing_is_sent_to_nobody_and_who_comes_later_is_sent_the_history() -> None:
    chart = make_chart()
    chart.update([next_bar(chart)])
    assert sent(chart) == []

    say(chart, "shown", 0)

    assert sent(chart) == ["history"]
    content, (buffer,) = chart.comm.sent[0]
    assert content["n"] == 1
    pd.testing.assert_series_equal(
        numbers(chart, buffer)["close"], chart.bars["close"].reset_index(drop=True), check_exact=True
    )


def test_a_browser_that_has_everything_is_sent_nothing() -> None:
    chart = make_chart()

    say(chart, "shown", 0)

    assert chart.comm.sent == []


def test_when_one_view_goes_another_one_may_say_that_it_is_there() -> None:
    chart = make_chart()
    say(chart, "shown", 0)

    say(chart, "hidden", 0)
    chart.update([next_bar(chart)])
    say(chart, "shown", 0)
    chart.update([next_bar(chart, after=0)])

    assert sent(chart) == ["who", "history", "rows"]


def test_another_symbol_is_another_history() -> None:
    chart = make_chart()
    say(chart, "shown", 0)

    chart.show(make_study(30), symbol="MSFT")

    content, (buffer,) = chart.comm.sent[0]
    assert (content["kind"], content["setup"]["symbol"]) == ("history", "MSFT")
    assert len(numbers(chart, buffer)) == 30
    assert repr(chart) == "<LiveChart MSFT · 15min>"


def test_the_history_has_an_end_and_the_newest_bars_are_kept() -> None:
    chart = make_chart()

    first = next_bar(chart)
    chart.update([first | {"timestamp": first["timestamp"] + 900 * number} for number in range(1100)])

    assert len(numbers(chart, chart.get_state()["history"])) == 1000


def test_on_paper_it_is_a_picture() -> None:
    data, metadata = make_chart()._repr_mimebundle_()

    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["image/png"].startswith("iVBOR")
    assert metadata["image/png"]["width"] == 1200


def test_a_chart_without_bars_waits_for_the_first_one() -> None:
    chart = make_chart(make_study().iloc[:0])
    assert "image/png" not in chart._repr_mimebundle_()[0]
    assert chart.get_state()["history"] == b""

    chart.update([{"timestamp": 1_795_167_000, "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "forming": 1.0}])

    assert len(chart.bars) == 1


def test_without_the_bundle_the_browser_shows_the_picture_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "not-built.txt").write_text("npm ci failed: no network\n")
    monkeypatch.setattr(assets, "BUILT", tmp_path)

    chart = make_chart()
    state = chart.get_state()

    assert "createChart" not in state["_esm"]
    assert 'model.get("picture")' in state["_esm"]
    assert state["picture"].startswith(PNG)
    assert state["setup"]["notice"].startswith("No live chart: npm ci failed: no network.")


def test_what_is_wrong_is_told_in_the_chart() -> None:
    chart = make_chart()

    chart.notice = "the live journal cannot be read"
    chart.notice = "the live journal cannot be read"

    assert chart.comm.sent == [({"kind": "notice", "text": "the live journal cannot be read"}, [])]
    assert chart.get_state()["setup"]["notice"] == "the live journal cannot be read"


@pytest.mark.parametrize(
    ("choices", "told"),
    [
        ({"style": "blue"}, "no style 'blue'; there are auto, light, dark"),
        ({"panels": ["stok"]}, "no panel 'stok'; did you mean stoch"),
        ({"last": 5}, "from 10 to 1000, not 5"),
        ({"height": "tall"}, "height must be"),
        ({"zone": "Mars"}, "no time zone 'Mars'"),
        ({"timeframe": "15mins"}, "did you mean 15min"),
    ],
)
def test_a_wrong_choice_is_told(choices: dict[str, Any], told: str) -> None:
    with (
        pytest.raises(InvalidInput, match=told) if "timeframe" not in choices else pytest.raises(Exception, match=told)
    ):
        make_chart(**choices)


def test_bars_out_of_order_are_refused() -> None:
    with pytest.raises(InvalidInput, match="must be sorted"):
        make_chart(make_study().iloc[::-1])

"""What the workbench stored can be played again by the gateway."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from workbench.gateway.replay import ReplayTape
from workbench.store.historical import HistoricalDataManager


@pytest.mark.parametrize(("symbol", "timeframe", "step"), [("BAC", "1min", 60), ("BAC", "1day", 86_400)])
def test_a_stored_series_is_replayed_bit_for_bit(
    real_bars: Path, tmp_path: Path, symbol: str, timeframe: str, step: int
) -> None:
    bars = pq.read_table(real_bars / "lean" / symbol / f"{timeframe}.parquet").to_pandas().set_index("timestamp")
    store = HistoricalDataManager(tmp_path / "historical")
    store.save_bars(symbol, timeframe, bars, use_rth=timeframe == "1day")

    tape = ReplayTape(tmp_path / "historical" / "stocks")

    played = tape.bars(symbol, step, 0, 1 << 40, use_rth=False)
    starts = bars.index.tz_localize(None).to_numpy().astype("datetime64[s]").astype(np.int64)
    assert np.array_equal(played.start, starts)
    for name in ("open", "high", "low", "close", "volume"):
        assert np.array_equal(getattr(played, name), bars[name].to_numpy()), name

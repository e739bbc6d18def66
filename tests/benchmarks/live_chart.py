"""What an update of a live chart costs: time in a real kernel, bytes on its socket.

Claim: at most a millisecond of kernel time and a kilobyte, all headers included, for a chart with every panel.
"""

from __future__ import annotations

import json
import statistics

from jupyter_client.manager import start_new_kernel

UPDATES = 2000
SETUP = """
import json, time
import numpy as np, pandas as pd
from workbench.display.live import LiveChart
from workbench.display.live.series import LiveSeries
from workbench.indicators.engine import IndicatorEngine
from workbench.market.aggregate import ProvisionalBar
index = pd.date_range('2026-11-20 14:30', periods=300, freq='1min', tz='UTC').as_unit('us')
close = 100 + np.random.default_rng(1).normal(0, .1, 300).cumsum()
bars = pd.DataFrame(dict(open=close, high=close + .1, low=close - .1, close=close, volume=1000., average=close,
                         bar_count=9.), index=index)
series = LiveSeries(IndicatorEngine(), bars)
chart = LiveChart(series.study, symbol='AAPL', timeframe='1min', panels=['stoch', 'macd', 'rsi', 'atr'], live=True)
chart.is_shown = True
began = int(index[-1].timestamp())
def bar(number):
    price = 100 + .01 * (number % 97)
    start = began + 60 * (1 + number // 12)
    return ProvisionalBar('AAPL', '1min', start, price, price + .1, price - .1, price, 1e4, price, 9., number % 12, 12)
def step(number):
    done = [bar(number - 1)] if number and number % 12 == 0 else []
    chart.update(series.take(done, bar(number)))
"""
RUN = f"""
took = []
for number in range({UPDATES}):
    begin = time.perf_counter()
    step(number)
    took.append(time.perf_counter() - begin)
    time.sleep(.001)
print(json.dumps(took))
"""


def main() -> None:
    manager, client = start_new_kernel()
    try:
        client.execute_interactive(SETUP, timeout=120, output_hook=_print_errors)
        client.execute(RUN)
        sizes, took = _listen(client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    milliseconds = [1e3 * one for one in took]
    median, most = statistics.median(milliseconds), statistics.quantiles(milliseconds, n=100)[98]
    print(f"{len(sizes)} updates: kernel {median:.3f} ms (median), {most:.3f} ms (99 %)")
    print(f"on the socket {statistics.median(sizes):.0f} bytes (median), {max(sizes)} (most)")


def _listen(client: object) -> tuple[list[int], list[float]]:
    """Return the size of each update as it came over the socket, and how long each took."""
    sizes: list[int] = []
    while True:
        frames = client.iopub_channel.socket.recv_multipart()  # type: ignore[attr-defined]
        _, parts = client.session.feed_identities(frames)  # type: ignore[attr-defined]
        message = client.session.deserialize(parts)  # type: ignore[attr-defined]
        if message["msg_type"] == "comm_msg":
            sizes.append(sum(map(len, frames)))
        elif message["msg_type"] == "stream":
            return sizes, json.loads(message["content"]["text"])
        elif message["msg_type"] == "error":
            raise RuntimeError("\n".join(message["content"]["traceback"]))


def _print_errors(message: dict[str, dict[str, object]]) -> None:
    if message["header"]["msg_type"] in ("error", "stream"):
        print(message["content"])


if __name__ == "__main__":
    main()

"""nautilus_trader as a peer of the benchmark of live bars, in an environment of its own.

Six of its time-bar aggregators a symbol, each fed by the one before (its composite bars), on its test clock; its data
engine, which would hand bars from one to the other, is left out. Prints JSON: the seconds of each tick, and how many
minute bars were made, of what volume.
"""

import json
import sys
import time

import numpy as np
from nautilus_trader.common.component import TestClock
from nautilus_trader.data.aggregation import TimeBarAggregator
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.objects import Price, Quantity
from nautilus_trader.test_kit.providers import TestInstrumentProvider

BEGIN_NS, STEP_NS = 1_795_185_000 * 10**9, 5 * 10**9
CHAIN = ("1-MINUTE", "5-MINUTE", "15-MINUTE", "1-HOUR", "4-HOUR", "1-DAY")

minutes = [0, 0.0]


def chained(symbol, clock):
    """Return the aggregator of the minutes of a symbol, which feeds the longer ones."""
    instrument = TestInstrumentProvider.equity(symbol=symbol, venue="XNAS")
    sources = ["5-SECOND-EXTERNAL", *(f"{spec}-INTERNAL" for spec in CHAIN)]
    feed = None
    for place in reversed(range(len(CHAIN))):
        kind = BarType.from_str(f"{instrument.id}-{CHAIN[place]}-LAST-INTERNAL@{sources[place]}")
        feed = TimeBarAggregator(
            instrument, kind, _handler(feed, is_minute=place == 0), clock, build_with_no_updates=False
        ).handle_bar
    return feed, BarType.from_str(f"{instrument.id}-5-SECOND-LAST-EXTERNAL")


def _handler(longer, *, is_minute):
    if not is_minute:
        return longer or (lambda bar: None)

    def handle(bar):
        minutes[0] += 1
        minutes[1] += float(bar.volume)
        longer(bar)

    return handle


values = np.load(sys.argv[1])
clock = TestClock()
clock.set_time(BEGIN_NS)
feeds = [chained(f"S{number}", clock) for number in range(values["open"].shape[1])]
prices = [values[name] for name in ("open", "high", "low", "close")]
took = []
for number in range(len(values["open"])):
    now = BEGIN_NS + (number + 1) * STEP_NS
    bars = [
        Bar(kind, *(Price(column[number, place], 2) for column in prices),
            Quantity(values["volume"][number, place], 0), now, now)
        for place, (_, kind) in enumerate(feeds)
    ]  # fmt: skip
    begun = time.thread_time()
    for (feed, _), bar in zip(feeds, bars, strict=True):
        feed(bar)
    for event in clock.advance_time(now):
        event.handle()
    took.append(time.thread_time() - begun)
print(json.dumps({"took": took, "minutes": minutes}))

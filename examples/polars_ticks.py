"""Polars reads market_ticks: bars of a minute by symbol, of one day. docs/lake-readers.md.

    pip install polars==2.1.0 deltalake==1.6.6
    python examples/polars_ticks.py data/lake/market_ticks 2026-11-22
"""

import datetime
import sys

import polars

table, day = sys.argv[1], datetime.date.fromisoformat(sys.argv[2])

# Both are partitions: files of other days and symbols are not opened.
ticks = polars.scan_delta(table).filter(polars.col("dt") == day)
price = polars.col("price")
bars = (
    ticks.sort("event_ts", "stream_seq")
    .group_by("symbol", polars.col("event_ts").dt.truncate("1m").alias("minute"), maintain_order=True)
    .agg(
        price.first().alias("open"),
        price.max().alias("high"),
        price.min().alias("low"),
        price.last().alias("close"),
        polars.len().alias("ticks"),
    )
    .sort("symbol", "minute")
)
print(bars.collect())

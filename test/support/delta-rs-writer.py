"""Appends rows to market_ticks by delta-rs, a commit each time: FOLDER COMMITS ROWS."""

import datetime
import sys

import deltalake
import pyarrow

folder, commits, rows = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
day = datetime.date(2026, 11, 22)
time = datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.timezone.utc)
schema = pyarrow.schema(deltalake.DeltaTable(folder).schema())
for commit in range(commits):
    ticks = [
        {"symbol": f"SYM{commit % 2}", "dt": day, "event_ts": time, "venue": "DELTA-RS", "price": 1.5, "source_seq": number}
        for number in range(commit * rows, (commit + 1) * rows)
    ]
    # A writer of others: it opens the table anew, and has the position of no stream.
    deltalake.write_deltalake(
        deltalake.DeltaTable(folder),
        pyarrow.Table.from_pylist(ticks, schema=schema),
        mode="append",
        commit_properties=deltalake.CommitProperties(max_commit_retries=1000),
    )
    print(commit, flush=True)

import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { SinkCommitted } from './sink-flow.ts'

/** Adds the metrics of a sink (contract, section 4). @returns counts a commit */
export function addSinkMetrics(registry: Registry): (committed: SinkCommitted) => void {
  const registers = [registry]
  const rows = new Counter({ name: 'sink_rows_total', help: 'Rows in commits', registers })
  const bytes = new Counter({ name: 'sink_bytes_total', help: 'Size of the files in commits', registers })
  const duplicates = new Counter({
    name: 'sink_duplicates_total',
    help: 'Messages that said what an earlier one had said, counted in commits',
    registers,
  })
  const seconds = new Histogram({
    name: 'sink_commit_seconds',
    help: 'From the end of a batch to its commit',
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers,
  })
  const last = new Gauge({
    name: 'sink_last_commit_timestamp_seconds',
    help: 'When the last commit was made, Unix time; 0 before the first',
    registers,
  })
  return (committed) => {
    rows.inc(committed.rows)
    bytes.inc(committed.bytes)
    duplicates.inc(committed.duplicates)
    seconds.observe(committed.durationMs / 1_000)
    last.set(Date.now() / 1_000)
  }
}

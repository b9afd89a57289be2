import t from 'tap'
import { openLocalStore } from '../../src/lake/local-store.ts'
import { run } from '../../src/local/process.ts'
import { appendTicks, firstDay } from '../lake/tick-table.ts'
import { pythonPath } from '../support/python.ts'
import { tempDir } from '../support/temp-dir.ts'

// Where Polars is not there yet, it is installed.
t.setTimeout(390_000)

void t.test('the example for Polars makes bars of a table', async (t) => {
  const folder = tempDir(t)
  await appendTicks(openLocalStore(folder), [{ from: 1, to: 41 }])
  process.env['PYTHONPATH'] = await pythonPath()
  const bars = await run('python3', ['examples/polars_ticks.py', folder, firstDay])
  t.match(bars, /^shape: \(4, 7\)/, 'a minute of each symbol')
  t.match(bars, /│ BTCUSDT +┆ 2026-11-20 00:00:00 UTC ┆ 45000.5 +┆ 45005.0 +┆ 45000.5 +┆ 45005.0 +┆ 10 /)
  t.match(await run('python3', ['examples/polars_ticks.py', folder, '2026-11-21']), /^shape: \(0, 7\)/)
})

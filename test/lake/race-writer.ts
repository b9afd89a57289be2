import { DeltaTable } from '../../src/lake/delta-table.ts'
import { openLocalStore } from '../../src/lake/local-store.ts'
import { definition, rowsOf } from './log-tools.ts'

/** Writes a stream to its end into a table in a folder, a batch of `step` messages a commit. */
const [, , folder = '', appId = '', step = '1', end = '1'] = process.argv
const store = openLocalStore(folder)
await store.check()
const table = await DeltaTable.open(store, definition)
let watermark = table.transactionVersion(appId)
const outcomes = { committed: 0, superseded: 0 }
while ((watermark ?? 0) < Number(end)) {
  const from = (watermark ?? 0) + 1
  const to = Math.min(Number(end), from + Number(step) - 1)
  const outcome = await table.append(rowsOf(from, to, [appId]), { appId, version: to, expected: watermark })
  outcomes[outcome.outcome] += 1
  watermark = outcome.outcome === 'committed' ? to : outcome.watermark
}
console.log(JSON.stringify(outcomes))

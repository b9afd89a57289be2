import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { checkpointProcess } from '../src/lake/checkpoint-process.ts'
import { DeltaTable } from '../src/lake/delta-table.ts'
import { checkpointKey } from '../src/lake/log-files.ts'
import { openStore } from '../src/lake/open-store.ts'
import { storeBelow } from '../src/lake/store.ts'
import { marketTicks } from '../src/workers/tick-sink.ts'
import { ticks } from './parquet.ts'
import { peakRssMb, peakRssMbBelow } from './peak-memory.ts'

/** The process whose start and memory `bench lake` measures: opens a table, appends to it, and writes its checkpoint. */

export interface AppenderFigures {
  /** From the start of the process. */
  readonly coldStartSeconds: number
  readonly openSeconds: number
  readonly appendMs: number
  readonly rssMb: number
  readonly checkpointSeconds: number
  readonly rssCheckpointMb: number
}

const [lakeFolder = '', name = '', appId = ''] = process.argv.slice(2)
const appends = 20

const startedMs = performance.now()
const lake = await openStore(lakeFolder, process.env)
const table = await DeltaTable.open(storeBelow(lake, `${name}/`), marketTicks)
const coldStartSeconds = performance.now() / 1_000
const openSeconds = (performance.now() - startedMs) / 1_000
const appendsMs = performance.now()
for (let batch = 0; batch < appends; batch += 1) {
  const expected = table.transactionVersion(appId) ?? 0
  const partition = { ...ticks(250), partitionValues: { symbol: 'SYM0', dt: '2026-11-23' } }
  await table.append([partition], { appId, version: expected + 250, expected })
}
const appendMs = (performance.now() - appendsMs) / appends
const rssMb = peakRssMb()
const checkpointMs = performance.now()
let rssCheckpointMb = 0
const watch = setInterval(() => (rssCheckpointMb = Math.max(rssCheckpointMb, peakRssMbBelow('checkpoint-child'))), 20)
await checkpointProcess(lake.uri, name, process.env)(table.snapshot)
clearInterval(watch)
if (!existsSync(join(lakeFolder, name, checkpointKey(table.version)))) throw new Error('there is no checkpoint')
const checkpointSeconds = (performance.now() - checkpointMs) / 1_000
const figures: AppenderFigures = {
  coldStartSeconds,
  openSeconds,
  appendMs,
  rssMb,
  checkpointSeconds,
  rssCheckpointMb,
}
process.send?.(figures)

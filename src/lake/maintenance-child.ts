import { setPriority } from 'node:os'
import { messageOf } from '../base/errors.ts'
import { compactionPolicyOf } from './compaction-plan.ts'
import { compactTable } from './compaction.ts'
import { DeltaTable } from './delta-table.ts'
import type { MaintenanceOutcome, MaintenanceTask } from './maintenance.ts'
import { openStore } from './open-store.ts'
import { vacuumTable } from './vacuum.ts'

/** The process that `startMaintenance` starts: does one task, tells what came of it, and ends. */
const task = JSON.parse(process.argv[2] ?? '') as MaintenanceTask
/** Fewer small files of a partition wait for others: each commit is one more for every reader. */
const filesMin = 8

const stopping = new AbortController()
const stop = () => stopping.abort()
process.on('SIGTERM', stop)
// Ctrl-C reaches the whole group; the parent decides what becomes of us.
process.on('SIGINT', () => undefined)
process.on('disconnect', stop)
// Appends come first.
setPriority(10)

const { signal } = stopping
let outcome: MaintenanceOutcome
try {
  outcome = await run()
} catch (error) {
  outcome = { problem: messageOf(error) }
}
if (process.connected) process.send?.(outcome, () => process.exit(0))
else process.exit(1)

async function run(): Promise<MaintenanceOutcome> {
  const store = await openStore(task.uri, process.env)
  const table = await DeltaTable.openExisting(store)
  if (!table) return { problem: `there is no table in ${task.uri} yet` }
  if (task.kind === 'vacuum') return { result: await vacuumTable(table, { signal }) }
  const policy = compactionPolicyOf(table.snapshot.metaData, task.orderBy, filesMin)
  return { result: await compactTable(table, policy, { signal }) }
}

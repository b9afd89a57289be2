import { PipelineError } from '../base/errors.ts'
import { readFiles } from '../lake/active-files.ts'
import { openStore } from '../lake/open-store.ts'
import { loadSnapshot } from '../lake/snapshot.ts'
import { type ObjectStore, storeBelow } from '../lake/store.ts'
import { fileStats } from '../lake/file-stats.ts'
import { readHistory } from '../lake/table-history.ts'
import type { SinkName } from '../runtime/flush-limits.ts'
import type { Nats } from '../runtime/nats.ts'
import { type StreamName, workerSpec } from '../subjects/contract.ts'
import { altDocs } from '../workers/alt-sink.ts'
import { executions } from '../workers/execution-sink.ts'
import { marketTicks } from '../workers/tick-sink.ts'

/** A table beside its stream. */
export interface TableAudit {
  readonly name: string
  readonly version: number
  readonly rows: number
  /** That the stream has had. */
  readonly messages: number
  readonly duplicates: number
  readonly deadLetters: number
  /** What does not add up; empty when all is well. */
  readonly problems: readonly string[]
}

const tables: readonly (readonly [SinkName, string])[] = [
  ['tick-sink', marketTicks.name],
  ['alt-sink', altDocs.name],
  ['execution-sink', executions.name],
]

/**
 * Lets the sinks commit what the streams hold and compares the tables with them by number: rows, counted repeats and dead
 * letters are all messages; of EXECUTIONS each report is a row. The pipeline must be idle, and the last message of each
 * stream one with a row: what has none is counted by the next commit.
 *
 * @param reports in EXECUTIONS
 */
export async function auditTables(
  nats: Nats,
  lakeUri: string,
  sinkUrls: Readonly<Record<SinkName, string>>,
  reports: number,
): Promise<TableAudit[]> {
  const lake = await openStore(lakeUri, process.env)
  const audits: TableAudit[] = []
  try {
    for (const [sink, name] of tables) {
      const messages = await flushed(nats, workerSpec(sink).input as StreamName, sinkUrls[sink])
      audits.push(
        await auditTable(storeBelow(lake, `${name}/`), name, messages, name === executions.name ? reports : undefined),
      )
    }
  } finally {
    lake.close()
  }
  return audits
}

/** @returns how many messages the stream has, all of them settled: the tape may still have written */
async function flushed(nats: Nats, stream: StreamName, sinkUrl: string): Promise<number> {
  const lastSequence = async () => (await nats.jsm.streams.info(stream)).state.last_seq
  for (;;) {
    const before = await lastSequence()
    const answer = await fetch(`${sinkUrl}/flush`, { method: 'POST' })
    if (!answer.ok) throw new PipelineError('LAKE_STORE_UNAVAILABLE', `${sinkUrl}/flush: ${await answer.text()}`)
    if ((await lastSequence()) === before) return before
  }
}

async function auditTable(
  store: ObjectStore,
  name: string,
  messages: number,
  rowsExpected: number | undefined,
): Promise<TableAudit> {
  const problems: string[] = []
  const snapshot = await loadSnapshot(store)
  if (!snapshot)
    return { name, version: -1, rows: 0, messages, duplicates: 0, deadLetters: 0, problems: ['is not there'] }
  let rows = 0
  for await (const add of readFiles(store, snapshot)) rows += fileStats(add).numRecords ?? 0
  const counts = { messages: 0, rows: 0, duplicates: 0, deadLetters: 0, empty: 0, skipped: 0 }
  for await (const { info } of readHistory(store, snapshot))
    for (const key of Object.keys(counts) as (keyof typeof counts)[]) counts[key] += Number(info[key] ?? 0)
  const { duplicates, deadLetters, empty, skipped } = counts
  if (rows !== counts.rows) problems.push(`has ${rows} rows, its commits say ${counts.rows}`)
  const told = counts.messages + skipped
  if (told !== messages) problems.push(`tells of ${told} messages, the stream has had ${messages}`)
  const expected = rowsExpected ?? counts.messages - duplicates - deadLetters - empty
  if (rows !== expected) problems.push(`has ${rows} rows instead of ${expected}`)
  return { name, version: snapshot.version, rows, messages, duplicates, deadLetters, problems }
}

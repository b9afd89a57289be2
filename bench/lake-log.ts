import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type Action, formatCommit } from '../src/lake/actions.ts'
import { CheckpointFileWriter } from '../src/lake/checkpoint-file.ts'
import { checkpointKey, commitKey, lastCheckpointKey } from '../src/lake/log-files.ts'
import { encodedPath, partitionPath } from '../src/lake/partition-path.ts'
import { statsOf } from '../src/lake/stats.ts'
import { formatSchema } from '../src/lake/table-schema.ts'
import { marketTicks } from '../src/workers/tick-sink.ts'
import { tickColumns, ticks } from './parquet.ts'

export const logAppId = 'TICKS@2026-11-23T00:00:00Z/market_ticks'
const symbols = 20
/** Of ten file actions of a log; the files that are removed are the oldest. */
const removesOfTen = 3

/**
 * Writes the log of a market_ticks that a sink has appended to and a compaction has removed from for long: commits, a
 * checkpoint shortly before the newest version, no files of rows. Nothing is synced.
 * @param fileActions adds and removes in all
 * @returns the newest version, and how many files it has
 */
export async function writeLog(
  folder: string,
  { versions, fileActions }: { readonly versions: number; readonly fileActions: number },
): Promise<{ readonly version: number; readonly files: number }> {
  const path = (key: string) => join(folder, key)
  mkdirSync(dirname(path(commitKey(0))), { recursive: true })
  const nowMs = Date.now()
  const { columns, partitionColumns, configuration } = marketTicks
  const metaData: Action = {
    metaData: {
      id: 'a-generated-log',
      format: { provider: 'parquet', options: {} },
      schemaString: formatSchema(columns),
      partitionColumns,
      configuration,
      createdTime: nowMs,
    },
  }
  const protocol: Action = { protocol: { minReaderVersion: 1, minWriterVersion: 2 } }
  writeFileSync(path(commitKey(0)), formatCommit([protocol, metaData]))
  const stats = statsOf(tickColumns, ticks(250))
  const perVersion = fileActions / versions
  const checkpointed = versions - Math.min(50, Math.floor(versions / 2))
  const values = (file: number) => ({ symbol: `SYM${file % symbols}`, dt: '2026-11-23' })
  const pathOf = (file: number) => {
    const name = (file * 2_654_435_761).toString(16).padStart(32, '0')
    return encodedPath(`${partitionPath(partitionColumns, values(file))}/part-${name}.parquet`)
  }
  const add = (file: number): Action => ({
    add: {
      path: pathOf(file),
      partitionValues: values(file),
      size: 7_000 + (file % 1_000),
      modificationTime: nowMs,
      dataChange: true,
      // As different from file to file as they are in a table.
      stats: stats.replaceAll(/\d{9,}/g, (digits) => String(Number(digits.slice(0, 15)) + file * 7_919)),
    },
  })
  const remove = (file: number): Action => ({
    remove: {
      path: pathOf(file),
      deletionTimestamp: nowMs,
      dataChange: false,
      partitionValues: values(file),
      size: 7_000,
    },
  })
  let [added, removed, planned] = [0, 0, 0]
  const checkpoint = new CheckpointFileWriter()
  for (let version = 1; version <= versions; version += 1) {
    const actions: Action[] = [
      { commitInfo: { operation: 'WRITE', txnId: String(version), timestamp: nowMs } },
      { txn: { appId: logAppId, version: version * 5_000, lastUpdated: nowMs } },
    ]
    for (; planned < version * perVersion; planned += 1)
      if (planned % 10 >= 10 - removesOfTen) actions.push(remove(removed++))
      else actions.push(add(added++))
    writeFileSync(path(commitKey(version)), formatCommit(actions))
    if (version !== checkpointed) continue
    const txn = actions[1]
    for (const action of [protocol, metaData, ...(txn ? [txn] : [])]) checkpoint.add(action)
    for (let file = 0; file < removed; file += 1) checkpoint.add(remove(file))
    for (let file = removed; file < added; file += 1) checkpoint.add(add(file))
    const data = await checkpoint.finish(() => Promise.resolve(new Uint8Array()))
    writeFileSync(path(checkpointKey(version)), data)
    writeFileSync(path(lastCheckpointKey), JSON.stringify({ version, size: checkpoint.counts.actions }))
  }
  return { version: versions, files: added - removed }
}

import { readFileActions, readFiles } from '../../src/lake/active-files.ts'
import { formatCommit, parseCommit, type Action, type Add, type Remove } from '../../src/lake/actions.ts'
import { txnIdOf } from '../../src/lake/commit.ts'
import { commitKey } from '../../src/lake/log-files.ts'
import type { MemoryStore } from '../../src/lake/memory-store.ts'
import { decodedPath } from '../../src/lake/partition-path.ts'
import { formatSchema } from '../../src/lake/table-schema.ts'
import { loadSnapshot, type Snapshot } from '../../src/lake/snapshot.ts'
import type { ObjectStore } from '../../src/lake/store.ts'
import type { PartitionRows, TableDefinition } from '../../src/lake/schema.ts'
import { textFromUtf8, utf8FromText } from '../../src/base/json.ts'

export const definition: TableDefinition = {
  description: 'ticks for tests',
  columns: [
    { name: 'symbol', type: 'string', nullable: true },
    { name: 'seq', type: 'long', nullable: false, comment: 'sequence in the stream' },
    { name: 'price', type: 'double', nullable: true },
  ],
  partitionColumns: ['symbol'],
  configuration: { 'delta.appendOnly': 'true', owner: 'tests' },
}

/** A row for each sequence from one to another, both included, in as many files as there are symbols. */
export function rowsOf(from: number, to: number, symbols: readonly string[] = ['EUR/USD']): PartitionRows[] {
  const sequences = Array.from({ length: to - from + 1 }, (_, index) => from + index)
  return symbols
    .map((symbol, at) => {
      const own = sequences.filter((seq) => seq % symbols.length === at)
      return { partitionValues: { symbol }, columns: [own, own.map((seq) => seq / 2)], rows: own.length }
    })
    .filter(({ rows }) => rows > 0)
}

export const protocol: Action = { protocol: { minReaderVersion: 1, minWriterVersion: 2 } }
export const metaData: Action = {
  metaData: {
    id: 'a-table',
    format: { provider: 'parquet', options: {} },
    schemaString: formatSchema(definition.columns),
    partitionColumns: definition.partitionColumns,
    configuration: definition.configuration,
  },
}

export function addOf(path: string, dataChange = true): { readonly add: Add } {
  return { add: { path, partitionValues: { symbol: 'X' }, size: 1, modificationTime: 1, dataChange } }
}

export function removeOf(path: string): Action {
  return { remove: { path, dataChange: false, deletionTimestamp: 1 } }
}

export async function* readTombstones(store: ObjectStore, snapshot: Snapshot): AsyncIterable<Remove> {
  for await (const action of readFileActions(store, snapshot, ['remove'])) if ('remove' in action) yield action.remove
}

/** Puts a commit into the log, whatever is there. */
export function putCommit(store: MemoryStore, version: number, actions: readonly Action[] | string): void {
  const data = utf8FromText(typeof actions === 'string' ? actions : formatCommit(actions))
  store.objects.set(commitKey(version), { data, modifiedMs: 1_000 * version })
}

/** All commits of a log, which must be contiguous. */
export function commitsOf(store: MemoryStore): Action[][] {
  const keys = [...store.objects.keys()].filter((key) => /^_delta_log\/\d{20}\.json$/.test(key))
  return keys.map((_, version) => {
    const object = store.objects.get(commitKey(version))
    if (!object) throw new Error(`version ${version} is missing`)
    return parseCommit(textFromUtf8(object.data), version)
  })
}

/** Keys of the objects that are no part of the log. */
export function dataKeys(store: MemoryStore): string[] {
  return [...store.objects.keys()].filter((key) => !key.startsWith('_delta_log/')).sort()
}

/**
 * What is wrong with a log of batches of one file each, of which every stream was written to its end: each batch must begin
 * behind the one before and have each message once, and its file must be there.
 */
export function logProblems(
  commits: readonly (readonly Action[])[],
  exists: (key: string) => boolean,
  appIds: Iterable<string>,
  end: number,
): string[] {
  const problems: string[] = []
  const watermarks = new Map<string, number>()
  const txnIds = new Set<unknown>()
  for (const [version, actions] of commits.entries()) {
    const txnId = txnIdOf(actions)
    if (txnId === undefined || txnIds.has(txnId)) problems.push(`version ${version}: txnId ${String(txnId)}`)
    txnIds.add(txnId)
    const txn = actions.flatMap((action) => ('txn' in action ? [action.txn] : []))[0]
    if (!txn) continue
    const from = (watermarks.get(txn.appId) ?? 0) + 1
    const to = Number(txn.version)
    watermarks.set(txn.appId, to)
    const adds = actions.flatMap((action) => ('add' in action ? [action.add] : []))
    const found = adds.map(({ stats = '' }) => {
      const { numRecords, minValues, maxValues } = JSON.parse(stats) as Stats
      return `${minValues.seq}-${maxValues.seq}, ${numRecords} rows`
    })
    const expected = `${from}-${to}, ${to - from + 1} rows`
    if (found.join(' and ') !== expected)
      problems.push(`version ${version}: ${txn.appId} has ${found.join(' and ')}, not ${expected}`)
    const gone = adds.filter(({ path }) => !exists(decodedPath(path)))
    if (gone.length > 0) problems.push(`version ${version}: ${gone.map(({ path }) => path).join()} is gone`)
  }
  for (const appId of appIds)
    if (watermarks.get(appId) !== end) problems.push(`${appId} ends at ${watermarks.get(appId)}, not ${end}`)
  return problems
}

interface Stats {
  readonly numRecords: number
  readonly minValues: { readonly seq: number }
  readonly maxValues: { readonly seq: number }
}

/** The active files and the tombstones of a version. */
export async function pathsOf(store: MemoryStore, version?: number) {
  const snapshot = await loadSnapshot(store, { version })
  if (!snapshot) throw new Error('no table')
  const files: string[] = []
  for await (const { path } of readFiles(store, snapshot)) files.push(path)
  const tombstones: string[] = []
  for await (const { path } of readTombstones(store, snapshot)) tombstones.push(path)
  return { files: files.sort(), tombstones: tombstones.sort() }
}

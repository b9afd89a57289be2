import type { Action, CommitInfoFields, Txn } from './actions.ts'
import { fileStats } from './file-stats.ts'
import { listLog, type LogSegment } from './log-segment.ts'
import { readCommits } from './log-files.ts'
import type { ObjectStore } from './store.ts'

/** What one version of a table did. */
export interface TableCommit {
  readonly version: number
  /** When it was written, by the store. */
  readonly modifiedMs: number
  /** All that its writer says of it. */
  readonly info: CommitInfoFields
  readonly txns: readonly Txn[]
  readonly filesAdded: number
  readonly filesRemoved: number
  readonly bytesAdded: number
  readonly bytesRemoved: number
  /** In the files added, by their statistics; undefined when one has none. */
  readonly rowsAdded: number | undefined
}

/** The commits up to a version, newest first, as far back as the log goes. */
export async function* readHistory(store: ObjectStore, { version: newest }: LogSegment): AsyncIterable<TableCommit> {
  const { commits } = await listLog(store)
  const modifiedMs = new Map(commits.map((commit) => [commit.version, commit.modifiedMs]))
  const oldest = commits[0]?.version ?? newest + 1
  for await (const { version, actions } of readCommits(store, newest, oldest, -1)) {
    if (!actions) return
    yield commitOf(version, Math.floor(modifiedMs.get(version) ?? 0), actions)
  }
}

function commitOf(version: number, modifiedMs: number, actions: readonly Action[]): TableCommit {
  const adds = actions.flatMap((action) => ('add' in action ? [action.add] : []))
  const removes = actions.flatMap((action) => ('remove' in action ? [action.remove] : []))
  const rows = adds.map((add) => fileStats(add).numRecords)
  return {
    version,
    modifiedMs,
    info: actions.find((action) => 'commitInfo' in action)?.commitInfo ?? {},
    txns: actions.flatMap((action) => ('txn' in action ? [action.txn] : [])),
    filesAdded: adds.length,
    filesRemoved: removes.length,
    bytesAdded: adds.reduce((sum, { size }) => sum + size, 0),
    bytesRemoved: removes.reduce((sum, { size = 0 }) => sum + size, 0),
    rowsAdded: rows.every((count) => count !== undefined) ? rows.reduce((sum, count) => sum + count, 0) : undefined,
  }
}

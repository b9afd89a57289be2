import { isPipelineError, messageOf, PipelineError } from '../base/errors.ts'
import type { Action, MetaData, Protocol, Txn } from './actions.ts'
import { readCheckpoint } from './checkpoint-read.ts'
import { readCommit, readCommits } from './log-files.ts'
import {
  checkpointHint,
  gapOf,
  listLog,
  newestOf,
  segmentsOf,
  type LogListing,
  type LogSegment,
} from './log-segment.ts'
import type { ObjectStore } from './store.ts'
import { tableProperties, type TableProperties } from './table-properties.ts'

/** A version of a table without its files, so that it stays small. @see Delta protocol, "Delta Table Specification" */
export interface Snapshot extends LogSegment {
  readonly protocol: Protocol
  readonly metaData: MetaData
  readonly properties: TableProperties
  /** How far each application has come, by its id. */
  readonly txns: ReadonlyMap<string, Txn>
  /** Of the last commit, where the table has that feature. */
  readonly inCommitTimestamp: number | undefined
}

/** Reconciliation of the actions that are not files. @see Delta protocol, "Action Reconciliation" */
interface Reconciled {
  protocol: Protocol | undefined
  metaData: MetaData | undefined
  readonly txns: Map<string, Txn>
  inCommitTimestamp: number | undefined
}

function reconcile(state: Reconciled, actions: readonly Action[]): void {
  for (const action of actions) {
    if ('protocol' in action) state.protocol = action.protocol
    if ('metaData' in action) state.metaData = action.metaData
    if ('txn' in action) state.txns.set(action.txn.appId, action.txn)
    if ('commitInfo' in action && typeof action.commitInfo['inCommitTimestamp'] === 'number')
      state.inCommitTimestamp = action.commitInfo['inCommitTimestamp']
  }
}

/** The snapshot of the next version, which has these actions. */
export function advanced(snapshot: Snapshot, actions: readonly Action[]): Snapshot {
  const { version, protocol, metaData, txns, inCommitTimestamp } = snapshot
  const state = { protocol, metaData, txns: new Map(txns), inCommitTimestamp }
  reconcile(state, actions)
  const properties = state.metaData === metaData ? snapshot.properties : tableProperties(state.metaData)
  return { ...snapshot, ...state, properties, version: version + 1 }
}

const attempts = 3

/**
 * A version of a table, from the newest checkpoint that can be read and the commits after it.
 *
 * @param options.version the newest one, when absent
 * @returns undefined when there is no table
 * @throws PipelineError LAKE_LOG_UNREADABLE, LAKE_VERSION_MISSING, LAKE_STORE_UNAVAILABLE
 */
export async function loadSnapshot(
  store: ObjectStore,
  options: { readonly version?: number | undefined } = {},
): Promise<Snapshot | undefined> {
  const hint = await checkpointHint(store)
  const isUseful = hint !== undefined && hint <= (options.version ?? Infinity)
  let problem: unknown
  // A listing while others write and clean up may miss a file; one from the hint on may lack what is needed.
  for (let attempt = isUseful ? 0 : 1; attempt <= attempts; attempt += 1) {
    const listing = await listLog(store, attempt === 0 ? hint : 0)
    const newest = newestOf(listing)
    if (newest === -1) {
      // A table that was there must not be made anew upon what is left of it.
      if (hint === undefined && !listing.hasV2Checkpoint) return undefined
      problem = gap(store, listing, options.version)
      continue
    }
    const version = options.version ?? newest
    problem =
      version > newest ? missing(store, version, `the newest is ${newest}`) : gap(store, listing, options.version)
    for (const segment of version > newest ? [] : segmentsOf(listing, version)) {
      const found = await readSegment(store, segment)
      if ('txns' in found) return found
      problem = found.problem
    }
  }
  throw problem
}

function missing({ uri }: ObjectStore, version: number, why: string): PipelineError {
  return new PipelineError('LAKE_VERSION_MISSING', `the log of ${uri} has no version ${version}: ${why}`)
}

/** Why no segment leads to the version. */
function gap(store: ObjectStore, listing: LogListing, version: number | undefined): PipelineError {
  const checkpoint = listing.checkpoints.find((each) => each.version <= (version ?? Infinity))
  const first = gapOf(listing, { checkpoint, version: version ?? newestOf(listing) }) ?? 0
  if (version !== undefined && !checkpoint && !listing.commits.some((commit) => commit.version < first))
    return missing(store, version, 'it was cleaned up')
  if (listing.hasV2Checkpoint)
    return new PipelineError('LAKE_FEATURE_UNSUPPORTED', `cannot read the log of ${store.uri}: v2Checkpoint`)
  return unreadable(store, `version ${first} is missing`)
}

function unreadable({ uri }: ObjectStore, problem: string, cause?: unknown): PipelineError {
  return new PipelineError('LAKE_LOG_UNREADABLE', `the log of ${uri}: ${problem}`, { cause })
}

/** @returns the problem when another segment, or another listing, may do */
async function readSegment(store: ObjectStore, segment: LogSegment): Promise<Snapshot | { problem: unknown }> {
  const state: Reconciled = { protocol: undefined, metaData: undefined, txns: new Map(), inCommitTimestamp: undefined }
  const { checkpoint, version } = segment
  if (checkpoint) {
    try {
      for await (const action of readCheckpoint(store, checkpoint.keys, ['protocol', 'metaData', 'txn']))
        reconcile(state, [action])
      if (!state.protocol || !state.metaData) throw new Error('it has no protocol or no metaData')
    } catch (error) {
      if (isPipelineError(error, 'LAKE_STORE_UNAVAILABLE')) throw error
      return { problem: unreadable(store, `checkpoint ${checkpoint.version}: ${messageOf(error)}`, error) }
    }
  }
  for await (const { version: at, actions } of readCommits(store, (checkpoint?.version ?? -1) + 1, version)) {
    if (!actions) return { problem: unreadable(store, `version ${at} is missing`) }
    reconcile(state, actions)
  }
  const { protocol, metaData } = state
  if (!protocol || !metaData) throw unreadable(store, 'it has no protocol or no metaData')
  const properties = tableProperties(metaData)
  // Checkpoints leave out the commitInfo; the commit of its version stays when the log is cleaned up.
  if (properties.enableInCommitTimestamps && version === checkpoint?.version)
    reconcile(state, (await readCommit(store, version)) ?? [])
  return { ...segment, ...state, protocol, metaData, properties }
}

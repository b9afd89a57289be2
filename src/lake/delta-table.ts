import { randomUUID } from 'node:crypto'
import { assert } from '../base/assert.ts'
import { systemClock, type Clock } from '../base/clock.ts'
import { crashPoint } from '../base/crash-points.ts'
import { PipelineError } from '../base/errors.ts'
import type { Action } from './actions.ts'
import { appendTransaction, committedOf, type AppendOutcome, type Batch, type Committed } from './batch.ts'
import { commitVersion, txnIdOf } from './commit.ts'
import { addColumns, createTable } from './create-table.ts'
import { deleteDataFiles, writeDataFiles, type DataFile } from './data-files.ts'
import { requireSupport, type Operation } from './features.ts'
import { readCommit } from './log-files.ts'
import type { PartitionRows, TableDefinition } from './schema.ts'
import { advanced, loadSnapshot, type Snapshot } from './snapshot.ts'
import type { ObjectStore } from './store.ts'
import { compareSchema } from './table-schema.ts'
import { actionsOf, type Transaction } from './transaction.ts'

export interface DeltaTableOptions {
  readonly clock?: Clock
  /** Is told of every version that this object commits; must not throw. */
  readonly onCommit?: (snapshot: Snapshot) => void
}

/** An append of which the store did not say what became of it. */
interface Attempt extends Batch {
  readonly txnId: string
  readonly files: readonly DataFile[]
  readonly result: Committed
}

/** A vacuum deletes nothing that is younger, whatever the table says. */
const fileRetentionMsMin = 3_600_000

/** A file that is older must not be committed any more: a vacuum may be about to take it for a leftover. */
export function fileAgeMsMax({ properties }: Snapshot): number {
  return Math.max(properties.deletedFileRetentionMs, fileRetentionMsMin) / 2
}

/**
 * A Delta table to write to. Any number of these, in any processes, may write to one table at the same time, beside
 * writers of others that take care that a version is made only once.
 *
 * It keeps the newest version it knows without a list of files. Everything throws PipelineError: LAKE_STORE_UNAVAILABLE
 * (retriable; an append that ends so may have been committed, which the next one finds out), LAKE_LOG_UNREADABLE,
 * LAKE_SCHEMA_MISMATCH, LAKE_FEATURE_UNSUPPORTED.
 */
export class DeltaTable {
  readonly store: ObjectStore
  readonly #definition: TableDefinition | undefined
  readonly #clock: Clock
  readonly #onCommit: (snapshot: Snapshot) => void
  #snapshot: Snapshot
  /** Then there was no later version, nor one that had been cleaned up already. */
  #seenMs: number
  #undecided: Attempt | undefined

  private constructor(
    store: ObjectStore,
    snapshot: Snapshot,
    seenMs: number,
    definition: TableDefinition | undefined,
    { clock = systemClock, onCommit = () => undefined }: DeltaTableOptions,
  ) {
    this.store = store
    this.#snapshot = snapshot
    this.#seenMs = seenMs
    this.#definition = definition
    this.#clock = clock
    this.#onCommit = onCommit
  }

  /** Opens a table to append rows of a definition to, makes it when there is none, and adds the columns it lacks. */
  static async open(
    store: ObjectStore,
    definition: TableDefinition,
    options: DeltaTableOptions = {},
  ): Promise<DeltaTable> {
    const seenMs = (options.clock ?? systemClock).nowMs()
    const found = await loadSnapshot(store)
    if (!found) await createTable(store, definition, seenMs)
    const snapshot = found ?? (await loadSnapshot(store))
    assert(snapshot, 'a table that was made is there')
    const table = new DeltaTable(store, snapshot, seenMs, definition, options)
    await table.#fitted(definition)
    return table
  }

  /** Opens a table as it is. @returns undefined when there is none */
  static async openExisting(store: ObjectStore, options: DeltaTableOptions = {}): Promise<DeltaTable | undefined> {
    const seenMs = (options.clock ?? systemClock).nowMs()
    const snapshot = await loadSnapshot(store)
    return snapshot && new DeltaTable(store, snapshot, seenMs, undefined, options)
  }

  get snapshot(): Snapshot {
    return this.#snapshot
  }

  get version(): number {
    return this.#snapshot.version
  }

  /** How far an application had come in the version that is known here; `refresh` first to know of others' commits. */
  transactionVersion(appId: string): number | undefined {
    return txnVersionOf(this.#snapshot, appId)
  }

  /** Reads the commits that have come since. */
  async refresh(): Promise<Snapshot> {
    await this.#catchUp()
    return this.#snapshot
  }

  /**
   * Commits rows together with how far the stream has been read, or nothing. Without a conflict it reads nothing.
   * @param partitions a list for each, which is written as one file
   */
  async append(partitions: readonly PartitionRows[], batch: Batch): Promise<AppendOutcome> {
    const definition = this.#definition
    assert(definition, 'a table that rows are appended to is opened with a definition')
    assert(batch.version > (batch.expected ?? -1), 'a batch goes beyond what it continues')
    if (this.#undecided) await this.refresh()
    const txnId = randomUUID()
    let files: DataFile[] = []
    let writtenMs = -Infinity
    try {
      for (;;) {
        const snapshot = await this.#fitted(definition)
        const nowMs = this.#clock.nowMs()
        if (txnVersionOf(snapshot, batch.appId) !== batch.expected) return await this.#superseded(batch)
        if (nowMs - writtenMs > fileAgeMsMax(snapshot)) {
          await deleteDataFiles(this.store, files)
          files = []
          files = await writeDataFiles(this.store, definition, partitions, nowMs)
          writtenMs = nowMs
          continue
        }
        const transaction = appendTransaction(snapshot, definition, batch, files, nowMs)
        const result = committedOf(snapshot.version + 1, files)
        const winner = await this.#offer(snapshot, transaction, txnId).catch((error: unknown) => {
          this.#undecided = { ...batch, txnId, files, result }
          files = []
          throw error
        })
        if (!winner) {
          files = []
          // The commit stands; what cannot be found out about an earlier one is left to the next vacuum.
          await this.#settled().catch(() => undefined)
          return result
        }
        // Of many that have come meanwhile, each would win against the next try.
        const since = [...winner, ...(await this.#catchUp())]
        if (since.some((action) => 'txn' in action && action.txn.appId === batch.appId))
          return await this.#superseded(batch)
      }
    } finally {
      await deleteDataFiles(this.store, files)
    }
  }

  /**
   * Commits what `build` makes of the newest version, again and again until a commit wins, or nothing.
   * @param build must itself make sure that what it planned still holds in the version that it gets
   * @returns the version, or undefined when `build` gives nothing
   */
  async commit(
    operation: Operation,
    build: (snapshot: Snapshot) => Transaction | undefined | Promise<Transaction | undefined>,
  ): Promise<number | undefined> {
    const txnId = randomUUID()
    for (;;) {
      const snapshot = await this.#current()
      requireSupport(operation, snapshot, this.store.uri)
      const transaction = await build(snapshot)
      if (!transaction) return undefined
      if (!(await this.#offer(snapshot, transaction, txnId))) return snapshot.version + 1
    }
  }

  /**
   * Tries to make the version after the snapshot, and goes on to it in any case.
   * @returns the actions of the commit that has it instead
   */
  async #offer(snapshot: Snapshot, transaction: Transaction, txnId: string): Promise<readonly Action[] | undefined> {
    const nowMs = this.#clock.nowMs()
    const offered = actionsOf(transaction, snapshot, txnId, nowMs)
    crashPoint('files-written')
    const result = await commitVersion(this.store, snapshot.version + 1, offered, txnId)
    if (result.outcome === 'lost') {
      this.#goOnTo(advanced(snapshot, result.actions), this.#seenMs)
      return result.actions
    }
    this.#onCommit(this.#goOnTo(advanced(snapshot, offered), nowMs))
    return undefined
  }

  /** Goes on to the newest version. @returns the txns of the commits on the way */
  async #catchUp(): Promise<readonly Action[]> {
    const txns: Action[] = []
    for (;;) {
      const snapshot = await this.#current()
      const nowMs = this.#clock.nowMs()
      const actions = await readCommit(this.store, snapshot.version + 1)
      if (!actions) {
        this.#goOnTo(snapshot, nowMs)
        return txns
      }
      txns.push(...actions.filter((action) => 'txn' in action))
      this.#goOnTo(advanced(snapshot, actions), this.#seenMs)
    }
  }

  /** Others may have gone further in the meantime: appends and commits of one object may overlap. */
  #goOnTo(snapshot: Snapshot, seenMs: number): Snapshot {
    if (snapshot.version < this.#snapshot.version) return this.#snapshot
    this.#seenMs = seenMs
    return (this.#snapshot = snapshot)
  }

  /**
   * The version to go on from. What was seen too long ago is read again: the version after it may have been made and, once
   * a checkpoint stood in for it, cleaned up; a commit in its place would be in no version of the table.
   */
  async #current(): Promise<Snapshot> {
    const known = this.#snapshot
    const nowMs = this.#clock.nowMs()
    if (nowMs - this.#seenMs < known.properties.logRetentionMs / 2) return known
    const found = await loadSnapshot(this.store)
    if (!found || found.version < known.version || found.metaData.id !== known.metaData.id)
      throw new PipelineError('LAKE_LOG_UNREADABLE', `the log of ${this.store.uri} was replaced behind our back`)
    return this.#goOnTo(found, nowMs)
  }

  /** The version to append to, after the columns that it lacks have been added. */
  async #fitted(definition: TableDefinition): Promise<Snapshot> {
    for (;;) {
      const snapshot = await this.#current()
      requireSupport('append', snapshot, this.store.uri)
      const comparison = compareSchema(snapshot.metaData, definition)
      if (comparison.kind === 'same') return snapshot
      if (comparison.kind === 'mismatch')
        throw new PipelineError(
          'LAKE_SCHEMA_MISMATCH',
          `the table in ${this.store.uri} does not take our rows: ${comparison.problems.join('; ')}`,
        )
      await this.commit('append', (current) => addColumns(current, definition))
    }
  }

  /** What another `txn` than expected means for a batch: an earlier try of it may have been committed after all. */
  async #superseded(batch: Batch): Promise<AppendOutcome> {
    const landed = await this.#settled()
    const isSame =
      landed?.appId === batch.appId && landed.version === batch.version && landed.expected === batch.expected
    return isSame ? landed.result : { outcome: 'superseded', watermark: this.transactionVersion(batch.appId) }
  }

  /**
   * Finds out about the append that the store left open, by the commit that has its version. While there is none it may
   * still arrive there.
   * @returns the append when it was committed
   */
  async #settled(): Promise<Attempt | undefined> {
    const attempt = this.#undecided
    const actions = attempt && (await readCommit(this.store, attempt.result.version))
    if (!actions) return undefined
    this.#undecided = undefined
    if (txnIdOf(actions) === attempt.txnId) return attempt
    await deleteDataFiles(this.store, attempt.files)
    return undefined
  }
}

function txnVersionOf({ txns }: Snapshot, appId: string): number | undefined {
  const version = txns.get(appId)?.version
  assert(typeof version !== 'bigint', `the txn of ${appId} is below 2^53`)
  return version
}

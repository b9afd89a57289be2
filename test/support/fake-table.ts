import { PipelineError } from '../../src/base/errors.ts'
import type { SinkAppended, SinkCommit, SinkTable, SinkTableState, SinkValue } from '../../src/runtime/sink-table.ts'

/** A table in memory that keeps the rules of the real one: a version follows the watermark it was built on, or is refused. */
export class FakeTable implements SinkTable {
  readonly commits: SinkCommit[] = []
  readonly transactions = new Map<string, number>()
  /** Calls that fail first, done or not. */
  failures: ('before' | 'after')[] = []
  /** While set, every call fails. */
  isAway = false
  /** Awaited before a commit is there. */
  gate: Promise<void> = Promise.resolve()
  reads = 0

  async read(): Promise<SinkTableState> {
    this.reads += 1
    await this.#answer()
    return {
      version: this.commits.length,
      transactions: new Map(this.transactions),
      hasRows: () => Promise.resolve(this.rows.length > 0),
    }
  }

  async append(commit: SinkCommit): Promise<SinkAppended> {
    await this.gate
    const failure = this.failures.shift()
    if (failure === 'before' || this.isAway) throw unavailable()
    const watermark = this.transactions.get(commit.appId)
    if (watermark !== commit.expected) return { outcome: 'superseded', watermark: watermark ?? 0 }
    this.commits.push(commit)
    this.transactions.set(commit.appId, commit.lastSequence)
    if (failure === 'after') throw unavailable()
    return { outcome: 'committed', version: this.commits.length, bytes: 1, files: commit.partitions.length }
  }

  /** The rows of all commits, in order within their partitions. */
  get rows(): SinkValue[][] {
    return this.commits.flatMap(({ partitions }) =>
      partitions.flatMap(({ columns, rows }) =>
        Array.from({ length: rows }, (_, row) => columns.map((column) => column[row] ?? null)),
      ),
    )
  }

  async #answer(): Promise<void> {
    await Promise.resolve()
    if (this.isAway) throw unavailable()
  }
}

function unavailable(): PipelineError {
  return new PipelineError('LAKE_STORE_UNAVAILABLE', 'the store is away', { retriable: true })
}

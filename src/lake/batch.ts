import type { DataFile } from './data-files.ts'
import type { TableDefinition } from './schema.ts'
import type { Snapshot } from './snapshot.ts'
import { fieldsOf } from './table-schema.ts'
import type { Transaction } from './transaction.ts'

/** Rows of a stream, and where in it they end. */
export interface Batch {
  /** Of the stream and the table; a commit with a `txn` of it is never overtaken by this one. */
  readonly appId: string
  /** What the `txn` becomes: the stream's last sequence that is dealt with in this commit and before. */
  readonly version: number
  /** The `txn` that the batch continues, undefined when there was none: its rows are those behind it. */
  readonly expected: number | undefined
  /** Further fields of the commitInfo. */
  readonly extras?: Readonly<Record<string, unknown>>
}

/**
 * `superseded`: the table has another `txn` than the batch continues, by another writer or by an earlier try of this one.
 * Nothing was committed. The caller drops what is at or below `watermark` and builds the rest anew.
 */
export type AppendOutcome = Committed | { readonly outcome: 'superseded'; readonly watermark: number | undefined }

export interface Committed {
  readonly outcome: 'committed'
  readonly version: number
  readonly rows: number
  readonly bytes: number
  readonly files: number
}

/** What a commit of these files as this version is answered with. */
export function committedOf(version: number, files: readonly DataFile[]): Committed {
  const sum = (of: (file: DataFile) => number) => files.reduce((total, file) => total + of(file), 0)
  const rows = sum((file) => file.rows)
  return { outcome: 'committed', version, rows, bytes: sum(({ add }) => add.size), files: files.length }
}

/** @see Delta protocol, "Transaction Identifiers" */
export function appendTransaction(
  { metaData }: Snapshot,
  { columns, partitionColumns }: TableDefinition,
  { appId, version, extras = {} }: Batch,
  files: readonly DataFile[],
  nowMs: number,
): Transaction {
  const { rows, bytes } = committedOf(version, files)
  // Readers take a column that statistics do not mention for one without values; columns of others are not in our files.
  const isComplete = fieldsOf(metaData).length === columns.length
  const adds = files.map(({ add, rows: numRecords }) => ({
    add: isComplete ? add : { ...add, stats: JSON.stringify({ numRecords }) },
  }))
  return {
    info: {
      operation: 'WRITE',
      operationParameters: { mode: 'Append', partitionBy: partitionColumns },
      operationMetrics: { numFiles: files.length, numOutputRows: rows, numOutputBytes: bytes },
      isBlindAppend: true,
      extras,
    },
    actions: [{ txn: { appId, version, lastUpdated: nowMs } }, ...adds],
  }
}

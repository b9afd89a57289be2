import type { InputMessage } from './reader.ts'
import type { SinkValue } from './sink-table.ts'

/** The part of a sink that is its own: what rows a message gives. */
export interface SinkFold {
  readonly table: string
  /**
   * Adds the rows of a message, all to one partition, or none. A throw is a bug: the process exits and recovers.
   * The same message may come again after others that came behind it: what it had added is gone then.
   */
  take(message: InputMessage, rows: RowSink): Taken
  /** Called before the first message, and whenever what was not committed is dropped. Throws as `SinkTable.read`. */
  recover?(): Promise<void>
  /** Called before each commit; throws as `SinkTable.append`. */
  beforeCommit?(): Promise<void>
}

/**
 * What became of a message: how many rows were added, or why there are none. `full`: they were refused, and the message comes
 * again for the next commit.
 */
export type Taken = number | 'duplicate' | 'empty' | 'full' | { readonly problem: string }

/** Where rows are put. */
export interface RowSink {
  /**
   * Adds a row.
   * @param key names its partition
   * @param partitionValues by partition column; asked for with the first row
   * @param row a value for each of the other columns, in their order
   * @returns false when there was no room for one more partition
   */
  add(key: string, partitionValues: () => Readonly<Record<string, string>>, row: readonly SinkValue[]): boolean
}

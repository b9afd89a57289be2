/** What a sink asks of the table it fills. What a table is and where it is, is none of its business. */
export interface SinkTable {
  /**
   * Reads the table as it is now, and makes it when it is missing.
   * @throws PipelineError LAKE_STORE_UNAVAILABLE, retriable; any other is final
   */
  read(): Promise<SinkTableState>
  /**
   * Appends rows as one version that also says how far the stream has been read. Throws as `read`: after that it is
   * not known whether the version is there, and the same commit may be tried again.
   */
  append(commit: SinkCommit): Promise<SinkAppended>
}

export interface SinkTableState {
  readonly version: number
  /** Of every application that has written here, the last version it gave. */
  readonly transactions: ReadonlyMap<string, number>
  hasRows(): Promise<boolean>
}

/** A value of a column: text, number, microseconds, unscaled decimal, …; null where there is none. */
export type SinkValue = string | number | bigint | readonly string[] | null

/** Rows of one partition, a list of values a column. */
export interface SinkRows {
  readonly partitionValues: Readonly<Record<string, string>>
  readonly columns: readonly SinkValue[][]
  readonly rows: number
}

/** What became of the messages of a commit, and which they are. */
export interface SinkCounts {
  readonly firstSequence: number
  readonly lastSequence: number
  readonly messages: number
  readonly rows: number
  /** Messages that said what an earlier one had said. */
  readonly duplicates: number
  readonly deadLetters: number
  /** Messages that say nothing, as epoch records. */
  readonly empty: number
  /** Sequences whose messages are gone, which `lake adopt` agreed to. */
  readonly skipped: number
}

export interface SinkCommit extends SinkCounts {
  /** `<stream>@<created>/<table>` */
  readonly appId: string
  /** Last sequence of the version that the rows follow; undefined when there is none. */
  readonly expected: number | undefined
  readonly partitions: readonly SinkRows[]
}

export type SinkAppended =
  | { readonly outcome: 'committed'; readonly version: number; readonly bytes: number; readonly files: number }
  /** Somebody else has written as `appId`: up to this sequence the table has the rows. */
  | { readonly outcome: 'superseded'; readonly watermark: number }

import type { Delivery } from './intake.ts'
import type { RowSink, Taken } from './sink-fold.ts'
import type { SinkCounts, SinkRows, SinkValue } from './sink-table.ts'

/** One list of values a column: far smaller than rows as objects, and what Parquet is made of. */
interface Partition {
  readonly partitionValues: Readonly<Record<string, string>>
  readonly columns: readonly SinkValue[][]
}

/** Of one commit: each is a file. */
const partitionsMax = 1_000

/** The messages of one flush, as rows by partition and as counts. All that came of a message is in one batch. */
export class SinkBatch implements RowSink {
  readonly #partitions = new Map<string, Partition>()
  readonly #letters = new Set<Promise<void>>()
  #letterBytes = 0
  #rows = 0
  #bytes = 0
  readonly #firstSequence: number
  #last: Delivery | undefined
  #firstTimeUs: number | undefined
  #messages = 0
  #duplicates = 0
  #deadLetters = 0
  #empty = 0
  #hasRefused = false

  /** @param firstSequence that it tells of */
  constructor(firstSequence: number) {
    this.#firstSequence = firstSequence
  }

  get rows(): number {
    return this.#rows
  }

  /** Of the messages that gave rows. */
  get bytes(): number {
    return this.#bytes
  }

  /** A row was refused: its partition would be one too many. */
  get hasRefused(): boolean {
    return this.#hasRefused
  }

  get last(): Delivery | undefined {
    return this.#last
  }

  /** When the stream stored the first message that is not settled; undefined when all are. */
  get firstTimeUs(): number | undefined {
    return this.#firstTimeUs
  }

  add(key: string, partitionValues: () => Readonly<Record<string, string>>, row: readonly SinkValue[]): boolean {
    const partition = this.#partitions.get(key)
    if (partition) {
      const { columns } = partition
      for (let index = 0; index < columns.length; index += 1) columns[index]?.push(row[index] ?? null)
      return true
    }
    this.#hasRefused = this.#partitions.size === partitionsMax
    if (!this.#hasRefused)
      this.#partitions.set(key, { partitionValues: partitionValues(), columns: row.map((value) => [value]) })
    return !this.#hasRefused
  }

  /** Counts a message. */
  note(delivery: Delivery, taken: Exclude<Taken, 'full'>): void {
    this.#last = delivery
    this.#messages += 1
    this.#firstTimeUs ??= delivery.input.timeUs
    if (typeof taken === 'number') {
      this.#rows += taken
      this.#bytes += delivery.input.data.length
    } else if (taken === 'duplicate') this.#duplicates += 1
    else if (taken === 'empty') this.#empty += 1
    else this.#deadLetters += 1
  }

  /** The batch must not be committed before this letter is stored. */
  awaits(letter: Promise<void>, bytes: number): void {
    this.#letters.add(letter)
    this.#letterBytes += bytes
    const done = () => {
      this.#letters.delete(letter)
      this.#letterBytes -= bytes
    }
    letter.then(done, done)
  }

  /** Letters that are not stored yet. */
  get letters(): { readonly count: number; readonly bytes: number } {
    return { count: this.#letters.size, bytes: this.#letterBytes }
  }

  async lettersStored(): Promise<void> {
    await Promise.all(this.#letters)
  }

  /** Nothing here waits for anything: there are no rows, and the letters are stored. The counts stay. */
  settle(): void {
    this.#firstTimeUs = undefined
  }

  counts(): SinkCounts {
    const lastSequence = this.#last?.input.sequence ?? 0
    return {
      firstSequence: this.#firstSequence,
      lastSequence,
      messages: this.#messages,
      rows: this.#rows,
      duplicates: this.#duplicates,
      deadLetters: this.#deadLetters,
      empty: this.#empty,
      skipped: lastSequence - this.#firstSequence + 1 - this.#messages,
    }
  }

  rowsByPartition(): SinkRows[] {
    return Array.from(this.#partitions.values(), ({ partitionValues, columns }) => ({
      partitionValues,
      columns,
      rows: columns[0]?.length ?? 0,
    }))
  }
}

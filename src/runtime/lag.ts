import type { StreamReading } from './stream-monitor.ts'

/** How far a reader is behind the end of its stream. */
export interface Lag {
  /** Messages that are not answered durably. */
  readonly messages: number
  /** Age of the oldest of them. */
  readonly ms: number
}

const marksMax = 600

/**
 * Tells the age of the oldest message that a reader has not settled, delivered or not: each reading of the stream marks
 * when its messages were known to be there, so that the age grows by itself while nothing moves.
 */
export class LagTracker {
  /** Ends of the stream that are not settled, by when they were first read. */
  #marks: { readonly sequence: number; readonly ms: number }[] = []

  /**
   * @param reading of the stream; undefined when none has succeeded yet
   * @param oldestPendingMs age of the oldest unsettled message that has been delivered, if one has
   * @param nowMs by the clock of the readings
   */
  read(
    reading: Pick<StreamReading, 'lastSequence' | 'readMs'> | undefined,
    settledSequence: number,
    oldestPendingMs: number | undefined,
    nowMs: number,
  ): Lag {
    const { lastSequence = 0, readMs = nowMs } = reading ?? {}
    const newest = this.#marks[this.#marks.length - 1]?.sequence ?? 0
    // A stream that ends earlier than before was made anew.
    if (lastSequence < newest) this.#marks = []
    if (lastSequence !== newest) this.#marks.push({ sequence: lastSequence, ms: readMs })
    const firstOpen = this.#marks.findIndex(({ sequence }) => sequence > settledSequence)
    const messages = Math.max(0, lastSequence - settledSequence)
    if (messages === 0) this.#marks = this.#marks.slice(-1)
    else this.#marks = this.#marks.slice(firstOpen)
    // Of a reader that stands still for long, every second mark will do.
    if (this.#marks.length > marksMax) this.#marks = this.#marks.filter((_, index) => index % 2 === 0)
    if (messages === 0) return { messages, ms: 0 }
    return { messages, ms: Math.max(0, nowMs - (this.#marks[0]?.ms ?? nowMs), oldestPendingMs ?? 0) }
  }
}

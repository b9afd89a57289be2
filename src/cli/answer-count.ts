import type { Nats } from '../runtime/nats.ts'
import { followStream } from '../runtime/reader.ts'

/** Counts the answers to the commands of ORDERS as they come, before any of them is trimmed. */
export class AnswerCount {
  /** Sequence in ORDERS of the last command that is answered. */
  last: number
  /** Commands that were passed over. */
  skipped = 0
  /** Answers to commands that had one. */
  doubled = 0
  readonly #first: number
  #follower: { stop(): Promise<void> } | undefined

  /** @param last sequence in ORDERS that was answered before */
  constructor(last: number) {
    this.last = last
    this.#first = last
  }

  /** Commands that have an answer. */
  get answered(): number {
    return this.last - this.#first - this.skipped
  }

  async follow(nats: Nats, onFatal: (error: Error) => void): Promise<void> {
    const { last_seq: executionsLast } = (await nats.jsm.streams.info('EXECUTIONS')).state
    this.#follower = await followStream(
      nats,
      'EXECUTIONS',
      executionsLast + 1,
      ({ srcSeq = 0, position }) => {
        const isAnswer = srcSeq > 0 && (position.part === undefined || position.part.startsWith('1/'))
        if (isAnswer) this.#count(srcSeq)
      },
      onFatal,
    )
  }

  /** Answers come in the order of ORDERS, one each. */
  #count(srcSeq: number): void {
    if (srcSeq <= this.last) this.doubled += 1
    else {
      this.skipped += srcSeq - this.last - 1
      this.last = srcSeq
    }
  }

  async stop(): Promise<void> {
    await this.#follower?.stop()
  }
}

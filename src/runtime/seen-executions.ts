import { PipelineError } from '../base/errors.ts'
import type { Nats } from './nats.ts'
import { type InputMessage, readOn } from './reader.ts'

/** EXECUTIONS as a gate had seen them when it decided: each message of RISK says how far. */
export class SeenExecutions {
  readonly #nats: Nats
  readonly #reading = new AbortController()
  #messages: AsyncGenerator<InputMessage> | undefined
  #lastSequence = 0

  constructor(nats: Nats) {
    this.#nats = nats
  }

  /**
   * The message after `sequence`.
   * @param riskSequence of the message of RISK whose decisions had seen EXECUTIONS up to `executionsSeq`
   * @throws PipelineError STREAM_REWOUND, STREAM_GAP when EXECUTIONS lacks it
   */
  async after(sequence: number, riskSequence: number, executionsSeq: number): Promise<InputMessage> {
    if (this.#lastSequence < executionsSeq) {
      this.#lastSequence = (await this.#nats.jsm.streams.info('EXECUTIONS')).state.last_seq
      if (this.#lastSequence < executionsSeq)
        throw new PipelineError(
          'STREAM_REWOUND',
          `EXECUTIONS ends at ${this.#lastSequence}, but RISK ${riskSequence} was decided after ${executionsSeq}: restore it`,
        )
    }
    this.#messages ??= readOn(this.#nats, 'EXECUTIONS', sequence + 1, { signal: this.#reading.signal })
    const next = await this.#messages.next()
    if (next.done) throw new PipelineError('WRITER_FENCED', 'stopped while recovering')
    if (next.value.sequence === sequence + 1) return next.value
    throw new PipelineError(
      'STREAM_GAP',
      `EXECUTIONS ${sequence + 1} to ${next.value.sequence - 1}, which the gate had seen, are gone: restore the stream, or the bucket SNAPSHOTS`,
    )
  }

  stop(): void {
    this.#reading.abort()
    void this.#messages?.return(undefined)
  }
}

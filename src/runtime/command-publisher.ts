import { randomBytes } from 'node:crypto'
import type { CommandKind } from '../schemas/risk.ts'
import { headerNames, ordersSubject } from '../subjects/names.ts'
import type { AckedPublisher, PubAck } from './acks.ts'
import type { Nats } from './nats.ts'
import { headerLine } from './wire-headers.ts'

const retryMs = 100
const noResponders = 503

/**
 * Publishes commands of a door to ORDERS, each at most once: it is sent again only under the same Nats-Msg-Id, which
 * the server answers with the sequence it has already given it (within its window, two minutes).
 */
export class CommandPublisher {
  readonly #nats: Nats
  readonly #publisher: AckedPublisher
  /** Short: the server remembers every id for two minutes. */
  readonly #idPrefix = randomBytes(9).toString('base64url')
  #count = 0
  #turn: Promise<void> | undefined

  constructor(nats: Nats, publisher: AckedPublisher) {
    this.#nats = nats
    this.#publisher = publisher
  }

  /**
   * @param command.body as the client wrote it
   * @param command.account puts the account into the subject
   * @param command.isPatient waits for a stream that does not answer instead of refusing at once
   * @returns `refused` only when it is certainly not stored; `unknown` when the server had not said by `deadlineMs`
   */
  async publish(
    command: {
      readonly kind: CommandKind
      readonly body: Uint8Array
      readonly account?: string
      readonly traceparent?: string | undefined
      readonly isPatient?: boolean
    },
    deadlineMs: number,
  ): Promise<PubAck> {
    const { kind, body, account, traceparent, isPatient = false } = command
    const subject = ordersSubject(kind, account)
    const id = headerLine('Nats-Msg-Id', `${this.#idPrefix}-${(this.#count += 1)}`)
    const lines = traceparent === undefined ? id : id + headerLine(headerNames.traceparent, traceparent)
    let isDoubtful = false
    for (;;) {
      await this.#endOfTurn()
      const ack = await before(deadlineMs, this.#publisher.request(subject, body, lines))
      if (ack.outcome === 'stored') return ack
      // That no stream answers now says nothing about an earlier attempt.
      const isWorthWaiting = ack.outcome === 'unknown' || (ack.errCode === noResponders && (isDoubtful || isPatient))
      if (!isWorthWaiting) return ack
      isDoubtful ||= ack.outcome === 'unknown'
      do {
        if (Date.now() + retryMs >= deadlineMs) return isDoubtful ? { outcome: 'unknown' } : ack
        await new Promise((resolve) => setTimeout(resolve, retryMs))
        // What is published now would wait in the client and be sent whenever the server is back.
      } while (!this.#nats.isConnected())
    }
  }

  /** After everything else that this turn of the event loop reads: commands that came together leave in one write. */
  #endOfTurn(): Promise<void> {
    this.#turn ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#turn = undefined
        resolve()
      })
    })
    return this.#turn
  }
}

async function before(deadlineMs: number, request: Promise<PubAck>): Promise<PubAck> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<PubAck>((resolve) => {
    timer = setTimeout(() => resolve({ outcome: 'unknown' }), Math.max(0, deadlineMs - Date.now()))
  })
  try {
    return await Promise.race([request, late])
  } finally {
    clearTimeout(timer)
  }
}

import { createInbox, type Msg, type Subscription } from '@nats-io/transport-node'
import type { Nats } from './nats.ts'

/** How much a worker asks for at once, and when. */
export interface PullOptions {
  readonly messages: number
  /** At least the largest message with its headers. */
  readonly bytes: number
  /** While it is false nothing more is asked for; what was asked for may still come. */
  readonly hasRoom: () => boolean
}

const expiresMs = 30_000
const status = { timeout: 408, conflict: 409, noResponders: 503 } as const

/**
 * Messages of a durable consumer, asked for while there is room for them. The client's own `consume()` goes on asking
 * whatever becomes of the messages, so that only the consumer's limit of unacknowledged messages would hold it back.
 *
 * @see https://docs.nats.io/reference/reference-protocols/nats_api_reference, $JS.API.CONSUMER.MSG.NEXT
 */
export class Pull {
  readonly #nats: Nats
  readonly #subject: string
  readonly #inbox: string
  readonly #options: PullOptions
  readonly #subscription: Subscription
  /** Messages that were asked for and have not come. */
  #outstanding = 0
  #askedMs = 0

  /** @param onGone the consumer is not there any more, for this reason */
  constructor(
    nats: Nats,
    place: { readonly stream: string; readonly consumer: string },
    options: PullOptions,
    onMessage: (message: Msg) => void,
    onGone: (reason: string) => void,
  ) {
    this.#nats = nats
    this.#subject = `$JS.API.CONSUMER.MSG.NEXT.${place.stream}.${place.consumer}`
    this.#inbox = createInbox()
    this.#options = options
    this.#subscription = nats.connection.subscribe(this.#inbox, {
      callback: (error, message) => {
        if (error) onGone(error.message)
        else if (message.subject === this.#inbox) this.#status(message, onGone)
        else {
          this.#outstanding -= 1
          onMessage(message)
          this.more()
        }
      },
    })
    this.more()
  }

  /** When more was last asked for, by `performance.now()`. */
  get askedMs(): number {
    return this.#askedMs
  }

  /** Asks for more if there is room and half of what was asked for has come. */
  more(): void {
    const { messages, bytes, hasRoom } = this.#options
    if (this.#outstanding > messages / 2 || this.#subscription.isClosed() || !hasRoom()) return
    if (this.#nats.connection.isClosed()) return
    this.#outstanding += messages
    this.#askedMs = performance.now()
    const request = { batch: messages, max_bytes: bytes, expires: expiresMs * 1_000_000 }
    this.#nats.connection.publish(this.#subject, JSON.stringify(request), { reply: this.#inbox })
  }

  close(): void {
    this.#subscription.unsubscribe()
  }

  /** The end of a request. */
  #status({ headers }: Msg, onGone: (reason: string) => void): void {
    const { code = 0, description = '' } = headers ?? {}
    const isGone = code === status.noResponders || (code === status.conflict && /deleted/i.test(description))
    if (isGone || (code !== status.timeout && code !== status.conflict)) {
      onGone(`${code} ${description}`)
      return
    }
    const left = headers?.get('Nats-Pending-Messages')
    this.#outstanding = left === undefined || left === '' ? 0 : Math.max(0, this.#outstanding - Number(left))
    this.more()
  }
}

import type { Msg, MsgHdrs, NatsConnection } from '@nats-io/transport-node'
import { createInbox } from '@nats-io/transport-node'

/** What the server said to one publish. */
export type PubAck =
  | { readonly outcome: 'stored'; readonly sequence: number; readonly duplicate: boolean }
  | { readonly outcome: 'refused'; readonly errCode: number; readonly description: string }
  /** No answer in time: the message may or may not be stored. */
  | { readonly outcome: 'unknown' }

/** Server error codes of a publish whose expected last sequence or message id did not match. */
export const wrongLastSequence = 10071
export const wrongLastMsgId = 10070
/** Server error code of a publish to a stream whose messages may not be that large. */
export const messageTooLarge = 10054

interface Waiting {
  readonly deadlineMs: number
  readonly settle: (ack: PubAck) => void
}

interface AckBody {
  readonly seq?: number
  readonly duplicate?: boolean
  readonly error?: { readonly err_code?: number; readonly description?: string }
}

/**
 * Publishes to streams and tells what the server answered. All publishes of a connection share one wildcard inbox,
 * which costs a tenth of `js.publish` (docs/adr/0004).
 */
export class AckedPublisher {
  readonly #connection: NatsConnection
  readonly #prefix: string
  readonly #timeoutMs: number
  readonly #waiting = new Map<number, Waiting>()
  readonly #timer: NodeJS.Timeout
  #token = 0

  constructor(connection: NatsConnection, timeoutMs = 3_000) {
    this.#connection = connection
    this.#timeoutMs = timeoutMs
    this.#prefix = `${createInbox()}.`
    connection.subscribe(`${this.#prefix}*`, { callback: (error, message) => this.#answer(error, message) })
    this.#timer = setInterval(() => this.#expire(), 250)
    this.#timer.unref()
  }

  /**
   * @param settle called once, never synchronously
   * @throws the client's error when the connection is closed or the message larger than the server takes
   */
  publish(
    subject: string,
    data: Uint8Array | string,
    headers: MsgHdrs | undefined,
    settle: (ack: PubAck) => void,
  ): void {
    const token = ++this.#token
    const reply = this.#prefix + String(token)
    this.#connection.publish(subject, data, headers ? { reply, headers } : { reply })
    this.#waiting.set(token, { deadlineMs: Date.now() + this.#timeoutMs, settle })
  }

  request(subject: string, data: Uint8Array | string, headers?: MsgHdrs): Promise<PubAck> {
    return new Promise((resolve) => this.publish(subject, data, headers, resolve))
  }

  close(): void {
    clearInterval(this.#timer)
    for (const { settle } of this.#waiting.values()) settle({ outcome: 'unknown' })
    this.#waiting.clear()
  }

  #answer(error: Error | null, message: Msg): void {
    const token = Number(message.subject.slice(this.#prefix.length))
    const waiting = this.#waiting.get(token)
    if (!waiting) return
    this.#waiting.delete(token)
    waiting.settle(error ? { outcome: 'unknown' } : readAck(message))
  }

  #expire(): void {
    const nowMs = Date.now()
    // Tokens are in order of deadline.
    for (const [token, { deadlineMs, settle }] of this.#waiting) {
      if (deadlineMs > nowMs) return
      this.#waiting.delete(token)
      settle({ outcome: 'unknown' })
    }
  }
}

function readAck(message: Msg): PubAck {
  // No responders: no stream takes this subject, or its leader is away.
  if (message.data.length === 0)
    return { outcome: 'refused', errCode: message.headers?.code ?? 503, description: 'no stream answers' }
  const body = message.json<AckBody>()
  if (body.error)
    return {
      outcome: 'refused',
      errCode: body.error.err_code ?? 0,
      description: body.error.description ?? 'refused',
    }
  return { outcome: 'stored', sequence: body.seq ?? 0, duplicate: body.duplicate ?? false }
}

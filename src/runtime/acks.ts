import type { Msg, NatsConnection } from '@nats-io/transport-node'
import { createInbox } from '@nats-io/transport-node'
import { WireHeaders } from './wire-headers.ts'

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
  readonly #headers = new WireHeaders()
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
   * @param headerLines made by `headerLine`; empty for none
   * @param settle called once, never synchronously
   * @throws the client's error when the connection is closed or the message larger than the server takes
   */
  publish(subject: string, data: Uint8Array | string, headerLines: string, settle: (ack: PubAck) => void): void {
    const token = ++this.#token
    const reply = this.#prefix + String(token)
    this.#headers.lines = headerLines
    this.#connection.publish(subject, bytesOf(data), headerLines === '' ? { reply } : { reply, headers: this.#headers })
    this.#waiting.set(token, { deadlineMs: performance.now() + this.#timeoutMs, settle })
  }

  /** Publishes without asking for an answer; throws as `publish`. */
  send(subject: string, data: Uint8Array | string, headerLines: string): void {
    this.#headers.lines = headerLines
    this.#connection.publish(subject, bytesOf(data), { headers: this.#headers })
  }

  request(subject: string, data: Uint8Array | string, headerLines = ''): Promise<PubAck> {
    return new Promise((resolve) => this.publish(subject, data, headerLines, resolve))
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
    const nowMs = performance.now()
    // Tokens are in order of deadline.
    for (const [token, { deadlineMs, settle }] of this.#waiting) {
      if (deadlineMs > nowMs) return
      this.#waiting.delete(token)
      settle({ outcome: 'unknown' })
    }
  }
}

/** Cheaper than the client's TextEncoder. */
function bytesOf(data: Uint8Array | string): Uint8Array {
  return typeof data === 'string' ? Buffer.from(data) : data
}

/**
 * The number at the end of `{"stream":…,"seq":123}`, which is nearly every answer; undefined for any other, as refusals
 * that begin with `{"error":` and end with `"seq":0}`.
 */
function storedSequence(body: Uint8Array): number | undefined {
  let at = body.length - 1
  if (body[2] !== ascii.s || body[at] !== ascii.closingBrace) return undefined
  let sequence = 0
  let weight = 1
  for (at -= 1; ; at -= 1) {
    const digit = (body[at] ?? 0) - ascii.zero
    if (digit < 0 || digit > 9) break
    sequence += digit * weight
    weight *= 10
  }
  // Of what an answer may end with only `"seq":` has a `q` there.
  return weight > 1 && body[at - 2] === ascii.q ? sequence : undefined
}

const ascii = { zero: 0x30, q: 0x71, s: 0x73, closingBrace: 0x7d } as const

function readAck(message: Msg): PubAck {
  // No responders: no stream takes this subject, or its leader is away.
  if (message.data.length === 0)
    return { outcome: 'refused', errCode: message.headers?.code ?? 503, description: 'no stream answers' }
  const sequence = storedSequence(message.data)
  if (sequence !== undefined) return { outcome: 'stored', sequence, duplicate: false }
  const body = message.json<AckBody>()
  if (body.error)
    return {
      outcome: 'refused',
      errCode: body.error.err_code ?? 0,
      description: body.error.description ?? 'refused',
    }
  return { outcome: 'stored', sequence: body.seq ?? 0, duplicate: body.duplicate ?? false }
}

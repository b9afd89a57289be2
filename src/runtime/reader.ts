import {
  AckPolicy,
  type Consumer,
  type ConsumerMessages,
  DeliverPolicy,
  type OrderedConsumerOptions,
} from '@nats-io/jetstream'
import type { Msg } from '@nats-io/transport-node'
import { assert } from '../base/assert.ts'
import { rfc3339FromUs } from '../base/clock.ts'
import { headerNames } from '../subjects/names.ts'
import { logicVersionFrom } from './logic-version.ts'
import type { Nats } from './nats.ts'
import { type Position, positionOf, positionZero } from './position.ts'

const reopenMs = 100
/** A server that has just come back may say no for some seconds. */
const failingMaxMs = 15_000

/** A message of an input stream. */
export interface InputMessage {
  readonly sequence: number
  readonly subject: string
  /** When the stream stored it, in µs since the Unix epoch. */
  readonly timeUs: number
  readonly data: Uint8Array
  /** Messages that the server still holds back for this reader. */
  readonly pending: number
  readonly traceparent: string | undefined
  /** Of EXECUTIONS: sequence in ORDERS of the command it answers; 0 if the gate issued it. */
  readonly srcSeq: number | undefined
  /** Of an output: what it was made from. */
  readonly position: Position
  /** Of an output: which rules made it. */
  readonly logicVersion: number
}

/**
 * Most readers need neither time nor headers of most messages, so these are looked at when they are asked for. What the
 * reply subject says (`$JS.ACK.[<domain>.<account hash>.]<stream>.<consumer>.<delivered>.<stream sequence>.<consumer
 * sequence>.<time, ns>.<pending>[.<token>]`) is read once and by hand: the client takes it apart anew for each question.
 */
class StreamMessage implements InputMessage {
  readonly #message: DeliveredMessage
  readonly #timeNs: string
  readonly sequence: number
  readonly pending: number
  readonly data: Uint8Array

  constructor(message: DeliveredMessage) {
    assert(message.reply !== undefined, 'a message of a stream has a reply subject')
    const tokens = message.reply.split('.')
    const first = firstNumberAt(tokens)
    this.#message = message
    this.sequence = Number(tokens[first + 1])
    this.#timeNs = tokens[first + 3] ?? ''
    this.pending = Number(tokens[first + 4])
    this.data = message.data
  }

  get subject(): string {
    return this.#message.subject
  }

  get timeUs(): number {
    // As a double nanoseconds would lose digits; microseconds do not.
    return Number(this.#timeNs.slice(0, -3))
  }

  get traceparent(): string | undefined {
    return this.#header(headerNames.traceparent)
  }

  get srcSeq(): number | undefined {
    const srcSeq = this.#header(headerNames.srcSeq)
    return srcSeq === undefined ? undefined : Number(srcSeq)
  }

  get position(): Position {
    const { headers } = this.#message
    return headers ? positionOf(headers) : positionZero
  }

  get logicVersion(): number {
    return logicVersionFrom(this.#header(headerNames.logicVersion))
  }

  #header(name: string): string | undefined {
    const value = this.#message.headers?.get(name)
    return value === '' ? undefined : value
  }
}

function firstNumberAt(tokens: readonly string[]): number {
  return tokens.length === 9 ? 4 : 6
}

/** Which of all deliveries of its consumer a message is, from 1; by its reply subject. */
export function deliveryNumberOf(reply: string): number {
  const tokens = reply.split('.')
  return Number(tokens[firstNumberAt(tokens) + 2])
}

/** The first sequence of a stream, from this one on, whose message is there; undefined when none follows. */
export async function sequencePresent(nats: Nats, stream: string, fromSequence: number): Promise<number | undefined> {
  // The type of the client does not know that both go together.
  const query = { seq: fromSequence, next_by_subj: '>' }
  return (await nats.jsm.streams.getMessage(stream, query))?.seq
}

/** What both of the client's kinds of message have; the type of a `JsMsg` does not show its reply subject. */
export interface DeliveredMessage extends Pick<Msg, 'subject' | 'data'> {
  readonly headers?: Msg['headers'] | undefined
  readonly reply?: string
}

export function inputMessageOf(message: DeliveredMessage): InputMessage {
  return new StreamMessage(message)
}

/**
 * Reads a stream in order from `fromSequence` (0: the latest of each subject, then what follows), for ever or until
 * `stop()`. Gaps are re-read by the ordered consumer. After a lost connection it is made again: the client's own goes
 * on with a few messages at a time, and then waits for half a minute (@nats-io/jetstream 3.4.0).
 */
export async function followStream(
  nats: Nats,
  stream: string,
  fromSequence: number,
  onMessage: (message: InputMessage) => void,
  onFatal: (error: Error) => void,
): Promise<{ stop(): Promise<void> }> {
  let last = 0
  let isStopped = false
  let close = () => Promise.resolve()

  const open = async (): Promise<void> => {
    const next = last > 0 ? last + 1 : fromSequence
    const consumer = await nats.js.consumers.get(stream, {
      deliver_policy: next > 0 ? DeliverPolicy.StartSequence : DeliverPolicy.LastPerSubject,
      ...(next > 0 ? { opt_start_seq: next } : {}),
    })
    let isCurrent = true
    const messages = await consumer.consume({
      max_messages: 1_000,
      callback: (message) => {
        const input = inputMessageOf(message)
        if (!isCurrent || isStopped) return
        try {
          assert(input.sequence > last, `${stream}: ${input.sequence} came after ${last}`)
          last = input.sequence
          onMessage(input)
        } catch (error) {
          onFatal(error instanceof Error ? error : new Error(String(error)))
        }
      },
    })
    close = async () => {
      isCurrent = false
      await messages.close()
      await remove(nats, consumer)
    }
  }

  let reopening: Promise<void> | undefined
  const reopen = async (): Promise<void> => {
    while (!isStopped) {
      try {
        await close()
        await open()
        return
      } catch {
        // The server is not ready yet, or away again: the next reconnect, or a moment, will tell.
        await new Promise((resolve) => setTimeout(resolve, reopenMs))
      }
    }
  }
  await open()
  const stopListening = nats.onReconnect(() => {
    reopening = (reopening ?? Promise.resolve()).then(reopen)
  })
  return {
    stop: async () => {
      isStopped = true
      stopListening()
      await reopening
      await close().catch(() => undefined)
    },
  }
}

/** Reads a stream in order from `fromSequence` to `toSequence`, both included, or to its end. */
export async function* readStream(
  nats: Nats,
  stream: string,
  fromSequence: number,
  toSequence: number,
): AsyncGenerator<InputMessage> {
  if (toSequence < fromSequence) return
  for await (const input of readOn(nats, stream, fromSequence)) {
    if (input.sequence <= toSequence) yield input
    if (input.sequence >= toSequence || input.pending === 0) return
  }
}

/**
 * Reads a stream in order from a sequence on, for as long as it is asked, over lost connections too.
 * @param options.signal ends it, also while it waits
 * @param options.subject only messages of this subject
 */
export async function* readOn(
  nats: Nats,
  stream: string,
  fromSequence: number,
  { signal, subject }: { signal?: AbortSignal; subject?: string } = {},
): AsyncGenerator<InputMessage> {
  let next = Math.max(1, fromSequence)
  let failingSinceMs: number | undefined
  while (!signal?.aborted) {
    let consumer: Consumer | undefined
    let messages: ConsumerMessages | undefined
    const end = () => void messages?.close()
    const stopListening = nats.onReconnect(end)
    signal?.addEventListener('abort', end)
    try {
      await nats.whenConnected()
      consumer = await nats.js.consumers.get(stream, {
        deliver_policy: DeliverPolicy.StartSequence,
        opt_start_seq: next,
        ...(subject === undefined ? {} : { filter_subjects: subject }),
      })
      messages = await consumer.consume({ max_messages: 1_000 })
      failingSinceMs = undefined
      if (signal?.aborted) return
      for await (const message of messages) {
        const input = inputMessageOf(message)
        assert(input.sequence >= next, `${stream}: ${input.sequence} came after ${next - 1}`)
        next = input.sequence + 1
        yield input
      }
    } catch (error) {
      failingSinceMs ??= performance.now()
      if (signal?.aborted) return
      if (nats.isConnected() && performance.now() - failingSinceMs > failingMaxMs) throw error
      await new Promise((resolve) => setTimeout(resolve, reopenMs))
    } finally {
      stopListening()
      signal?.removeEventListener('abort', end)
      await messages?.close()
      if (consumer) await remove(nats, consumer)
    }
  }
}

/** Reads the messages of a subject (wildcards are fine) in order, from those stored at `timeUs` to the end as it is when reached. */
export function readSince(nats: Nats, stream: string, subject: string, timeUs: number): AsyncGenerator<InputMessage> {
  return readToEnd(nats, stream, {
    deliver_policy: DeliverPolicy.StartTime,
    opt_start_time: rfc3339FromUs(timeUs),
    filter_subjects: subject,
  })
}

/** Reads the messages of a subject in order, from a sequence to the end as it is when reached. */
export function readFrom(
  nats: Nats,
  stream: string,
  subject: string,
  fromSequence: number,
): AsyncGenerator<InputMessage> {
  return readToEnd(nats, stream, {
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: fromSequence,
    filter_subjects: subject,
  })
}

/**
 * The last message of each subject that fits, by subject. One that is stored again while this reads leaves its place and
 * comes anew behind the end; so this reads on until it has met every subject there is.
 */
export async function readLatest(nats: Nats, stream: string, subject: string): Promise<Map<string, InputMessage>> {
  const latest = new Map<string, InputMessage>()
  let last = 0
  for (;;) {
    const { subjects = {} } = (await nats.jsm.streams.info(stream, { subjects_filter: subject })).state
    if (Object.keys(subjects).every((name) => latest.has(name))) return latest
    const start =
      last === 0
        ? { deliver_policy: DeliverPolicy.LastPerSubject }
        : { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: last + 1 }
    for await (const message of readToEnd(nats, stream, { ...start, filter_subjects: subject })) {
      latest.set(message.subject, message)
      last = message.sequence
    }
  }
}

async function* readToEnd(
  nats: Nats,
  stream: string,
  options: Partial<OrderedConsumerOptions>,
): AsyncGenerator<InputMessage> {
  const consumer = await nats.js.consumers.get(stream, options)
  try {
    if ((await consumer.info(true)).num_pending === 0) return
    const messages = await consumer.consume({ max_messages: 1_000 })
    try {
      for await (const message of messages) {
        const input = inputMessageOf(message)
        yield input
        if (input.pending === 0) return
      }
    } finally {
      await messages.close()
    }
  } finally {
    await remove(nats, consumer)
  }
}

/** Of a reader that is done; the server would keep it for five minutes. */
async function remove(nats: Nats, consumer: Consumer): Promise<void> {
  if (nats.isConnected()) await consumer.delete().catch(() => undefined)
}

/**
 * Makes the durable pull consumer of a worker anew, so that it delivers from `fromSequence` in order.
 * @param unackedMax messages that may be on their way or unacknowledged
 */
export async function createDurable(
  nats: Nats,
  stream: string,
  name: string,
  fromSequence: number,
  unackedMax: number,
): Promise<void> {
  await nats.jsm.consumers.delete(stream, name).catch(() => undefined)
  await nats.jsm.consumers.add(stream, {
    durable_name: name,
    ack_policy: AckPolicy.All,
    ack_wait: 60_000_000_000,
    max_deliver: -1,
    max_ack_pending: unackedMax,
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: Math.max(1, fromSequence),
  })
}

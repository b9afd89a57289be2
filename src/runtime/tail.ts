import { DeliverPolicy } from '@nats-io/jetstream'
import { rfc3339FromUs } from '../base/clock.ts'
import type { StreamName } from '../subjects/contract.ts'
import type { Nats } from './nats.ts'
import { type InputMessage, inputMessageOf } from './reader.ts'

export interface TailedMessage {
  readonly stream: StreamName
  readonly message: InputMessage
  /** Of the DLQ: why it could not be read. */
  readonly reason: string | undefined
}

/**
 * Reads a stream in order from a message, or from a time on, waits for more and ends when `signal` says so. Its
 * consumer goes with it; the server would keep it for five minutes.
 */
export async function* tailStream(
  nats: Nats,
  stream: StreamName,
  from: { readonly sequence: number } | { readonly timeUs: number },
  signal: AbortSignal,
): AsyncGenerator<TailedMessage> {
  const consumer = await nats.js.consumers.get(
    stream,
    'sequence' in from
      ? { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: Math.max(1, from.sequence) }
      : { deliver_policy: DeliverPolicy.StartTime, opt_start_time: rfc3339FromUs(from.timeUs) },
  )
  try {
    if (signal.aborted) return
    const messages = await consumer.consume({ max_messages: 1_000 })
    const stop = () => void messages.close()
    signal.addEventListener('abort', stop)
    try {
      for await (const message of messages) {
        const reason = message.headers?.get('Reason')
        yield { stream, message: inputMessageOf(message), reason: reason === '' ? undefined : reason }
      }
    } finally {
      signal.removeEventListener('abort', stop)
      await messages.close()
    }
  } finally {
    await consumer.delete().catch(() => undefined)
  }
}

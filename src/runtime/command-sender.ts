import { headers as createHeaders } from '@nats-io/transport-node'
import type { AckedPublisher, PubAck } from './acks.ts'
import type { Nats } from './nats.ts'

/**
 * Publishes a message to a stream with many writers until the server says that it is stored. An unanswered publish is
 * repeated under the same Nats-Msg-Id, to which the server answers with the first one's sequence as long as its
 * de-duplication window (2 minutes) lasts.
 *
 * @param msgId unique for this message
 * @param deadlineMs when to give up, by the wall clock
 * @returns the last answer: `stored`, `refused` (the stream is full or gone), or `unknown`
 */
export async function publishOnce(
  nats: Nats,
  publisher: AckedPublisher,
  message: { subject: string; body: Uint8Array | string; msgId: string; traceparent?: string },
  deadlineMs: number,
): Promise<PubAck> {
  const headers = createHeaders()
  headers.set('Nats-Msg-Id', message.msgId)
  if (message.traceparent !== undefined) headers.set('traceparent', message.traceparent)
  for (;;) {
    const ack = await publisher.request(message.subject, message.body, headers)
    const isTransient = ack.outcome === 'unknown' || (ack.outcome === 'refused' && ack.errCode === 503)
    if (!isTransient || Date.now() >= deadlineMs) return ack
    await Promise.race([nats.whenConnected(), new Promise((resolve) => setTimeout(resolve, 200))])
    if (ack.outcome === 'refused') await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

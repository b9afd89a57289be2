import { headers as createHeaders } from '@nats-io/transport-node'
import type { Nats } from '../../src/runtime/nats.ts'
import { streamConfigOf } from '../../src/runtime/streams.ts'
import { type StreamName, streamSpec } from '../../src/subjects/contract.ts'

export interface StoredMessage {
  readonly subject: string
  readonly text: string
  readonly headers: readonly (readonly [string, string])[]
}

/** Every message of a stream, in order. */
export async function readWhole(nats: Nats, stream: StreamName): Promise<StoredMessage[]> {
  const stored: StoredMessage[] = []
  const { last_seq: last } = (await nats.jsm.streams.info(stream)).state
  for (let seq = 1; seq <= last; seq += 1) {
    const message = await nats.jsm.streams.getMessage(stream, { seq })
    if (!message) throw new Error(`${stream} has no ${seq}`)
    const headers = message.header
      .keys()
      .filter((name) => !name.startsWith('Nats-'))
      .map((name) => [name, message.header.get(name)] as const)
    stored.push({ subject: message.subject, text: Buffer.from(message.data).toString(), headers })
  }
  return stored
}

/** Makes a stream anew with these messages, as somebody would who changes history. */
export async function rewriteStream(nats: Nats, stream: StreamName, messages: readonly StoredMessage[]): Promise<void> {
  const spec = streamSpec(stream)
  await nats.jsm.streams.delete(stream)
  await nats.jsm.streams.add(streamConfigOf(spec, 32 * 2 ** 20))
  for (const { subject, text, headers } of messages) {
    const own = createHeaders()
    for (const [name, value] of headers) own.set(name, value)
    await nats.js.publish(`${spec.ingestPrefix ?? ''}${subject}`, text, { headers: own })
  }
}

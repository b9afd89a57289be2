import { AckPolicy, type JsMsg } from '@nats-io/jetstream'
import { createInbox, type NatsConnection } from '@nats-io/transport-node'
import { connectNats, type Nats } from '../src/runtime/nats.ts'
import { streamConfigOf } from '../src/runtime/streams.ts'
import { streamSpec } from '../src/subjects/contract.ts'

/** Where each hop reads and writes: as many hops as an order has to its position, on streams of the same settings. */
export const hops = [
  { from: 'ORDERS', to: 'HOP_1' },
  { from: 'HOP_1', to: 'HOP_2' },
  { from: 'HOP_2', to: 'HOP_3' },
] as const

const streamBytes = 1e9
const batchMax = 10
const batchWaitMs = 10
const batchesInFlightMax = 4

export async function makeBareStreams({ jsm }: Nats): Promise<void> {
  await jsm.streams.add(streamConfigOf(streamSpec('ORDERS'), streamBytes))
  for (const { to } of hops)
    await jsm.streams.add({ ...streamConfigOf(streamSpec('RISK'), streamBytes), name: to, subjects: [to] })
}

/** Publishes that await their acks share one inbox, which costs a tenth of `js.publish`. */
function ackedPublisher(connection: NatsConnection): (subject: string, data: Uint8Array, onStored: () => void) => void {
  const prefix = `${createInbox()}.`
  const waiting = new Map<string, () => void>()
  let count = 0
  connection.subscribe(`${prefix}*`, {
    callback: (error, message) => {
      if (error ?? message.json<{ error?: object }>().error) throw new Error(`not stored: ${message.string()}`)
      waiting.get(message.subject)?.()
      waiting.delete(message.subject)
    },
  })
  return (subject, data, onStored) => {
    const reply = `${prefix}${(count += 1)}`
    waiting.set(reply, onStored)
    connection.publish(subject, data, { reply })
  }
}

/**
 * The yardstick: a consumer that passes every message on, with what any correct worker has to do and nothing else. It
 * parses each message, publishes it as one message, and acknowledges a batch when the stream has confirmed all of it.
 * A batch ends at 10 messages, after 10 ms, or when nothing more is there; up to 4 are on their way.
 */
async function startHop(nats: Nats, { from, to }: (typeof hops)[number]): Promise<void> {
  const publish = ackedPublisher(nats.connection)
  let waiting: JsMsg[] = []
  let batchesInFlight = 0
  let timer: NodeJS.Timeout | undefined

  const send = (batch: readonly JsMsg[]) => {
    batchesInFlight += 1
    let unstored = batch.length
    const stored = () => {
      unstored -= 1
      if (unstored > 0) return
      batch.at(-1)?.ack()
      batchesInFlight -= 1
      pump()
    }
    for (const message of batch) {
      parse(message)
      publish(to, message.data, stored)
    }
  }
  const pump = (isOverdue = false) => {
    while (waiting.length > 0 && batchesInFlight < batchesInFlightMax) {
      const isComplete = isOverdue || waiting.length >= batchMax || waiting.at(-1)?.info.pending === 0
      if (!isComplete) {
        timer ??= setTimeout(pump, batchWaitMs, true)
        return
      }
      clearTimeout(timer)
      timer = undefined
      send(waiting.slice(0, batchMax))
      waiting = waiting.slice(batchMax)
    }
    if (isOverdue) timer = undefined
  }
  await nats.jsm.consumers.add(from, { durable_name: to, ack_policy: AckPolicy.All, max_ack_pending: 2_000 })
  const consumer = await nats.js.consumers.get(from, to)
  await consumer.consume({
    max_messages: 500,
    callback: (message) => {
      waiting.push(message)
      pump()
    },
  })
}

/** Some of the commands are no JSON; they too are passed on. */
function parse(message: JsMsg): unknown {
  try {
    return message.json()
  } catch {
    return undefined
  }
}

/** A process of the chain: `node bench/bare-chain.ts NATS_URL HOP…`, HOP from 1 to 3. */
async function main([url = '', ...numbers]: readonly string[]): Promise<void> {
  const nats = await connectNats(url, `bare ${numbers.join('+')}`)
  for (const [index, hop] of hops.entries()) if (numbers.includes(String(index + 1))) await startHop(nats, hop)
  process.on('disconnect', () => process.exit())
  process.on('SIGINT', () => undefined)
  process.send?.('started')
}

if (import.meta.main) await main(process.argv.slice(2))

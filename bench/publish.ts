import { startNats } from '../src/local/start-nats.ts'
import { AckedPublisher } from '../src/runtime/acks.ts'
import { connectNats, type Nats } from '../src/runtime/nats.ts'
import { ratioOf, type Round, type Row, rowOf } from './rows.ts'
import type { Session } from './session.ts'

const unit = 'messagesPerSecond'
const body = new Uint8Array(200)

/**
 * Publishing to a file stream with an awaited answer a message: the publisher of src/runtime/acks.ts beside
 * `js.publish` of the client library, in turn.
 */
export async function publishBench(
  session: Session,
  options: { readonly messages: number; readonly rounds: number },
): Promise<Row[]> {
  const server = await startNats({ dataDir: session.folder(), port: 0 })
  session.own(() => server.stop(2_000))
  const nats = await connectNats(server.url, 'bench')
  const publisher = new AckedPublisher(nats.connection, 30_000)
  session.own(async () => {
    publisher.close()
    await nats.close()
  })
  await nats.jsm.streams.add({ name: 'BENCH', subjects: ['bench'], max_bytes: 2 ** 31 })
  const ours = () => new Promise<void>((resolve) => publisher.publish('bench', body, '', () => resolve()))
  const peer = async () => {
    await nats.js.publish('bench', body)
  }
  const rows: Row[] = []
  for (const inFlight of [10, 500]) {
    await run(nats, ours, options.messages / 4, inFlight)
    await run(nats, peer, options.messages / 4, inFlight)
    const [own, others]: [Round[], Round[]] = [[], []]
    for (let round = 1; round <= options.rounds; round += 1) {
      session.onProgress(`publish, ${inFlight} in flight, round ${round} of ${options.rounds}`)
      own.push(await run(nats, ours, options.messages, inFlight))
      others.push(await run(nats, peer, options.messages, inFlight))
    }
    const load = `${inFlight} in flight`
    const ratioToPeer = ratioOf(own, others, unit)
    rows.push(rowOf({ scenario: 'publish', load, ratioToPeer }, unit, own))
    rows.push(rowOf({ scenario: 'publish js.publish', load }, unit, others))
  }
  return rows
}

async function run(nats: Nats, publish: () => Promise<void>, count: number, inFlight: number): Promise<Round> {
  await nats.connection.flush()
  const cpuBefore = process.cpuUsage()
  const startedMs = performance.now()
  let next = 0
  const lane = async () => {
    while (next < count) {
      next += 1
      await publish()
    }
  }
  await Promise.all(Array.from({ length: inFlight }, lane))
  const seconds = (performance.now() - startedMs) / 1_000
  const cpu = process.cpuUsage(cpuBefore)
  return { messagesPerSecond: count / seconds, cpuUs: (cpu.user + cpu.system) / count }
}

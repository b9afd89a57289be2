import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { isPipelineError } from '../src/base/errors.ts'
import { natsCli } from '../src/local/components.ts'
import { findServer } from '../src/local/find.ts'
import { startNats } from '../src/local/start-nats.ts'
import { AckedPublisher } from '../src/runtime/acks.ts'
import { connectNats, type Nats } from '../src/runtime/nats.ts'
import { notRun, ratioOf, type Round, type Row, rowOf } from './rows.ts'
import type { Session } from './session.ts'

const unit = 'messagesPerSecond'
const bodyBytes = 200
const body = new Uint8Array(bodyBytes)

interface Publisher {
  readonly scenario: string
  readonly run: (messages: number, inFlight: number) => Promise<Round>
}

/**
 * Publishing to a file stream with an awaited answer a message, in turn: the publisher of src/runtime/acks.ts,
 * `js.publish` of the client library, and `nats bench`, which is written in Go.
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
  const library = async () => {
    await nats.js.publish('bench', body)
  }
  const cli = await findNatsCli(session)
  const publishers: Publisher[] = [
    { scenario: 'publish', run: (messages, inFlight) => runLanes(nats, ours, messages, inFlight) },
    { scenario: 'publish-js', run: (messages, inFlight) => runLanes(nats, library, messages, inFlight) },
  ]
  if ('path' in cli) publishers.push({ scenario: 'publish-nats-bench', run: natsBench(cli.path, server.url, session) })

  const rows: Row[] = []
  for (const inFlight of [10, 500]) {
    const load = `${inFlight} in flight`
    const measured = publishers.map((publisher) => ({ ...publisher, rounds: [] as Round[] }))
    for (const { run } of measured) await run(options.messages / 4, inFlight)
    for (let round = 1; round <= options.rounds; round += 1)
      for (const { scenario, run, rounds } of measured) {
        session.onProgress(`${scenario}, ${load}, round ${round} of ${options.rounds}`)
        rounds.push(await run(options.messages, inFlight))
      }
    const peer = measured.find(({ scenario }) => scenario === 'publish-js')?.rounds ?? []
    for (const { scenario, rounds } of measured) {
      const ratio = scenario === 'publish' ? { ratioToPeer: ratioOf(rounds, peer, unit) } : {}
      rows.push(rowOf({ scenario, load, ...ratio }, unit, rounds))
    }
  }
  return 'path' in cli ? rows : [...rows, notRun('publish-nats-bench', unit, cli.missing)]
}

async function findNatsCli({ onProgress }: Session): Promise<{ path: string } | { missing: string }> {
  try {
    return await findServer(natsCli, { onProgress })
  } catch (error) {
    if (!isPipelineError(error)) throw error
    return { missing: error.message.split('\n')[0] ?? '' }
  }
}

/** `--batch`: as many are sent, then all their answers awaited. */
function natsBench(path: string, url: string, session: Session): Publisher['run'] {
  const env = { HOME: session.folder(), PATH: process.env['PATH'] }
  return async (messages, inFlight) => {
    const what = ['bench', 'js', 'pub', 'async', 'bench', '--stream', 'BENCH', '--no-progress']
    const flags = ['--batch', String(inFlight), '--msgs', String(messages), '--size', `${bodyBytes}B`]
    const { stdout, stderr } = await promisify(execFile)(path, ['--server', url, ...what, ...flags], { env })
    const rate = /stats: ([\d,]+) msgs\/sec/.exec(stdout + stderr)?.[1]
    if (rate === undefined) throw new Error(`nats bench said no rate: ${stdout}${stderr}`)
    return { [unit]: Number(rate.replaceAll(',', '')) }
  }
}

async function runLanes(nats: Nats, publish: () => Promise<void>, messages: number, inFlight: number): Promise<Round> {
  await nats.connection.flush()
  const cpuBefore = process.cpuUsage()
  const startedMs = performance.now()
  let next = 0
  const lane = async () => {
    while (next < messages) {
      next += 1
      await publish()
    }
  }
  await Promise.all(Array.from({ length: inFlight }, lane))
  const seconds = (performance.now() - startedMs) / 1_000
  const cpu = process.cpuUsage(cpuBefore)
  return { [unit]: messages / seconds, cpuUs: (cpu.user + cpu.system) / messages }
}

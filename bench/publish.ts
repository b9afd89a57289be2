import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startNats } from '../src/local/start-nats.ts'
import { AckedPublisher } from '../src/runtime/acks.ts'
import { connectNats, type Nats } from '../src/runtime/nats.ts'
import { median } from './statistics.ts'

/** Publishing to a file stream with an awaited answer a message: ours beside `js.publish`, in turn. */
export interface PublishRow {
  readonly scenario: 'publish'
  readonly inFlight: number
  readonly rounds: number
  readonly median: number
  readonly min: number
  readonly max: number
  readonly unit: 'messagesPerSecond'
  /** CPU time of this process for one message, µs. */
  readonly cpuUs: number
  readonly peerMedian: number
  readonly peerCpuUs: number
  /** Our median over that of js.publish. */
  readonly ratioToPeer: number
}

const body = new Uint8Array(200)

export async function publishBench(options: { messages: number; rounds: number }): Promise<PublishRow[]> {
  const dataDir = mkdtempSync(join(tmpdir(), 'trade2026-bench-'))
  const server = await startNats({ dataDir, port: 0 })
  const nats = await connectNats(server.url, 'bench')
  const publisher = new AckedPublisher(nats.connection, 30_000)
  try {
    await nats.jsm.streams.add({ name: 'BENCH', subjects: ['bench'], max_bytes: 2 ** 31 })
    const ours = () => new Promise<void>((resolve) => publisher.publish('bench', body, '', () => resolve()))
    const peer = async () => {
      await nats.js.publish('bench', body)
    }
    const rows: PublishRow[] = []
    for (const inFlight of [10, 500]) {
      await run(nats, ours, options.messages / 4, inFlight)
      await run(nats, peer, options.messages / 4, inFlight)
      const samples: { ours: Sample; peer: Sample }[] = []
      for (let round = 0; round < options.rounds; round += 1)
        samples.push({
          ours: await run(nats, ours, options.messages, inFlight),
          peer: await run(nats, peer, options.messages, inFlight),
        })
      const rates = samples.map((sample) => sample.ours.perSecond)
      const peerMedian = median(samples.map((sample) => sample.peer.perSecond))
      rows.push({
        scenario: 'publish',
        inFlight,
        rounds: options.rounds,
        median: Math.round(median(rates)),
        min: Math.round(Math.min(...rates)),
        max: Math.round(Math.max(...rates)),
        unit: 'messagesPerSecond',
        cpuUs: Number(median(samples.map((sample) => sample.ours.cpuUs)).toFixed(1)),
        peerMedian: Math.round(peerMedian),
        peerCpuUs: Number(median(samples.map((sample) => sample.peer.cpuUs)).toFixed(1)),
        ratioToPeer: Number((median(rates) / peerMedian).toFixed(2)),
      })
    }
    return rows
  } finally {
    publisher.close()
    await nats.close()
    await server.stop(2_000)
    rmSync(dataDir, { recursive: true, force: true })
  }
}

interface Sample {
  readonly perSecond: number
  readonly cpuUs: number
}

async function run(nats: Nats, publish: () => Promise<void>, count: number, inFlight: number): Promise<Sample> {
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
  return { perSecond: count / seconds, cpuUs: (cpu.user + cpu.system) / count }
}

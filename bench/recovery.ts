import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { assert } from '../src/base/assert.ts'
import { v8Flags } from '../src/cli/process-memory.ts'
import { readInstruments } from '../src/cli/config-folder.ts'
import { silentFold } from '../src/cli/start-janitor.ts'
import { freePort } from '../src/local/ports.ts'
import { startNats } from '../src/local/start-nats.ts'
import { AckedPublisher } from '../src/runtime/acks.ts'
import { settingsFrom } from '../src/runtime/config.ts'
import { snapshotWorkers, type SnapshotWorker } from '../src/runtime/janitor.ts'
import { createLog } from '../src/runtime/log.ts'
import { connectNats, type Nats } from '../src/runtime/nats.ts'
import { sharedDecoder } from '../src/runtime/shared-decoder.ts'
import { takeSnapshot } from '../src/runtime/take-snapshot.ts'
import { lastSequenceOf } from '../src/runtime/fenced-writer.ts'
import { decodeExecution } from '../src/schemas/execution.ts'
import { peakRssMb } from './peak-memory.ts'
import { type Round, type Row, rowOf } from './rows.ts'
import type { Session } from './session.ts'

const mainFile = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url))
const chain = [...snapshotWorkers, 'tape'] as const
/** Below the maxOpenOrders of config/limits.json. */
const ordersPerAccount = 5_000
const pollMs = 20
const unit = 'readySeconds'

/**
 * How long gate, matcher and PnL take from the start of their process until they are at work: with so many records to
 * fold again, each of which is an order that rests, and then from snapshots of that.
 */
export async function recoveryBench(
  session: Session,
  options: { readonly orders: number; readonly rounds: number },
): Promise<Row[]> {
  const server = await startNats({ dataDir: session.folder(), port: 0 })
  session.own(() => server.stop(2_000))
  const nats = await connectNats(server.url, 'bench')
  session.own(() => nats.close())
  const { orders } = options
  session.onProgress(`recovery, sending ${orders} orders`)
  await fill(session, nats, server.url, orders)

  const measured = new Map<string, Round[]>()
  const measure = async (load: (worker: SnapshotWorker) => string) => {
    for (let round = 1; round <= options.rounds; round += 1)
      for (const worker of snapshotWorkers) {
        session.onProgress(`recovery, ${load(worker)}, round ${round} of ${options.rounds}`)
        measured.set(load(worker), [
          ...(measured.get(load(worker)) ?? []),
          await startRound(session, server.url, worker),
        ])
      }
  }
  await measure((worker) => `${worker}, ${orders} records`)
  const settings = settingsFrom({})
  const decoder = sharedDecoder('EXECUTIONS', decodeExecution)
  const parts = { nats, settings, instruments: readInstruments(), decodeExecution: decoder }
  const taken: Round[] = []
  for (const worker of snapshotWorkers) {
    session.onProgress(`recovery, snapshot of ${worker}`)
    const startedMs = performance.now()
    const meta = await takeSnapshot(nats, worker, () => silentFold(worker, parts), createLog('bench', 'warn'))
    assert(meta, 'something is stored')
    taken.push({ takeSeconds: (performance.now() - startedMs) / 1_000, sizeMb: meta.bytes / 2 ** 20 })
  }
  await measure((worker) => `${worker}, snapshot of ${orders} resting orders`)
  const rows = Array.from(measured, ([load, rounds]) => rowOf({ scenario: 'recovery', load }, unit, rounds))
  const snapshots = snapshotWorkers.map((worker, index) =>
    rowOf({ scenario: 'snapshot', load: `${worker}, ${orders} resting orders` }, 'takeSeconds', [taken[index] ?? {}]),
  )
  return [...rows, ...snapshots]
}

/** Puts orders that never meet into the streams, through the chain itself. */
async function fill(session: Session, nats: Nats, natsUrl: string, orders: number): Promise<void> {
  const workers = await startWorkers(natsUrl, chain)
  const stop = session.own(() => ended(workers.child))
  const publisher = new AckedPublisher(nats.connection, 1_000)
  for (let index = 0; index < orders; index += 1) {
    const account = `a${Math.floor(index / ordersPerAccount)}`
    const isBuy = index % 2 === 0
    const price = (isBuy ? 44_000 - (index % 997) : 46_000 + (index % 997)).toFixed(2)
    const body = `{"account":"${account}","clOrdId":"r${index}","symbol":"BTCUSDT","side":"${isBuy ? 'BUY' : 'SELL'}","ordType":"LIMIT","quantity":"0.001","price":${price}}`
    const stored = publisher.request('orders.new', body, '')
    if (index % 500 !== 499 && index !== orders - 1) continue
    const ack = await stored
    assert(ack.outcome === 'stored', 'a command is stored')
    // The chain takes longer than the door.
    while (index - (await lastSequenceOf(nats.jsm, 'EXECUTIONS')) > 20_000) await pause()
    session.onProgress(`recovery, sending ${orders} orders`, index / orders)
  }
  while ((await lastSequenceOf(nats.jsm, 'EXECUTIONS')) < orders) await pause()
  const watermark = async () =>
    (await nats.jsm.streams.getMessage('POSITIONS', { last_by_subj: 'positions._watermark' }))?.json<{
      executionsSeq: number
    }>()
  while (((await watermark())?.executionsSeq ?? 0) < orders) await pause()
  publisher.close()
  await stop()
}

async function startRound(session: Session, natsUrl: string, worker: SnapshotWorker): Promise<Round> {
  const startedMs = performance.now()
  const { child, port } = await startWorkers(natsUrl, [worker])
  const stop = session.own(() => ended(child))
  for (;;) {
    const answer = await fetch(`http://127.0.0.1:${port}/health/live`).catch(() => undefined)
    const ready = answer?.ok && (await fetch(`http://127.0.0.1:${port}/health/ready`)).ok
    if (ready) break
    assert(child.exitCode === null, `${worker} ended`)
    await pause()
  }
  const round = { [unit]: (performance.now() - startedMs) / 1_000, peakRssMb: peakRssMb(child.pid) }
  await stop()
  return round
}

async function startWorkers(natsUrl: string, workers: readonly (typeof chain)[number][]) {
  const ports = await Promise.all(workers.map(() => freePort()))
  const child = fork(
    mainFile,
    ['worker', ...workers, ...workers.flatMap((worker, index) => ['--port', `${worker}=${ports[index]}`])],
    {
      execArgv: [...v8Flags(workers)],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      env: { ...process.env, NATS_URL: natsUrl, LOG_LEVEL: 'warn' },
    },
  )
  const gone = once(child, 'exit').then(() => Promise.reject(new Error(`${workers.join('+')} ended`)))
  gone.catch(() => undefined)
  await Promise.race([once(child, 'message'), gone])
  return { child, port: ports[0] ?? 0 }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGTERM')
  await exit
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, pollMs))
}

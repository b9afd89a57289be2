import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { utf8FromText } from '../src/base/json.ts'
import { mallocEnv, v8Flags } from '../src/cli/process-memory.ts'
import { commitKey } from '../src/lake/log-files.ts'
import { openStore } from '../src/lake/open-store.ts'
import { storeBelow } from '../src/lake/store.ts'
import { startMinio } from '../src/local/start-minio.ts'
import { startNats } from '../src/local/start-nats.ts'
import { AckedPublisher } from '../src/runtime/acks.ts'
import { connectNats, type Nats } from '../src/runtime/nats.ts'
import { ensureStreams } from '../src/runtime/streams.ts'
import { tickSubject } from '../src/subjects/names.ts'
import { watchProcesses } from './processes.ts'
import { type Round, type Row, rowOf } from './rows.ts'
import type { Session } from './session.ts'

const unit = 'ticksPerSecond'
const main = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url))
const pollMs = 20
const inFlightMax = 2_000
/** Of a message in its stream; some 270. */
const tickBytesMax = 400

export const lakeKinds = ['folder', 'minio'] as const
export type LakeKind = (typeof lakeKinds)[number]

export interface TickSinkOptions {
  readonly rounds: number
  readonly ticks: number
  /** How many symbols the ticks are of, a round each. */
  readonly symbols: readonly number[]
  readonly lakes: readonly LakeKind[]
  /** Of the ticks whose way into the table is timed. */
  readonly ratePerSecond: number
  readonly seconds: number
}

/**
 * From JetStream into the table: a backlog that a tick-sink process finds at its start, until its last tick is committed,
 * and at a fixed rate the time from the publish to the commit that makes the row visible. De-duplication and checkpoints
 * are on, a local commit is synced to disk.
 */
export async function tickSinkBench(session: Session, options: TickSinkOptions): Promise<Row[]> {
  const rows: Row[] = []
  for (const kind of options.lakes) {
    for (const symbols of options.symbols) {
      const rounds: Round[] = []
      for (let round = 1; round <= options.rounds; round += 1) {
        session.onProgress(`tick-sink ${kind}, ${symbols} symbols, round ${round} of ${options.rounds}`)
        rounds.push(await backlogRound(session, kind, symbols, options.ticks))
      }
      rows.push(rowOf({ scenario: 'tick-sink', load: `${kind}, ${symbols} symbols` }, unit, rounds))
    }
    const rounds: Round[] = []
    for (let round = 1; round <= options.rounds; round += 1) {
      session.onProgress(`tick-sink ${kind} at ${options.ratePerSecond}/s, round ${round} of ${options.rounds}`)
      rounds.push(await visibleRound(session, kind, options))
    }
    const load = `${kind}, ${options.ratePerSecond}/s`
    rows.push(
      rowOf({ scenario: 'tick-sink', load, note: 'from the publish to the visible row' }, 'visibleP95Ms', rounds),
    )
  }
  return rows
}

interface Setting {
  readonly nats: Nats
  readonly startSink: () => Promise<Sink>
  stop(): Promise<void>
}

interface Sink {
  readonly pid: number
  /** Last sequence that is committed. */
  sequence(): Promise<number>
}

async function startSetting(session: Session, kind: LakeKind, ticks: number): Promise<Setting> {
  const dataDir = session.folder()
  const server = await startNats({ dataDir, port: 0 })
  const stopServer = session.own(() => server.stop(2_000))
  const minio = kind === 'minio' ? await startMinio({ dataDir, port: 0 }) : undefined
  const stopMinio = session.own(() => minio?.stop(2_000))
  const nats = await connectNats(server.url, 'bench')
  const stopNats = session.own(() => nats.close())
  await ensureStreams(nats, 2e9, join(dataDir, 'jetstream'))
  await nats.jsm.streams.update('TICKS', { max_bytes: ticks * tickBytesMax })
  const env: Record<string, string> = minio ? { ...minio.access } : { LAKE_URI: join(dataDir, 'lake') }
  const store = await openStore(env['LAKE_URI'] ?? '', env)
  await store.check()
  const table = storeBelow(store, 'market_ticks/')
  const children: ChildProcess[] = []
  const stopSink = session.own(async () => {
    for (const child of children) {
      if (child.exitCode !== null) continue
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    store.close()
  })
  return {
    nats,
    startSink: async () => {
      const child = fork(main, ['worker', 'tick-sink', '--port', '0'], {
        execArgv: [...v8Flags(['tick-sink'])],
        env: {
          ...process.env,
          ...mallocEnv(['tick-sink']),
          ...env,
          NATS_URL: server.url,
          REDIS_URL: '',
          LOG_LEVEL: 'warn',
        },
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      })
      children.push(child)
      const gone = once(child, 'exit').then(() => Promise.reject(new Error('the sink ended')))
      await Promise.race([once(child, 'message'), gone])
      gone.catch(() => undefined)
      let version = 0
      let sequence = 0
      return {
        pid: child.pid ?? 0,
        sequence: async () => {
          for (;;) {
            const commit = await table.get(commitKey(version))
            if (!commit) return sequence
            version += 1
            const txn = /\{"txn":\{.*?"version":(\d+)/.exec(Buffer.from(commit).toString())
            sequence = Number(txn?.[1] ?? sequence)
          }
        },
      }
    },
    stop: async () => {
      await stopSink()
      await stopNats()
      await stopMinio()
      await stopServer()
    },
  }
}

/** As a feed would send it, 200 bytes or so. */
function tickOf(index: number, symbols: number, nowMs: number): { subject: string; body: Uint8Array } {
  const symbol = `SYM${index % symbols}`
  const price = (100 + ((index * 7_919) % 10_000) / 100).toFixed(2)
  const time = new Date(nowMs).toISOString()
  const side = index % 2 === 0 ? 'buy' : 'sell'
  return {
    subject: tickSubject('BENCH', symbol),
    body: utf8FromText(
      `{"event_ts":"${time}","venue":"BENCH","symbol":"${symbol}","price":${price},"size":${1 + (index % 50)},"side":"${side}","trade_id":"t${index}","source_seq":${index}}`,
    ),
  }
}

async function publishTicks(session: Session, nats: Nats, ticks: number, symbols: number): Promise<void> {
  const publisher = new AckedPublisher(nats.connection, 30_000)
  let next = 0
  const lane = async () => {
    while (next < ticks) {
      const { subject, body } = tickOf(next, symbols, Date.now())
      next += 1
      if (next % 10_000 === 0) session.onProgress('publishing ticks', next / ticks)
      session.signal.throwIfAborted()
      const ack = await publisher.request(subject, body)
      if (ack.outcome !== 'stored') throw new Error(`a tick was not stored: ${JSON.stringify(ack)}`)
    }
  }
  await Promise.all(Array.from({ length: inFlightMax }, lane))
  publisher.close()
}

async function backlogRound(session: Session, kind: LakeKind, symbols: number, ticks: number): Promise<Round> {
  const setting = await startSetting(session, kind, ticks)
  await publishTicks(session, setting.nats, ticks, symbols)
  const sink = await setting.startSink()
  const watched = watchProcesses([{ name: 'tick-sink', pid: sink.pid }])
  const startedMs = performance.now()
  let version = 0
  while (version < ticks) {
    session.signal.throwIfAborted()
    await pause(pollMs)
    version = await sink.sequence()
    session.onProgress(`tick-sink ${kind}, ${symbols} symbols`, version / ticks)
  }
  const seconds = (performance.now() - startedMs) / 1_000
  const { rssMbTotal, cpuPercentTotal } = watched()
  await setting.stop()
  return {
    [unit]: ticks / seconds,
    cpuUs: (cpuPercentTotal * seconds * 1e4) / ticks,
    rssMb: rssMbTotal,
  }
}

async function visibleRound(session: Session, kind: LakeKind, options: TickSinkOptions): Promise<Round> {
  const { ratePerSecond, seconds } = options
  const setting = await startSetting(session, kind, ratePerSecond * seconds)
  const sink = await setting.startSink()
  const publisher = new AckedPublisher(setting.nats.connection, 30_000)
  const latenciesMs: number[] = []
  const publishedMs: number[] = []
  const ticks = ratePerSecond * seconds
  const startedMs = performance.now()
  let sent = 0
  let seen = 0
  while (seen < ticks) {
    session.signal.throwIfAborted()
    const nowMs = performance.now()
    // A tick counts from when it was due.
    while (sent < ticks && startedMs + (sent * 1_000) / ratePerSecond <= nowMs) {
      const { subject, body } = tickOf(sent, options.symbols[0] ?? 1, Date.now())
      publishedMs.push(startedMs + (sent * 1_000) / ratePerSecond)
      publisher.publish(subject, body, '', () => undefined)
      sent += 1
    }
    const sequence = await sink.sequence()
    for (; seen < sequence; seen += 1) latenciesMs.push(performance.now() - (publishedMs[seen] ?? 0))
    await pause(pollMs)
  }
  publisher.close()
  await setting.stop()
  latenciesMs.sort((a, b) => a - b)
  const at = (share: number) => latenciesMs[Math.ceil(share * ticks) - 1] ?? 0
  return { visibleP95Ms: at(0.95), visibleP50Ms: at(0.5), visibleMaxMs: at(1) }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

import { parseOwnJson, textFromUtf8 } from '../base/json.ts'
import { healthRank, judge } from '../runtime/judge.ts'
import type { Lag } from '../runtime/lag.ts'
import type { Nats } from '../runtime/nats.ts'
import { positionOf, storedMessage } from '../runtime/position.ts'
import { readLatest } from '../runtime/reader.ts'
import { flushLimitsOf, isSinkName } from '../runtime/flush-limits.ts'
import { chainStreams, type StreamMonitor } from '../runtime/stream-monitor.ts'
import { isStreamNotFound } from '../runtime/streams.ts'
import type { HealthEntry, HealthStatus } from '../schemas/health.ts'
import type { Settings } from '../schemas/settings.ts'
import { type StreamName, streamSpec, streamSpecs, type WorkerSpec, workerSpecs } from '../subjects/contract.ts'

/** After this long without a probe, which comes every 2 s, nothing that the last one said counts. */
const silenceMaxMs = 5_000

/** One worker as it is seen from outside its process. */
export interface WorkerReading {
  /** A door or a stand-by has its instance behind a dot. */
  readonly worker: string
  readonly status: HealthStatus
  readonly reasons: readonly string[]
  /** null when it has never been at work. */
  readonly phase: string | null
  readonly input: StreamName | null
  /** Messages of the input whose outputs are not stored, and the age of the oldest. */
  readonly lagMessages: number | null
  readonly oldestAgeMs: number | null
  /** What its consumer says. */
  readonly ackPendingMessages: number | null
  readonly redeliveredMessages: number | null
  /** Since its last probe was stored. */
  readonly signOfLifeAgeMs: number | null
}

export interface StreamLevel {
  readonly stream: StreamName
  readonly usedPercent: number
  readonly sizeBytes: number
  readonly sizeBytesMax: number
  /** At the pace since the reading began; null while it does not grow. */
  readonly secondsUntilFull: number | null
}

export interface LagReport {
  /** The worst of all. */
  readonly status: HealthStatus
  readonly reasons: readonly string[]
  readonly workers: readonly WorkerReading[]
  readonly streams: readonly StreamLevel[]
}

/**
 * Judges every worker by what the streams and KV HEALTH hold, as the worker judges itself, and takes the worse of the
 * two. Ages are by the server's clock, so that this machine's does not matter.
 *
 * @param monitor has read the streams just now
 */
export async function readLag(nats: Nats, monitor: StreamMonitor, settings: Settings): Promise<LagReport> {
  const signs = await readSigns(nats)
  const nowMs = await serverTimeMs(nats)
  const chain = await Promise.all(
    workerSpecs.flatMap((spec) =>
      // Where no sink has ever been at work, nobody wants a lake.
      spec.input === undefined || (isSinkName(spec.name) && !signs.has(spec.name))
        ? []
        : [readWorker(nats, monitor, spec, spec.input, signs.get(spec.name), nowMs, settings)],
    ),
  )
  const workers = [...chain, ...readPeers(signs, nowMs)]
  const missing = streamSpecs.filter(({ name }) => !monitor.get(name)).map(({ name }) => `stream ${name} is missing`)
  const worst = workers.reduce<HealthStatus>((worse, { status }) => worseOf(worse, status), 'healthy')
  return {
    status: missing.length > 0 ? 'unhealthy' : worst,
    reasons: [
      ...missing,
      ...workers.flatMap(({ worker, status, reasons }) =>
        status === 'healthy' ? [] : reasons.map((reason) => `${worker}: ${reason}`),
      ),
    ],
    workers,
    streams: streamSpecs.flatMap(({ name }): StreamLevel[] => {
      const reading = monitor.get(name)
      if (!reading) return []
      const { usedPercent, bytes, bytesMax, secondsUntilFull = null } = reading
      return [
        {
          stream: name,
          usedPercent: Number(usedPercent.toFixed(2)),
          sizeBytes: bytes,
          sizeBytesMax: bytesMax,
          secondsUntilFull,
        },
      ]
    }),
  }
}

/** The last probe of a process. */
interface Sign {
  readonly entry: HealthEntry
  readonly storedMs: number
}

/** Probes by key of KV HEALTH: that of a worker is its active process's, those below it are of doors and stand-bys. */
async function readSigns(nats: Nats): Promise<Map<string, Sign>> {
  const prefix = '$KV.HEALTH.'
  const signs = new Map<string, Sign>()
  try {
    for (const [subject, { data, timeUs }] of await readLatest(nats, 'KV_HEALTH', `${prefix}>`))
      // A deleted key is a message without a body.
      if (data.length > 0)
        signs.set(subject.slice(prefix.length), {
          entry: parseOwnJson(textFromUtf8(data)) as HealthEntry,
          storedMs: timeUs / 1_000,
        })
  } catch (error) {
    if (!isStreamNotFound(error)) throw error
  }
  return signs
}

/** The server's clock, which has given every message its time. */
async function serverTimeMs(nats: Nats): Promise<number> {
  try {
    const { ts } = await nats.jsm.streams.info('ORDERS')
    if (ts !== undefined) return Date.parse(ts)
  } catch (error) {
    if (!isStreamNotFound(error)) throw error
  }
  return Date.now()
}

async function readWorker(
  nats: Nats,
  monitor: StreamMonitor,
  spec: WorkerSpec,
  input: StreamName,
  sign: Sign | undefined,
  nowMs: number,
  settings: Settings,
): Promise<WorkerReading> {
  const { name, writes } = spec
  const signAgeMs = sign ? Math.max(0, nowMs - sign.storedMs) : undefined
  const alive = signAgeMs !== undefined && signAgeMs <= silenceMaxMs ? sign : undefined
  const said = sign?.entry.settledSequence ?? 0
  const flushMs = isSinkName(name) ? flushLimitsOf(name, settings).ms : undefined
  const lag = await lagOf(nats, monitor, spec, input, said, alive?.storedMs ?? nowMs, nowMs)
  const outside = judge(
    {
      isConnected: true,
      probeAgeMs: alive ? nowMs - alive.storedMs : 0,
      readingAgeMs: 0,
      // What the other phases mean, its own status says.
      phase: alive?.entry.phase === 'stopped' ? 'stopped' : 'active',
      phaseMs: 0,
      holder: undefined,
      lags: [{ stream: input, ...lag, ms: Math.max(0, lag.ms - (flushMs ?? 0)) }],
      blocked: undefined,
      // What its store says, and whether rows come into it, it knows best.
      databaseProblem: undefined,
      isCommitting: flushMs !== undefined,
      redisProblem: undefined,
      warnings: [],
      fullest: monitor.fullest([
        ...new Set([...chainStreams, ...writes.filter((stream) => streamSpec(stream).discard === 'new')]),
      ]),
    },
    settings,
    'healthy',
  )
  const silence = signAgeMs === undefined ? 'not running' : `no sign of life for ${(signAgeMs / 1_000).toFixed(1)} s`
  const own = alive?.entry ?? { status: 'unhealthy' as const, reasons: [silence] }
  const consumer = await nats.jsm.consumers.info(input, name).catch(() => undefined)
  return {
    worker: name,
    status: worseOf(own.status, outside.status),
    reasons: merged([...own.reasons, ...outside.reasons]),
    phase: sign?.entry.phase ?? null,
    input,
    lagMessages: lag.messages,
    oldestAgeMs: Math.round(lag.ms),
    ackPendingMessages: consumer?.num_ack_pending ?? null,
    redeliveredMessages: consumer?.num_redelivered ?? null,
    signOfLifeAgeMs: signAgeMs === undefined ? null : Math.round(signAgeMs),
  }
}

/** @param said how far the worker said it was, at `saidMs` */
async function lagOf(
  nats: Nats,
  monitor: StreamMonitor,
  spec: WorkerSpec,
  input: StreamName,
  said: number,
  saidMs: number,
  nowMs: number,
): Promise<Lag> {
  const { lastSequence = 0, firstSequence = 0 } = monitor.get(input) ?? {}
  const stored = await storedSequence(nats, spec)
  const settled = Math.max(stored, said)
  const messages = Math.max(0, lastSequence - settled)
  if (messages === 0) return { messages, ms: 0 }
  const oldest = await storedMessage(nats.jsm, input, { seq: Math.max(firstSequence, settled + 1) })
  // Of what has no output only the last probe tells, so what came after that is not late yet.
  const asOfMs = said >= stored ? saidMs : nowMs
  return { messages, ms: oldest ? Math.max(0, asOfMs - oldest.time.getTime()) : 0 }
}

/** Sequence of the input from which the worker's last output was made; 0 without one. */
async function storedSequence(nats: Nats, { output, positionSubject, writes }: WorkerSpec): Promise<number> {
  const stream = output ?? (positionSubject === undefined ? undefined : writes[0])
  if (!stream) return 0
  try {
    const query =
      positionSubject === undefined
        ? { seq: (await nats.jsm.streams.info(stream)).state.last_seq }
        : { last_by_subj: positionSubject }
    const last = await storedMessage(nats.jsm, stream, query)
    return last ? positionOf(last.header).inSeq : 0
  } catch (error) {
    if (isStreamNotFound(error)) return 0
    throw error
  }
}

/** Doors and stand-bys that are alive: they come and go, and how many there should be nobody knows. */
function readPeers(signs: ReadonlyMap<string, Sign>, nowMs: number): WorkerReading[] {
  return [...signs].flatMap(([key, { entry, storedMs }]): WorkerReading[] => {
    const [worker = '', instance] = key.split('.')
    const signOfLifeAgeMs = Math.max(0, Math.round(nowMs - storedMs))
    const active = signs.get(worker)
    // Before it took over, the active process was a stand-by itself.
    const isPast = active?.entry.pid === entry.pid && active.storedMs > storedMs
    const isShown = instance === undefined && workerSpecs.some(({ name, input }) => name === worker && input)
    if (isShown || isPast || signOfLifeAgeMs > silenceMaxMs) return []
    const { status, reasons, phase } = entry
    const none = { input: null, lagMessages: null, oldestAgeMs: null, ackPendingMessages: null }
    return [{ worker: key, status, reasons, phase, ...none, redeliveredMessages: null, signOfLifeAgeMs }]
  })
}

/** The worker and we may say the same with other numbers. */
function merged(reasons: readonly string[]): string[] {
  const shapeOf = (reason: string) => reason.replace(/[\d.]+/g, '')
  return reasons.filter((reason, index) => reasons.findIndex((other) => shapeOf(other) === shapeOf(reason)) === index)
}

function worseOf(one: HealthStatus, other: HealthStatus): HealthStatus {
  return healthRank[one] >= healthRank[other] ? one : other
}

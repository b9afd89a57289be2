import type { KV } from '@nats-io/kv'
import { assert } from '../base/assert.ts'
import { messageOf, PipelineError } from '../base/errors.ts'
import type { HealthEntry } from '../schemas/health.ts'
import type { Settings } from '../schemas/settings.ts'
import { type StreamName, type WorkerName, workerSpec } from '../subjects/contract.ts'
import { holdKey, janitorLookMs } from './hold-room.ts'
import { acquireLease, type Lease } from './lease.ts'
import type { Log } from './log.ts'
import { writingLogicVersion } from './logic-version.ts'
import type { Nats } from './nats.ts'
import { listSnapshots, type SnapshotMeta } from './snapshots.ts'
import type { StreamMonitor, StreamReading } from './stream-monitor.ts'
import { lastOutputOf, type SilentFold, takeSnapshot } from './take-snapshot.ts'
import { planTrim, trim, trimmedStreams, type TrimPlan } from './trim.ts'
import type { LoopState } from './fold.ts'

/** Whose state is kept in snapshots. */
export const snapshotWorkers = ['risk-gate', 'oms-matcher', 'pnl-updater'] as const satisfies readonly WorkerName[]
export type SnapshotWorker = (typeof snapshotWorkers)[number]

/** Between two attempts at what has failed. */
const retryMs = 10_000
/** A worker writes its probe every two seconds. */
const probeSilenceMs = 10_000

/** Which streams a start after a snapshot has to read again, and from where. */
const reread: Readonly<Record<SnapshotWorker, readonly (readonly [StreamName, (meta: SnapshotMeta) => number])[]>> = {
  'risk-gate': [
    ['RISK', (meta) => meta.ownSequence],
    ['EXECUTIONS', (meta) => meta.followedSequence ?? 0],
  ],
  'oms-matcher': [
    ['RISK', (meta) => meta.inSeq],
    ['EXECUTIONS', (meta) => meta.ownSequence],
  ],
  'pnl-updater': [['EXECUTIONS', (meta) => meta.inSeq]],
}

/**
 * Takes the snapshots that are due, and makes room in streams that fill up: one process of low priority, beside the
 * chain, which never waits for it.
 */
export class Janitor {
  readonly #nats: Nats
  readonly #settings: Settings
  readonly #monitor: StreamMonitor
  readonly #log: Log
  readonly #instance: string
  readonly #createFold: (worker: SnapshotWorker) => SilentFold
  readonly #logicVersions: Readonly<Record<SnapshotWorker, number>>
  readonly #onFatal: (error: Error) => void
  readonly #abort = new AbortController()
  readonly #seen: SettledReader
  readonly #problems = new Map<string, { readonly problem: string; readonly ms: number }>()
  #phase: LoopState['phase'] = 'waiting'
  #holder: string | undefined
  #lease: Lease | undefined
  #timer: NodeJS.Timeout | undefined
  #isLooking = false
  #lastDoneMs = -Infinity

  constructor(options: {
    nats: Nats
    settings: Settings
    monitor: StreamMonitor
    log: Log
    instance: string
    createFold: (worker: SnapshotWorker) => SilentFold
    /** Of those folds. */
    logicVersions: Readonly<Record<SnapshotWorker, number>>
    onFatal: (error: Error) => void
  }) {
    this.#nats = options.nats
    this.#settings = options.settings
    this.#monitor = options.monitor
    this.#log = options.log
    this.#instance = options.instance
    this.#createFold = options.createFold
    this.#logicVersions = options.logicVersions
    this.#onFatal = options.onFatal
    this.#seen = new SettledReader(options.nats)
  }

  /** What could not be done, for health. */
  problems(): string[] {
    return Array.from(this.#problems.values(), ({ problem }) => problem)
  }

  state(): LoopState {
    return {
      phase: this.#phase,
      holder: this.#holder,
      settledSequence: 0,
      oldestPendingUs: undefined,
      pendingOutputs: 0,
      blockedReason: undefined,
      redelivered: 0,
      deadLetters: 0,
      batches: 0,
      lastStoredMs: this.#lastDoneMs,
    }
  }

  async start(): Promise<void> {
    this.#lease = await acquireLease(this.#nats, 'janitor', {
      instance: this.#instance,
      leaseMs: this.#settings.LEASE_MS,
      log: this.#log,
      signal: this.#abort.signal,
      onWaiting: (holder) => (this.#holder = holder),
      onLost: this.#onFatal,
    })
    this.#holder = undefined
    this.#phase = 'active'
    this.#timer = setInterval(() => {
      if (this.#isLooking) return
      this.#isLooking = true
      void this.#look().finally(() => (this.#isLooking = false))
    }, janitorLookMs)
  }

  /** What is under way is left as it is: a snapshot that is not complete does not count. */
  async stop(): Promise<void> {
    this.#phase = 'stopped'
    this.#abort.abort()
    clearInterval(this.#timer)
    await this.#lease?.release()
  }

  async #look(): Promise<void> {
    if (!this.#nats.isConnected()) return
    await this.#attempt('settled', () => this.#seen.refresh())
    for (const worker of snapshotWorkers)
      await this.#attempt(`snapshot of ${worker}`, async () => {
        if (await this.#isDue(worker)) await this.#take(worker)
      })
    await this.#attempt('trim', () => this.#trim())
  }

  /** A failure is shown in health until it works again, and not tried again at once. */
  async #attempt(what: string, work: () => Promise<void>): Promise<void> {
    const failed = this.#problems.get(what)
    if (this.#phase !== 'active' || (failed && performance.now() - failed.ms < retryMs)) return
    try {
      await work()
      this.#problems.delete(what)
    } catch (error) {
      if (this.#abort.signal.aborted) return
      const code = error instanceof PipelineError ? `${error.code}: ` : ''
      const problem = `${what}: ${code}${messageOf(error)}`
      this.#log.warn({ what, problem: messageOf(error) }, 'the janitor could not do it, trying again')
      this.#problems.set(what, { problem, ms: performance.now() })
    }
  }

  /** A stream grew by its share of a limit since the last one, or that was long ago. */
  async #isDue(worker: SnapshotWorker): Promise<boolean> {
    const [newest] = await listSnapshots(this.#nats, worker)
    const { SNAPSHOT_GROWTH_PERCENT: growthPercent, SNAPSHOT_MINUTES: minutes } = this.#settings
    const isBehind = reread[worker].some(([stream, sequenceOf]) => {
      const reading = this.#monitor.get(stream)
      return reading && grownPercent(reading, newest ? sequenceOf(newest) : 0) >= growthPercent
    })
    if (isBehind || (await this.#isHandOverDue(worker, newest))) return true
    if (newest && Date.now() - newest.takenMs < minutes * 60_000) return false
    return (await lastOutputOf(this.#nats, workerSpec(worker))) > (newest?.ownSequence ?? 1)
  }

  /** Another version of the logic has taken over, and goes on from what this one makes of the end. */
  async #isHandOverDue(worker: SnapshotWorker, newest: SnapshotMeta | undefined): Promise<boolean> {
    const spec = workerSpec(worker)
    assert(spec.output, `${worker} has no stream of its own`)
    if ((await writingLogicVersion(this.#nats, spec.output)) <= this.#logicVersions[worker]) return false
    return (await lastOutputOf(this.#nats, spec)) > (newest?.ownSequence ?? 0)
  }

  async #take(worker: SnapshotWorker): Promise<void> {
    const startedMs = performance.now()
    const meta = await takeSnapshot(this.#nats, worker, () => this.#createFold(worker), this.#log)
    if (!meta) return
    this.#lastDoneMs = performance.now()
    const { id, inSeq, bytes } = meta
    const tookMs = Math.round(performance.now() - startedMs)
    this.#log.info({ worker, snapshot: id, inSeq, bytes, tookMs }, 'snapshot taken')
  }

  async #trim(): Promise<void> {
    const { STORAGE_TRIM_PERCENT: percent } = this.#settings
    const isFull = ({ bytes, bytesMax }: Pick<StreamReading, 'bytes' | 'bytesMax'>) =>
      bytesMax > 0 && (bytes / bytesMax) * 100 >= percent
    const fullest = this.#monitor.fullest(trimmedStreams)
    if ((fullest?.usedPercent ?? 0) < percent || (await this.#seen.isHeld())) return
    const plans = (await planTrim(this.#nats, this.#seen.settledOf)).filter(isFull)
    const stuck: string[] = []
    for (const plan of plans) {
      const purged = await trim(this.#nats, plan)
      if (purged > 0) {
        this.#lastDoneMs = performance.now()
        this.#log.info({ stream: plan.stream, upTo: plan.upTo, purged }, 'trimmed')
      } else if ((plan.bytes / plan.bytesMax) * 100 >= this.#settings.STORAGE_REFUSE_PERCENT)
        stuck.push(stuckText(plan))
    }
    if (stuck.length > 0) throw new PipelineError('STREAM_ROOM', stuck.join('; '))
  }
}

function stuckText({ stream, bytes, bytesMax, neededBy = 'nobody' }: TrimPlan): string {
  return `${stream} is ${((bytes / bytesMax) * 100).toFixed(1)} % full and nothing of it may go: ${neededBy} needs it`
}

/** How much of its limit a stream has grown by since a message, as far as its mean message says. */
function grownPercent({ firstSequence, lastSequence, bytes, bytesMax }: StreamReading, since: number): number {
  if (bytesMax <= 0 || lastSequence < firstSequence) return 0
  const share = (lastSequence - Math.max(since, firstSequence - 1)) / (lastSequence - firstSequence + 1)
  return ((bytes * Math.max(0, share)) / bytesMax) * 100
}

/**
 * What workers say in KV HEALTH that they have settled. Only one that is heard counts: what a worker said once may have
 * been of another stream.
 */
export class SettledReader {
  readonly #nats: Nats
  readonly #entries = new Map<string, { revision: number; heardMs: number; settled: number | undefined }>()
  #health: KV | undefined
  #leases: KV | undefined

  constructor(nats: Nats) {
    this.#nats = nats
  }

  async refresh(): Promise<void> {
    this.#health ??= await this.#nats.kvm.open('HEALTH')
    this.#leases ??= await this.#nats.kvm.open('LEASES')
    for (const worker of ['tape', 'tick-sink', 'alt-sink', 'execution-sink']) await this.#read(this.#health, worker)
    await this.#read(this.#leases, holdKey)
  }

  readonly settledOf = (worker: WorkerName): Promise<number | undefined> =>
    Promise.resolve(this.#heard(worker)?.settled)

  /** Whether `verify` wants everything to stay where it is. */
  async isHeld(): Promise<boolean> {
    await this.refresh()
    return this.#heard(holdKey) !== undefined
  }

  #heard(key: string) {
    const entry = this.#entries.get(key)
    return entry && performance.now() - entry.heardMs < probeSilenceMs ? entry : undefined
  }

  async #read(bucket: KV, key: string): Promise<void> {
    const entry = await bucket.get(key)
    if (entry?.operation !== 'PUT') {
      // What is put there from now on is heard.
      this.#entries.set(key, { revision: 0, heardMs: -Infinity, settled: undefined })
      return
    }
    const known = this.#entries.get(key)
    if (known?.revision === entry.revision) return
    const { phase, settledSequence } = entry.json<Partial<HealthEntry>>()
    this.#entries.set(key, {
      revision: entry.revision,
      // At first sight it may be old.
      heardMs: known ? performance.now() : -Infinity,
      settled: phase === 'active' ? settledSequence : undefined,
    })
  }
}

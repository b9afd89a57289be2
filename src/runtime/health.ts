import type { KV } from '@nats-io/kv'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { rfc3339FromUs } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import type { HealthBody, HealthEntry, HealthStatus, LagReading, StorageReading } from '../schemas/health.ts'
import type { Settings } from '../schemas/settings.ts'
import { type StreamName, streamSpec, streamSpecs, type WorkerSpec } from '../subjects/contract.ts'
import type { DatabaseHealth } from './lake-health.ts'
import { type Evidence, healthRank, judge, type Judgement, probeAgeMaxMs } from './judge.ts'
import { type Lag, LagTracker } from './lag.ts'
import type { Log } from './log.ts'
import type { Nats } from './nats.ts'
import { chainStreams, type StreamMonitor } from './stream-monitor.ts'
import type { LoopState } from './fold.ts'

/** What a worker's health asks of its Redis. */
export interface RedisHealth {
  readonly isUp: boolean
  /** Why it does not take writes. */
  readonly problem: string | undefined
  /** Writes something of no consequence. @throws when it cannot */
  probe(worker: string): Promise<void>
}

export interface HealthOptions {
  readonly spec: WorkerSpec
  /** Names this process among its peers. */
  readonly instance: string
  readonly nats: Nats
  readonly monitor: StreamMonitor
  readonly settings: Settings
  readonly log: Log
  readonly loop?: () => LoopState
  /** A stream that must be kept up with besides the input, and how far that is. */
  readonly follows?: { readonly stream: StreamName; sequence(): number }
  readonly redis?: RedisHealth
  /** The lake, and how long rows may wait for others before they are written there. */
  readonly lake?: { readonly health: DatabaseHealth; readonly flushMs: number }
  readonly connections?: () => number
  /** What else is not as the operator would think it is. */
  readonly warnings?: () => readonly string[]
}

const probeIntervalMs = 2_000
const judgeIntervalMs = 500
/** Judgements in a row before health changes for the better; it changes for the worse after two. */
const betterAfter = 3
const worseAfter = 2
/** A sink that commits rows does so at least this often, beside the time that rows wait for others. */
const committingMs = 10_000
const loopDelayResolutionMs = 20
const loopDelayWindowMs = 60_000

/** Latencies of the last thousand batches. */
class Latencies {
  readonly #ms: number[] = []
  #next = 0

  add(ms: number): void {
    this.#ms[this.#next] = ms
    this.#next = (this.#next + 1) % 1_000
  }

  percentiles(): { p50: number | null; p99: number | null } {
    if (this.#ms.length === 0) return { p50: null, p99: null }
    const sorted = [...this.#ms].sort((a, b) => a - b)
    const at = (share: number) => Number((sorted[Math.floor(share * (sorted.length - 1))] ?? 0).toFixed(2))
    return { p50: at(0.5), p99: at(0.99) }
  }
}

/** @param ms by `performance.now()`, which no step of the wall clock moves: ages and pauses are told by it */
function wallUs(ms: number): number {
  return Math.round(Date.now() - (performance.now() - ms)) * 1_000
}

/**
 * Health of one worker. Every two seconds it writes a probe to KV HEALTH, so that healthy means: a write succeeded just
 * now. A status holds until the evidence has changed for good, so that it does not flap.
 */
export class HealthMonitor {
  readonly latencies = new Latencies()
  readonly #options: HealthOptions
  readonly #startedMs = performance.now()
  readonly #loopDelay = monitorEventLoopDelay({ resolution: loopDelayResolutionMs })
  readonly #timer: NodeJS.Timeout
  readonly #inputLag = new LagTracker()
  readonly #followsLag = new LagTracker()
  /** Streams whose fill level matters here. */
  readonly #streams: readonly StreamName[]
  #current: Judgement = { status: 'unhealthy', reasons: ['starting'] }
  #isStarting = true
  #different = 0
  #bucket: KV | undefined
  #wasConnected = false
  #probedMs = -Infinity
  #lastSuccessMs = -Infinity
  #consumer = { ackPending: 0, redelivered: 0 }
  #phase: { name: Evidence['phase']; sinceMs: number } | undefined
  #blockedSinceMs: number | undefined
  #loopDelaySinceMs = performance.now()

  constructor(options: HealthOptions) {
    this.#options = options
    const own = options.spec.writes.filter((stream) => streamSpec(stream).discard === 'new')
    this.#streams = [...new Set([...chainStreams, ...own])]
    this.#loopDelay.enable()
    this.#timer = setInterval(() => this.#tick(), judgeIntervalMs)
    this.#tick()
  }

  get status(): HealthStatus {
    return this.#current.status
  }

  /** Ready: at work and not unhealthy. */
  get isReady(): boolean {
    const phase = this.#options.loop?.().phase ?? 'active'
    return phase === 'active' && this.#current.status !== 'unhealthy'
  }

  /** null where there is no input, and in a stand-by, which owes no answers. */
  lag(): LagReading | null {
    const state = this.#options.loop?.()
    const lag = this.#lagOfInput(state) ?? (state ? undefined : this.#lagOfFollowed())
    if (!lag) return null
    return {
      messages: lag.messages,
      seconds: Number((lag.ms / 1_000).toFixed(3)),
      ack_pending: this.#consumer.ackPending,
      redelivered: this.#consumer.redelivered,
    }
  }

  body(): HealthBody {
    const { nats, spec, redis, lake, monitor, connections } = this.#options
    const { status, reasons } = this.#current
    const lastWriteMs = Math.max(
      lake?.health.lastSuccessMs ?? this.#lastSuccessMs,
      this.#options.loop?.().lastStoredMs ?? -Infinity,
    )
    return {
      status,
      service: spec.name,
      ...(reasons.length === 0 ? {} : { reason: reasons.join('; ') }),
      checks: {
        nats: nats.isConnected() ? 'connected' : 'disconnected',
        redis: redis ? (redis.isUp ? 'connected' : 'disconnected') : null,
        database: lake ? (lake.health.problem() === undefined ? 'connected' : 'disconnected') : null,
        latency_ms: this.latencies.percentiles(),
        memory_mb: Math.round(process.memoryUsage.rss() / 2 ** 20),
        active_connections: connections?.() ?? 0,
        lag: this.lag(),
        last_success: lastWriteMs === -Infinity ? null : rfc3339FromUs(wallUs(lastWriteMs)),
        // The histogram holds whole intervals of the timer.
        event_loop_delay_ms: Number(Math.max(0, this.#loopDelay.mean / 1e6 - loopDelayResolutionMs || 0).toFixed(2)),
        storage: storageOf(monitor),
      },
      reasons,
    }
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#loopDelay.disable()
  }

  #tick(): void {
    const { nats, redis, lake, spec, loop } = this.#options
    const nowMs = performance.now()
    const isConnected = nats.isConnected()
    const phase = loop?.().phase ?? 'open'
    const isNews = (isConnected && !this.#wasConnected) || phase !== this.#phase?.name
    if (phase !== this.#phase?.name) this.#phase = { name: phase, sinceMs: nowMs }
    // A timer comes late rather than early: half an interval keeps the pace.
    if (isNews || nowMs - this.#probedMs >= probeIntervalMs - judgeIntervalMs / 2) {
      this.#probedMs = nowMs
      if (isConnected) void this.#probe(nowMs)
      // What comes of it, `redis` knows.
      redis?.probe(spec.name).catch(() => undefined)
    }
    lake?.health.probe(this.#key(loop?.()))
    this.#wasConnected = isConnected
    if (nowMs - this.#loopDelaySinceMs > loopDelayWindowMs) {
      this.#loopDelay.reset()
      this.#loopDelaySinceMs = nowMs
    }
    this.#judge(nowMs)
  }

  #lagOfInput(state: LoopState | undefined): Lag | undefined {
    const { spec, monitor } = this.#options
    if (!spec.input || !state || state.phase === 'waiting') return undefined
    // What is folded again in recovery is old, and answered long since.
    const oldestUs = state.phase === 'active' ? state.oldestPendingUs : undefined
    const oldestMs = oldestUs === undefined ? undefined : Date.now() - oldestUs / 1_000
    return this.#inputLag.read(monitor.get(spec.input), state.settledSequence, oldestMs, performance.now())
  }

  #lagOfFollowed(): Lag | undefined {
    const { follows, monitor } = this.#options
    return (
      follows && this.#followsLag.read(monitor.get(follows.stream), follows.sequence(), undefined, performance.now())
    )
  }

  #judge(nowMs: number): void {
    const { nats, redis, lake, loop, monitor, settings, spec, follows, warnings } = this.#options
    const state = loop?.()
    const phase = state?.phase ?? 'open'
    const blockedReason = state?.blockedReason
    this.#blockedSinceMs = blockedReason === undefined ? undefined : (this.#blockedSinceMs ?? nowMs)
    const inputLag = this.#lagOfInput(state)
    const followsLag = phase === 'open' || phase === 'active' ? this.#lagOfFollowed() : undefined
    const probeAgeMs = nowMs - Math.max(this.#lastSuccessMs, this.#startedMs)
    if (this.#isStarting && this.#lastSuccessMs === -Infinity && probeAgeMs <= probeAgeMaxMs) return
    const next = judge(
      {
        isConnected: nats.isConnected(),
        probeAgeMs,
        readingAgeMs: monitor.ageMs,
        phase,
        phaseMs: nowMs - (this.#phase?.sinceMs ?? nowMs),
        holder: state?.holder,
        lags: [
          ...(inputLag && spec.input
            ? [{ stream: spec.input, ...inputLag, ms: Math.max(0, inputLag.ms - (lake?.flushMs ?? 0)) }]
            : []),
          ...(followsLag && follows ? [{ stream: follows.stream, ...followsLag }] : []),
        ],
        blocked: blockedReason === undefined ? undefined : { reason: blockedReason, ms: this.#blockedMs(nowMs) },
        databaseProblem: lake?.health.problem(),
        isCommitting: lake !== undefined && nowMs - (state?.lastStoredMs ?? -Infinity) < lake.flushMs + committingMs,
        redisProblem: redis?.problem,
        warnings: [...(monitor.diskProblem === undefined ? [] : [monitor.diskProblem]), ...(warnings?.() ?? [])],
        fullest: monitor.fullest(this.#streams),
      },
      settings,
      this.#current.status,
    )
    this.#take(next)
  }

  /** Of the probe: the worker's own key belongs to its active process; doors and stand-bys are many. */
  #key(state: LoopState | undefined): string {
    const { spec, instance } = this.#options
    return state && state.phase !== 'waiting' ? spec.name : `${spec.name}.${instance}`
  }

  #blockedMs(nowMs: number): number {
    return nowMs - (this.#blockedSinceMs ?? nowMs)
  }

  /** A new status must be confirmed; until then the old one stands, with the reasons it had. */
  #take(next: Judgement): void {
    const previous = this.#current
    if (next.status === previous.status || this.#isStarting) {
      this.#isStarting = false
      this.#different = 0
      this.#current = next
      return
    }
    this.#different += 1
    const isWorse = healthRank[next.status] > healthRank[previous.status]
    if (this.#different < (isWorse ? worseAfter : betterAfter)) return
    this.#different = 0
    this.#options.log.info({ from: previous.status, to: next.status, reasons: next.reasons }, 'health')
    this.#current = next
  }

  async #probe(nowMs: number): Promise<void> {
    const { nats, loop, spec } = this.#options
    try {
      const state = loop?.()
      const entry: HealthEntry = {
        service: spec.name,
        pid: process.pid,
        status: this.#current.status,
        reasons: this.#current.reasons,
        phase: state?.phase ?? 'active',
        settledSequence: state?.settledSequence ?? 0,
        timeMs: Date.now(),
      }
      this.#bucket ??= await nats.kvm.open('HEALTH')
      await this.#bucket.put(this.#key(state), JSON.stringify(entry))
      this.#lastSuccessMs = Math.max(this.#lastSuccessMs, nowMs)
      if (spec.input && state?.phase === 'active') {
        const info = await nats.jsm.consumers.info(spec.input, spec.name)
        this.#consumer = { ackPending: info.num_ack_pending, redelivered: info.num_redelivered }
      }
    } catch (error) {
      this.#options.log.debug({ problem: messageOf(error) }, 'probe failed')
    }
  }
}

function storageOf(monitor: StreamMonitor): Record<string, StorageReading> {
  const storage: Record<string, StorageReading> = {}
  for (const { name } of streamSpecs) {
    const reading = monitor.get(name)
    if (reading)
      storage[name] = {
        used_percent: Number(reading.usedPercent.toFixed(2)),
        seconds_until_full: reading.secondsUntilFull ?? null,
      }
  }
  return storage
}

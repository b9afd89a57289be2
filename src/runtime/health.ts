import { monitorEventLoopDelay } from 'node:perf_hooks'
import { rfc3339FromUs } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import type { HealthBody, HealthEntry, HealthStatus, LagReading, StorageReading } from '../schemas/health.ts'
import type { Settings } from '../schemas/settings.ts'
import { type StreamName, streamSpecs, type WorkerSpec } from '../subjects/contract.ts'
import type { Log } from './log.ts'
import type { Nats } from './nats.ts'
import type { StreamMonitor } from './stream-monitor.ts'
import type { LoopState } from './worker-loop.ts'

/** What is known about a worker when its health is judged. */
export interface Evidence {
  readonly isConnected: boolean
  /** null for workers that do not use Redis. */
  readonly isRedisUp: boolean | null
  readonly phase: LoopState['phase'] | 'open'
  readonly lag: { readonly messages: number; readonly ms: number } | undefined
  readonly blockedReason: string | undefined
  /** Since the last probe write that succeeded. */
  readonly probeAgeMs: number
  readonly fullest: { readonly stream: string; readonly usedPercent: number } | undefined
}

const probeIntervalMs = 2_000
/** A probe that is late by another half interval has failed. */
const probeAgeMaxMs = 3_500
const judgeIntervalMs = 500
/** Judgements in a row before health changes for the better; it changes for the worse after two. */
const betterAfter = 3
const worseAfter = 2
const storageUnhealthyPercent = 95

type Thresholds = Pick<Settings, 'LAG_DEGRADED_MS' | 'LAG_UNHEALTHY_MS' | 'STORAGE_REFUSE_PERCENT'>

/** The one judgement behind `/health`, `/health/ready`, KV HEALTH and `trade2026 lag`. */
export function judge(evidence: Evidence, thresholds: Thresholds): { status: HealthStatus; reasons: string[] } {
  const unhealthy: string[] = []
  const degraded: string[] = []
  const { lag, fullest } = evidence
  if (!evidence.isConnected) unhealthy.push('NATS disconnected')
  else if (evidence.probeAgeMs > probeAgeMaxMs)
    unhealthy.push(`no successful write for ${(evidence.probeAgeMs / 1_000).toFixed(1)} s`)
  if (evidence.phase === 'stopped') unhealthy.push('stopped')
  if (evidence.phase === 'recovering') degraded.push('recovering')
  if (evidence.blockedReason !== undefined) degraded.push(evidence.blockedReason)
  if (evidence.isRedisUp === false) degraded.push('Redis disconnected')
  if (lag && lag.ms >= thresholds.LAG_DEGRADED_MS) {
    const text = `lag of ${lag.messages} messages, the oldest ${(lag.ms / 1_000).toFixed(1)} s old`
    if (lag.ms >= thresholds.LAG_UNHEALTHY_MS) unhealthy.push(text)
    else degraded.push(text)
  }
  if (fullest && fullest.usedPercent >= thresholds.STORAGE_REFUSE_PERCENT) {
    const text = `stream ${fullest.stream} is ${fullest.usedPercent.toFixed(1)} % full`
    if (fullest.usedPercent >= storageUnhealthyPercent) unhealthy.push(text)
    else degraded.push(text)
  }
  return {
    status: unhealthy.length > 0 ? 'unhealthy' : degraded.length > 0 ? 'degraded' : 'healthy',
    reasons: [...unhealthy, ...degraded],
  }
}

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

/**
 * Health of one worker. Every two seconds it writes a probe to KV HEALTH, so that healthy means: a write succeeded just
 * now. A status holds until the evidence has changed for good, so that it does not flap.
 */
export class HealthMonitor {
  readonly latencies = new Latencies()
  readonly #options: HealthOptions
  readonly #startedMs = Date.now()
  readonly #loopDelay = monitorEventLoopDelay({ resolution: 20 })
  readonly #timers: NodeJS.Timeout[]
  #current: { status: HealthStatus; reasons: string[] } = { status: 'unhealthy', reasons: ['starting'] }
  #lastSuccessMs = 0
  #probing = false
  #different = 0
  #consumer = { ackPending: 0, redelivered: 0 }
  #lagSince: { settled: number; sinceMs: number } | undefined

  constructor(options: HealthOptions) {
    this.#options = options
    this.#loopDelay.enable()
    this.#timers = [
      setInterval(() => void this.#probe(), probeIntervalMs),
      setInterval(() => this.#judge(), judgeIntervalMs),
    ]
    void this.#probe()
  }

  get status(): HealthStatus {
    return this.#current.status
  }

  /** Ready: at work and not unhealthy. */
  get isReady(): boolean {
    const phase = this.#options.loop?.().phase ?? 'active'
    return phase === 'active' && this.#current.status !== 'unhealthy'
  }

  lag(): LagReading | null {
    const { spec, loop, follows, monitor } = this.#options
    const input = follows?.stream ?? spec.input
    const state = follows
      ? { settledSequence: follows.sequence(), oldestPendingUs: undefined, redelivered: 0 }
      : loop?.()
    if (!input || !state) return null
    const messages = Math.max(0, (monitor.get(input)?.lastSequence ?? 0) - state.settledSequence)
    const nowMs = Date.now()
    if (messages === 0) this.#lagSince = undefined
    else if (this.#lagSince?.settled !== state.settledSequence)
      this.#lagSince = { settled: state.settledSequence, sinceMs: nowMs }
    const sinceMs =
      messages === 0 ? nowMs : Math.min(this.#lagSince?.sinceMs ?? nowMs, (state.oldestPendingUs ?? Infinity) / 1_000)
    return {
      messages,
      seconds: Number((Math.max(0, nowMs - sinceMs) / 1_000).toFixed(3)),
      ack_pending: this.#consumer.ackPending,
      redelivered: this.#consumer.redelivered + state.redelivered,
    }
  }

  body(): HealthBody {
    const { nats, service, redis, monitor, connections } = this.#options
    const { status, reasons } = this.#current
    const lastSuccessMs = this.#lastWriteMs()
    return {
      status,
      service,
      ...(reasons.length === 0 ? {} : { reason: reasons.join('; ') }),
      checks: {
        nats: nats.isConnected() ? 'connected' : 'disconnected',
        redis: redis ? (redis.isUp() ? 'connected' : 'disconnected') : null,
        database: null,
        latency_ms: this.latencies.percentiles(),
        memory_mb: Math.round(process.memoryUsage.rss() / 2 ** 20),
        active_connections: connections?.() ?? 0,
        lag: this.lag(),
        last_success: lastSuccessMs === 0 ? null : rfc3339FromUs(lastSuccessMs * 1_000),
        event_loop_delay_ms: Number((this.#loopDelay.mean / 1e6 || 0).toFixed(2)),
        storage: storageOf(monitor),
      },
      reasons,
    }
  }

  stop(): void {
    for (const timer of this.#timers) clearInterval(timer)
    this.#loopDelay.disable()
  }

  #lastWriteMs(): number {
    return Math.max(this.#lastSuccessMs, this.#options.loop?.().lastStoredMs ?? 0)
  }

  #judge(): void {
    const { nats, redis, loop, monitor, settings } = this.#options
    const state = loop?.()
    const lag = this.lag()
    const next = judge(
      {
        isConnected: nats.isConnected(),
        isRedisUp: redis ? redis.isUp() : null,
        phase: state?.phase ?? 'open',
        lag: lag ? { messages: lag.messages, ms: lag.seconds * 1_000 } : undefined,
        blockedReason: state?.blockedReason,
        probeAgeMs: Date.now() - Math.max(this.#lastSuccessMs, this.#startedMs),
        fullest: monitor.fullest(),
      },
      settings,
    )
    if (this.#current.reasons[0] === 'starting' && this.#lastSuccessMs > 0) this.#current = next
    if (next.status === this.#current.status) {
      this.#different = 0
      this.#current = next
      return
    }
    this.#different += 1
    const isWorse = rank[next.status] > rank[this.#current.status]
    if (this.#different < (isWorse ? worseAfter : betterAfter)) return
    this.#different = 0
    this.#options.log.info({ from: this.#current.status, to: next.status, reasons: next.reasons }, 'health')
    this.#current = next
  }

  async #probe(): Promise<void> {
    const { nats, service, loop, spec, redis, key } = this.#options
    if (this.#probing || !nats.isConnected()) return
    this.#probing = true
    try {
      const state = loop?.()
      const bucket = await nats.kvm.open('HEALTH')
      const entry: HealthEntry = {
        service,
        pid: process.pid,
        status: this.#current.status,
        reasons: this.#current.reasons,
        phase: state?.phase ?? 'active',
        settledSequence: state?.settledSequence ?? 0,
        timeMs: Date.now(),
      }
      await bucket.put(key ?? spec.name, JSON.stringify(entry))
      this.#lastSuccessMs = Date.now()
      if (spec.input && state?.phase === 'active') {
        const info = await nats.jsm.consumers.info(spec.input, spec.name)
        this.#consumer = { ackPending: info.num_ack_pending, redelivered: info.num_redelivered }
      }
      if (redis?.isUp()) await redis.probe(spec.name)
    } catch (error) {
      this.#options.log.debug({ problem: messageOf(error) }, 'probe failed')
    } finally {
      this.#probing = false
    }
  }
}

export interface HealthOptions {
  readonly service: string
  readonly spec: WorkerSpec
  /** Key in KV HEALTH; unset: the worker's name. */
  readonly key?: string
  readonly nats: Nats
  readonly monitor: StreamMonitor
  readonly settings: Settings
  readonly log: Log
  readonly loop?: () => LoopState
  /** Of a door without a loop: the stream it must keep up with, and how far it is. */
  readonly follows?: { readonly stream: StreamName; sequence(): number }
  readonly redis?: { isUp(): boolean; probe(worker: string): Promise<void> }
  readonly connections?: () => number
}

const rank: Readonly<Record<HealthStatus, number>> = { healthy: 0, degraded: 1, unhealthy: 2 }

export function storageOf(monitor: StreamMonitor): Record<string, StorageReading> {
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

import type { HealthStatus } from '../schemas/health.ts'
import type { Settings } from '../schemas/settings.ts'
import type { Lag } from './lag.ts'
import type { LoopPhase } from './fold.ts'

/** What is known about a worker when its health is judged. */
export interface Evidence {
  readonly isConnected: boolean
  /** Since the last probe write that succeeded. */
  readonly probeAgeMs: number
  /** Age of what is known about the streams, `lags` and `fullest` included. */
  readonly readingAgeMs: number
  /** `open` for a door, which has no loop. */
  readonly phase: LoopPhase | 'open'
  /** How long it has been in that phase. */
  readonly phaseMs: number
  /** Which process is active, in a stand-by. */
  readonly holder: string | undefined
  readonly lags: readonly (Lag & { readonly stream: string })[]
  /** Why nothing can be stored, and for how long. */
  readonly blocked: { readonly reason: string; readonly ms: number } | undefined
  /** Why the lake does not take writes. */
  readonly databaseProblem: string | undefined
  /** Rows are coming into the lake: it is at work on its lag, however long that takes. */
  readonly isCommitting: boolean
  /** Why Redis does not take writes. */
  readonly redisProblem: string | undefined
  /** What else is not as the operator would think it is. */
  readonly warnings: readonly string[]
  readonly fullest: { readonly stream: string; readonly usedPercent: number } | undefined
}

export interface Judgement {
  readonly status: HealthStatus
  /** The worst first; a healthy stand-by has one too. */
  readonly reasons: readonly string[]
}

export const healthRank: Readonly<Record<HealthStatus, number>> = { healthy: 0, degraded: 1, unhealthy: 2 }

/** A probe, every 2 s, that is late by another one and a half has failed. */
export const probeAgeMaxMs = 3_500
const readingAgeMaxMs = 5_000
const storageUnhealthyPercent = 95
/** A lag is over when it is below this share of the threshold, so that one that hovers about it changes nothing. */
const lagOverShare = 0.5

type Thresholds = Pick<Settings, 'LAG_DEGRADED_MS' | 'LAG_UNHEALTHY_MS' | 'STORAGE_REFUSE_PERCENT'>

/**
 * The one judgement behind `/health`, `/health/ready`, KV HEALTH and `trade2026 lag`.
 * @param previous what was judged last
 */
export function judge(evidence: Evidence, thresholds: Thresholds, previous: HealthStatus): Judgement {
  const { phase, lags, blocked, redisProblem, fullest } = evidence
  const reasons: Record<HealthStatus, string[]> = { unhealthy: [], degraded: [], healthy: [] }
  const fromMs = (status: 'degraded' | 'unhealthy', thresholdMs: number) =>
    healthRank[previous] >= healthRank[status] ? thresholdMs * lagOverShare : thresholdMs
  const degradedMs = fromMs('degraded', thresholds.LAG_DEGRADED_MS)
  const unhealthyMs = fromMs('unhealthy', thresholds.LAG_UNHEALTHY_MS)

  if (!evidence.isConnected) reasons.unhealthy.push('NATS disconnected')
  else if (evidence.probeAgeMs > probeAgeMaxMs)
    reasons.unhealthy.push(`no successful write for ${seconds(evidence.probeAgeMs)}`)
  else if (evidence.readingAgeMs > readingAgeMaxMs)
    reasons.degraded.push(`state of the streams not known for ${seconds(evidence.readingAgeMs)}`)
  if (phase === 'stopped') reasons.unhealthy.push('stopped')
  if (phase === 'recovering') reasons.degraded.push(`recovering for ${seconds(evidence.phaseMs)}`)
  if (phase === 'waiting') {
    if (evidence.holder === undefined) reasons.degraded.push(`asking for the lease for ${seconds(evidence.phaseMs)}`)
    else reasons.healthy.push(`stand-by: ${evidence.holder} is active`)
  }
  if (blocked) {
    // As late as the oldest message that waits for it: a cause stands before what comes of it.
    const ms = Math.max(blocked.ms, ...(evidence.isCommitting ? [] : lags.map((lag) => lag.ms)))
    reasons[ms >= unhealthyMs ? 'unhealthy' : 'degraded'].push(blocked.reason)
  }
  if (evidence.databaseProblem !== undefined) reasons.unhealthy.push(evidence.databaseProblem)
  if (redisProblem !== undefined) reasons.degraded.push(redisProblem)
  reasons.degraded.push(...evidence.warnings)
  for (const { stream, messages, ms } of lags)
    if (ms >= degradedMs)
      reasons[ms >= unhealthyMs && !evidence.isCommitting ? 'unhealthy' : 'degraded'].push(
        `lag of ${messages} messages in ${stream}, the oldest ${seconds(ms)} old`,
      )
  if (fullest && fullest.usedPercent >= thresholds.STORAGE_REFUSE_PERCENT)
    reasons[fullest.usedPercent >= storageUnhealthyPercent ? 'unhealthy' : 'degraded'].push(
      `stream ${fullest.stream} is ${fullest.usedPercent.toFixed(1)} % full`,
    )
  const status = reasons.unhealthy.length > 0 ? 'unhealthy' : reasons.degraded.length > 0 ? 'degraded' : 'healthy'
  return { status, reasons: [...reasons.unhealthy, ...reasons.degraded, ...reasons.healthy] }
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`
}

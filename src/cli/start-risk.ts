import { rfc3339FromUs, systemClock } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import type { Gate } from '../domain/gate.ts'
import type { PriceHistory } from '../domain/price-history.ts'
import { checkResultOf, storageFull } from '../domain/risk-check.ts'
import { takeJsonBodies } from '../http/bodies.ts'
import { addCheckRoute, CheckCounts } from '../http/check-routes.ts'
import { DoorError } from '../http/gateway-answers.ts'
import type { FastifyInstance } from '../http/health-routes.ts'
import { addRiskRoutes } from '../http/risk-routes.ts'
import type { WorkerMetrics } from '../runtime/metrics.ts'
import { RiskMetricsStore } from '../runtime/metrics-store.ts'
import { addRiskGauges } from '../runtime/risk-gauges.ts'
import type { LoopState } from '../runtime/fold.ts'
import type { NewOrder } from '../schemas/command.ts'
import type { ExecutionMessage } from '../schemas/execution.ts'
import { RiskMonitor } from '../workers/risk-monitor.ts'
import type { Shared } from './shared.ts'

/** What the gate's process does besides deciding. */
export interface RiskService {
  /** A message of EXECUTIONS that the gate has folded. */
  take(message: ExecutionMessage): void
  /** The gate is at work. */
  start(): void
  addRoutes(app: FastifyInstance, state: () => LoopState): void
  addMetrics(metrics: WorkerMetrics): void
  stop(): void
}

/** Tells what would become of an order, and watches what the accounts risk. */
export function createRiskService(
  { settings, nats, log, options }: Shared,
  gate: Gate,
  history: PriceHistory,
  isStorageFull: () => boolean,
): RiskService {
  const startedMs = Date.now()
  const counts = new CheckCounts()
  const store = settings.REDIS_URL === '' ? undefined : new RiskMetricsStore(settings.REDIS_URL, log)
  const monitor = new RiskMonitor({
    gate,
    history,
    nats,
    isPrecomputing: settings.PRECOMPUTE_METRICS,
    nowMs: () => systemClock.nowMs(),
    store: async (json) => store?.put(json),
    onFatal: options.onFatal,
    onProblem: (error) => log.warn({ problem: messageOf(error) }, 'risk metrics could not be computed, trying again'),
  })
  const check = (command: NewOrder) => {
    if (isStorageFull()) return storageFull
    return checkResultOf(gate.evaluate(command), settings.FAST_PATH_ENABLED)
  }
  const stats = ({ phase }: LoopState) => ({
    uptime_seconds: Math.floor((Date.now() - startedMs) / 1_000),
    phase,
    checks: counts.body(),
    accounts: gate.accounts.size,
    open_orders: gate.openOrders,
    cmd_seq: gate.cmdSeq,
    executions_seq: gate.executionsSeq,
    limits_revision: gate.limitsRevision,
    alerts: monitor.alerts.counts,
    metrics: monitor.latest
      ? { computed_at: rfc3339FromUs(monitor.latest.computedMs * 1_000), duration_ms: monitor.latest.durationMs }
      : null,
  })
  return {
    take: (message) => monitor.take(message),
    start: () => monitor.start(),
    addRoutes: (app, state) => {
      takeJsonBodies(app)
      const whenActive = <T>(answer: () => T): T => {
        assertActive(state())
        return answer()
      }
      addCheckRoute(app, (command) => whenActive(() => check(command)), counts)
      addRiskRoutes(app, {
        totals: () => whenActive(async () => (await monitor.totals()).json),
        portfolio: (account) => whenActive(() => monitor.portfolio(account)),
        alerts: () => whenActive(() => monitor.alerts.encode()),
        stats: () => stats(state()),
      })
    },
    addMetrics: ({ registry }) =>
      addRiskGauges(registry, { snapshot: () => monitor.latest, alerts: monitor.alerts.counts, checks: counts }),
    stop: () => {
      monitor.stop()
      store?.close()
    },
  }
}

/** A stand-by knows nothing yet. @throws DoorError SYSTEM_UNAVAILABLE */
function assertActive({ phase, holder }: LoopState): void {
  if (phase === 'active') return
  const who = holder === undefined ? '' : `; ${holder} is active`
  throw new DoorError('SYSTEM_UNAVAILABLE', `this gate is ${phase === 'waiting' ? 'a stand-by' : phase}${who}`)
}

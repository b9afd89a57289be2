import { systemClock } from '../base/clock.ts'
import { parseDecimal } from '../base/decimal.ts'
import { Gate } from '../domain/gate.ts'
import { isOpen } from '../domain/order-views.ts'
import { PriceHistory } from '../domain/price-history.ts'
import { Portfolio } from '../domain/portfolio.ts'
import { addPnlRoutes } from '../http/pnl-routes.ts'
import { dayTimeUs } from '../runtime/config.ts'
import { watchLimits } from '../runtime/limits-bucket.ts'
import { createOrderMetrics, type OrderMetrics } from '../runtime/metrics.ts'
import { followStream } from '../runtime/reader.ts'
import { RedisProjection } from '../runtime/redis.ts'
import { parseLimitsEntry } from '../schemas/config-files.ts'
import { createOmsMatcher } from '../workers/oms-matcher.ts'
import { serveOrderQueries } from '../workers/order-query.ts'
import { createPnlUpdater } from '../workers/pnl-updater.ts'
import { createRiskGate } from '../workers/risk-gate.ts'
import { createTape } from '../workers/tape.ts'
import type { Running, Shared } from './shared.ts'
import { startLoop } from './start-loop.ts'
import { createRiskService } from './start-risk.ts'

const markIntervalMs = 1_000

/** Decides every command. */
export async function startRiskGate(shared: Shared): Promise<Running> {
  const { nats, settings, monitor, log, instruments } = shared
  const gate = new Gate({
    instruments,
    dayEndUs: dayTimeUs(settings.DAY_END_UTC),
    clOrdIdMemory: settings.CLORDID_MEMORY,
  })
  const history = new PriceHistory()
  const isStorageFull = () => monitor.storageProblem(settings.STORAGE_REFUSE_PERCENT) !== undefined
  const service = createRiskService(shared, gate, history, isStorageFull)
  const limits = await watchLimits(nats, {
    parse: parseLimitsEntry,
    onProblem: (problem) => log.warn(problem),
    onFatal: shared.options.onFatal,
  })
  const { fold, stop } = createRiskGate({
    gate,
    history,
    batchMax: settings.BATCH_MAX,
    decode: shared.decodeExecution,
    nats,
    clock: systemClock,
    isStorageFull,
    onFeedback: (message) => service.take(message),
    takeLimitsChanges: limits.take,
    onFatal: shared.options.onFatal,
  })
  return startLoop('risk-gate', shared, {
    fold,
    follows: { stream: 'EXECUTIONS', sequence: () => gate.executionsSeq },
    routes: (app, state) => service.addRoutes(app, state),
    onMetrics: (metrics) => service.addMetrics(metrics),
    onActive: () => service.start(),
    warnings: () => [...limits.problems(), ...rewoundWarning(limits.lastRevision(), gate.limitsRevision)],
    onStop: async () => {
      service.stop()
      await limits.stop()
      await stop()
    },
  })
}

function rewoundWarning(lastRevision: number, inForce: number): string[] {
  if (lastRevision >= inForce) return []
  return [
    `KV LIMITS ends at revision ${lastRevision}, but ${inForce} is in force: it was made anew, and changes count from revision ${inForce + 1} on`,
  ]
}

/** Counts all commands, and answers what the doors ask about open orders and books. */
export async function startOmsMatcher(shared: Shared): Promise<Running> {
  let metrics: OrderMetrics | undefined
  let queries: { stop(): void } | undefined
  const { fold, matcher, cmdSeq } = createOmsMatcher(({ srcSeq, status = 'NONE', timeUs }) => {
    const source = srcSeq > 0 ? 'orders' : 'gate'
    metrics?.orders.inc({ status, source })
    metrics?.latencySeconds.observe({ source }, Math.max(0, systemClock.nowMs() - timeUs / 1_000) / 1_000)
  })
  return startLoop('oms-matcher', shared, {
    fold,
    onMetrics: ({ registry }) => {
      metrics = createOrderMetrics(registry, () => matcher.openCount)
    },
    onActive: () => {
      queries = serveOrderQueries(shared.nats, matcher, cmdSeq)
    },
    onStop: () => queries?.stop(),
  })
}

/** Keeps positions, and projects them into Redis where there is one. */
export async function startPnlUpdater(shared: Shared): Promise<Running> {
  const { nats, settings, log, instruments } = shared
  const startingCash = parseDecimal(settings.STARTING_CASH)
  const redis =
    settings.REDIS_URL !== '' && settings.CACHE_ENABLED
      ? new RedisProjection(settings.REDIS_URL, log, () => pnl)
      : undefined
  const portfolio = new Portfolio(startingCash ? { startingCash } : {})
  const pnl = createPnlUpdater({
    portfolio,
    decode: shared.decodeExecution,
    instruments,
    projection: {
      positions: (records) => {
        for (const { account, symbol, json, asOf } of records) redis?.setPosition(account, symbol, json, asOf)
      },
      orders: (views) => {
        for (const view of views) redis?.setOrder(view, isOpen(view))
      },
    },
    markIntervalMs,
    nowMs: () => systemClock.nowMs(),
  })
  const marks = await followStream(nats, 'TICKS', 0, (message) => pnl.mark(message), shared.options.onFatal)
  return startLoop('pnl-updater', shared, {
    fold: pnl.fold,
    onActive: () => pnl.activated(),
    routes: (app, loop, served) => addPnlRoutes(app, { pnl, portfolio, served, loop }),
    ...(redis ? { redis } : {}),
    onStop: async () => {
      await marks.stop()
      redis?.close()
    },
  })
}

/** Writes own trades as ticks. */
export function startTape(shared: Shared): Promise<Running> {
  return startLoop('tape', shared, { fold: createTape(shared.decodeExecution) })
}

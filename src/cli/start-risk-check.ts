import { systemClock } from '../base/clock.ts'
import { PipelineError } from '../base/errors.ts'
import { Gate } from '../domain/gate.ts'
import { storageFull } from '../domain/risk-check.ts'
import { takeJsonBodies } from '../http/bodies.ts'
import { addCheckRoute, CheckCounts } from '../http/check-routes.ts'
import { dayTimeUs } from '../runtime/config.ts'
import { PositionCache } from '../runtime/position-cache.ts'
import { addCheckCounter } from '../runtime/risk-gauges.ts'
import { StatelessCheck } from '../workers/risk-check.ts'
import { listen, type Running, type Shared } from './shared.ts'
import { createWorkerPort } from './worker-port.ts'

const positionTtlMs = 1_000

/**
 * Starts a `/check` that needs neither lease nor log: as many of them as one likes.
 * @throws PipelineError CONFIG_INVALID without a Redis to read positions from
 */
export async function startRiskCheck(shared: Shared): Promise<Running> {
  const { nats, settings, log, monitor, options, instruments } = shared
  if (settings.REDIS_URL === '')
    throw new PipelineError('CONFIG_INVALID', 'risk-check reads positions from Redis: set REDIS_URL')
  const startedMs = Date.now()
  const counts = new CheckCounts()
  const positions = new PositionCache(settings.REDIS_URL, {
    ttlMs: positionTtlMs,
    timeoutMs: settings.RISK_TIMEOUT_MS,
    log,
  })
  const stateless = await StatelessCheck.start({
    nats,
    positions,
    rules: new Gate({ instruments, dayEndUs: dayTimeUs(settings.DAY_END_UTC) }),
    instruments,
    settings,
    nowUs: () => systemClock.nowMs() * 1_000,
    onFatal: options.onFatal,
  })
  const { health, metrics, http } = createWorkerPort('risk-check', shared, { redis: positions })
  addCheckCounter(metrics.registry, counts)
  takeJsonBodies(http)
  addCheckRoute(
    http,
    async (command) => {
      const beganMs = performance.now()
      const result =
        monitor.storageProblem(settings.STORAGE_REFUSE_PERCENT) !== undefined
          ? storageFull
          : await stateless.check(command)
      health.latencies.add(performance.now() - beganMs)
      return result
    },
    counts,
  )
  http.get('/stats', () => ({
    uptime_seconds: Math.floor((Date.now() - startedMs) / 1_000),
    checks: counts.body(),
    cached: stateless.cached,
  }))
  const stop = async () => {
    health.stop()
    await http.close()
    await stateless.stop()
    positions.close()
  }
  try {
    await listen(http, 'risk-check', shared)
  } catch (error) {
    await stop()
    throw error
  }
  return { name: 'risk-check', stop }
}

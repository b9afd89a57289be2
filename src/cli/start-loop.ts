import { messageOf } from '../base/errors.ts'
import { createWorkerHttp, type FastifyInstance, type Served } from '../http/health-routes.ts'
import { HealthMonitor, type HealthOptions, type RedisHealth } from '../runtime/health.ts'
import { createWorkerMetrics, type WorkerMetrics } from '../runtime/metrics.ts'
import { type Fold, type LoopState, WorkerLoop } from '../runtime/worker-loop.ts'
import { type WorkerName, workerSpec } from '../subjects/contract.ts'
import { listen, type Running, servedOf, type Shared } from './shared.ts'

/** Starts the loop of a worker, its health and its port. A stand-by is started too: it waits in its loop. */
export async function startLoop(
  name: WorkerName,
  shared: Shared,
  parts: {
    fold: Fold
    redis?: RedisHealth
    follows?: NonNullable<HealthOptions['follows']>
    warnings?: NonNullable<HealthOptions['warnings']>
    onMetrics?: (metrics: WorkerMetrics) => void
    onActive?: () => void
    /** Adds what this worker's port answers besides. */
    routes?: (app: FastifyInstance, state: () => LoopState, served: Served) => void
    onStop?: () => Promise<void> | void
  },
): Promise<Running> {
  const { nats, settings, log, publisher, monitor, options } = shared
  const spec = workerSpec(name)
  const loop = new WorkerLoop({
    nats,
    spec,
    fold: parts.fold,
    settings,
    log,
    publisher,
    instance: options.instance,
    lastSequenceOf: (stream) => monitor.get(stream)?.lastSequence,
    onFatal: options.onFatal,
    onBatch: (size) => metrics.batchSize.observe(size),
    onSettled: (latencyMs) => health.latencies.add(latencyMs),
    ...(parts.onActive ? { onActive: parts.onActive } : {}),
  })
  const health = new HealthMonitor({
    spec,
    instance: options.instance,
    nats,
    monitor,
    settings,
    log,
    loop: () => loop.state(),
    connections: () => connections(),
    ...(parts.redis ? { redis: parts.redis } : {}),
    ...(parts.follows ? { follows: parts.follows } : {}),
    ...(parts.warnings ? { warnings: parts.warnings } : {}),
  })
  const metrics = createWorkerMetrics(name, { lag: () => health.lag(), monitor, loop: () => loop.state() })
  parts.onMetrics?.(metrics)
  const served = servedOf(health, metrics)
  const http = createWorkerHttp(name, served, () => nats.isConnected(), log)
  const connections = shared.connections.watch(http)
  parts.routes?.(http, () => loop.state(), served)
  try {
    await listen(http, name, shared)
  } catch (error) {
    health.stop()
    await parts.onStop?.()
    throw error
  }
  let isStopping = false
  // A stand-by waits here for as long as it takes; the process is up meanwhile.
  loop.start().catch((error: unknown) => {
    if (!isStopping) options.onFatal(error instanceof Error ? error : new Error(messageOf(error)))
  })
  return {
    name,
    stop: async () => {
      isStopping = true
      await loop.stop()
      health.stop()
      await http.close()
      await parts.onStop?.()
    },
  }
}

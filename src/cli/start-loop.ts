import type { FastifyInstance, Served } from '../http/health-routes.ts'
import type { WorkerMetrics } from '../runtime/metrics.ts'
import type { Fold, LoopState } from '../runtime/fold.ts'
import { WorkerLoop } from '../runtime/worker-loop.ts'
import type { WorkerName } from '../subjects/contract.ts'
import type { Running, Shared } from './shared.ts'
import { createWorkerPort, loopOptions, startOnPort, type WorkerEvidence } from './worker-port.ts'

/** Starts the loop of a worker, its health and its port. */
export async function startLoop(
  name: WorkerName,
  shared: Shared,
  parts: Omit<WorkerEvidence, 'loop'> & {
    fold: Fold
    onMetrics?: (metrics: WorkerMetrics) => void
    onActive?: () => void
    /** Adds what this worker's port answers besides. */
    routes?: (app: FastifyInstance, state: () => LoopState, served: Served) => void
    onStop?: () => Promise<void> | void
  },
): Promise<Running> {
  const { fold, onMetrics, onActive, routes, onStop, warnings, ...evidence } = parts
  const loop = new WorkerLoop({
    ...loopOptions(name, shared),
    fold,
    onBatch: (size) => port.metrics.batchSize.observe(size),
    onSettled: (latencyMs) => port.health.latencies.add(latencyMs),
    ...(onActive ? { onActive } : {}),
  })
  const port = createWorkerPort(name, shared, {
    ...evidence,
    loop: () => loop.state(),
    warnings: () => [...(warnings?.() ?? []), ...loop.warnings()],
  })
  onMetrics?.(port.metrics)
  routes?.(port.http, () => loop.state(), port.served)
  return startOnPort(name, shared, port, loop, onStop)
}

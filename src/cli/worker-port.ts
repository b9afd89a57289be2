import { messageOf } from '../base/errors.ts'
import { createWorkerHttp, type FastifyInstance, type Served } from '../http/health-routes.ts'
import { HealthMonitor, type HealthOptions } from '../runtime/health.ts'
import { createWorkerMetrics, type WorkerMetrics } from '../runtime/metrics.ts'
import { type StreamName, type WorkerName, workerSpec } from '../subjects/contract.ts'
import { listen, type Running, servedOf, type Shared } from './shared.ts'

/** What a worker's health is judged by, beside what all of a process share. */
export type WorkerEvidence = Pick<HealthOptions, 'loop' | 'follows' | 'redis' | 'lake' | 'warnings'>

/** What tells of a worker, and the port where it does. */
export interface WorkerPort {
  readonly health: HealthMonitor
  readonly metrics: WorkerMetrics
  readonly served: Served
  readonly http: FastifyInstance
}

/** @param connections how many the worker's port has */
export function createHealth(
  name: WorkerName,
  { nats, monitor, settings, log, options }: Shared,
  evidence: WorkerEvidence,
  connections: () => number,
): HealthMonitor {
  const { instance } = options
  return new HealthMonitor({ ...evidence, spec: workerSpec(name), instance, nats, monitor, settings, log, connections })
}

/** What the loops of all workers are given. */
export function loopOptions(name: WorkerName, { nats, settings, log, publisher, monitor, options }: Shared) {
  return {
    nats,
    spec: workerSpec(name),
    settings,
    log,
    publisher,
    instance: options.instance,
    lastSequenceOf: (stream: StreamName) => monitor.get(stream)?.lastSequence,
    onFatal: options.onFatal,
  }
}

/** The port of a worker that has no door of its own; it is not open yet. */
export function createWorkerPort(name: WorkerName, shared: Shared, evidence: WorkerEvidence): WorkerPort {
  const { nats, monitor, log } = shared
  const health = createHealth(name, shared, evidence, () => connections())
  const { loop } = evidence
  const metrics = createWorkerMetrics(name, { lag: () => health.lag(), monitor, ...(loop ? { loop } : {}) })
  const served = servedOf(health, metrics)
  const http = createWorkerHttp(name, served, () => nats.isConnected(), log)
  const connections = shared.connections.watch(http)
  return { health, metrics, served, http }
}

/**
 * Opens the port and starts the loop. A stand-by is started too: it waits in its loop.
 * @param loop is stopped first, `onStop` is called last
 */
export async function startOnPort(
  name: WorkerName,
  shared: Shared,
  { http, health }: WorkerPort,
  loop: { start(): Promise<void>; stop(): Promise<unknown> },
  onStop?: () => Promise<void> | void,
): Promise<Running> {
  const { onFatal } = shared.options
  let isStopping = false
  const stop = async () => {
    isStopping = true
    await loop.stop()
    health.stop()
    await http.close()
    await onStop?.()
  }
  try {
    await listen(http, name, shared)
  } catch (error) {
    await stop()
    throw error
  }
  // A stand-by waits here for as long as it takes; the process is up meanwhile.
  loop.start().catch((error: unknown) => {
    if (!isStopping) onFatal(error instanceof Error ? error : new Error(messageOf(error)))
  })
  return { name, stop }
}

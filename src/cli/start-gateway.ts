import { ExecutionFeed } from '../http/execution-feed.ts'
import { createGateway } from '../http/gateway.ts'
import { createWorkerHttp } from '../http/health-routes.ts'
import { CommandPublisher } from '../runtime/command-publisher.ts'
import { createOrderMetrics, createWorkerMetrics } from '../runtime/metrics.ts'
import { listen, type Running, servedOf, type Shared } from './shared.ts'
import { createHealth } from './worker-port.ts'

/** A door opens when it knows the recent orders, or after this long. */
const catchUpMs = 10_000
/** When it closes, whoever still waits for a report then gets 202, and a moment later connections are cut. */
const waitersGraceMs = 2_500
const connectionsGraceMs = 3_000

/** Starts the HTTP door for orders. */
export async function startGateway(shared: Shared): Promise<Running> {
  const { nats, settings, log, publisher, monitor, options } = shared
  const feed = new ExecutionFeed(nats)
  await feed.start(options.onFatal)
  await feed.caughtUp(catchUpMs)
  const follows = { stream: 'EXECUTIONS', sequence: () => feed.sequence } as const
  const health = createHealth('gateway', shared, { follows }, () => connections())
  const { registry } = createWorkerMetrics('gateway', { lag: () => health.lag(), monitor })
  const served = servedOf(health, { registry })
  const app = createGateway({
    nats,
    feed,
    publisher: new CommandPublisher(nats, publisher),
    monitor,
    settings,
    metrics: createOrderMetrics(registry, () => feed.views.openCount),
    log,
    served,
    onAnswered: (latencyMs) => health.latencies.add(latencyMs),
  })
  const connections = shared.connections.watch(app)
  const own =
    options.healthPort === undefined ? undefined : createWorkerHttp('gateway', served, () => nats.isConnected(), log)
  try {
    await listen(app, 'gateway', shared)
    if (own) await listen(own, 'gateway', shared, options.healthPort)
  } catch (error) {
    health.stop()
    await app.close()
    await feed.stop(log)
    throw error
  }
  return {
    name: 'gateway',
    stop: async () => {
      const timers = [
        setTimeout(() => feed.giveUp(), waitersGraceMs),
        setTimeout(() => app.server.closeAllConnections(), connectionsGraceMs),
      ]
      await Promise.all([app.close(), own?.close()])
      for (const timer of timers) clearTimeout(timer)
      await feed.stop(log)
      health.stop()
    },
  }
}

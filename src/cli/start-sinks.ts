import { messageOf } from '../base/errors.ts'
import { createWorkerHttp } from '../http/health-routes.ts'
import { addSinkRoutes } from '../http/sink-routes.ts'
import type { ObjectStore } from '../lake/store.ts'
import { flushLimitsOf, type SinkName } from '../runtime/flush-limits.ts'
import { HealthMonitor } from '../runtime/health.ts'
import { KnownNames } from '../runtime/known-names.ts'
import { LakeHealth } from '../runtime/lake-health.ts'
import { createWorkerMetrics } from '../runtime/metrics.ts'
import type { SinkFold } from '../runtime/sink-fold.ts'
import { SinkLoop } from '../runtime/sink-loop.ts'
import { addSinkMetrics } from '../runtime/sink-metrics.ts'
import { workerSpec } from '../subjects/contract.ts'
import { altDocs, createAltSink } from '../workers/alt-sink.ts'
import { createExecutionSink, executions } from '../workers/execution-sink.ts'
import { createTickSink, marketTicks } from '../workers/tick-sink.ts'
import { LakeSinkTable, type NamedTable } from './lake-sink.ts'
import { startSinkMaintenance } from './sink-maintenance.ts'
import { listen, type Running, servedOf, type Shared } from './shared.ts'

/** The table of each sink, and what it does with a message. */
const sinks: Readonly<
  Record<SinkName, { definition: NamedTable; fold: (table: LakeSinkTable, shared: Shared) => SinkFold }>
> = {
  'tick-sink': {
    definition: marketTicks,
    fold: (table, shared) => createTickSink(knownNames(table, 'symbol', shared), table.lastIds('trade_id')),
  },
  'alt-sink': {
    definition: altDocs,
    fold: (table, shared) => createAltSink(knownNames(table, 'category', shared), table.lastIds('doc_id')),
  },
  'execution-sink': { definition: executions, fold: () => createExecutionSink() },
}

function knownNames(table: LakeSinkTable, column: string, { settings, log }: Shared): KnownNames {
  return new KnownNames(table.nameStore(column), settings.LAKE_SYMBOLS_MAX, log)
}

/** Starts a sink, its health and its port. A stand-by is started too: it waits in its loop. */
export async function startSink(name: SinkName, shared: Shared): Promise<Running> {
  const { nats, settings, log, publisher, monitor, options } = shared
  const spec = workerSpec(name)
  const limits = flushLimitsOf(name, settings)
  const startedMs = Date.now()
  const lake = await shared.lake()
  const { definition, fold } = sinks[name]
  const table = new LakeSinkTable(lake, definition, (error) =>
    log.warn(
      { table: definition.name, problem: messageOf(error) },
      'no checkpoint was made; the next one comes in time',
    ),
  )
  const loop = new SinkLoop({
    nats,
    spec,
    fold: fold(table, shared),
    table,
    limits,
    settings,
    log,
    publisher,
    instance: options.instance,
    lastSequenceOf: (stream) => monitor.get(stream)?.lastSequence,
    onFatal: options.onFatal,
    onCommitted: (committed) => {
      count(committed)
      metrics.batchSize.observe(committed.messages)
      health.latencies.add(committed.latencyMs)
      lakeHealth.succeeded()
    },
  })
  const lakeHealth = new LakeHealth(
    (key) => probe(lake, key),
    () => loop.storeProblem,
  )
  const health = new HealthMonitor({
    spec,
    instance: options.instance,
    nats,
    monitor,
    settings,
    log,
    loop: () => loop.state(),
    lake: { health: lakeHealth, flushMs: limits.ms },
    connections: () => connections(),
  })
  const maintenance = startSinkMaintenance(
    `${lake.uri}/${definition.name}`,
    settings,
    log,
    () => loop.state().phase === 'active',
  )
  const metrics = createWorkerMetrics(name, { lag: () => health.lag(), monitor, loop: () => loop.state() })
  const count = addSinkMetrics(metrics.registry)
  const http = createWorkerHttp(name, servedOf(health, metrics), () => nats.isConnected(), log)
  const connections = shared.connections.watch(http)
  addSinkRoutes(http, {
    standbyOf: () => loop.state().holder,
    flush: (timeoutMs) => loop.flush(timeoutMs),
    stats: () => {
      const { settledSequence, pendingOutputs, deadLetters, batches, redelivered } = loop.state()
      return {
        uptime_seconds: Math.floor((Date.now() - startedMs) / 1_000),
        table: definition.name,
        version: loop.version,
        stream_seq: settledSequence,
        ...loop.totals,
        dead_letters: deadLetters,
        commits: batches,
        rows_buffered: pendingOutputs,
        redelivered,
        latency_ms: health.latencies.percentiles(),
        maintenance: maintenance.stats(),
      }
    },
  })
  try {
    await listen(http, name, shared)
  } catch (error) {
    health.stop()
    await maintenance.stop()
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
      await Promise.all([loop.stop(), maintenance.stop()])
      health.stop()
      await http.close()
    },
  }
}

/** Says that writing works, and when it last did. */
function probe(lake: ObjectStore, key: string): Promise<void> {
  return lake.put(`_health/${key}`, Buffer.from(`${new Date().toISOString()}\n`))
}

import { messageOf } from '../base/errors.ts'
import { addSinkRoutes } from '../http/sink-routes.ts'
import type { ObjectStore } from '../lake/store.ts'
import { flushLimitsOf, type SinkName } from '../runtime/flush-limits.ts'
import { KnownNames } from '../runtime/known-names.ts'
import { LakeHealth } from '../runtime/lake-health.ts'
import type { SinkFold } from '../runtime/sink-fold.ts'
import { SinkLoop } from '../runtime/sink-loop.ts'
import { addSinkMetrics } from '../runtime/sink-metrics.ts'
import { altDocs, createAltSink } from '../workers/alt-sink.ts'
import { createExecutionSink, executions } from '../workers/execution-sink.ts'
import { createTickSink, marketTicks } from '../workers/tick-sink.ts'
import { LakeSinkTable, type NamedTable } from './lake-sink.ts'
import { startSinkMaintenance } from './sink-maintenance.ts'
import type { Running, Shared } from './shared.ts'
import { createWorkerPort, loopOptions, startOnPort } from './worker-port.ts'

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

/** Starts a sink, its health and its port. */
export async function startSink(name: SinkName, shared: Shared): Promise<Running> {
  const { settings, log } = shared
  const limits = flushLimitsOf(name, settings)
  const startedMs = performance.now()
  const lake = await shared.lake()
  const { definition, fold } = sinks[name]
  const table = new LakeSinkTable(lake, definition, (error) =>
    log.warn(
      { table: definition.name, problem: messageOf(error) },
      'no checkpoint was made; the next one comes in time',
    ),
  )
  const loop = new SinkLoop({
    ...loopOptions(name, shared),
    fold: fold(table, shared),
    table,
    limits,
    onCommitted: (committed) => {
      count(committed)
      port.metrics.batchSize.observe(committed.messages)
      port.health.latencies.add(committed.latencyMs)
      lakeHealth.succeeded()
    },
  })
  const lakeHealth = new LakeHealth(
    (key) => probe(lake, key),
    () => loop.storeProblem,
  )
  const port = createWorkerPort(name, shared, {
    loop: () => loop.state(),
    lake: { health: lakeHealth, flushMs: limits.ms },
  })
  const count = addSinkMetrics(port.metrics.registry)
  const maintenance = startSinkMaintenance(
    `${lake.uri}/${definition.name}`,
    settings,
    log,
    () => loop.state().phase === 'active',
  )
  addSinkRoutes(port.http, {
    standbyOf: () => loop.state().holder,
    flush: (timeoutMs) => loop.flush(timeoutMs),
    stats: () => {
      const { settledSequence, pendingOutputs, deadLetters, batches, redelivered } = loop.state()
      return {
        uptime_seconds: Math.floor((performance.now() - startedMs) / 1_000),
        table: definition.name,
        version: loop.version,
        stream_seq: settledSequence,
        ...loop.totals,
        dead_letters: deadLetters,
        commits: batches,
        rows_buffered: pendingOutputs,
        redelivered,
        latency_ms: port.health.latencies.percentiles(),
        maintenance: maintenance.stats(),
      }
    },
  })
  return startOnPort(name, shared, port, {
    start: () => loop.start(),
    stop: () => Promise.all([loop.stop(), maintenance.stop()]),
  })
}

/** Says that writing works, and when it last did. */
function probe(lake: ObjectStore, key: string): Promise<void> {
  return lake.put(`_health/${key}`, Buffer.from(`${new Date().toISOString()}\n`))
}

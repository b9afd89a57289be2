import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { assert } from '../base/assert.ts'
import { systemClock } from '../base/clock.ts'
import { parseDecimal } from '../base/decimal.ts'
import { messageOf } from '../base/errors.ts'
import { Gate } from '../domain/gate.ts'
import type { OrderView } from '../domain/order-views.ts'
import { Portfolio } from '../domain/positions.ts'
import { createWorkerHttp } from '../http/health-routes.ts'
import { AckedPublisher } from '../runtime/acks.ts'
import { dayTimeUs } from '../runtime/config.ts'
import { HealthMonitor, type HealthOptions, type RedisHealth } from '../runtime/health.ts'
import { createLog, type Log } from '../runtime/log.ts'
import { createOrderMetrics, createWorkerMetrics, type OrderMetrics, type WorkerMetrics } from '../runtime/metrics.ts'
import { connectNats, type Nats } from '../runtime/nats.ts'
import { followStream, type InputMessage } from '../runtime/reader.ts'
import { RedisProjection } from '../runtime/redis.ts'
import { sharedDecoder } from '../runtime/shared-decoder.ts'
import { StreamMonitor } from '../runtime/stream-monitor.ts'
import { ensureStreams } from '../runtime/streams.ts'
import { type Fold, WorkerLoop } from '../runtime/worker-loop.ts'
import { limitEntries, parseInstruments, parseLimits, parseLimitSet } from '../schemas/config-files.ts'
import { decodeExecution, type ExecutionMessage } from '../schemas/execution.ts'
import { definitionOf, type Instrument, instrumentFrom, type InstrumentsConfig } from '../schemas/instrument.ts'
import type { Settings } from '../schemas/settings.ts'
import { type WorkerName, workerSpec } from '../subjects/contract.ts'
import { createOmsMatcher } from '../workers/oms-matcher.ts'
import { serveOrderQueries } from '../workers/order-query.ts'
import { createPnlUpdater } from '../workers/pnl-updater.ts'
import { createRiskGate, seedLimits, watchLimits } from '../workers/risk-gate.ts'
import { createTape } from '../workers/tape.ts'
import { startGateway } from './start-gateway.ts'

const markIntervalMs = 1_000

export interface WorkerProcessOptions {
  readonly workers: readonly WorkerName[]
  readonly settings: Settings
  /** Names this process's place among its peers; stays the same when it is started again. */
  readonly instance: string
  /** Port of each worker; unset: the contract's. */
  readonly ports?: Readonly<Partial<Record<WorkerName, number>>>
  readonly configDir?: string
  /** The server's store, when it is on this machine: bounds the room for streams by the free disk. */
  readonly storeDir?: string
  /** Something that cannot be gone on from: the caller exits, and start-up is recovery. */
  readonly onFatal: (error: Error) => void
}

/** What all workers of a process share. */
export interface Shared {
  readonly options: WorkerProcessOptions
  readonly settings: Settings
  readonly log: Log
  readonly nats: Nats
  readonly publisher: AckedPublisher
  readonly monitor: StreamMonitor
  readonly instruments: InstrumentsConfig
  readonly decodeExecution: (message: InputMessage) => ExecutionMessage
}

export interface Running {
  readonly name: WorkerName
  stop(): Promise<void>
}

/**
 * Starts the given workers in this process.
 * @returns a function that drains and stops them all
 * @throws PipelineError when NATS, the streams, the configuration or a port will not do
 */
export async function startWorkerProcess(options: WorkerProcessOptions): Promise<{ stop(): Promise<void> }> {
  const { settings, workers } = options
  const log = createLog(workers.join('+'), settings.LOG_LEVEL)
  const nats = await connectNats(settings.NATS_URL, workers.join('+'))
  const drifts = await ensureStreams(nats, settings.STREAMS_MAX_BYTES, options.storeDir)
  for (const drift of drifts) log.warn(drift, 'a stream differs from the contract; see `trade2026 streams`')
  const configDir = options.configDir ?? fileURLToPath(new URL('../../config', import.meta.url))
  const read = (name: string) => readFileSync(join(configDir, name), 'utf8')
  const monitor = new StreamMonitor(nats, log)
  await monitor.refresh()
  const shared: Shared = {
    options,
    settings,
    log,
    nats,
    publisher: new AckedPublisher(nats.connection),
    monitor,
    instruments: parseInstruments(read('instruments.json'), 'config/instruments.json'),
    decodeExecution: sharedDecoder(decodeExecution),
  }
  // Only the gate reads the limits, so only it may write them.
  if (workers.includes('risk-gate'))
    await seedLimits(nats, limitEntries(parseLimits(read('limits.json'), 'config/limits.json')))

  const running: Running[] = []
  const stop = async () => {
    // The last of the chain first: what the earlier ones still publish stays in the streams.
    await Promise.all(running.map((worker) => worker.stop()))
    shared.publisher.close()
    monitor.stop()
    await nats.close()
  }
  const starts = await Promise.allSettled(workers.map(async (name) => running.push(await startWorker(name, shared))))
  const failed = starts.find((start) => start.status === 'rejected')
  if (!failed) return { stop }
  await stop()
  throw failed.reason
}

async function startWorker(name: WorkerName, shared: Shared): Promise<Running> {
  switch (name) {
    case 'risk-gate':
      return startRiskGate(shared)
    case 'oms-matcher':
      return startOmsMatcher(shared)
    case 'pnl-updater':
      return startPnlUpdater(shared)
    case 'tape':
      return startLoop(name, shared, { fold: createTape(shared.decodeExecution) })
    case 'gateway':
      return startGateway(shared)
  }
}

/** A symbol's instrument, made once. @returns undefined where the configuration is strict and does not know it */
function instrumentLookup(config: InstrumentsConfig): (symbol: string) => Instrument | undefined {
  const known = new Map<string, Instrument>()
  return (symbol) => {
    const found = known.get(symbol)
    if (found) return found
    const definition = definitionOf(config, symbol)
    if (!definition) return undefined
    const instrument = instrumentFrom(definition)
    known.set(symbol, instrument)
    return instrument
  }
}

async function startRiskGate(shared: Shared): Promise<Running> {
  const { nats, settings, monitor, log, instruments } = shared
  const gate = new Gate({
    instruments,
    dayEndUs: dayTimeUs(settings.DAY_END_UTC),
    clOrdIdMemory: settings.CLORDID_MEMORY,
  })
  const limits = await watchLimits(
    nats,
    (key) => log.error({ key }, 'KV LIMITS holds an entry that is not a limit set; the old one stays in force'),
    parseLimitSet,
  )
  const { fold, stop } = createRiskGate({
    gate,
    decode: shared.decodeExecution,
    nats,
    clock: systemClock,
    isStorageFull: () => (monitor.fullest()?.usedPercent ?? 0) >= settings.STORAGE_REFUSE_PERCENT,
    takeLimitsChanges: limits.take,
    onFatal: shared.options.onFatal,
  })
  return startLoop('risk-gate', shared, {
    fold,
    follows: { stream: 'EXECUTIONS', sequence: () => gate.executionsSeq },
    onStop: async () => {
      limits.stop()
      await stop()
    },
  })
}

/** Counts all commands, and answers what the doors ask about open orders and books. */
async function startOmsMatcher(shared: Shared): Promise<Running> {
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

async function startPnlUpdater(shared: Shared): Promise<Running> {
  const { nats, settings, log, instruments } = shared
  const startingCash = parseDecimal(settings.STARTING_CASH)
  const lookup = instrumentLookup(instruments)
  const redis =
    settings.REDIS_URL !== '' && settings.CACHE_ENABLED
      ? new RedisProjection(settings.REDIS_URL, log, () => pnl.projectAll())
      : undefined
  const pnl = createPnlUpdater({
    portfolio: new Portfolio(startingCash ? { startingCash } : {}),
    decode: shared.decodeExecution,
    instrument: (symbol) => {
      const instrument = lookup(symbol)
      assert(instrument, `EXECUTIONS names ${symbol}, which config/instruments.json does not know`)
      return instrument
    },
    projection: {
      positions: (records) => {
        for (const { account, symbol, json, asOf } of records) redis?.setPosition(account, symbol, json, asOf)
      },
      orders: (views) => {
        for (const view of views) projectOrder(redis, view)
      },
    },
    markIntervalMs,
    nowMs: () => systemClock.nowMs(),
  })
  const marks = await followStream(nats, 'TICKS', 0, (message) => pnl.mark(message), shared.options.onFatal)
  return startLoop('pnl-updater', shared, {
    fold: pnl.fold,
    onActive: () => pnl.projectAll(),
    ...(redis ? { redis } : {}),
    onStop: async () => {
      await marks.stop()
      redis?.close()
    },
  })
}

function projectOrder(redis: RedisProjection | undefined, view: OrderView): void {
  if (!redis || view.account === undefined) return
  const hash: Record<string, string> = {}
  for (const [name, value] of Object.entries(view) as [string, string | number | undefined][])
    if (value !== undefined) hash[name] = String(value)
  const isOpen = view.status === 'NEW' || view.status === 'PARTIALLY_FILLED'
  redis.setOrder({ ...hash, orderId: view.orderId, account: view.account }, view.asOf, isOpen)
}

async function startLoop(
  name: WorkerName,
  shared: Shared,
  parts: {
    fold: Fold
    redis?: RedisHealth
    follows?: NonNullable<HealthOptions['follows']>
    onMetrics?: (metrics: WorkerMetrics) => void
    onActive?: () => void
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
    ...(parts.redis ? { redis: parts.redis } : {}),
    ...(parts.follows ? { follows: parts.follows } : {}),
  })
  const metrics = createWorkerMetrics(name, { lag: () => health.lag(), monitor, loop: () => loop.state() })
  parts.onMetrics?.(metrics)
  const http = createWorkerHttp({
    body: () => health.body(),
    get status() {
      return health.status
    },
    get isReady() {
      return health.isReady
    },
    metrics: () => metrics.registry.metrics(),
  })
  try {
    await http.listen({ host: settings.HTTP_HOST, port: options.ports?.[name] ?? spec.httpPort })
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

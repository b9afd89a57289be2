import { PipelineError } from '../base/errors.ts'
import { Connections } from '../http/connections.ts'
import type { ObjectStore } from '../lake/store.ts'
import { AckedPublisher } from '../runtime/acks.ts'
import { isSinkName } from '../runtime/flush-limits.ts'
import { seedLimits } from '../runtime/limits-bucket.ts'
import { createLog } from '../runtime/log.ts'
import { connectNats } from '../runtime/nats.ts'
import { sharedDecoder } from '../runtime/shared-decoder.ts'
import { StreamMonitor } from '../runtime/stream-monitor.ts'
import { ensureStreams } from '../runtime/streams.ts'
import { limitEntries } from '../schemas/config-files.ts'
import { decodeExecution } from '../schemas/execution.ts'
import type { WorkerName } from '../subjects/contract.ts'
import { readInstruments, readLimits } from './config-folder.ts'
import type { Running, Shared, WorkerProcessOptions } from './shared.ts'

/**
 * Starts the given workers in this process.
 * @returns a function that drains and stops them all
 * @throws PipelineError when NATS, the streams, the configuration or a port will not do
 */
export async function startWorkerProcess(options: WorkerProcessOptions): Promise<{ stop(): Promise<void> }> {
  const { settings, workers } = options
  const log = createLog(workers.join('+'), settings.LOG_LEVEL)
  const instruments = readInstruments(options.configDir)
  // Only the gate reads the limits, so only it may write them.
  const limits = workers.includes('risk-gate') ? readLimits(options.configDir) : undefined
  const nats = await connectNats(settings.NATS_URL, workers.join('+'))
  nats.onGivenUp(options.onFatal)
  const drifts = await ensureStreams(nats, settings.STREAMS_MAX_BYTES, options.storeDir)
  for (const drift of drifts) log.warn(drift, 'a stream differs from the contract; see `trade2026 streams`')
  const monitor = new StreamMonitor(nats, log, options.storeDir)
  await monitor.refresh()
  let lake: Promise<ObjectStore> | undefined
  const shared: Shared = {
    options,
    settings,
    log,
    nats,
    publisher: new AckedPublisher(nats.connection),
    monitor,
    connections: new Connections(settings.CONNECTION_POOL_SIZE),
    instruments,
    lake: () => (lake ??= openLake(settings.LAKE_URI)),
    decodeExecution: sharedDecoder('EXECUTIONS', decodeExecution),
  }
  if (limits) await seedLimits(nats, limitEntries(limits))

  const running: Running[] = []
  const stop = async () => {
    await Promise.all(running.map((worker) => worker.stop()))
    shared.publisher.close()
    monitor.stop()
    await lake?.then((store) => store.close()).catch(() => undefined)
    await nats.close()
  }
  const starts = await Promise.allSettled(workers.map(async (name) => running.push(await startWorker(name, shared))))
  const failed = starts.find((start) => start.status === 'rejected')
  if (!failed) return { stop }
  await stop()
  throw failed.reason
}

/** Loads only what the worker needs: a door has no books and the chain has no door. */
async function startWorker(name: WorkerName, shared: Shared): Promise<Running> {
  if (name === 'gateway') return (await import('./start-gateway.ts')).startGateway(shared)
  if (isSinkName(name)) return (await import('./start-sinks.ts')).startSink(name, shared)
  if (name === 'janitor') return (await import('./start-janitor.ts')).startJanitor(shared)
  if (name === 'risk-check') return (await import('./start-risk-check.ts')).startRiskCheck(shared)
  const chain = await import('./start-chain.ts')
  switch (name) {
    case 'risk-gate':
      return chain.startRiskGate(shared)
    case 'oms-matcher':
      return chain.startOmsMatcher(shared)
    case 'pnl-updater':
      return chain.startPnlUpdater(shared)
    case 'tape':
      return chain.startTape(shared)
  }
}

async function openLake(uri: string): Promise<ObjectStore> {
  if (uri === '')
    throw new PipelineError('CONFIG_INVALID', 'set LAKE_URI to where the tables are: s3://bucket/prefix, or a folder')
  return (await import('../lake/open-store.ts')).openStore(uri, process.env)
}

import { PipelineError } from '../base/errors.ts'
import type { AckedPublisher } from '../runtime/acks.ts'
import type { HealthMonitor } from '../runtime/health.ts'
import type { Log } from '../runtime/log.ts'
import type { WorkerMetrics } from '../runtime/metrics.ts'
import type { Nats } from '../runtime/nats.ts'
import type { InputMessage } from '../runtime/reader.ts'
import type { StreamMonitor } from '../runtime/stream-monitor.ts'
import type { Connections } from '../http/connections.ts'
import type { FastifyInstance, Served } from '../http/health-routes.ts'
import type { ObjectStore } from '../lake/store.ts'
import { isPortTaken, portInUse } from '../local/ports.ts'
import type { ExecutionMessage } from '../schemas/execution.ts'
import type { InstrumentsConfig } from '../schemas/instrument.ts'
import type { Settings } from '../schemas/settings.ts'
import { type WorkerName, workerSpec } from '../subjects/contract.ts'

export interface WorkerProcessOptions {
  readonly workers: readonly WorkerName[]
  readonly settings: Settings
  /** Names this process's place among its peers; stays the same when it is started again. */
  readonly instance: string
  /** Port of each worker; unset: the contract's. */
  readonly ports?: Readonly<Partial<Record<WorkerName, number>>>
  /** Where a gateway tells of itself besides, when it shares its port with others. */
  readonly healthPort?: number
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
  readonly connections: Connections
  readonly instruments: InstrumentsConfig
  /** Where the tables are; opened by the first sink that asks. @throws PipelineError CONFIG_INVALID */
  readonly lake: () => Promise<ObjectStore>
  readonly decodeExecution: (message: InputMessage) => ExecutionMessage
}

export interface Running {
  readonly name: WorkerName
  stop(): Promise<void>
}

/** What the port of a worker serves about it. */
export function servedOf(health: HealthMonitor, { registry }: Pick<WorkerMetrics, 'registry'>): Served {
  return {
    body: () => health.body(),
    get status() {
      return health.status
    },
    get isReady() {
      return health.isReady
    },
    metrics: () => registry.metrics(),
  }
}

/** Connections that may wait to be taken: a thousand clients may come at once. */
const backlog = 4_096

const noSuchHost: ReadonlySet<string> = new Set(['ENOTFOUND', 'EAI_AGAIN', 'EADDRNOTAVAIL'])

/**
 * Opens the port of a worker. Where there are several gateways the kernel shares out the connections among them.
 * @throws PipelineError PORT_IN_USE naming who holds it, CONFIG_INVALID for a host that is none of ours
 */
export async function listen(
  app: FastifyInstance,
  name: WorkerName,
  { settings, options }: Shared,
  port = options.ports?.[name] ?? workerSpec(name).httpPort,
): Promise<void> {
  const reusePort = name === 'gateway' && settings.WORKERS > 1 && port !== options.healthPort
  try {
    await app.listen({ host: settings.HTTP_HOST, port, backlog, ...(reusePort ? { reusePort } : {}) })
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException
    if (noSuchHost.has(code))
      throw new PipelineError(
        'CONFIG_INVALID',
        `HTTP_HOST: ${settings.HTTP_HOST} is no address of this machine (${code}); 127.0.0.1 is reached from here alone, 0.0.0.0 from everywhere`,
        { cause: error },
      )
    if (await isPortTaken(port)) throw await portInUse(port, `give ${name} another with --port ${name}=PORT`)
    throw error
  }
}

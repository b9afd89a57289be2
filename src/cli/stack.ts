import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isPipelineError, messageOf } from '../base/errors.ts'
import { endLeftovers, lockDataDir } from '../local/data-dir.ts'
import { startMinio } from '../local/start-minio.ts'
import { startNats } from '../local/start-nats.ts'
import type { LocalServer, StartOptions } from '../local/start-server.ts'
import { startValkey } from '../local/start-valkey.ts'
import type { Supervised } from '../local/supervisor.ts'
import type { SinkName } from '../runtime/flush-limits.ts'
import { connectNats } from '../runtime/nats.ts'
import { ensureStreams } from '../runtime/streams.ts'
import type { Settings } from '../schemas/settings.ts'
import type { WorkerName } from '../subjects/contract.ts'
import { readInstruments, readLimits } from './config-folder.ts'
import { choosePlaces, choosePorts, type Layout, localUrl, type Place, standByLabel } from './stack-layout.ts'
import { lakeEnvOf, lakeUriOf, startWorkers, untilReady } from './stack-workers.ts'

export interface StackOptions {
  readonly dataDir: string
  readonly layout: Layout
  readonly settings: Settings
  /** With instruments.json and limits.json; unset: ours. */
  readonly configDir?: string
  /** The lake goes to a MinIO of ours, whatever LAKE_URI says. */
  readonly minio?: boolean
  /** `contract`: the documented ports; `free`: whatever is free. */
  readonly ports: 'contract' | 'free'
  /** What the user can do about a documented port that is taken, beside stopping its holder. */
  readonly portRemedy?: string
  /** Of `chaos`. */
  readonly trouble?: Trouble
  /** Ends a start that is under way: what has started is stopped, and `startStack` rejects. */
  readonly signal?: AbortSignal
  readonly onProgress: (message: string) => void
  /** @param why how it ended, as far as it said, and where its log is */
  readonly onRestarted: (restarted: StackProcess, why: string) => void
}

/** Where `chaos` gets at a stack, which has a second process of the chain then, that stands by. */
export interface Trouble {
  /** How workers reach the server. @param port on 127.0.0.1 */
  natsUrl(port: number): Promise<string>
  /** Where processes of workers look, as they start, for the point at which they are to end. */
  readonly crashDir: string
}

export interface StackProcess {
  readonly name: string
  readonly pid: number
  /** Its own health, metrics and profile, of gateways that share a port. */
  readonly url?: string
}

export interface Stack {
  readonly processes: readonly StackProcess[]
  readonly urls: Readonly<Record<SinkName, string>> & {
    readonly gateway: string
    readonly risk: string
    readonly pnl: string
    readonly nats: string
    readonly redis: string | null
    /** Where there is one of ours; the access key stands in `minio.env` of the data folder. */
    readonly minio?: string
  }
  /** Where the sinks write. */
  readonly lakeUri: string
  /** What reads there, by environment variable; empty for a folder. */
  readonly lakeEnv: Readonly<Record<string, string>>
  /** What it keeps running. */
  readonly parts: readonly StackPart[]
  /** Stops everything within five seconds. */
  stop(): Promise<void>
}

/** A process that is started again whenever it dies. */
export interface StackPart {
  /** As its log is called. */
  readonly label: string
  readonly process: Supervised
  /** Empty for a server. */
  readonly workers: readonly WorkerName[]
  /** Of each worker. */
  readonly urls: readonly string[]
  /** As its workers call themselves. */
  readonly instance: string
}

/** For whoever watches a stack. */
export function restartedText({ name, pid, url }: StackProcess, why: string): string {
  return `${name}${url === undefined ? '' : ` (${url})`} had died and runs again (pid ${pid}): ${why}`
}

const workerGraceMs = 2_800
const serverGraceMs = 1_500

/**
 * Starts servers (unless NATS_URL and REDIS_URL name some) and workers on this machine, and keeps them running.
 * @throws PipelineError CONFIG_INVALID, DATA_DIR_IN_USE, PORT_IN_USE, COMPONENT_MISSING, COMPONENT_START, …
 */
export async function startStack(options: StackOptions): Promise<Stack> {
  const dataDir = resolve(options.dataDir)
  const { settings, onProgress } = options
  // Before anything runs: a worker would only say so in its log.
  readInstruments(options.configDir)
  readLimits(options.configDir)
  const lock = lockDataDir(dataDir)
  const workerStops: (() => Promise<void>)[] = []
  const serverStops: (() => Promise<void>)[] = []
  const stopAll = async () => {
    await Promise.all(workerStops.map((stopWorkers) => stopWorkers()))
    await Promise.all(serverStops.map((stopServer) => stopServer()))
    lock.release()
  }
  let stopping: Promise<void> | undefined
  const stop = () => (stopping ??= stopAll())
  const aborted = Promise.withResolvers<never>()
  aborted.promise.catch(() => undefined)
  options.signal?.addEventListener('abort', () => aborted.reject(options.signal?.reason))
  /** Nothing of the start goes on after an abort, however long the work takes. */
  const step = <T>(work: Promise<T>): Promise<T> => Promise.race([aborted.promise, work])
  const withServer = <T extends LocalServer | undefined>(starting: Promise<T>): Promise<T> => {
    serverStops.push(async () => {
      // One that takes longer to start, as where it is being installed, is ended by the exit of this process.
      const inTime = sleep(serverGraceMs, undefined, { ref: false })
      const server = await Promise.race([starting.catch(() => undefined), inTime])
      await server?.stop(serverGraceMs)
    })
    return step(starting)
  }
  try {
    for (const { name, pid } of await step(endLeftovers(dataDir)))
      onProgress(`ended ${name} (pid ${pid}), left over from a run that was killed`)
    const ports = await step(choosePorts(options))
    const nats =
      settings.NATS_URL === '' ? await withServer(startNats(serverOptions('nats-server', options))) : undefined
    const redis = settings.REDIS_URL === '' ? await withServer(startOptionalValkey(options)) : undefined
    const minio = options.minio ? await withServer(startMinio(serverOptions('minio', options))) : undefined
    const natsUrl = nats?.url ?? settings.NATS_URL
    const workersNatsUrl = nats && options.trouble ? await step(options.trouble.natsUrl(nats.port)) : natsUrl
    const redisUrl = redis?.url ?? settings.REDIS_URL

    onProgress('making streams')
    const connection = await step(connectNats(natsUrl, 'up'))
    try {
      await step(ensureStreams(connection, settings.STREAMS_MAX_BYTES, nats ? dataDir : undefined))
    } finally {
      await connection.close()
    }
    onProgress('starting workers')
    const common = {
      dataDir,
      ports,
      natsUrl: workersNatsUrl,
      redisUrl,
      isOwnNats: nats !== undefined,
      lake: minio?.access,
    }
    const places = await step(choosePlaces(options))
    const children = await step(
      Promise.all(
        places.map((place) =>
          startWorkers(place, options, common, (child) => workerStops.push(() => child.stop(workerGraceMs))),
        ),
      ),
    )
    onProgress('waiting until every worker is at work')
    const standBy = children.find(({ label }) => label === standByLabel)
    const url = (worker: WorkerName, port = ports[worker]) => localUrl(settings.HTTP_HOST, port)
    const urlsOf = ({ workers, healthPort, ports: own = {} }: Place) =>
      workers.map((name) => url(name, healthPort ?? own[name]))
    await step(
      Promise.race([
        Promise.all(
          children
            .filter((place) => place !== standBy)
            .flatMap((place) =>
              urlsOf(place).map((own, index) => {
                const other = standBy && urlsOf(standBy)[standBy.workers.indexOf(place.workers[index] ?? 'tape')]
                return untilReady(place.label, other === undefined ? [own] : [own, other], place.logFile)
              }),
            ),
        ),
        ...children.map(({ failed }) => failed),
      ]),
    )
    const pidOf = (process: Supervised) => process.pid ?? 0
    return {
      processes: [
        ...children.flatMap(({ label, workers, ownUrl, child }) =>
          workers.map((name) => ({
            name: label === standByLabel ? label : name,
            pid: pidOf(child),
            ...ownUrl,
          })),
        ),
        ...(nats ? [{ name: 'nats-server', pid: pidOf(nats) }] : []),
        ...(redis ? [{ name: 'valkey', pid: pidOf(redis) }] : []),
        ...(minio ? [{ name: 'minio', pid: pidOf(minio) }] : []),
      ],
      urls: {
        gateway: url('gateway'),
        risk: url('risk-gate'),
        pnl: url('pnl-updater'),
        'tick-sink': url('tick-sink'),
        'alt-sink': url('alt-sink'),
        'execution-sink': url('execution-sink'),
        nats: natsUrl,
        redis: redisUrl === '' ? null : redisUrl,
        ...(minio ? { minio: minio.url } : {}),
      },
      lakeUri: minio?.access.LAKE_URI ?? lakeUriOf(settings, dataDir),
      lakeEnv: lakeEnvOf(minio?.access),
      parts: [
        ...children.map((place) => ({ ...partOf(place.label, place.child, place), urls: urlsOf(place) })),
        ...(nats ? [partOf('nats-server', nats)] : []),
        ...(redis ? [partOf('valkey', redis)] : []),
        ...(minio ? [partOf('minio', minio)] : []),
      ],
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

function partOf(
  label: string,
  process: Supervised,
  { workers, instance }: { workers: readonly WorkerName[]; instance: string } = { workers: [], instance: '' },
): StackPart {
  return { label, process, workers, instance, urls: [] }
}

function serverOptions(name: string, options: StackOptions): StartOptions {
  return {
    dataDir: resolve(options.dataDir),
    ...(options.ports === 'free' ? { port: 0 } : {}),
    ...(options.portRemedy === undefined ? {} : { portRemedy: options.portRemedy }),
    onProgress: options.onProgress,
    onRestarted: (pid: number, why: string) => options.onRestarted({ name, pid }, why),
  }
}

async function startOptionalValkey(options: StackOptions): Promise<LocalServer | undefined> {
  try {
    return await startValkey(serverOptions('valkey', options))
  } catch (error) {
    // The pipeline runs on without it, and says so in its health.
    if (!isPipelineError(error, 'COMPONENT_MISSING')) throw error
    options.onProgress(`no Redis: ${messageOf(error)}; going on without it`)
    return undefined
  }
}

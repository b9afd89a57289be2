import type { ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, statSync } from 'node:fs'
import { isIPv6 } from 'node:net'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type ErrorCode, errorCodes, isPipelineError, messageOf, PipelineError } from '../base/errors.ts'
import { endLeftovers, lockDataDir, recordChild } from '../local/data-dir.ts'
import { lastWords } from '../local/last-words.ts'
import { freePort, isPortTaken, portInUse } from '../local/ports.ts'
import { type LakeAccess, startMinio } from '../local/start-minio.ts'
import { startNats } from '../local/start-nats.ts'
import type { LocalServer, StartOptions } from '../local/start-server.ts'
import { startValkey } from '../local/start-valkey.ts'
import { supervise, type Supervised } from '../local/supervisor.ts'
import { isSinkName, type SinkName } from '../runtime/flush-limits.ts'
import { connectNats } from '../runtime/nats.ts'
import { ensureStreams } from '../runtime/streams.ts'
import type { Settings } from '../schemas/settings.ts'
import { stackSpecs, type WorkerName } from '../subjects/contract.ts'
import { readInstruments, readLimits } from './config-folder.ts'
import { mallocEnv, v8Flags } from './process-memory.ts'

export const layouts = ['compact', 'separate'] as const
export type Layout = (typeof layouts)[number]

const chain: Place = { label: 'chain', workers: ['risk-gate', 'oms-matcher', 'pnl-updater', 'tape'] }

/** Which workers share a process. */
const workersOf: Readonly<Record<Layout, readonly Place[]>> = {
  compact: [
    chain,
    { label: 'gateway', workers: ['gateway'] },
    { label: 'sinks', workers: ['tick-sink', 'alt-sink', 'execution-sink'] },
    { label: 'janitor', workers: ['janitor'] },
  ],
  separate: stackSpecs.map(({ name }) => ({ label: name, workers: [name] })),
}

/** The stand-by of `chaos`. */
const standByLabel = 'stand-by'

/** A process of workers. */
interface Place {
  /** Names it in logs and among its peers. */
  readonly label: string
  readonly workers: readonly WorkerName[]
  /** Where a gateway tells of itself when it shares its port with others. */
  readonly healthPort?: number
  /** Unset: those of the stack. */
  readonly ports?: Readonly<Partial<Record<WorkerName, number>>>
}

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

/** Where `chaos` gets at a stack. */
export interface Trouble {
  /** How workers reach the server. @param port on 127.0.0.1 */
  natsUrl(port: number): Promise<string>
  /** Where processes of workers look, as they start, for the point at which they are to end. */
  readonly crashDir: string
  /** Runs a second process of the chain, which stands by. */
  readonly standBy: boolean
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

/** Gateways that share their port have the ones after this for themselves. */
const healthPortBase = 8_120
const mainFile = fileURLToPath(new URL('./main.ts', import.meta.url))
const startTimeoutMs = 30_000
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

async function choosePorts(options: StackOptions): Promise<Readonly<Record<WorkerName, number>>> {
  const ports = {} as Record<WorkerName, number>
  for (const { name, httpPort } of stackSpecs) ports[name] = await choosePort(options, httpPort)
  return ports
}

async function choosePort({ ports, portRemedy = 'take free ones' }: StackOptions, documented: number): Promise<number> {
  if (ports === 'free') return freePort()
  if (await isPortTaken(documented)) throw await portInUse(documented, portRemedy)
  return documented
}

/** The processes of a layout, with as many gateways as there should be. */
async function choosePlaces(options: StackOptions): Promise<Place[]> {
  const { WORKERS: gateways } = options.settings
  const places: Place[] = []
  for (const { label, workers } of workersOf[options.layout]) {
    if (!workers.includes('gateway') || gateways === 1) places.push({ label, workers })
    else
      for (let number = 1; number <= gateways; number += 1) {
        const healthPort = await choosePort(options, healthPortBase + number)
        places.push({ label: `${label}-${number}`, workers, healthPort })
      }
  }
  if (options.trouble?.standBy) {
    const { workers } = chain
    const ports = Object.fromEntries(await Promise.all(workers.map(async (name) => [name, await freePort()] as const)))
    places.push({ label: standByLabel, workers, ports })
  }
  return places
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

interface WorkerProcess extends Place {
  readonly instance: string
  readonly ownUrl: Pick<StackProcess, 'url'>
  readonly child: Supervised
  readonly logFile: string
  /** Rejects when it ended with an error that another start would meet again. */
  readonly failed: Promise<never>
}

/** With these a worker that has started may end, and do better at its next start. */
const passing: ReadonlySet<ErrorCode> = new Set(['WRITER_FENCED', 'NATS_UNREACHABLE', 'PUBLISH_UNRESOLVED'])

async function startWorkers(
  place: Place,
  options: StackOptions,
  common: {
    dataDir: string
    ports: Readonly<Record<WorkerName, number>>
    natsUrl: string
    redisUrl: string
    isOwnNats: boolean
    lake: LakeAccess | undefined
  },
  onStarted: (child: Supervised) => void,
): Promise<WorkerProcess> {
  const { label, workers, healthPort, ports = common.ports } = place
  // The same over restarts, and unlike those of other data folders on the same server.
  const instance = `${label}-${createHash('sha256').update(common.dataDir).digest('hex').slice(0, 8)}`
  const logs = join(common.dataDir, 'logs')
  mkdirSync(logs, { recursive: true })
  const logFile = join(logs, `${label}.log`)
  const ownUrl = healthPort === undefined ? {} : { url: localUrl(options.settings.HTTP_HOST, healthPort) }
  let hasStarted = false
  let logStart = 0
  let why = ''
  const started = Promise.withResolvers<undefined>()
  const failed = Promise.withResolvers<never>()
  failed.promise.catch(() => undefined)
  const timer = setTimeout(
    () => failed.reject(new PipelineError('COMPONENT_START', `${label} did not start in time; see ${logFile}`)),
    startTimeoutMs,
  )
  const child = supervise({
    command: process.execPath,
    args: [
      ...v8Flags(workers),
      mainFile,
      'worker',
      ...workers,
      '--instance',
      instance,
      ...workers.flatMap((worker) => ['--port', `${worker}=${ports[worker]}`]),
      ...(healthPort === undefined ? [] : ['--health-port', String(healthPort)]),
      ...(common.isOwnNats ? ['--store-dir', common.dataDir] : []),
      ...(options.configDir === undefined ? [] : ['--config-dir', options.configDir]),
      ...(options.trouble ? ['--crash-dir', options.trouble.crashDir] : []),
    ],
    env: {
      ...process.env,
      ...mallocEnv(workers),
      NATS_URL: common.natsUrl,
      REDIS_URL: common.redisUrl,
      LAKE_URI: lakeUriOf(options.settings, common.dataDir),
      // Nobody else needs its secret.
      ...(workers.some(isSinkName) ? lakeEnvOf(common.lake) : {}),
    },
    logFile,
    ipc: true,
    onSpawn: (spawned: ChildProcess) => {
      logStart = statSync(logFile).size
      if (spawned.pid !== undefined) recordChild(common.dataDir, label, spawned.pid)
      spawned.on('message', () => {
        hasStarted = true
        started.resolve(undefined)
      })
    },
    onExit: ({ code, signal, error }) => {
      const words = error ? { code: undefined, message: error.message } : lastWords(logFile, logStart)
      why = `${words ? `${words.code === undefined ? '' : `${words.code}: `}${words.message}` : (signal ?? `exit code ${code}`)}; its log is ${logFile}`
      const known = errorCodes.find((known) => known === words?.code)
      if (known !== undefined && (!hasStarted || !passing.has(known)))
        failed.reject(new PipelineError(known, `${words?.message ?? label} (${label}; its log is ${logFile})`))
      else if (!hasStarted) failed.reject(new PipelineError('COMPONENT_START', `${label} ended as it started: ${why}`))
    },
    onRestarted: (pid) => {
      for (const name of workers) options.onRestarted({ name, pid, ...ownUrl }, why)
    },
  })
  onStarted(child)
  try {
    await Promise.race([started.promise, failed.promise])
  } finally {
    clearTimeout(timer)
  }
  return { ...place, instance, ownUrl, child, logFile, failed: failed.promise }
}

function lakeEnvOf(lake: LakeAccess | undefined): Readonly<Record<string, string>> {
  // A token of the user's would not go with our key.
  return lake ? { ...lake, AWS_SESSION_TOKEN: '' } : {}
}

function lakeUriOf({ LAKE_URI: uri }: Settings, dataDir: string): string {
  return uri === '' ? join(dataDir, 'lake') : uri
}

/** Where a door that listens on `host` is reached from this machine. */
export function localUrl(host: string, port: number): string {
  const reached = { '0.0.0.0': '127.0.0.1', '::': '::1' }[host] ?? host
  return `http://${isIPv6(reached) ? `[${reached}]` : reached}:${port}`
}

/** @param url of a worker */
export async function isAtWork(url: string): Promise<boolean> {
  const answer = await fetch(`${url}/health/ready`, { signal: AbortSignal.timeout(1_000) }).catch(() => undefined)
  await answer?.arrayBuffer().catch(() => undefined)
  return answer?.ok ?? false
}

/** @param urls of a worker's processes, of which one is to be at work */
async function untilReady(label: string, urls: readonly string[], logFile: string): Promise<void> {
  const deadlineMs = Date.now() + startTimeoutMs
  for (;;) {
    for (const url of urls) if (await isAtWork(url)) return
    if (Date.now() > deadlineMs)
      throw new PipelineError(
        'COMPONENT_START',
        `${label} (${urls.join(', ')}) did not become ready in ${startTimeoutMs / 1_000} s; its log is ${logFile}`,
      )
    await sleep(25)
  }
}

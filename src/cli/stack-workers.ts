import type { ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type ErrorCode, errorCodes, PipelineError } from '../base/errors.ts'
import { recordChild } from '../local/data-dir.ts'
import { lastWords } from '../local/last-words.ts'
import type { LakeAccess } from '../local/start-minio.ts'
import { supervise, type Supervised } from '../local/supervisor.ts'
import { isSinkName } from '../runtime/flush-limits.ts'
import type { Settings } from '../schemas/settings.ts'
import type { WorkerName } from '../subjects/contract.ts'
import { mallocEnv, v8Flags } from './process-memory.ts'
import type { StackOptions, StackProcess } from './stack.ts'
import { localUrl, type Place } from './stack-layout.ts'

const mainFile = fileURLToPath(new URL('./main.ts', import.meta.url))
const startTimeoutMs = 30_000

/** A process of workers that runs. */
export interface WorkerProcess extends Place {
  readonly instance: string
  readonly ownUrl: Pick<StackProcess, 'url'>
  readonly child: Supervised
  readonly logFile: string
  /** Rejects when it ended with an error that another start would meet again. */
  readonly failed: Promise<never>
}

/** With these a worker that has started may end, and do better at its next start. */
const passing: ReadonlySet<ErrorCode> = new Set(['WRITER_FENCED', 'NATS_UNREACHABLE', 'PUBLISH_UNRESOLVED'])

/** Starts the process of a place and keeps it running; resolves when its workers have started. */
export async function startWorkers(
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

export function lakeEnvOf(lake: LakeAccess | undefined): Readonly<Record<string, string>> {
  // A token of the user's would not go with our key.
  return lake ? { ...lake, AWS_SESSION_TOKEN: '' } : {}
}

export function lakeUriOf({ LAKE_URI: uri }: Settings, dataDir: string): string {
  return uri === '' ? join(dataDir, 'lake') : uri
}

/** @param url of a worker */
export async function isAtWork(url: string): Promise<boolean> {
  const answer = await fetch(`${url}/health/ready`, { signal: AbortSignal.timeout(1_000) }).catch(() => undefined)
  await answer?.arrayBuffer().catch(() => undefined)
  return answer?.ok ?? false
}

/** @param urls of a worker's processes, of which one is to be at work */
export async function untilReady(label: string, urls: readonly string[], logFile: string): Promise<void> {
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

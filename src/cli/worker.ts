import { type Command, InvalidArgumentError, Option } from 'commander'
import { constants, hostname, setPriority } from 'node:os'
import { armCrashPoint } from '../base/crash-points.ts'
import { exitCodes, messageOf, PipelineError } from '../base/errors.ts'
import { takePlannedCrash } from '../local/crash-file.ts'
import { settingsFrom } from '../runtime/config.ts'
import { createLog } from '../runtime/log.ts'
import { orUnreachable } from '../runtime/query.ts'
import { isWorkerName, type WorkerName, workerSpecs } from '../subjects/contract.ts'
import { boundMemory } from './process-memory.ts'

/** A drain that takes longer than this is cut short. */
const stopTimeoutMs = 4_500

export function addWorkerCommand(program: Command): void {
  const names = workerSpecs.map(({ name }) => name).join(', ')
  program
    .command('worker')
    .description('run one or more workers in this process, against the server at NATS_URL')
    .argument('<names...>', `any of ${names}`)
    .option('--port <[name=]port>', 'HTTP port of a worker; may be repeated', collectPort, {})
    .option(
      '--health-port <port>',
      'a port for the health, metrics and profile of this one of several gateways',
      portNumber,
    )
    .option(
      '--instance <name>',
      'place of this process among its peers; keep it over restarts',
      instanceName,
      // In containers all are process 1.
      `${hostname()
        .replaceAll(/[^A-Za-z0-9_-]/g, '-')
        .slice(0, 50)}-${process.pid}`,
    )
    .option('--config-dir <folder>', 'folder with instruments.json and limits.json')
    .option('--store-dir <folder>', "the server's store, when it is on this machine")
    .addOption(new Option('--crash-dir <folder>', 'of `chaos`: where it says at which point to end').hideHelp())
    .action(runWorkers)
}

interface WorkerOptions {
  readonly port: Readonly<Record<string, number>>
  readonly healthPort?: number
  readonly instance: string
  readonly configDir?: string
  readonly storeDir?: string
  readonly crashDir?: string
}

function instanceName(value: string): string {
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(value)) throw new InvalidArgumentError('1 to 64 letters, digits, - or _')
  return value
}

function portNumber(value: string): number {
  if (!/^\d{1,5}$/.test(value) || Number(value) > 65_535) throw new InvalidArgumentError('say a port')
  return Number(value)
}

function collectPort(value: string, previous: Record<string, number>): Record<string, number> {
  const [, name = '', port = ''] = /^(?:([a-z-]+)=)?(\d+)$/.exec(value) ?? []
  if (port === '' || Number(port) > 65_535) throw new InvalidArgumentError('say PORT or NAME=PORT')
  return { ...previous, [name]: Number(port) }
}

async function runWorkers(names: string[], options: WorkerOptions): Promise<void> {
  const workers = names.map((name): WorkerName => {
    if (!isWorkerName(name))
      throw new PipelineError(
        'USAGE',
        `no worker ${name}; there are ${workerSpecs.map((spec) => spec.name).join(', ')}`,
      )
    return name
  })
  const settings = settingsFrom(process.env)
  if (settings.NATS_URL === '')
    throw new PipelineError('USAGE', 'set NATS_URL to the server, or use `trade2026 up`, which starts one')
  boundMemory(workers)
  const planned = options.crashDir === undefined ? undefined : takePlannedCrash(options.crashDir, options.instance)
  if (planned) armCrashPoint(planned.point, planned.occurrence)
  // The chain has the processor first.
  if (workers.every((worker) => worker === 'janitor')) setPriority(constants.priority.PRIORITY_LOW)
  const ports: Partial<Record<WorkerName, number>> = {}
  for (const worker of workers) {
    const port = options.port[worker] ?? (workers.length === 1 ? options.port[''] : undefined)
    if (port !== undefined) ports[worker] = port
  }
  const log = createLog(names.join('+'), settings.LOG_LEVEL)
  // Takes as long to load as everything else together, and no other command needs it.
  const { startWorkerProcess } = await import('./worker-process.ts')
  const starting = startWorkerProcess({
    workers,
    settings,
    instance: options.instance,
    ports,
    ...(options.healthPort === undefined ? {} : { healthPort: options.healthPort }),
    ...(options.configDir === undefined ? {} : { configDir: options.configDir }),
    ...(options.storeDir === undefined ? {} : { storeDir: options.storeDir }),
    onFatal: (fatal) => {
      // Crash-only: nothing is repaired in place; the next start recovers.
      const error = orUnreachable(fatal)
      log.fatal({ code: error instanceof PipelineError ? error.code : undefined, stack: fatal.stack }, messageOf(error))
      process.exit(exitCodes.failed)
    },
  })
  let isEnding = false
  const end = (code: number) => {
    if (isEnding) return
    isEnding = true
    setTimeout(() => process.exit(code), stopTimeoutMs)
    void starting.then((running) => running.stop()).finally(() => process.exit(code))
  }
  process.on('SIGTERM', () => end(exitCodes.ok))
  process.on('SIGINT', () => end(exitCodes.interrupted))
  // Under a supervisor: when it is gone, so are we.
  process.on('disconnect', () => end(exitCodes.failed))
  try {
    await starting
  } catch (error) {
    throw orUnreachable(error)
  }
  process.send?.({ event: 'started' })
}

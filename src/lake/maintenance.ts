import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { CompactionResult } from './compaction.ts'
import type { VacuumResult } from './vacuum.ts'

export interface MaintenancePolicy {
  /** Columns that rows are ordered by within a file. */
  readonly orderBy: readonly string[]
  /** From the end of one to the beginning of the next; 0: never. */
  readonly compactEveryMs: number
  readonly vacuumEveryMs: number
}

/** What a run that did not fail has done. */
interface Results {
  readonly compact: CompactionResult
  readonly vacuum: VacuumResult
}

export type MaintenanceKind = keyof Results

/** What a process of its own is to do to a table. */
export interface MaintenanceTask {
  readonly kind: MaintenanceKind
  readonly uri: string
  readonly orderBy: readonly string[]
}

export type MaintenanceOutcome<Kind extends MaintenanceKind = MaintenanceKind> =
  { readonly result: Results[Kind] } | { readonly problem: string }

/** A run that has ended. */
export type MaintenanceRun<Kind extends MaintenanceKind = MaintenanceKind> = MaintenanceOutcome<Kind> & {
  readonly startedMs: number
  readonly durationMs: number
}

export interface Maintenance {
  /** The last run of each kind. */
  readonly last: { readonly [Kind in MaintenanceKind]?: MaintenanceRun<Kind> }
  /** Ends what runs; what was committed stays. */
  stop(): Promise<void>
}

const childFile = fileURLToPath(new URL('maintenance-child.ts', import.meta.url))
/** The first vacuum after a start does not wait for longer, so that there is one though processes live for less. */
const firstVacuumMsMax = 3_600_000

/** To remove what it has begun. */
const stopMs = 2_000

/** Tables of one process are maintained one after the other. */
let turn: Promise<unknown> = Promise.resolve()

/**
 * Compacts and vacuums a table from time to time, each time in a process of its own, which takes its memory with it. What
 * fails is told and done again at its next time.
 *
 * @param env has the access to the store, as for `openStore`
 * @param options.isActive whether this process is the one that maintains the table
 */
export function startMaintenance(
  uri: string,
  env: NodeJS.ProcessEnv,
  policy: MaintenancePolicy,
  options: { readonly isActive: () => boolean; readonly onRun: (kind: MaintenanceKind, run: MaintenanceRun) => void },
): Maintenance {
  const last: { [Kind in MaintenanceKind]?: MaintenanceRun<Kind> } = {}
  const timers = new Map<MaintenanceKind, NodeJS.Timeout>()
  let running: ChildProcess | undefined
  let isStopped = false

  const later = (kind: MaintenanceKind, afterMs: number, everyMs: number) => {
    const timer = setTimeout(() => {
      const done = turn.then(async () => {
        if (isStopped || !options.isActive()) return
        const run = await runTask({ kind, uri, orderBy: policy.orderBy }, env, (child) => (running = child))
        running = undefined
        // It was told to end.
        if (isStopped as boolean) return
        Object.assign(last, { [kind]: run })
        options.onRun(kind, run)
      })
      turn = done
      void done.then(() => {
        if (!isStopped) later(kind, everyMs, everyMs)
      })
    }, afterMs)
    timer.unref()
    timers.set(kind, timer)
  }
  const { compactEveryMs, vacuumEveryMs } = policy
  if (compactEveryMs > 0) later('compact', compactEveryMs, compactEveryMs)
  if (vacuumEveryMs > 0) later('vacuum', Math.min(vacuumEveryMs, firstVacuumMsMax), vacuumEveryMs)
  return {
    last,
    stop: async () => {
      isStopped = true
      for (const timer of timers.values()) clearTimeout(timer)
      if (!running) return
      const child = running
      child.kill('SIGTERM')
      const killing = setTimeout(() => child.kill('SIGKILL'), stopMs)
      await turn
      clearTimeout(killing)
    },
  }
}

async function runTask(
  task: MaintenanceTask,
  env: NodeJS.ProcessEnv,
  onStart: (child: ChildProcess) => void,
): Promise<MaintenanceRun> {
  const startedMs = Date.now()
  const child = fork(childFile, [JSON.stringify(task)], {
    env,
    execArgv: ['--max-semi-space-size=4', '--heap-growing-percent=30'],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  onStart(child)
  let words = ''
  child.stderr?.on('data', (chunk: Buffer) => (words = `${words}${chunk.toString()}`.slice(-2_000)))
  let outcome: MaintenanceOutcome | undefined
  child.once('message', (message) => (outcome = message as MaintenanceOutcome))
  const end = await new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('close', (code, signal) => resolve(`it ended with ${signal ?? code ?? 'nothing'}: ${words.trim()}`))
  })
  return { ...(outcome ?? { problem: end }), startedMs, durationMs: Date.now() - startedMs }
}

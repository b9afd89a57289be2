import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { signalGroup } from './process.ts'
import { reapAtEnd } from './reaper.ts'

/** How a process ended; `error` when it could not even be started. */
export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly error?: Error
}

export interface SuperviseOptions {
  command: string
  args: readonly string[]
  env?: NodeJS.ProcessEnv
  /** Output is appended here; without it, it goes to our stderr. */
  logFile?: string
  /** Opens a channel to a Node child: its messages come as `message` events, its `disconnect` says that we are gone. */
  ipc?: boolean
  /** Called for every life of the process, before anything of it can be heard. */
  onSpawn?: (child: ChildProcess) => void
  /** It died without `stop`; it will be started again. */
  onExit?: (exit: Exit) => void
  onRestarted?: (pid: number) => void
}

export interface Supervised {
  /** Undefined while the process is down. */
  readonly pid: number | undefined
  kill(signal: NodeJS.Signals): void
  /** SIGTERM, and SIGKILL after the grace; resolves when the process is gone. */
  stop(graceMs: number): Promise<void>
}

const backoffMinMs = 100
const backoffMaxMs = 2_000
/** A life of this length was no part of a crash loop. */
const stableMs = 10_000

const running = new Set<Supervised>()
/** Node children with a channel see for themselves when we are gone, and end in order. */
const withoutChannel = new Set<Supervised>()
const noteGroups = () => reapAtEnd(Array.from(withoutChannel, ({ pid }) => pid).filter((pid) => pid !== undefined))
process.on('exit', () => {
  for (const supervised of running) supervised.kill('SIGTERM')
})

/**
 * Runs a command and starts it again whenever it dies, with `TRADE2026_RESTART=1` in its environment. It runs in a
 * session of its own, so that Ctrl-C in a terminal reaches us alone and we can stop our processes in order. It ends with
 * us, also when we are killed.
 */
export function supervise(options: SuperviseOptions): Supervised {
  let child: ChildProcess
  let restartTimer: NodeJS.Timeout | undefined
  let stopping: Promise<void> | undefined
  let backoffMs = backoffMinMs

  function start(env: NodeJS.ProcessEnv): void {
    const startedMs = performance.now()
    const output = options.logFile === undefined ? 2 : openSync(options.logFile, 'a')
    child = spawn(options.command, options.args, {
      detached: true,
      env,
      stdio: options.ipc ? ['ignore', output, output, 'ipc'] : ['ignore', output, output],
    })
    if (options.logFile !== undefined) closeSync(output)
    child.once('exit', (code, signal) => ended({ code, signal }))
    child.on('error', (error) => {
      // Other errors, such as a message to a child that just died, come with an exit of their own.
      if (child.pid === undefined) ended({ code: null, signal: null, error })
    })
    if (!options.ipc) noteGroups()
    options.onSpawn?.(child)

    function ended(exit: Exit): void {
      if (stopping) return
      if (performance.now() - startedMs >= stableMs) backoffMs = backoffMinMs
      restartTimer = setTimeout(restart, backoffMs)
      backoffMs = Math.min(backoffMs * 2, backoffMaxMs)
      options.onExit?.(exit)
    }
  }

  function restart(): void {
    start({ ...(options.env ?? process.env), TRADE2026_RESTART: '1' })
    if (child.pid !== undefined) options.onRestarted?.(child.pid)
  }

  async function stop(graceMs: number): Promise<void> {
    clearTimeout(restartTimer)
    if (supervised.pid !== undefined) {
      const gone = once(child, 'exit')
      supervised.kill('SIGTERM')
      const killTimer = setTimeout(() => supervised.kill('SIGKILL'), graceMs)
      await gone
      clearTimeout(killTimer)
    }
    running.delete(supervised)
    if (withoutChannel.delete(supervised)) noteGroups()
  }

  const supervised: Supervised = {
    get pid() {
      return child.exitCode === null && child.signalCode === null ? child.pid : undefined
    },
    kill: (signal) => {
      if (supervised.pid !== undefined) signalGroup(supervised.pid, signal)
    },
    stop: (graceMs) => (stopping ??= stop(graceMs)),
  }
  if (!options.ipc) withoutChannel.add(supervised)
  start(options.env ?? process.env)
  running.add(supervised)
  return supervised
}

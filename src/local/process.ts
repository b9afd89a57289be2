import { execFile, execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

/** One process for good: pids are used again, a pid with its start time is not. */
export interface ProcessId {
  readonly pid: number
  readonly startedAt: string
}

const commandLengthMax = 120

function psOf(pid: number, field: 'lstart' | 'command'): string | undefined {
  try {
    return execFileSync('ps', ['-o', `${field}=`, '-p', String(pid)], { stdio: ['ignore', 'pipe', 'ignore'] })
      .toString()
      .trim()
  } catch {
    return undefined
  }
}

/** @returns undefined when no such process is alive (one that is dead but not yet reaped is not) */
export function processId(pid: number): ProcessId | undefined {
  if (process.platform !== 'linux') {
    const startedAt = psOf(pid, 'lstart')
    return startedAt ? { pid, startedAt } : undefined
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The command name stands in parentheses and may hold anything; state is the field after it, start time the 22nd.
    const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (state === 'Z' || state === 'X') return undefined
    const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    return { pid, startedAt: `${bootId}/${fields[18] ?? ''}` }
  } catch {
    return undefined
  }
}

export function isRunning(process: ProcessId): boolean {
  return processId(process.pid)?.startedAt === process.startedAt
}

/** The command line of a process, cut to a readable length. */
export function commandOf(pid: number): string {
  let command: string | undefined
  try {
    command =
      process.platform === 'linux'
        ? readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
        : psOf(pid, 'command')
  } catch {
    // It has ended meanwhile.
  }
  if (!command) return 'unknown command'
  return command.length > commandLengthMax ? `${command.slice(0, commandLengthMax)}…` : command
}

/** Signals a process and what it started in its group; one that is gone is no error. */
export function signalGroup(pid: number, signal: NodeJS.Signals): void {
  for (const target of [-pid, pid]) {
    try {
      process.kill(target, signal)
      return
    } catch {
      // No leader of a group, or gone.
    }
  }
}

/** Asks again and again until the answer is true; @returns false when it was not within the time */
export async function poll(timeoutMs: number, check: () => boolean | Promise<boolean>): Promise<boolean> {
  const endMs = performance.now() + timeoutMs
  for (;;) {
    if (await check()) return true
    if (performance.now() > endMs) return false
    await sleep(20)
  }
}

export interface RunOptions {
  env?: NodeJS.ProcessEnv
  cwd?: string
  timeoutMs?: number
}

/**
 * Runs a command to its end.
 * @returns its output; where that is empty, what it wrote on stderr
 * @throws Error with the last line it wrote
 */
export function run(command: string, args: string[], options: RunOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      command,
      args,
      { ...options, timeout: options.timeoutMs ?? 10_000, killSignal: 'SIGKILL', maxBuffer: 16 * 1024 * 1024 },
      (error, stdout, stderr) => {
        if (!error) resolve(stdout || stderr)
        else if (error.killed)
          reject(new Error(`${command} took longer than ${(options.timeoutMs ?? 10_000) / 1000} s`))
        else reject(new Error(stderr.trim().split('\n').at(-1) || error.message.split('\n')[0]))
      },
    )
    child.stdin?.end()
  })
}

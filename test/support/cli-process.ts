import { type ChildProcess, spawn } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { until } from './stack.ts'

const ownMainFile = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

export interface CliRun {
  readonly child: ChildProcess
  readonly pid: number
  stdout(): string
  stderr(): string
  /** Exit code, or the signal's name. */
  readonly ended: Promise<number | string>
}

/** Runs the CLI as a user would, in a process group of its own; what still runs at the end of the test is ended. */
export function startCli(
  t: Test,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  mainFile = ownMainFile,
): CliRun {
  const child = spawn(process.execPath, [mainFile, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    env: { ...process.env, NATS_URL: '', REDIS_URL: '', STREAMS_MAX_BYTES: String(512 * 2 ** 20), ...env },
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const ended = new Promise<number | string>((resolve) =>
    child.once('close', (code, signal) => resolve(code ?? signal ?? 'unknown')),
  )
  t.teardown(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
    await ended
  })
  return { child, pid: child.pid ?? 0, stdout: () => stdout, stderr: () => stderr, ended }
}

/** JSON documents, one a line, that the run has printed so far; a line that has no end yet is none. */
export function documentsOf(run: CliRun): Record<string, unknown>[] {
  return run
    .stdout()
    .split('\n')
    .slice(0, -1)
    .filter((line) => line.endsWith('}'))
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}

export async function firstDocument(run: CliRun, timeoutMs = 60_000): Promise<Record<string, unknown>> {
  return until(`the first document; it said: ${run.stderr()}`, () => documentsOf(run)[0], timeoutMs)
}

/**
 * Command lines of processes that name a folder or work in it (valkey-server shows no arguments).
 * @param but a process that is not listed
 */
export function processesOn(folder: string, but?: number): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== but)
    .flatMap((pid) => {
      try {
        const commandLine = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
        const isOnIt = commandLine.includes(folder) || readlinkSync(`/proc/${pid}/cwd`).startsWith(folder)
        return isOnIt ? [commandLine] : []
      } catch {
        // It has ended, or is another user's.
        return []
      }
    })
}

/** The run ends within five seconds with the signal's exit code, and no process is left on the folder. */
export async function signalAndCheck(
  t: Test,
  run: CliRun,
  folder: string,
  signal: 'SIGINT' | 'SIGTERM' = 'SIGINT',
): Promise<void> {
  const startedMs = Date.now()
  run.child.kill(signal)
  t.equal(await run.ended, signal === 'SIGINT' ? 130 : 0, `exit code of ${signal}`)
  t.ok(Date.now() - startedMs < 5_000, `ended in ${Date.now() - startedMs} ms`)
  await until('no process to be left', () => processesOn(folder).length === 0, 1_000)
}

import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'

const mainFile = new URL('../../src/cli/main.ts', import.meta.url).pathname

export interface CliResult {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

function start(args: readonly string[], env: Readonly<Record<string, string | undefined>>, file = mainFile) {
  const child = spawn(process.execPath, [file, ...args], {
    env: { ...process.env, FORCE_COLOR: undefined, NO_COLOR: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  child.stdout.setEncoding('utf8')
  child.stderr.setEncoding('utf8')
  return child
}

/** Runs a command to its end. */
export function runCli(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>> = {},
  file = mainFile,
): Promise<CliResult> {
  const child = start(args, env, file)
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (text: string) => (stdout += text))
  child.stderr.on('data', (text: string) => (stderr += text))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, stdout, stderr }))
  })
}

/** Runs a command that goes on until Ctrl-C. */
export function startCli(t: Test, args: readonly string[], env: Readonly<Record<string, string | undefined>>) {
  const child = start(args, env)
  const lines: string[] = []
  createInterface(child.stdout).on('line', (line) => lines.push(line))
  let stderr = ''
  child.stderr.on('data', (text: string) => (stderr += text))
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  t.teardown(() => {
    child.kill('SIGKILL')
    return ended
  })
  return {
    /** Of stdout, so far. */
    lines,
    stderr: () => stderr,
    interrupt: () => {
      child.kill('SIGINT')
      return ended
    },
  }
}

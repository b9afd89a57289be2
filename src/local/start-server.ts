import { mkdirSync, readFileSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { PipelineError } from '../base/errors.ts'
import { recordChild } from './data-dir.ts'
import type { Component } from './components.ts'
import { findServer } from './find.ts'
import { poll } from './process.ts'
import { supervise, type Supervised } from './supervisor.ts'

export interface StartOptions {
  /** Everything of the server goes here: rendered configuration, data, logs/. */
  dataDir: string
  /** 0 for a free one; otherwise the port of the file in deploy/. */
  port?: number
  /** The server's binary; otherwise it is looked for, see `findServer`. */
  binary?: string
  onProgress?: (message: string) => void
  /** What to do about a port that is taken, beside stopping its holder. */
  portRemedy?: string
  /** It had died and runs again, on the same port and data. @param why how it ended, and where its log is */
  onRestarted?: (pid: number, why: string) => void
}

export interface LocalServer extends Supervised {
  readonly url: string
  readonly port: number
}

const startTimeoutMs = 60_000
const quotedLines = 10

/**
 * Starts a server under supervision and waits until it answers.
 * @throws PipelineError COMPONENT_MISSING, COMPONENT_VERSION, COMPONENT_START
 */
export async function startServer(
  component: Component,
  options: StartOptions & { args: string[]; env?: NodeJS.ProcessEnv; isReady: () => Promise<boolean> },
): Promise<Supervised> {
  const { dataDir } = options
  const { path: command } = await findServer(component, {
    ...(options.binary !== undefined && { explicitPath: options.binary }),
    ...(options.onProgress && { onProgress: options.onProgress }),
  })
  mkdirSync(join(dataDir, 'logs'), { recursive: true })
  const logFile = join(dataDir, 'logs', `${component.name}.log`)
  const logStart = statSync(logFile, { throwIfNoEntry: false })?.size ?? 0

  let failure: string | undefined
  let how = ''
  const server = supervise({
    command,
    args: options.args,
    env: { ...options.env, ...process.env },
    logFile,
    onSpawn: ({ pid }) => {
      if (pid !== undefined) recordChild(dataDir, component.name, pid)
    },
    onExit: (exit) => {
      how = exit.error?.message ?? exit.signal ?? `exit code ${exit.code}`
      failure ??= exit.error ? how : `it ended with ${how}`
    },
    onRestarted: (pid) => options.onRestarted?.(pid, `${how}; its log is ${logFile}`),
  })
  const answered = await poll(startTimeoutMs, async () => failure !== undefined || (await options.isReady()))
  if (answered && failure === undefined) return server
  await server.stop(0)
  const log = readFileSync(logFile).subarray(logStart).toString().trim().split('\n').slice(-quotedLines)
  throw new PipelineError(
    'COMPONENT_START',
    `${component.name} (${command}) did not start: ${failure ?? `no answer within ${startTimeoutMs / 1000} s`}\n${log.join('\n')}`.trim(),
  )
}

const answerTimeoutMs = 1_000

/**
 * Sends text to a port of 127.0.0.1.
 * @returns what came back, up to the end or until it is enough; what there is when the connection fails
 */
export function ask(port: number, request: string, isEnough?: (answer: string) => boolean): Promise<string> {
  return new Promise((resolve) => {
    let answer = ''
    const socket = connect(port, '127.0.0.1', () => socket.write(request))
    socket.setEncoding('utf8')
    socket.setTimeout(answerTimeoutMs, () => socket.destroy())
    socket.on('data', (text: string) => {
      answer += text
      if (isEnough?.(answer)) socket.destroy()
    })
    socket.on('error', () => socket.destroy())
    socket.on('close', () => resolve(answer))
  })
}

/** Replaces parts of a configuration file of deploy/, each of which must be there once. */
export function renderConfig(text: string, replacements: readonly (readonly [from: string, to: string])[]): string {
  return replacements.reduce((rendered, [from, to]) => {
    const parts = rendered.split(`\n${from}\n`)
    if (parts.length !== 2)
      throw new PipelineError('CONFIG_INVALID', `the configuration must have one line \`${from}\``)
    return parts.join(`\n${to}\n`)
  }, text)
}

export function readDeployFile(name: string): string {
  return readFileSync(new URL(`../../deploy/${name}`, import.meta.url), 'utf8')
}

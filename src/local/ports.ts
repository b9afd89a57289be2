import { readFileSync, readdirSync, readlinkSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { PipelineError } from '../base/errors.ts'
import { commandOf, run } from './process.ts'

function listenOnce(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => {
      const { port: bound } = server.address() as AddressInfo
      server.close(() => resolve(bound))
    })
  })
}

/** Below those that systems give to outgoing connections, which would take one between our look and its use. */
const freePortMin = 15_000
const freePortMax = 32_000
let nextFreePort = freePortMin + Math.floor(Math.random() * (freePortMax - freePortMin))

/**
 * A TCP port of 127.0.0.1 that nobody listened on a moment ago. They come one after the other from a random one on: no
 * process gives one out twice, and two processes seldom meet.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = nextFreePort
    nextFreePort = port + 1 < freePortMax ? port + 1 : freePortMin
    if (!(await isPortTaken(port))) return port
  }
}

export async function isPortTaken(port: number): Promise<boolean> {
  try {
    await listenOnce(port)
    return false
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return true
    throw error
  }
}

/** @returns the process that listens on a TCP port, undefined when there is none or it cannot be seen */
export async function portHolder(port: number): Promise<{ pid: number; command: string } | undefined> {
  const pid = process.platform === 'linux' ? listenerOnLinux(port) : await listenerByLsof(port)
  return pid === undefined ? undefined : { pid, command: commandOf(pid) }
}

function listenerOnLinux(port: number): number | undefined {
  const listening = '0A'
  const portHex = port.toString(16).toUpperCase().padStart(4, '0')
  const sockets = new Set<string>()
  for (const file of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of attempt(() => readFileSync(file, 'utf8'), '').split('\n')) {
      const [, local, , state, , , , , , inode] = line.trim().split(/\s+/)
      if (state === listening && local?.endsWith(`:${portHex}`)) sockets.add(`socket:[${inode}]`)
    }
  }
  if (sockets.size === 0) return undefined
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  const holder = pids.find((pid) =>
    // Other users' processes, and those that end meanwhile, cannot be read.
    attempt(() => readdirSync(`/proc/${pid}/fd`), []).some((fd) =>
      sockets.has(attempt(() => readlinkSync(`/proc/${pid}/fd/${fd}`), '')),
    ),
  )
  return holder === undefined ? undefined : Number(holder)
}

async function listenerByLsof(port: number): Promise<number | undefined> {
  try {
    const found = /^p(\d+)/m.exec(await run('lsof', ['-nP', `-iTCP:${port}`, '-sTCP:LISTEN', '-Fp']))
    return found ? Number(found[1]) : undefined
  } catch {
    return undefined
  }
}

function attempt<T>(action: () => T, otherwise: T): T {
  try {
    return action()
  } catch {
    return otherwise
  }
}

/** The error for a taken port. @param remedy what the user can do, e.g. `choose another with --port` */
export async function portInUse(port: number, remedy: string): Promise<PipelineError> {
  const holder = await portHolder(port)
  const by = holder ? `pid ${holder.pid} (${holder.command})` : 'an unknown process'
  return new PipelineError('PORT_IN_USE', `port ${port} is in use by ${by}: stop it, or ${remedy}`)
}

const attemptsMax = 5

/**
 * Starts something on ports, where 0 asks for a free one. As a free port may be gone before the server binds it, a
 * start that failed beside a taken port is repeated with others.
 * @throws PipelineError PORT_IN_USE when a port that was asked for by number is taken
 */
export async function withPorts<T>(
  wanted: readonly number[],
  remedy: string,
  start: (ports: number[]) => Promise<T>,
): Promise<T> {
  for (let attempts = 1; ; attempts += 1) {
    const ports: number[] = []
    for (const port of wanted) {
      if (port !== 0 && (await isPortTaken(port))) throw await portInUse(port, remedy)
      ports.push(port === 0 ? await freePort() : port)
    }
    try {
      return await start(ports)
    } catch (error) {
      const taken = await Promise.all(ports.map(isPortTaken))
      if (attempts === attemptsMax || !taken.includes(true)) throw error
    }
  }
}

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { startStack } from '../src/cli/stack.ts'
import type { Layout } from '../src/cli/stack-layout.ts'
import { startNats } from '../src/local/start-nats.ts'
import { settingsFrom } from '../src/runtime/config.ts'
import { connectNats } from '../src/runtime/nats.ts'
import { hops, makeBareStreams } from './bare-chain.ts'
import type { Target } from './load-generator.ts'
import { mergeByPid, type NamedProcess } from './processes.ts'
import type { Session } from './session.ts'

/** What load is put on, on servers and in a folder of its own. */
export interface System {
  readonly target: Target
  readonly processes: readonly NamedProcess[]
  stop(): Promise<void>
}

export interface Pipeline extends System {
  readonly urls: { readonly gateway: string; readonly risk: string }
}

/** The whole stack as `up` starts it, on free ports. */
export async function startPipeline(session: Session, layout: Layout): Promise<Pipeline> {
  const starting = startStack({
    dataDir: session.folder(),
    layout,
    settings: settingsFrom({ ...process.env, NATS_URL: '', REDIS_URL: '' }),
    ports: 'free',
    signal: session.signal,
    onProgress: () => undefined,
    onRestarted: ({ name }) => {
      throw new Error(`${name} died during the benchmark`)
    },
  })
  const stop = session.own(async () => (await starting.catch(() => undefined))?.stop())
  const { urls, processes } = await starting
  return {
    target: { natsUrl: urls.nats, answers: 'executions' },
    processes: mergeByPid(processes),
    urls,
    stop,
  }
}

/** Three pass-through consumers on a nats-server as `up` starts it. */
export async function startBareChain(session: Session, layout: Layout): Promise<System> {
  const children: ChildProcess[] = []
  const starting = startNats({ dataDir: session.folder(), port: 0 })
  const stop = session.own(async () => {
    for (const child of children) child.kill('SIGKILL')
    await (await starting.catch(() => undefined))?.stop(2_000)
  })
  const server = await starting
  const nats = await connectNats(server.url, 'bench')
  await makeBareStreams(nats)
  await nats.close()
  const numbers = hops.map((_, index) => String(index + 1))
  const shares = layout === 'compact' ? [numbers] : numbers.map((number) => [number])
  const processes: NamedProcess[] = [{ name: 'nats-server', pid: server.pid ?? 0 }]
  for (const share of shares) {
    const child = fork(new URL('./bare-chain.ts', import.meta.url), [server.url, ...share])
    children.push(child)
    processes.push({ name: share.map((number) => `hop-${number}`).join('+'), pid: child.pid ?? 0 })
    const gone = once(child, 'exit').then(() => Promise.reject(new Error('a process of the bare chain ended')))
    await Promise.race([once(child, 'message'), gone])
    gone.catch(() => undefined)
  }
  return { target: { natsUrl: server.url, answers: { stream: 'HOP_3' } }, processes, stop }
}

import { join } from 'node:path'
import type { ChildProcess } from 'node:child_process'
import type { Test } from 'tap'
import { utf8FromText } from '../../src/base/json.ts'
import { freePort } from '../../src/local/ports.ts'
import { supervise, type Supervised } from '../../src/local/supervisor.ts'
import { AckedPublisher } from '../../src/runtime/acks.ts'
import { CommandPublisher } from '../../src/runtime/command-publisher.ts'
import type { Nats } from '../../src/runtime/nats.ts'
import { orderFlow } from '../../src/cli/order-flow.ts'
import type { WorkerName } from '../../src/subjects/contract.ts'
import { connectTestNats, startTestNats, until } from './stack.ts'
import { tempDir } from './temp-dir.ts'

const mainFile = new URL('../../src/cli/main.ts', import.meta.url).pathname

export interface WorkerProcess extends Supervised {
  readonly name: string
  readonly ports: Readonly<Partial<Record<WorkerName, number>>>
  readonly logFile: string
  /** How often it was started again. */
  restarts(): number
}

/** A process of workers as `up` runs it: started again when it dies. */
export async function startWorkerChild(
  t: Test,
  natsUrl: string,
  workers: readonly WorkerName[],
  options: { instance?: string; env?: Record<string, string>; mainFile?: string; storeDir?: string } = {},
): Promise<WorkerProcess> {
  const name = workers.join('+')
  const ports: Partial<Record<WorkerName, number>> = {}
  for (const worker of workers) ports[worker] = await freePort()
  const logFile = join(tempDir(t), `${name}.log`)
  let restarts = 0
  let started = false
  const child = supervise({
    command: process.execPath,
    args: [
      options.mainFile ?? mainFile,
      'worker',
      ...workers,
      '--instance',
      options.instance ?? `test-${workers.join('_')}`,
      ...(options.storeDir === undefined ? [] : ['--store-dir', options.storeDir]),
      ...Object.entries(ports).flatMap(([worker, port]) => ['--port', `${worker}=${port}`]),
    ],
    env: {
      ...process.env,
      NATS_URL: natsUrl,
      LOG_LEVEL: 'info',
      STREAMS_MAX_BYTES: String(512 * 2 ** 20),
      ...options.env,
    },
    logFile,
    ipc: true,
    onSpawn: (spawned: ChildProcess) => spawned.on('message', () => (started = true)),
    onRestarted: () => (restarts += 1),
  })
  t.teardown(() => child.stop(5_000))
  await until(`${name} to start`, () => started, 20_000)
  return Object.assign(child, { name, ports, logFile, restarts: () => restarts })
}

/** Sends commands of the order flow, `rate` a second, until `stop()`; every one is stored exactly once. */
export function startFlow(
  t: Test,
  nats: Nats,
  options: { seed: number; ratePerSecond: number },
): {
  stop(): Promise<number>
} {
  const publisher = new AckedPublisher(nats.connection, 1_000)
  const sender = new CommandPublisher(nats, publisher)
  const commands = orderFlow(options.seed, `flow-${options.seed}`)
  const pending = new Set<Promise<void>>()
  const startedMs = Date.now()
  let sent = 0
  const send = () => {
    const due = Math.floor(((Date.now() - startedMs) * options.ratePerSecond) / 1_000)
    while (sent < due && pending.size < 1_000) {
      const next = commands.next()
      if (next.done) return
      const { kind, account, body } = next.value
      sent += 1
      const command = { kind, account, body: utf8FromText(body), isPatient: true }
      const one = sender.publish(command, Date.now() + 60_000).then((ack) => {
        if (ack.outcome !== 'stored') t.fail(`a command was not stored: ${JSON.stringify(ack)}`)
        pending.delete(one)
      })
      pending.add(one)
    }
  }
  const timer = setInterval(send, 5)
  return {
    stop: async () => {
      clearInterval(timer)
      await Promise.all(pending)
      publisher.close()
      return sent
    },
  }
}

/** Waits until every command has an answer and POSITIONS has seen it. */
export async function settled(nats: Nats, timeoutMs = 30_000): Promise<void> {
  await until(
    'the pipeline to settle',
    async () => {
      const info = async (stream: string) => (await nats.jsm.streams.info(stream)).state.last_seq
      const orders = await info('ORDERS')
      const last = async (stream: string, header: string, query: { seq: number } | { last_by_subj: string }) => {
        const message = await nats.jsm.streams.getMessage(stream, query).catch(() => null)
        return message ? Number(message.header.get(header)) : 0
      }
      const risk = await info('RISK')
      const executions = await info('EXECUTIONS')
      if ((await last('RISK', 'In-Seq', { seq: risk })) < orders) return false
      if (!(await coversRisk(nats, executions, risk))) return false
      const watermark = await nats.jsm.streams
        .getMessage('POSITIONS', { last_by_subj: 'positions._watermark' })
        .catch(() => null)
      return (watermark?.json<{ executionsSeq: number }>().executionsSeq ?? 0) >= executions
    },
    timeoutMs,
  )
}

/** The matcher is done when its last output comes from the last message of RISK that holds records. */
async function coversRisk(nats: Nats, executions: number, risk: number): Promise<boolean> {
  const last = await nats.jsm.streams.getMessage('EXECUTIONS', { seq: executions }).catch(() => null)
  const inSeq = last ? Number(last.header.get('In-Seq')) : 0
  for (let sequence = risk; sequence > inSeq; sequence -= 1) {
    const message = await nats.jsm.streams.getMessage('RISK', { seq: sequence })
    if (
      (message?.json<{ records: { type: string }[] }>().records ?? []).some(
        ({ type }) => type !== 'limits' && type !== 'halt',
      )
    )
      return false
  }
  return true
}

/** The chain in a process, and three doors in one each. */
export async function startDoors(t: Test) {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const chain = startWorkerChild(t, server.url, ['risk-gate', 'oms-matcher', 'pnl-updater', 'tape'])
  const doors = await Promise.all(
    ['one', 'two', 'three'].map((instance) => startWorkerChild(t, server.url, ['gateway'], { instance })),
  )
  await chain
  return { nats, doors, ports: doors.map(({ ports }) => ports.gateway ?? 0) }
}

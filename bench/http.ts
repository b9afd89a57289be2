import { fork } from 'node:child_process'
import type { Layout } from '../src/cli/stack-layout.ts'
import { connectNats } from '../src/runtime/nats.ts'
import { readStream } from '../src/runtime/reader.ts'
import type { HttpLoadOutcome, HttpLoadSpec } from './http-load.ts'
import { watchProcesses } from './processes.ts'
import { percentileFigures, type Round, type Row, rowOf } from './rows.ts'
import type { Session } from './session.ts'
import { type Pipeline, startPipeline } from './systems.ts'

interface HttpOptions {
  readonly layouts: readonly Layout[]
  readonly rounds: number
  /** Of a round. */
  readonly requests: number
}

/** The requests of the load script of the system before this one, all at once. */
const burstRequests = 1_000

const loads: readonly {
  readonly load: string
  readonly unit: string
  readonly spec: (requests: number) => Pick<HttpLoadSpec, 'connections' | 'pace' | 'requests'>
}[] = [
  {
    load: '1 connection',
    unit: 'postP50Ms',
    spec: (requests) => ({ connections: 1, pace: 'closed', requests: Math.ceil(requests / 10) }),
  },
  {
    load: '50 connections',
    unit: 'requestsPerSecond',
    spec: (requests) => ({ connections: 50, pace: 'closed', requests }),
  },
  { load: '1000/s', unit: 'postP50Ms', spec: (requests) => ({ connections: 50, pace: 1_000, requests }) },
  {
    load: `${burstRequests} at once`,
    unit: 'requestsPerSecond',
    spec: () => ({ connections: burstRequests, pace: 'at once', requests: burstRequests }),
  },
]

/** `POST /orders` of a whole stack; every answer names an order whose report is stored. */
export async function httpBench(session: Session, { layouts, rounds, requests }: HttpOptions): Promise<Row[]> {
  const rows: Row[] = []
  for (const layout of layouts) {
    session.onProgress(`http ${layout}: start`)
    const stack = await startPipeline(session, layout)
    const url = `${stack.urls.gateway}/orders`
    const post = (load: ReturnType<(typeof loads)[number]['spec']>, seed: number) =>
      runHttpLoad(session, { ...load, url, method: 'POST', seed })
    await post({ connections: 50, pace: 'closed', requests }, 1)
    const measured = loads.map((load) => ({ ...load, rounds: [] as Round[] }))
    for (let round = 1; round <= rounds; round += 1)
      for (const { load, spec, rounds: own } of measured) {
        session.onProgress(`http ${layout}, ${load}, round ${round} of ${rounds}`)
        const watched = watchProcesses(stack.processes)
        const outcome = await post(spec(requests), round + 1)
        const { cpuPercentTotal, rssMbTotal } = watched()
        const missing = await withoutReport(stack, outcome.orderNumbers)
        if (missing.length > 0) throw new Error(`orders without a stored report: ${missing.slice(0, 5).join(' ')} …`)
        own.push({
          ...httpFigures(outcome, 'post'),
          orders: outcome.orderNumbers.length,
          cpuPercent: cpuPercentTotal,
          rssMb: rssMbTotal,
        })
      }
    for (const { load, unit, rounds: own } of measured) rows.push(rowOf({ scenario: 'http', layout, load }, unit, own))
    await stack.stop()
  }
  return rows
}

/** @param what the name of the request in the figures */
export function httpFigures(outcome: HttpLoadOutcome, what: string): Round {
  const { seconds, statuses, latencyMs, clientCpuUs } = outcome
  const requests = Object.values(statuses).reduce((sum, count) => sum + count, 0)
  return {
    requests,
    seconds,
    requestsPerSecond: requests / seconds,
    successPercent: ((statuses['200'] ?? 0) / requests) * 100,
    ...percentileFigures(what, latencyMs),
    clientCpuUs,
  }
}

/** Puts the load on from a process of its own. @throws Error when a connection fails */
export async function runHttpLoad(session: Session, spec: HttpLoadSpec): Promise<HttpLoadOutcome> {
  const child = fork(new URL('./http-load.ts', import.meta.url))
  const stop = session.own(() => void child.kill('SIGKILL'))
  try {
    return await new Promise((resolve, reject) => {
      child.once('message', (answer: { outcome: HttpLoadOutcome } | { failed: string }) => {
        if ('outcome' in answer) resolve(answer.outcome)
        else reject(new Error(`${spec.method} ${spec.url}: ${answer.failed}`))
      })
      child.once('exit', () => reject(new Error('the load generator ended')))
      child.send(spec)
    })
  } finally {
    await stop()
  }
}

/** Orders that no message of EXECUTIONS answers. */
async function withoutReport({ target }: Pipeline, orderNumbers: readonly number[]): Promise<number[]> {
  const nats = await connectNats(target.natsUrl, 'bench')
  try {
    const unanswered = new Set(orderNumbers)
    const last = (await nats.jsm.streams.info('EXECUTIONS')).state.last_seq
    for await (const { srcSeq } of readStream(nats, 'EXECUTIONS', 1, last)) unanswered.delete(srcSeq ?? 0)
    return [...unanswered]
  } finally {
    await nats.close()
  }
}

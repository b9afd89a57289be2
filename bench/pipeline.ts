import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Load, type LoadResult } from '../src/cli/load.ts'
import { orderFlow } from '../src/cli/order-flow.ts'
import { type Layout, type Stack, startStack } from '../src/cli/stack.ts'
import { settingsFrom } from '../src/runtime/config.ts'
import { connectNats } from '../src/runtime/nats.ts'
import { median } from './statistics.ts'

/** One layout: what a real stack does with the demo's order flow, load generator and servers on the same machine. */
export interface PipelineRow {
  readonly scenario: 'pipeline'
  readonly layout: Layout
  readonly rounds: number
  /** Commands answered a second at full speed. */
  readonly median: number
  readonly min: number
  readonly max: number
  readonly unit: 'ordersPerSecond'
  /** At 1,000 commands a second: from the moment one was due to its stored report. */
  readonly reportP50Ms: number
  readonly reportP99Ms: number
  readonly reportP999Ms: number
  /** … and to the watermark of POSITIONS that covers it. */
  readonly positionP50Ms: number
  readonly positionP99Ms: number
  /** POST /orders, one connection, one after the other. */
  readonly postP50Ms: number
  readonly postP99Ms: number
  /** At 5,000 commands a second. */
  readonly report5000P50Ms: number
  readonly report5000P99Ms: number
  /** Resident memory of all processes, servers included, at the end of that. */
  readonly stackRssMb: number
  readonly rssMb: Readonly<Record<string, number>>
  /** CPU of a core that the whole stack used at 1,000 commands a second, percent. */
  readonly stackCpuPercent: number
}

const openRate = 1_000
const highRate = 5_000

export async function pipelineBench(options: {
  layouts: readonly Layout[]
  rounds: number
  /** Commands of a round at full speed. */
  orders: number
  /** How long a round at the fixed rate takes. */
  seconds: number
  onProgress: (message: string) => void
}): Promise<PipelineRow[]> {
  const measured = new Map<Layout, Round[]>(options.layouts.map((layout) => [layout, []]))
  for (let round = 1; round <= options.rounds; round += 1)
    for (const layout of options.layouts) {
      options.onProgress(`round ${round} of ${options.rounds}, ${layout}`)
      measured.get(layout)?.push(await measure(layout, round, options))
    }
  return Array.from(measured, ([layout, rounds]) => rowOf(layout, rounds))
}

interface Round {
  readonly open: LoadResult
  readonly high: LoadResult
  readonly full: LoadResult
  readonly postMs: readonly number[]
  readonly rssMb: Readonly<Record<string, number>>
  readonly cpuPercent: number
}

async function measure(layout: Layout, seed: number, options: { orders: number; seconds: number }): Promise<Round> {
  const dataDir = mkdtempSync(join(tmpdir(), 'trade2026-bench-'))
  const stack = await startStack({
    dataDir,
    layout,
    settings: settingsFrom({ ...process.env, NATS_URL: '', REDIS_URL: '' }),
    ports: 'free',
    onProgress: () => undefined,
    onRestarted: (name) => {
      throw new Error(`${name} died during the benchmark`)
    },
  })
  try {
    const warmUp = await drive(stack, `w${seed}`, 3_000, openRate)
    if (warmUp.answered < 3_000) throw new Error(`only ${warmUp.answered} of 3,000 commands were answered`)
    const pids = [...new Set(stack.processes.map(({ pid }) => pid))]
    const cpuBefore = cpuSeconds(pids)
    const startedMs = performance.now()
    const open = await drive(stack, `o${seed}`, openRate * options.seconds, openRate)
    const cpuPercent = ((cpuSeconds(pids) - cpuBefore) / (performance.now() - startedMs)) * 100_000
    const postMs = await posts(stack.urls.gateway, 500)
    const high = await drive(stack, `h${seed}`, highRate * options.seconds, highRate)
    const rssMb = Object.fromEntries(
      pids.map((pid) => [
        stack.processes
          .filter((process) => process.pid === pid)
          .map(({ name }) => name)
          .join('+'),
        residentMb(pid),
      ]),
    )
    const full = await drive(stack, `m${seed}`, options.orders, 'max')
    return { open, high, full, postMs, rssMb, cpuPercent }
  } finally {
    await stack.stop()
    rmSync(dataDir, { recursive: true, force: true })
  }
}

async function drive(stack: Stack, run: string, count: number, rate: number | 'max'): Promise<LoadResult> {
  const nats = await connectNats(stack.urls.nats, 'bench')
  const load = new Load(nats)
  try {
    await load.open((error) => {
      throw error
    })
    return await load.run(orderFlow(count, run), count, rate)
  } finally {
    await load.close()
    await nats.close()
  }
}

async function posts(gateway: string, count: number): Promise<number[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const body = JSON.stringify({
    account: 'bench',
    symbol: 'BTCUSDT',
    side: 'buy',
    order_type: 'LIMIT',
    quantity: 0.001,
    price: 30_000,
  })
  const latenciesMs: number[] = []
  for (let index = 0; index < count; index += 1) {
    const startedMs = performance.now()
    await post(`${gateway}/orders`, body, agent)
    latenciesMs.push(performance.now() - startedMs)
  }
  agent.destroy()
  return latenciesMs.slice(count / 10)
}

function post(url: string, body: string, agent: Agent): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
    const sent = request(url, { method: 'POST', agent, headers }, (response) => {
      response.resume()
      response.on('end', () => {
        if (response.statusCode === 200) resolve()
        else reject(new Error(`POST answered ${String(response.statusCode)}`))
      })
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

function rowOf(layout: Layout, rounds: readonly Round[]): PipelineRow {
  const full = rounds.map((round) => round.full.ordersPerSecond)
  const middle = (of: (round: Round) => number) => Number(median(rounds.map(of)).toFixed(3))
  const percentile = (values: readonly number[], share: number) =>
    [...values].sort((a, b) => a - b)[Math.floor(share * (values.length - 1))] ?? 0
  const sum = (values: Readonly<Record<string, number>>) => Object.values(values).reduce((total, mb) => total + mb, 0)
  return {
    scenario: 'pipeline',
    layout,
    rounds: rounds.length,
    median: median(full),
    min: Math.min(...full),
    max: Math.max(...full),
    unit: 'ordersPerSecond',
    reportP50Ms: middle(({ open }) => open.latencyMs.report.p50),
    reportP99Ms: middle(({ open }) => open.latencyMs.report.p99),
    reportP999Ms: middle(({ open }) => open.latencyMs.report.p999),
    positionP50Ms: middle(({ open }) => open.latencyMs.position.p50),
    positionP99Ms: middle(({ open }) => open.latencyMs.position.p99),
    postP50Ms: middle(({ postMs }) => percentile(postMs, 0.5)),
    postP99Ms: middle(({ postMs }) => percentile(postMs, 0.99)),
    report5000P50Ms: middle(({ high }) => high.latencyMs.report.p50),
    report5000P99Ms: middle(({ high }) => high.latencyMs.report.p99),
    stackRssMb: middle(({ rssMb }) => sum(rssMb)),
    rssMb: rounds[rounds.length - 1]?.rssMb ?? {},
    stackCpuPercent: middle(({ cpuPercent }) => cpuPercent),
  }
}

/** User and system time of processes so far; Linux only, 0 elsewhere. */
function cpuSeconds(pids: readonly number[]): number {
  const ticksPerSecond = 100
  let ticks = 0
  for (const pid of pids) {
    const fields = (readProc(`/proc/${pid}/stat`).split(') ')[1] ?? '').split(' ')
    ticks += Number(fields[11] ?? 0) + Number(fields[12] ?? 0)
  }
  return ticks / ticksPerSecond
}

function residentMb(pid: number): number {
  return Math.round(Number(/VmRSS:\s+(\d+) kB/.exec(readProc(`/proc/${pid}/status`))?.[1] ?? 0) / 1_024)
}

function readProc(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

import { statSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { messageOf } from '../base/errors.ts'
import { parseOwnJson, textFromUtf8 } from '../base/json.ts'
import { readChildren } from '../local/data-dir.ts'
import { readIfThere } from '../local/lock.ts'
import { isRunning, type ProcessId } from '../local/process.ts'
import { watchProcesses } from '../local/usage.ts'
import type { Nats } from '../runtime/nats.ts'
import { createLog } from '../runtime/log.ts'
import { storedMessage } from '../runtime/position.ts'
import { readLatest } from '../runtime/reader.ts'
import { StreamMonitor } from '../runtime/stream-monitor.ts'
import type { HealthEntry } from '../schemas/health.ts'
import type { Settings } from '../schemas/settings.ts'
import { executionsSubject } from '../subjects/names.ts'
import { doctorFlow, type DoctorName } from './doctor-flow.ts'
import { errorsLogged } from './doctor-logs.ts'
import { readLag } from './lag-reading.ts'
import { Load, type LoadResult } from './load.ts'

/** One line of the checklist. */
export interface Check {
  /** What was measured, with its unit. */
  readonly name: string
  readonly about: string
  readonly ok: boolean
  /** null when it could not be measured; `detail` says why. */
  readonly measured: number | null
  /** What is wanted: less than, or at least. */
  readonly limit: number
  readonly wanted: 'below' | 'at least' | 'at most'
  readonly detail: string
}

type Wanted = Check['wanted']

export function check(
  name: string,
  about: string,
  wanted: Wanted,
  limit: number,
  measured: number | null,
  detail = '',
): Check {
  const isMet = (value: number) =>
    wanted === 'below' ? value < limit : wanted === 'at most' ? value <= limit : value >= limit
  return { name, about, ok: measured !== null && isMet(measured), measured, limit, wanted, detail }
}

const settleMs = 1_000

/** The workers by their own word and by their lag, as `lag` says it. */
export async function checkServices(nats: Nats, settings: Settings): Promise<Check> {
  const monitor = new StreamMonitor(nats, createLog('doctor', settings.LOG_LEVEL))
  try {
    await monitor.refresh()
    await new Promise((resolve) => setTimeout(resolve, settleMs))
    await monitor.refresh()
    const { workers, reasons } = await readLag(nats, monitor, settings)
    const bad = workers.filter(({ status }) => status !== 'healthy').length
    const detail = reasons.length > 0 ? reasons.join('; ') : workers.map(({ worker }) => worker).join(', ')
    return check('servicesNotHealthy', 'all services healthy', 'at most', 0, bad, detail)
  } finally {
    monitor.stop()
  }
}

const rate = 100
const burst = 2_000

/** 100 commands a second, and then as many as it takes. */
export async function checkOrders(
  nats: Nats,
  name: DoctorName,
  seconds: number,
  dataDir: string,
  signal: AbortSignal,
): Promise<Check[]> {
  const flow = doctorFlow(name)
  const run = async (count: number, ratePerSecond: number | 'max') => {
    const load = new Load(nats)
    const end = () => void load.close()
    signal.addEventListener('abort', end)
    try {
      await load.open(() => undefined)
      return await load.run(flow, count, ratePerSecond)
    } finally {
      signal.removeEventListener('abort', end)
      await load.close()
    }
  }
  await run(rate, rate)
  const processes = await processesOf(nats, dataDir)
  const usageOf = watchProcesses(typeof processes === 'string' ? [] : processes)
  const steady = await run(rate * seconds, rate)
  const { cpuPercentTotal, rssMbTotal } = usageOf()
  const most = await run(burst, 'max')
  const { report } = steady.latencyMs
  const cores = availableParallelism()
  const answered = (found: Check, { sent, answered }: LoadResult) =>
    sent === answered
      ? found
      : { ...found, ok: false, detail: `${sent - answered} of ${sent} not answered; ${found.detail}` }
  const missing = typeof processes === 'string' ? processes : undefined
  return [
    answered(
      check(
        'orderP50Ms',
        'order to stored report, P50, ms',
        'below',
        10,
        report.p50,
        `at ${rate} a second for ${seconds} s; P90 ${report.p90}, P99 ${report.p99}`,
      ),
      steady,
    ),
    answered(
      check(
        'ordersPerSecond',
        'orders a second',
        'at least',
        rate,
        most.ordersPerSecond,
        `${burst} as fast as they are taken`,
      ),
      most,
    ),
    check(
      'memoryMb',
      'memory of all processes, MB',
      'below',
      4_000,
      missing === undefined ? Math.round(rssMbTotal) : null,
      missing ?? `${processes.length} processes, at its highest`,
    ),
    check(
      'cpuPercent',
      'CPU of all processes, % of the machine',
      'below',
      50,
      missing === undefined ? Number((cpuPercentTotal / cores).toFixed(1)) : null,
      missing ?? `of ${cores} cores, at ${rate} orders a second`,
    ),
  ]
}

/** Processes of a stack on this machine. @returns why they are not known, as text */
async function processesOf(nats: Nats, dataDir: string): Promise<{ name: string; pid: number }[] | string> {
  const children = Object.entries(readChildren(dataDir)).filter(([, child]) => isRunning(child))
  const workers = new Set<number>()
  for (const { data } of (await readLatest(nats, 'KV_HEALTH', '$KV.HEALTH.>')).values())
    if (data.length > 0) workers.add((parseOwnJson(textFromUtf8(data)) as HealthEntry).pid)
  if (!children.some(([, { pid }]) => workers.has(pid))) return notItsFolder(dataDir)
  const holder = holderOf(dataDir)
  return [...children.map(([name, { pid }]) => ({ name, pid })), ...(holder ? [{ name: 'up', pid: holder.pid }] : [])]
}

function notItsFolder(dataDir: string): string {
  return `not measured: ${dataDir} is not the data folder of this stack; name it with --data-dir`
}

function holderOf(dataDir: string): ProcessId | undefined {
  const text = readIfThere(join(dataDir, 'lock'))
  const holder = text === undefined ? undefined : (parseOwnJson(text) as ProcessId)
  return holder && isRunning(holder) ? holder : undefined
}

const checks = 500
const checksBefore = 100

/** `POST /check`, one after the other. */
export async function checkRisk(url: string, { account, symbol }: DoctorName, signal: AbortSignal): Promise<Check> {
  const about = 'risk check, P50, ms'
  const body = JSON.stringify({ account, symbol, side: 'buy', ordType: 'LIMIT', quantity: 1, price: 1 })
  const request = { method: 'POST', headers: { 'content-type': 'application/json' }, body, signal }
  const tookMs: number[] = []
  try {
    for (let count = 0; count < checksBefore + checks; count += 1) {
      const startMs = performance.now()
      const answer = await fetch(`${url}/check`, request)
      const text = await answer.text()
      if (!answer.ok) throw new Error(`${answer.status} ${text.slice(0, 200)}`)
      if (count >= checksBefore) tookMs.push(performance.now() - startMs)
    }
  } catch (error) {
    if (signal.aborted) throw error
    const why = messageOf(error instanceof Error ? (error.cause ?? error) : error)
    return check('riskP50Ms', about, 'below', 1.5, null, `${url}/check: ${why}; name the risk-gate with --risk-url`)
  }
  tookMs.sort((a, b) => a - b)
  const at = (share: number) => Number((tookMs[Math.floor(tookMs.length * share)] ?? 0).toFixed(3))
  return check(
    'riskP50Ms',
    about,
    'below',
    1.5,
    at(0.5),
    `${checks} one after the other; P90 ${at(0.9)}, P99 ${at(0.99)}`,
  )
}

/** Errors since the stack on a data folder was started. */
export function checkLogs(dataDir: string): Check {
  const about = 'errors in logs'
  const sinceMs = holderOf(dataDir) ? statSync(join(dataDir, 'lock')).mtimeMs : undefined
  if (sinceMs === undefined) return check('logErrors', about, 'at most', 0, null, notItsFolder(dataDir))
  const errors = errorsLogged(dataDir, sinceMs)
  const [first] = errors
  const since = `since ${new Date(sinceMs).toISOString().slice(0, 19)}Z`
  return check(
    'logErrors',
    about,
    'at most',
    0,
    errors.length,
    first ? `${since}; ${first.file}: ${first.text}` : since,
  )
}

const persisted = ['ORDERS', 'RISK', 'EXECUTIONS', 'POSITIONS'] as const

/** The chain's streams are files, and the orders that the doctor sent are in them. */
export async function checkPersistence(nats: Nats, { symbol }: DoctorName, dataDir: string): Promise<Check> {
  const problems: string[] = []
  for (const stream of persisted) {
    const { config } = await nats.jsm.streams.info(stream)
    if (config.storage !== 'file') problems.push(`${stream} is in memory`)
  }
  const report = await storedMessage(nats.jsm, 'EXECUTIONS', { last_by_subj: executionsSubject(symbol, false) })
  if (!report) problems.push('the reports of the orders that were sent are not in EXECUTIONS')
  return check(
    'streamsNotPersisted',
    'data persisted',
    'at most',
    0,
    problems.length,
    problems.length > 0 ? problems.join('; ') : `${persisted.join(', ')} in files; ${syncOf(dataDir)}`,
  )
}

/** What survives a loss of power is up to the server. */
function syncOf(dataDir: string): string {
  const config = readIfThere(join(dataDir, 'nats.conf'))
  if (config === undefined) return 'how often the server syncs is not known'
  const interval = /^\s*sync_interval:\s*"?(\w+)/m.exec(config)?.[1] ?? '2m'
  return interval === 'always'
    ? 'sync_interval always: survives a loss of power'
    : `sync_interval ${interval}: survives kill -9, of a loss of power all but the last ${interval}`
}

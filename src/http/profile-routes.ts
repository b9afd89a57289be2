import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Session } from 'node:inspector/promises'
import { setImmediate as nextTurn, setTimeout as wait } from 'node:timers/promises'
import { messageOf } from '../base/errors.ts'
import { summaryOf } from './cpu-profile.ts'
import { DoorError, invalidField } from './gateway-answers.ts'

const secondsMax = 60
const secondsDefault = 5
const workloadMax = 1_000_000
/** Orders of a workload between two turns of the event loop: the pipeline goes on meanwhile. */
const ordersPerTurn = 500
const samplingUs = 1_000
/** A workload may be over in a few ms. */
const samplingOfWorkloadUs = 100
const loopback = /^(?:::ffff:)?127\.|^::1$/
/** What a proxy on this machine adds to requests from elsewhere. */
const proxyHeaders = ['forwarded', 'via', 'x-forwarded-for', 'x-forwarded-host', 'x-real-ip']

interface ProfileQuery {
  Querystring: { seconds?: string; workload?: string; format?: string }
}

/** There is one profiler in a process. */
let isRunning = false

/**
 * Adds `GET /debug/profile?seconds=&workload=&format=`: the CPU profile of this process while it goes on, for 1 to 60 s, or
 * while so many orders run on a book of their own. It answers `{seconds, workload, samples, busyMs, idleMs, hottest,
 * profile}`, where `profile` is a .cpuprofile; `format=cpuprofile` gives that alone, as a download. Loopback only.
 */
export function addProfileRoute(app: FastifyInstance): void {
  app.get<ProfileQuery>('/debug/profile', async (request, reply) => {
    checkLoopback(request)
    const { seconds: secondsText, workload: workloadText, format = 'json' } = request.query
    const workload = wholeOf('workload', workloadText, workloadMax)
    const seconds = wholeOf('seconds', secondsText, secondsMax) ?? (workload === undefined ? secondsDefault : 0)
    if (format !== 'json' && format !== 'cpuprofile') throw invalidField('format', 'must be json or cpuprofile')
    if (isRunning) throw new DoorError('PROFILE_RUNNING', 'a profile of this process is being made; one at a time')
    const gone = new AbortController()
    reply.raw.once('close', () => gone.abort())
    const startedMs = performance.now()
    const profile = await profileOf(seconds, workload ?? 0, gone.signal)
    if (format === 'cpuprofile') {
      const name = `trade2026-${process.pid}-${new Date().toISOString().replaceAll(/[:.]/g, '-')}.cpuprofile`
      reply.header('content-disposition', `attachment; filename="${name}"`)
      return profile
    }
    return {
      seconds: Number(((performance.now() - startedMs) / 1_000).toFixed(3)),
      ...(workload === undefined ? {} : { workload }),
      ...summaryOf(profile),
      profile,
    }
  })
}

/** @param gone ends it early */
async function profileOf(seconds: number, workload: number, gone: AbortSignal) {
  const session = new Session()
  isRunning = true
  try {
    session.connect()
    await session.post('Profiler.enable')
    await session.post('Profiler.setSamplingInterval', { interval: workload > 0 ? samplingOfWorkloadUs : samplingUs })
    await session.post('Profiler.start')
    const window = wait(seconds * 1_000, undefined, { signal: gone }).catch(messageOf)
    await runWorkload(workload, gone)
    await window
    return (await session.post('Profiler.stop')).profile
  } finally {
    session.disconnect()
    isRunning = false
  }
}

/** Orders from both sides around one price on a book of their own, which is thrown away. */
async function runWorkload(orders: number, gone: AbortSignal): Promise<void> {
  if (orders === 0) return
  // A door has no book otherwise.
  const { Matcher } = await import('../domain/matcher.ts')
  const { definitionOf } = await import('../schemas/instrument.ts')
  const { encodeReport } = await import('../schemas/execution.ts')
  const definition = definitionOf({ default: {}, instruments: {} }, 'WORKLOAD')
  if (!definition) return
  const matcher = new Matcher()
  matcher.define(definition)
  const timeUs = Date.now() * 1_000
  const transactTime = new Date().toISOString()
  for (let order = 1; order <= orders; order += 1) {
    // Deterministic, and scattered over ten prices a side that overlap by two: some rest, some trade.
    const isBuy = order % 2 === 0
    const away = (order * 7_919) % 10
    const reports = matcher.apply({
      type: 'new',
      cmdSeq: order,
      srcSeq: order,
      timeUs,
      account: `account-${order % 100}`,
      symbol: definition.symbol,
      side: isBuy ? 'BUY' : 'SELL',
      ordType: 'LIMIT',
      timeInForce: 'GTC',
      quantityLots: 1_000 * (1 + (order % 5)),
      priceTicks: 4_500_000 + (isBuy ? 2 - away : away - 2),
    })
    for (const report of reports)
      encodeReport(report, `${order}-1`, '', transactTime, report.order && matcher.instrument(report.order.symbol))
    if (order % ordersPerTurn !== 0) continue
    await nextTurn()
    if (gone.aborted) return
  }
}

/** @throws DoorError LOOPBACK_ONLY unless it comes from this machine, and from no proxy on it */
function checkLoopback({ socket, headers }: FastifyRequest): void {
  const via = proxyHeaders.find((name) => headers[name] !== undefined)
  if (via !== undefined) throw new DoorError('LOOPBACK_ONLY', `profiles are not given through a proxy (header ${via})`)
  if (!loopback.test(socket.remoteAddress ?? ''))
    throw new DoorError('LOOPBACK_ONLY', 'profiles are given to callers on the same machine only')
}

function wholeOf(field: string, text: string | undefined, maximum: number): number | undefined {
  if (text === undefined || text === '') return undefined
  const value = Number(text)
  if (!/^\d{1,9}$/.test(text) || value < 1 || value > maximum)
    throw invalidField(field, `must be a whole number from 1 to ${maximum}`)
  return value
}

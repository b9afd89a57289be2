import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../base/errors.ts'
import { poll } from '../local/process.ts'
import type { TcpProxy } from '../local/tcp-proxy.ts'
import type { Nats } from '../runtime/nats.ts'
import type { WorkerName } from '../subjects/contract.ts'
import { AnswerCount } from './answer-count.ts'
import { FaultInjector } from './chaos-injector.ts'
import { type Fault, faultSchedule } from './chaos-schedule.ts'
import { interrupted } from './interrupt.ts'
import { Latencies, type Percentiles } from './latencies.ts'
import { Load, type LoadResult } from './load.ts'
import { FeedPlayer } from './market-feed.ts'
import { type FlowCommand, orderFlow } from './order-flow.ts'
import type { Stack, StackPart } from './stack.ts'
import { isAtWork } from './stack-workers.ts'
import { verifyAll, type VerifyReport } from './verify.ts'

/** A fault that was met; `null` where recovery did not come in time. */
export interface FaultRecord extends Omit<Fault, 'pauseMs'> {
  /** From 1. */
  readonly number: number
  /** From the first one on. */
  readonly atMs: number
  /** What came of it otherwise than planned. */
  readonly remark: string | null
  /** From the end of the fault until a command that came after it was answered. */
  readonly answeredMs: number | null
  /** Until every worker was at work as well. */
  readonly recoveredMs: number | null
}

export interface ChaosReport {
  readonly ok: boolean
  readonly seed: number
  readonly minutes: number
  readonly layout: string
  readonly faults: readonly FaultRecord[]
  readonly byKind: Readonly<Record<string, { readonly count: number; readonly answeredMs: Percentiles }>>
  /** Stored in ORDERS. */
  readonly commands: number
  readonly answered: number
  /** Stored and not answered. */
  readonly lost: number
  /** Answered more than once. */
  readonly doubled: number
  readonly latencyMs: LoadResult['latencyMs']
  readonly verify: VerifyReport
  readonly problems: readonly string[]
}

/** Ticks and documents for each order. */
const feedShare = 0.25
/** Recovery that takes longer than this has failed. */
const recoveryMaxMs = 120_000
const settleMaxMs = 180_000
/** Before the first fault, so that there is something to lose. */
const warmUpMs = 3_000

interface ChaosRunOptions {
  readonly nats: Nats
  readonly stack: Stack
  /** Between the workers and their server. */
  readonly proxy: TcpProxy
  readonly crashDir: string
  readonly minutes: number
  readonly seed: number
  readonly layout: string
  /** Commands a second. */
  readonly rate: number
  readonly onFault: (record: FaultRecord) => void
}

/** Load and faults on a stack, for some minutes, and what they have left behind. */
export class ChaosRun {
  readonly #options: ChaosRunOptions
  readonly #problems: string[] = []
  readonly #faults: FaultRecord[] = []
  #answers: AnswerCount | undefined

  constructor(options: ChaosRunOptions) {
    this.#options = options
  }

  /** @param tell what is being done */
  async run(tell: (text: string) => void): Promise<ChaosReport> {
    const { nats, seed, minutes, rate, layout } = this.#options
    const onFatal = (error: Error) => this.#problems.push(`cannot follow the answers: ${error.message}`)
    const answers = new AnswerCount(await this.#lastCommand())
    this.#answers = answers
    await answers.follow(nats, onFatal)
    const load = new Load(nats)
    await load.open(onFatal)
    const feed = new FeedPlayer(nats, seed, `chaos-${seed}`)
    const commandsBefore = answers.last
    let isOver = false
    const loading = load.run(
      whileNot(orderFlow(seed, `c${seed}`), () => isOver),
      Infinity,
      rate,
      ({ sent }) => feed.upTo(Math.floor(sent * feedShare)),
    )
    await sleep(warmUpMs)
    await this.#meetFaults()
    isOver = true
    tell('no more faults: waiting until all is settled')
    const { latencyMs, refused } = await loading
    if (refused > 0) this.#problems.push(`${refused} commands were not stored within a minute`)
    await feed.end()
    const commandsLast = await this.#lastCommand()
    if (!(await poll(settleMaxMs, () => answers.last >= commandsLast)))
      this.#problems.push(`ORDERS ends at ${commandsLast}, the answers at ${answers.last}`)
    const awaited = () => load.progress().sent - refused - load.progress().inPositions
    if (!(await poll(settleMaxMs, () => awaited() === 0)))
      this.#problems.push(`${awaited()} commands are not in POSITIONS`)
    await this.#flushSinks()
    await load.close()
    await answers.stop()
    tell('verifying')
    const report = await this.#verify()
    const commands = commandsLast - commandsBefore
    const lost = commands - answers.answered
    const { doubled, answered } = answers
    const faults = this.#faults
    const isRecovered = faults.every(({ recoveredMs }) => recoveredMs !== null)
    return {
      ok: lost === 0 && doubled === 0 && isRecovered && report.ok && this.#problems.length === 0,
      ...{ seed, minutes, layout, faults, byKind: byKindOf(faults), commands, answered, lost, doubled, latencyMs },
      verify: report,
      problems: this.#problems,
    }
  }

  async #meetFaults(): Promise<void> {
    const { stack, proxy, crashDir, seed, minutes } = this.#options
    const injector = new FaultInjector(stack.parts, proxy, crashDir)
    const startedMs = performance.now()
    const isOver = () => interrupted.aborted || performance.now() - startedMs > minutes * 60_000
    const recovering: Promise<void>[] = []
    let count = 0
    for (const { pauseMs, ...fault } of faultSchedule(seed, stack.parts)) {
      if (isOver()) break
      count += 1
      const number = count
      const atMs = Math.round(performance.now() - startedMs)
      const remark = (await injector.inject({ ...fault, pauseMs })) ?? null
      const one = this.#recovery().then((recovery) => {
        const record = { number, atMs, remark, ...fault, ...recovery }
        this.#faults.push(record)
        this.#options.onFault(record)
      })
      recovering.push(one)
      if (!fault.isOverlapped) await one
      if (this.#faults.at(-1)?.recoveredMs === null) break
      await sleep(pauseMs)
    }
    await Promise.all(recovering)
    this.#faults.sort((a, b) => a.number - b.number)
  }

  async #recovery(): Promise<Pick<FaultRecord, 'answeredMs' | 'recoveredMs'>> {
    const startedMs = performance.now()
    const sinceMs = () => Math.round(performance.now() - startedMs)
    const left = () => recoveryMaxMs - sinceMs()
    let mark = Infinity
    // The load goes on, so that there is a next one.
    const isMarked = await poll(left(), async () => {
      mark = (await this.#lastCommand().catch(() => Infinity)) + 1
      return mark < Infinity
    })
    const isAnswered = isMarked && (await poll(left(), () => (this.#answers?.last ?? 0) >= mark))
    if (!isAnswered) return { answeredMs: null, recoveredMs: null }
    const answeredMs = sinceMs()
    const isRecovered = await poll(left(), () => areAtWork(this.#options.stack.parts))
    return { answeredMs, recoveredMs: isRecovered ? sinceMs() : null }
  }

  async #lastCommand(): Promise<number> {
    return (await this.#options.nats.jsm.streams.info('ORDERS')).state.last_seq
  }

  async #flushSinks(): Promise<void> {
    const { urls } = this.#options.stack
    for (const sink of ['tick-sink', 'alt-sink', 'execution-sink'] as const) {
      let problem = ''
      const isFlushed = await poll(settleMaxMs, async () => {
        try {
          const answer = await fetch(`${urls[sink]}/flush`, { method: 'POST' })
          problem = await answer.text()
          return answer.ok
        } catch (error) {
          problem = messageOf(error)
          return false
        }
      })
      if (!isFlushed) this.#problems.push(`${sink} does not flush: ${problem}`)
    }
  }

  async #verify(): Promise<VerifyReport> {
    const { nats, stack } = this.#options
    Object.assign(process.env, stack.lakeEnv)
    const options = {
      nats: stack.urls.nats,
      uri: stack.lakeUri,
      tables: true,
      ...(stack.urls.redis === null ? {} : { redis: stack.urls.redis }),
    }
    return verifyAll(nats, options, () => undefined)
  }
}

/** Every worker is at work in one of its processes. */
async function areAtWork(parts: readonly StackPart[]): Promise<boolean> {
  const atWork = new Set<WorkerName>()
  const places = parts.flatMap(({ workers, urls }) =>
    workers.map((worker, index) => ({ worker, url: urls[index] ?? '' })),
  )
  await Promise.all(
    places.map(async ({ worker, url }) => {
      if (await isAtWork(url)) atWork.add(worker)
    }),
  )
  return places.every(({ worker }) => atWork.has(worker))
}

function* whileNot(flow: Generator<FlowCommand>, isOver: () => boolean): Generator<FlowCommand> {
  for (const command of flow) {
    if (isOver()) return
    yield command
  }
}

function byKindOf(faults: readonly FaultRecord[]): ChaosReport['byKind'] {
  const kinds = Map.groupBy(faults, ({ kind }) => kind)
  return Object.fromEntries(
    Array.from(kinds, ([kind, group]) => {
      const times = new Latencies()
      for (const { answeredMs } of group) times.add(answeredMs ?? recoveryMaxMs)
      return [kind, { count: group.length, answeredMs: times.percentilesMs() }]
    }),
  )
}

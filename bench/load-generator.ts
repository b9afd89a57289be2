import { AckPolicy, DeliverPolicy } from '@nats-io/jetstream'
import { Latencies, type Percentiles } from '../src/cli/latencies.ts'
import { type FlowShape, orderFlow } from '../src/cli/order-flow.ts'
import { connectNats } from '../src/runtime/nats.ts'
import { headerNames, ordersSubject, positionsWatermarkSubject } from '../src/subjects/names.ts'
import { Metronome } from './metronome.ts'
import { bodyNumberOf, headerNumberOf, NatsWire, streamSequenceOf, type WireMessage } from './nats-wire.ts'

/** Where the answers to commands appear. */
export interface Target {
  readonly natsUrl: string
  /** `executions`: reports by their Src-Seq, then the watermark of POSITIONS; else a stream that has one message each. */
  readonly answers: 'executions' | { readonly stream: string }
}

export interface LoadSpec {
  /** Makes the clOrdIds of this load different from those of others on the same streams; also its seed. */
  readonly run: number
  readonly count: number
  readonly ratePerSecond: number | 'max'
  readonly shape?: FlowShape
}

export interface LoadOutcome {
  readonly sent: number
  /** Publishes that the server refused. */
  readonly refused: number
  /** Commands with a stored report; of a bare chain, that came out at its end. */
  readonly answered: number
  /** Commands whose report the watermark of POSITIONS covers; of a bare chain as `answered`. */
  readonly finished: number
  /** Finished, over the time from the first command to the last that was. */
  readonly ordersPerSecond: number
  /** From the moment a command was due to its publish ack, its stored report, and the watermark that covers it. */
  readonly ackMs: Percentiles
  readonly reportMs: Percentiles
  readonly positionMs: Percentiles
  /** What the generator itself is to blame for: from the moment a command was due to its way to the socket. */
  readonly lateMs: Percentiles
  /** User and system time of the generator for one command, reading the answers included. */
  readonly generatorCpuUs: number
  /** Commands on their way at most: sent and not finished. */
  readonly backlogMax: number
  readonly seconds: number
}

export type GeneratorRequest = { readonly open: Target } | { readonly prepare: LoadSpec } | { readonly run: LoadSpec }
export type GeneratorEvent =
  | { readonly event: 'ready' }
  | { readonly event: 'progress'; readonly sent: number; readonly finished: number }
  | { readonly event: 'done'; readonly outcome: LoadOutcome }
  | { readonly event: 'failed'; readonly message: string }

/** Commands without a publish ack at most; at the bound the sender waits. */
const unackedMax = 1_000
const drainTimeoutMs = 60_000
const progressMs = 200

interface Frames {
  readonly bytes: Buffer
  /** Where each begins, and where the last ends. */
  readonly starts: Uint32Array
}

/** PUB frames, one behind the other, each with its number at the end of the reply subject. */
function encodeFrames({ run, count, shape }: LoadSpec, replyPrefix: string): Frames {
  const starts = new Uint32Array(count + 1)
  const parts: Buffer[] = []
  let size = 0
  let index = 0
  for (const { kind, body } of orderFlow(run, `b${run}`, shape)) {
    if (index === count) break
    const frame = `PUB ${ordersSubject(kind)} ${replyPrefix}${index} ${Buffer.byteLength(body)}\r\n${body}\r\n`
    parts.push(Buffer.from(frame))
    starts[index] = size
    size += parts[index]?.length ?? 0
    index += 1
  }
  starts[count] = size
  return { bytes: Buffer.concat(parts), starts }
}

/** What is known of the commands of one load, by the order in which they were sent or stored. */
class Ledger {
  readonly dueMs: Float64Array
  readonly sentMs: Float64Array
  /** Which command got a sequence of ORDERS, from `firstSeq` on; -1 while unknown. */
  readonly indexOf: Int32Array
  readonly ackMs: Float64Array
  readonly reportMs: Float64Array
  readonly positionMs: Float64Array
  readonly firstSeq: number
  /** Answers in the order of EXECUTIONS: their sequence there, and the offset of the command. */
  readonly answerSeqs: Float64Array
  readonly answerOffsets: Int32Array
  sent = 0
  acked = 0
  refused = 0
  answered = 0
  finished = 0
  backlogMax = 0

  constructor(count: number, firstSeq: number) {
    this.firstSeq = firstSeq
    this.indexOf = new Int32Array(count).fill(-1)
    this.answerOffsets = new Int32Array(count)
    const times = () => new Float64Array(count)
    this.dueMs = times()
    this.sentMs = times()
    this.ackMs = times()
    this.reportMs = times()
    this.positionMs = times()
    this.answerSeqs = times()
  }
}

class LoadGenerator {
  #frames: Frames = { bytes: Buffer.alloc(0), starts: new Uint32Array(0) }
  readonly #wire: NatsWire
  readonly #target: Target
  readonly #lastOrderSeq: () => Promise<number>
  readonly #replyRoot = `_INBOX.load${process.pid}.`
  #ledger = new Ledger(0, 0)
  /** Up to which sequence of the stream of answers all is finished. */
  #finishedSeq = 0
  #onFinished = (): void => undefined
  #onRoom = (): void => undefined

  private constructor(wire: NatsWire, target: Target, lastOrderSeq: () => Promise<number>) {
    this.#wire = wire
    this.#target = target
    this.#lastOrderSeq = lastOrderSeq
    wire.subscribe(`${this.#replyRoot}*`, 'a', (message) => this.#acked(message))
    wire.subscribe(`${this.#replyRoot}r.x`, 'r', (message) => this.#reported(message))
    wire.subscribe(`${this.#replyRoot}w.x`, 'w', (message) => this.#watermark(message))
  }

  static async open(target: Target, onFatal: (error: Error) => void): Promise<LoadGenerator> {
    const nats = await connectNats(target.natsUrl, 'bench')
    const wire = await NatsWire.connect(target.natsUrl, 'bench load', onFatal)
    const lastOrderSeq = async () => (await nats.jsm.streams.info('ORDERS')).state.last_seq
    const generator = new LoadGenerator(wire, target, lastOrderSeq)
    const push = async (
      stream: string,
      inbox: string,
      options: { headers_only?: boolean; filter_subject?: string },
    ) => {
      const deliver = { deliver_subject: `${generator.#replyRoot}${inbox}.x`, deliver_policy: DeliverPolicy.New }
      await nats.jsm.consumers.add(stream, { ...deliver, ack_policy: AckPolicy.None, mem_storage: true, ...options })
    }
    if (target.answers === 'executions') {
      await push('EXECUTIONS', 'r', { headers_only: true })
      await push('POSITIONS', 'w', { filter_subject: positionsWatermarkSubject })
    } else await push(target.answers.stream, 'r', { headers_only: true })
    return generator
  }

  /** Makes the commands of the next load, so that the clock does not run meanwhile. */
  async prepare(spec: LoadSpec): Promise<void> {
    this.#frames = encodeFrames(spec, this.#replyRoot)
    this.#ledger = new Ledger(spec.count, (await this.#lastOrderSeq()) + 1)
  }

  /** Puts on the load that was prepared. */
  async run(
    { count, ratePerSecond }: LoadSpec,
    onProgress: (ledger: { sent: number; finished: number }) => void,
  ): Promise<LoadOutcome> {
    const ledger = this.#ledger
    const { bytes, starts } = this.#frames
    const finished = new Promise<void>((resolve) => (this.#onFinished = resolve))
    const reporting = setInterval(() => onProgress(ledger), progressMs)
    const cpuBefore = process.cpuUsage()
    const send = (end: number) => {
      const from = ledger.sent
      if (end <= from) return
      ledger.sentMs.fill(performance.now(), from, end)
      ledger.sent = end
      ledger.backlogMax = Math.max(ledger.backlogMax, end - ledger.finished - ledger.refused)
      this.#wire.write(bytes.subarray(starts[from], starts[end]))
    }
    const room = () => ledger.acked + unackedMax
    const firstMs = performance.now() + (ratePerSecond === 'max' ? 0 : 5)
    if (ratePerSecond === 'max')
      while (ledger.sent < count) {
        const end = Math.min(count, room())
        ledger.dueMs.fill(performance.now(), ledger.sent, end)
        send(end)
        if (ledger.sent < count) await new Promise<void>((resolve) => (this.#onRoom = resolve))
      }
    else {
      const intervalMs = 1_000 / ratePerSecond
      for (let index = 0; index < count; index += 1) ledger.dueMs[index] = firstMs + index * intervalMs
      const metronome = new Metronome(performance.timeOrigin + firstMs, intervalMs)
      while (ledger.sent < count) {
        await metronome.tick()
        const due = Math.floor((performance.now() - firstMs) / intervalMs) + 1
        send(Math.min(due, count, room()))
      }
      await metronome.stop()
    }
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, drainTimeoutMs)))
    await Promise.race([finished, late])
    clearTimeout(timer)
    clearInterval(reporting)
    const cpu = process.cpuUsage(cpuBefore)
    return outcomeOf(ledger, firstMs, (cpu.user + cpu.system) / count)
  }

  #acked(message: WireMessage): void {
    const ledger = this.#ledger
    ledger.acked += 1
    // The server answers a refused publish with sequence 0, and one that no stream takes with a status header.
    const sequence = bodyNumberOf(message, 'seq') ?? 0
    if (sequence === 0) {
      ledger.refused += 1
      this.#checkFinished()
    } else {
      const from = 'MSG '.length + this.#replyRoot.length
      const offset = sequence - ledger.firstSeq
      ledger.indexOf[offset] = Number(message.line.slice(from, message.line.indexOf(' ', from)))
      ledger.ackMs[offset] = performance.now()
    }
    this.#onRoom()
  }

  #reported(message: WireMessage): void {
    const ledger = this.#ledger
    const sequence = streamSequenceOf(message)
    const isOfExecutions = this.#target.answers === 'executions'
    const srcSeq = isOfExecutions ? (headerNumberOf(message, headerNames.srcSeq) ?? 0) : sequence
    const offset = srcSeq - ledger.firstSeq
    // What the gate issued itself, what others sent, and further parts of an answer.
    if (offset < 0 || ledger.reportMs[offset] !== 0) return
    ledger.reportMs[offset] = performance.now()
    ledger.answerSeqs[ledger.answered] = sequence
    ledger.answerOffsets[ledger.answered] = offset
    ledger.answered += 1
    // The watermark of the last report may come before that.
    this.#finish(isOfExecutions ? this.#finishedSeq : sequence)
  }

  #watermark(message: WireMessage): void {
    this.#finish(bodyNumberOf(message, 'executionsSeq') ?? 0)
  }

  #finish(upToSeq: number): void {
    const ledger = this.#ledger
    const nowMs = performance.now()
    this.#finishedSeq = upToSeq
    while (ledger.finished < ledger.answered && (ledger.answerSeqs[ledger.finished] ?? 0) <= upToSeq) {
      ledger.positionMs[ledger.answerOffsets[ledger.finished] ?? 0] = nowMs
      ledger.finished += 1
    }
    this.#checkFinished()
  }

  #checkFinished(): void {
    const { finished, refused, dueMs } = this.#ledger
    if (finished + refused === dueMs.length) this.#onFinished()
  }
}

function outcomeOf(ledger: Ledger, firstMs: number, generatorCpuUs: number): LoadOutcome {
  const [late, ack, report, position] = [new Latencies(), new Latencies(), new Latencies(), new Latencies()]
  for (let index = 0; index < ledger.sent; index += 1)
    late.add((ledger.sentMs[index] ?? 0) - (ledger.dueMs[index] ?? 0))
  let lastMs = firstMs
  for (const [offset, index] of ledger.indexOf.entries()) {
    const dueMs = ledger.dueMs[index]
    if (dueMs === undefined) continue
    const record = (times: Float64Array, latencies: Latencies) => {
      const atMs = times[offset] ?? 0
      if (atMs !== 0) latencies.add(atMs - dueMs)
      lastMs = Math.max(lastMs, atMs)
    }
    record(ledger.ackMs, ack)
    record(ledger.reportMs, report)
    record(ledger.positionMs, position)
  }
  const seconds = (lastMs - firstMs) / 1_000
  const { sent, refused, answered, finished, backlogMax } = ledger
  return {
    sent,
    refused,
    answered,
    finished,
    ordersPerSecond: finished / seconds,
    ackMs: ack.percentilesMs(),
    reportMs: report.percentilesMs(),
    positionMs: position.percentilesMs(),
    lateMs: late.percentilesMs(),
    generatorCpuUs,
    backlogMax,
    seconds,
  }
}

/** Runs in a process of its own, driven by messages of its parent. */
function serve(): void {
  const tell = (event: GeneratorEvent) => process.send?.(event)
  const fail = (error: unknown) => {
    tell({ event: 'failed', message: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  }
  let generator: LoadGenerator | undefined
  const handle = async (request: GeneratorRequest) => {
    if ('open' in request) {
      generator = await LoadGenerator.open(request.open, fail)
      tell({ event: 'ready' })
    } else if ('prepare' in request) {
      await generator?.prepare(request.prepare)
      tell({ event: 'ready' })
    } else if (generator) {
      const outcome = await generator.run(request.run, ({ sent, finished }) =>
        tell({ event: 'progress', sent, finished }),
      )
      tell({ event: 'done', outcome })
    }
  }
  process.on('message', (request: GeneratorRequest) => void handle(request).catch(fail))
  process.on('disconnect', () => process.exit())
  // Ctrl-C is the parent's business.
  process.on('SIGINT', () => undefined)
}

if (import.meta.main) serve()

import type { OrderState } from '../domain/order-views.ts'
import { messageTooLarge, type PubAck } from '../runtime/acks.ts'
import type { CommandPublisher } from '../runtime/command-publisher.ts'
import type { OrderMetrics } from '../runtime/metrics.ts'
import type { Nats } from '../runtime/nats.ts'
import type { StreamMonitor } from '../runtime/stream-monitor.ts'
import { type Command, decodeCommand } from '../schemas/command.ts'
import { orderIdOf, orderNumberOf } from '../schemas/execution.ts'
import type { Settings } from '../schemas/settings.ts'
import type { Answer, ExecutionFeed } from './execution-feed.ts'
import { DoorError, encodeOrderAnswer, invalidField, orderUnknown, tooLarge } from './gateway-answers.ts'
import type { GatewayStats } from './gateway-stats.ts'
import { type Lookup, pendingState } from './lookup.ts'

/** An ack is waited for at least this long: without one nobody knows what became of the command. */
const ackWaitMinMs = 1_000

export interface GatewayCommandsOptions {
  readonly nats: Nats
  readonly feed: ExecutionFeed
  readonly lookup: Lookup
  readonly publisher: CommandPublisher
  readonly monitor: StreamMonitor
  readonly settings: Settings
  readonly metrics: OrderMetrics
  readonly stats: GatewayStats
  /** A command has its stored report: how long that took. */
  readonly onAnswered: (latencyMs: number) => void
}

/** The body and status code of an order answer. */
export interface OrderAnswer {
  readonly code: 200 | 202
  readonly json: string
}

/** Brings commands to ORDERS and waits for their reports. */
export class GatewayCommands {
  readonly #options: GatewayCommandsOptions
  #inFlight = 0

  constructor(options: GatewayCommandsOptions) {
    this.#options = options
  }

  /** Commands that wait for their reports. */
  get inFlight(): number {
    return this.#inFlight
  }

  /**
   * A new order: its state, or that of the first with its clOrdId.
   * @param idempotencyKey the clOrdId of a body that has none
   * @throws DoorError
   */
  async create(
    body: Buffer,
    traceparent: string | undefined,
    idempotencyKey: string | undefined,
  ): Promise<OrderAnswer> {
    const sent = decode('new', body, traceparent)
    const isToBeNamed = sent.clOrdId === undefined && idempotencyKey !== undefined
    const named = isToBeNamed ? withClOrdId(body, idempotencyKey) : body
    const command = isToBeNamed ? decode('new', named, traceparent) : sent
    if (idempotencyKey !== undefined && command.clOrdId !== idempotencyKey)
      throw invalidField('clOrdId', 'is not the Idempotency-Key of the headers')
    return this.#submit(command, named, traceparent, async (sequence, answer) => {
      if (!answer) return { state: pendingState(orderIdOf(sequence), command) }
      const first =
        answer.reason === 'DUPLICATE_CL_ORD_ID' && answer.refOrderId !== undefined
          ? await this.#options.lookup.find(answer.refOrderId)
          : undefined
      const state = first ?? answer.view
      return { state: state ?? pendingState(answer.orderId, command) }
    })
  }

  /** A cancel or replace: the state of its order, with an `error_message` when it was refused. @throws DoorError */
  async change(
    kind: 'cancel' | 'replace',
    orderId: string,
    body: Buffer,
    traceparent: string | undefined,
  ): Promise<OrderAnswer> {
    if (orderNumberOf(orderId) === undefined) throw orderUnknown(orderId)
    const named = kind === 'replace' ? withOrderId(body, orderId) : body
    const command = decode(kind, named, traceparent)
    if ('orderId' in command && command.orderId !== orderId)
      throw invalidField('orderId', `is not the ${orderId} of the path`)
    return this.#submit(command, named, traceparent, async (_sequence, answer) => {
      if (answer?.reason === 'ORDER_UNKNOWN') throw orderUnknown(orderId)
      const isDone = answer !== undefined && answer.reason === undefined
      const state = (isDone ? answer.view : undefined) ?? (await this.#options.lookup.find(orderId))
      if (!answer && !state) throw orderUnknown(orderId)
      return {
        state: state ?? { orderId, status: answer?.status ?? 'PENDING_NEW', filledQuantity: 0 },
        errorMessage: answer?.errorMessage,
      }
    })
  }

  async #submit(
    command: Command,
    body: Buffer,
    traceparent: string | undefined,
    stateAfter: (
      sequence: number,
      answer: Answer | undefined,
    ) => Promise<{ state: OrderState; errorMessage?: string | undefined }>,
  ): Promise<OrderAnswer> {
    const { settings, feed, publisher, metrics, onAnswered } = this.#options
    this.#admit(command)
    const startedMs = performance.now()
    const nowMs = Date.now()
    const deadlineMs = nowMs + settings.ORDER_WAIT_MS
    const ackDeadlineMs = Math.max(deadlineMs, nowMs + ackWaitMinMs)
    this.#inFlight += 1
    try {
      const sequence = sequenceOf(
        await publisher.publish({ kind: command.kind, body, traceparent }, ackDeadlineMs),
        command,
      )
      const answer = settings.ASYNC_MODE ? undefined : await feed.answerOf(sequence, deadlineMs - Date.now())
      if (answer) {
        const latencyMs = performance.now() - startedMs
        onAnswered(latencyMs)
        metrics.latencySeconds.observe({ source: 'http' }, latencyMs / 1_000)
      }
      if (answer?.reason === 'SYSTEM_STORAGE' || answer?.reason === 'SYSTEM_COMMAND_FAULT') {
        this.#count('REJECTED')
        throw new DoorError(answer.reason, `${answer.orderId}: ${answer.errorMessage ?? ''}`)
      }
      const { state, errorMessage } = await stateAfter(sequence, answer)
      this.#count(state.status)
      return { code: answer ? 200 : 202, json: encodeOrderAnswer(state, errorMessage) }
    } finally {
      this.#inFlight -= 1
    }
  }

  #count(status: OrderState['status']): void {
    this.#options.stats.count(status)
    this.#options.metrics.orders.inc({ status, source: 'http' })
  }

  /** Nothing is published that could not be taken. @throws DoorError */
  #admit({ kind }: Command): void {
    const { nats, monitor, settings } = this.#options
    if (this.#inFlight >= settings.HTTP_IN_FLIGHT_MAX)
      throw new DoorError(
        'OVERLOADED',
        `${this.#inFlight} commands are waiting for their reports, the most there may be`,
      )
    if (!nats.isConnected()) throw new DoorError('SYSTEM_UNAVAILABLE', 'NATS is disconnected; nothing was published')
    const problem = kind === 'cancel' ? undefined : monitor.storageProblem(settings.STORAGE_REFUSE_PERCENT)
    if (problem !== undefined) throw new DoorError('SYSTEM_STORAGE', problem)
  }
}

/** @throws DoorError unless the command is stored */
function sequenceOf(ack: PubAck, command: Command): number {
  if (ack.outcome === 'stored') return ack.sequence
  if (ack.outcome === 'unknown') {
    const how =
      command.clOrdId === undefined
        ? 'give orders a clOrdId to be able to repeat them without harm; else look into GET /orders'
        : `send it again with the same clOrdId (${command.clOrdId}), which is taken once at most`
    throw new DoorError('SYSTEM_UNRESOLVED', `NATS did not say whether it took the command, so it may have: ${how}`)
  }
  if (ack.errCode === messageTooLarge) throw tooLarge()
  if (ack.errCode === 503)
    throw new DoorError('SYSTEM_UNAVAILABLE', 'stream ORDERS does not answer; nothing was stored')
  throw new DoorError('SYSTEM_STORAGE', `stream ORDERS refused the command: ${ack.description}`)
}

/** @throws DoorError INVALID_MESSAGE, INVALID_FIELD */
function decode(kind: Command['kind'], body: Buffer, traceparent: string | undefined): Command {
  const decoded = decodeCommand(kind, body, undefined, traceparent)
  switch (decoded.outcome) {
    case 'command':
      return decoded.command
    case 'unreadable':
      throw new DoorError('INVALID_MESSAGE', decoded.problem)
    case 'invalid':
      throw new DoorError('INVALID_FIELD', decoded.text, decoded.fields)
  }
}

/** The body of a replace with the order of the path in it; everything else stays as it came. */
function withOrderId(body: Buffer, orderId: string): Buffer {
  const at = body.indexOf('{') + 1
  const isEmpty = /^\s*\}/.test(body.toString('latin1', at))
  // What is no object, the decoder refuses as it is.
  if (at === 0) return body
  const field = Buffer.from(`"orderId":${JSON.stringify(orderId)}${isEmpty ? '' : ','}`)
  return Buffer.concat([body.subarray(0, at), field, body.subarray(at)])
}

/** A new order with a clOrdId in it; it stands last, where it counts over a null. */
function withClOrdId(order: Buffer, clOrdId: string): Buffer {
  const at = order.lastIndexOf('}')
  const field = Buffer.from(`,"clOrdId":${JSON.stringify(clOrdId)}`)
  return Buffer.concat([order.subarray(0, at), field, order.subarray(at)])
}

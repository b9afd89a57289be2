import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { textFromUtf8 } from '../base/json.ts'
import type { OrderState } from '../domain/order-views.ts'
import { messageTooLarge, type PubAck } from '../runtime/acks.ts'
import type { CommandPublisher } from '../runtime/command-publisher.ts'
import type { Log } from '../runtime/log.ts'
import type { OrderMetrics } from '../runtime/metrics.ts'
import type { Nats } from '../runtime/nats.ts'
import { isUnavailable } from '../runtime/query.ts'
import { readLatest } from '../runtime/reader.ts'
import type { StreamMonitor } from '../runtime/stream-monitor.ts'
import { accountPattern, type Command, decodeCommand, symbolPattern } from '../schemas/command.ts'
import { orderIdOf, orderNumberOf } from '../schemas/execution.ts'
import type { Settings } from '../schemas/settings.ts'
import { streamSpec } from '../subjects/contract.ts'
import { positionSubject } from '../subjects/names.ts'
import type { Answer, ExecutionFeed } from './execution-feed.ts'
import { DoorError, encodeOrderAnswer } from './gateway-answers.ts'
import { GatewayStats } from './gateway-stats.ts'
import { addHealthRoutes, type Served } from './health-routes.ts'
import { OrderLookup, pendingState } from './order-lookup.ts'

const bodyBytesMax = streamSpec('ORDERS').maxMsgSize ?? 0
const endedPerListMax = 1_000
const depthDefault = 50
const depthMax = 1_000
const printable = /^[\x21-\x7e]{1,128}$/

export interface GatewayOptions {
  readonly nats: Nats
  readonly feed: ExecutionFeed
  readonly publisher: CommandPublisher
  readonly monitor: StreamMonitor
  readonly settings: Settings
  readonly metrics: OrderMetrics
  readonly log: Log
  readonly served: Served
  /** A command has its stored report: how long that took. */
  readonly onAnswered: (latencyMs: number) => void
}

/**
 * The HTTP door for orders (contract, section 4): publishes commands to ORDERS as they came and answers with the
 * reports that EXECUTIONS holds.
 */
export function createGateway(options: GatewayOptions): FastifyInstance {
  const { nats, feed, settings, log, served } = options
  const app = fastify({ logger: false, forceCloseConnections: 'idle', bodyLimit: bodyBytesMax })
  const lookup = new OrderLookup(nats, feed)
  const stats = new GatewayStats()
  const commands = new Commands(options, lookup, stats)

  // The body of a command is stored as it came, so that its numbers keep every digit. Other content types are refused:
  // a browser sends them from any page without asking.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    /^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/,
    { parseAs: 'buffer' },
    (_request, body, done) => done(null, body),
  )
  app.setErrorHandler((error, _request, reply) => sendError(reply, doorErrorOf(error, nats, log)))
  app.setNotFoundHandler((request, reply) =>
    sendError(reply, new DoorError('ROUTE_UNKNOWN', `no ${request.method} ${request.url}`)),
  )

  app.post('/orders', async (request, reply) => sendAnswer(reply, await commands.create(bodyOf(request), request)))
  app.get<OrderParams>('/orders/:id', async ({ params: { id } }, reply) => {
    const state = await lookup.find(id)
    if (!state) throw orderUnknown(id)
    return sendJson(reply, encodeOrderAnswer(state))
  })
  app.delete<OrderParams & { Querystring: { account?: string; cl_ord_id?: string; clOrdId?: string } }>(
    '/orders/:id',
    async (request, reply) => {
      const { account, clOrdId = request.query.cl_ord_id } = request.query
      const body = JSON.stringify({ orderId: request.params.id, account, clOrdId })
      return sendAnswer(reply, await commands.change('cancel', request.params.id, Buffer.from(body), request))
    },
  )
  app.patch<OrderParams>('/orders/:id', async (request, reply) => {
    const body = withOrderId(bodyOf(request), request.params.id)
    return sendAnswer(reply, await commands.change('replace', request.params.id, body, request))
  })
  app.get<{ Querystring: { account?: string; active_only?: string } }>('/orders', async ({ query }, reply) => {
    const orders = await listOrders(feed, lookup, query.account, flagOf('active_only', query.active_only))
    return sendJson(reply, `[${orders.map((state) => encodeOrderAnswer(state)).join(',')}]`)
  })
  app.get<{ Params: { account: string } }>('/positions/:account', async ({ params: { account } }, reply) => {
    checkPattern('account', account, accountPattern)
    const all = positionSubject(account)
    const latest = await readLatest(nats, 'POSITIONS', [all, `${all}.*`])
    const aggregate = latest.get(all)
    latest.delete(all)
    const positions = Array.from(latest.values(), ({ data }) => textFromUtf8(data))
    return sendJson(
      reply,
      `{"account":"${account}","positions":[${positions.join(',')}],"aggregate":${aggregate ? textFromUtf8(aggregate.data) : 'null'}}`,
    )
  })
  app.get<{ Params: { symbol: string }; Querystring: { depth?: string } }>(
    '/book/:symbol',
    async ({ params, query: { depth = String(depthDefault) } }, reply) => {
      const symbol = params.symbol.toUpperCase()
      checkPattern('symbol', symbol, symbolPattern)
      if (!/^\d{1,9}$/.test(depth) || Number(depth) < 1 || Number(depth) > depthMax)
        throw invalidField('depth', `must be a whole number from 1 to ${depthMax}`)
      return sendJson(reply, await lookup.book(symbol, Number(depth)))
    },
  )
  app.get('/stats', () => ({
    ...stats.body(),
    in_flight: commands.inFlight,
    open_orders: feed.views.openCount,
    executions_sequence: feed.sequence,
    latency_ms: served.body().checks.latency_ms,
    order_wait_ms: settings.ORDER_WAIT_MS,
  }))
  addHealthRoutes(app, served)
  return app
}

interface OrderParams {
  Params: { id: string }
}

/** The body and status code of an order answer. */
interface OrderAnswer {
  readonly code: 200 | 202
  readonly json: string
}

/** Brings commands to ORDERS and waits for their reports. */
class Commands {
  readonly #options: GatewayOptions
  readonly #lookup: OrderLookup
  readonly #stats: GatewayStats
  inFlight = 0

  constructor(options: GatewayOptions, lookup: OrderLookup, stats: GatewayStats) {
    this.#options = options
    this.#lookup = lookup
    this.#stats = stats
  }

  /** @throws DoorError */
  async create(body: Buffer, request: FastifyRequest): Promise<OrderAnswer> {
    const traceparent = traceparentOf(request)
    const command = decode('new', body, traceparent)
    return this.#submit(command, body, traceparent, async (sequence, answer) => {
      if (!answer) return { state: pendingState(orderIdOf(sequence), command) }
      const first =
        answer.reason === 'DUPLICATE_CL_ORD_ID' && answer.refOrderId !== undefined
          ? await this.#lookup.find(answer.refOrderId)
          : undefined
      const state = first ?? answer.view
      return { state: state ?? pendingState(answer.orderId, command) }
    })
  }

  /** @throws DoorError */
  async change(
    kind: 'cancel' | 'replace',
    orderId: string,
    body: Buffer,
    request: FastifyRequest,
  ): Promise<OrderAnswer> {
    if (orderNumberOf(orderId) === undefined) throw orderUnknown(orderId)
    const traceparent = traceparentOf(request)
    const command = decode(kind, body, traceparent)
    if ('orderId' in command && command.orderId !== orderId)
      throw invalidField('orderId', `is not the ${orderId} of the path`)
    return this.#submit(command, body, traceparent, async (_sequence, answer) => {
      if (answer?.reason === 'ORDER_UNKNOWN') throw orderUnknown(orderId)
      const state = answer?.reason === undefined && answer?.view ? answer.view : await this.#lookup.find(orderId)
      return {
        state: state ?? { orderId, status: 'PENDING_NEW', filledQuantity: 0 },
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
    const deadlineMs = Date.now() + settings.ORDER_WAIT_MS
    this.inFlight += 1
    try {
      const sequence = sequenceOf(await publisher.publish(command.kind, body, traceparent, deadlineMs), command)
      const answer = await feed.answerOf(sequence, deadlineMs - Date.now())
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
      this.inFlight -= 1
    }
  }

  #count(status: OrderState['status']): void {
    this.#stats.count(status)
    this.#options.metrics.orders.inc({ status, source: 'http' })
  }

  /** Nothing is published that could not be taken. @throws DoorError */
  #admit({ kind }: Command): void {
    const { nats, monitor, settings } = this.#options
    if (this.inFlight >= settings.HTTP_IN_FLIGHT_MAX)
      throw new DoorError(
        'OVERLOADED',
        `${this.inFlight} commands are waiting for their reports, the most there may be`,
      )
    if (!nats.isConnected()) throw new DoorError('SYSTEM_UNAVAILABLE', 'NATS is disconnected; nothing was published')
    const fullest = monitor.fullest()
    if (kind !== 'cancel' && fullest && fullest.usedPercent >= settings.STORAGE_REFUSE_PERCENT)
      throw new DoorError(
        'SYSTEM_STORAGE',
        `stream ${fullest.stream} is ${fullest.usedPercent.toFixed(1)} % full; from ${settings.STORAGE_REFUSE_PERCENT} % on only cancels are taken`,
      )
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

async function listOrders(
  feed: ExecutionFeed,
  lookup: OrderLookup,
  account: string | undefined,
  isActiveOnly: boolean,
): Promise<OrderState[]> {
  const { views } = feed
  if (account === undefined || account === '') {
    if (!feed.isComplete)
      throw invalidField('account', 'is missing: this door has not read EXECUTIONS from its first message')
    return [...views.open(), ...(isActiveOnly ? [] : [...views.ended()].slice(-endedPerListMax))]
  }
  checkPattern('account', account, accountPattern)
  const open = await lookup.openOf(account)
  return [...open, ...(isActiveOnly ? [] : views.endedOf(account).slice(-endedPerListMax))]
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

function bodyOf({ body }: FastifyRequest): Buffer {
  if (Buffer.isBuffer(body)) return body
  throw new DoorError('INVALID_MESSAGE', 'the request has no body')
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

function traceparentOf({ headers }: FastifyRequest): string | undefined {
  const { traceparent } = headers
  return typeof traceparent === 'string' && printable.test(traceparent) ? traceparent : undefined
}

function invalidField(field: string, problem: string): DoorError {
  return new DoorError('INVALID_FIELD', `${field} ${problem}`, [{ field, problem }])
}

function orderUnknown(orderId: string): DoorError {
  return new DoorError('ORDER_UNKNOWN', `no order ${orderId} is known`)
}

function tooLarge(): DoorError {
  return new DoorError(
    'BODY_TOO_LARGE',
    `a command has at most ${bodyBytesMax} bytes, its headers (about 100) included`,
  )
}

function checkPattern(field: string, value: string, pattern: string): void {
  if (!new RegExp(pattern).test(value)) throw invalidField(field, `must match ${pattern}`)
}

function flagOf(field: string, value = 'false'): boolean {
  if (value === 'true' || value === '1') return true
  if (value === 'false' || value === '0') return false
  throw invalidField(field, 'must be true or false')
}

function sendJson(reply: FastifyReply, json: string): FastifyReply {
  return reply.type('application/json; charset=utf-8').send(json)
}

function sendAnswer(reply: FastifyReply, { code, json }: OrderAnswer): FastifyReply {
  return sendJson(reply.code(code), json)
}

function sendError(reply: FastifyReply, error: DoorError): FastifyReply {
  if (error.retryAfterSeconds !== undefined) reply.header('retry-after', error.retryAfterSeconds)
  return reply.code(error.status).send(error)
}

function doorErrorOf(error: unknown, nats: Nats, log: Log): DoorError {
  if (error instanceof DoorError) return error
  const { statusCode = 500, message = '' } = error as { statusCode?: number; message?: string }
  if (statusCode === 413) return tooLarge()
  if (statusCode === 415) return new DoorError('MEDIA_TYPE', 'send the command as content-type: application/json')
  if (statusCode < 500) return new DoorError('INVALID_MESSAGE', message)
  if (!nats.isConnected() || isUnavailable(error))
    return new DoorError('SYSTEM_UNAVAILABLE', `NATS did not answer: ${message}`)
  log.error({ err: error }, 'a request failed')
  return new DoorError('INTERNAL', 'this is a fault of the door; its log says more')
}

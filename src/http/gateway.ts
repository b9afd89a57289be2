import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import type { OrderState } from '../domain/order-views.ts'
import type { Log } from '../runtime/log.ts'
import { accountPattern, symbolPattern } from '../schemas/command.ts'
import { idempotencyKeyPattern } from '../schemas/http.ts'
import { bodyOf, sendJson, takeJsonBodies } from './bodies.ts'
import type { ExecutionFeed } from './execution-feed.ts'
import { commandBytesMax, encodeOrderAnswer, invalidField, orderUnknown } from './gateway-answers.ts'
import { GatewayCommands, type GatewayCommandsOptions, type OrderAnswer } from './gateway-commands.ts'
import { GatewayStats } from './gateway-stats.ts'
import { addHealthRoutes, type Served } from './health-routes.ts'
import { Lookup } from './lookup.ts'
import { addOpenApi } from './openapi.ts'
import { addProfileRoute } from './profile-routes.ts'
import { addRefusals, refusalOf } from './refusals.ts'

const endedPerListMax = 1_000
const depthDefault = 50
const depthMax = 1_000
const printable = /^[\x21-\x7e]{1,128}$/
const idempotencyKey = new RegExp(idempotencyKeyPattern)

export interface GatewayOptions extends Omit<GatewayCommandsOptions, 'lookup' | 'stats'> {
  readonly log: Log
  readonly served: Served
}

/**
 * The HTTP door for orders (contract, section 4): publishes commands to ORDERS as they came and answers with the
 * reports that EXECUTIONS holds.
 */
export function createGateway(options: GatewayOptions): FastifyInstance {
  const { nats, feed, settings, log, served } = options
  const refuse = refusalOf(() => nats.isConnected(), log)
  const app = fastify({
    logger: false,
    forceCloseConnections: 'idle',
    bodyLimit: commandBytesMax,
    frameworkErrors: (error, request, reply) => void refuse(error, request, reply),
  })
  addOpenApi(app, 'gateway')
  const lookup = new Lookup(nats, feed)
  const stats = new GatewayStats()
  const commands = new GatewayCommands({ ...options, lookup, stats })

  takeJsonBodies(app)
  addRefusals(app, refuse)

  app.post('/orders', async (request, reply) => {
    const answer = await commands.create(bodyOf(request), traceparentOf(request), idempotencyKeyOf(request))
    return sendAnswer(reply, answer)
  })
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
      const answer = await commands.change('cancel', request.params.id, Buffer.from(body), traceparentOf(request))
      return sendAnswer(reply, answer)
    },
  )
  app.patch<OrderParams>('/orders/:id', async (request, reply) => {
    const answer = await commands.change('replace', request.params.id, bodyOf(request), traceparentOf(request))
    return sendAnswer(reply, answer)
  })
  app.get<{ Querystring: { account?: string; active_only?: string } }>('/orders', async ({ query }, reply) => {
    const { account = '', active_only: isActiveOnly } = query
    const orders = await listOrders({ feed, lookup }, account, flagOf('active_only', isActiveOnly))
    return sendJson(reply, `[${orders.map((state) => encodeOrderAnswer(state)).join(',')}]`)
  })
  app.get<{ Params: { account: string } }>('/positions/:account', async ({ params: { account } }, reply) => {
    checkPattern('account', account, `${accountPattern}|^_venue$`)
    const { positions, aggregate } = await lookup.positions(account)
    return sendJson(
      reply,
      `{"account":"${account}","positions":[${positions.join(',')}],"aggregate":${aggregate ?? 'null'}}`,
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
  addProfileRoute(app)
  return app
}

interface OrderParams {
  Params: { id: string }
}

/** Open orders, and of those that have ended the last 1,000. */
async function listOrders(
  { feed, lookup }: { feed: ExecutionFeed; lookup: Lookup },
  account: string,
  isActiveOnly: boolean,
): Promise<OrderState[]> {
  const { views } = feed
  if (account !== '') checkPattern('account', account, accountPattern)
  else if (!feed.isComplete)
    throw invalidField('account', 'is missing: this door has not read EXECUTIONS from its first message')
  const open = account === '' ? [...views.open()] : await lookup.openOf(account)
  if (isActiveOnly) return [...open]
  const ids = new Set(open.map(({ orderId }) => orderId))
  const ended = (account === '' ? [...views.ended()] : views.endedOf(account)).slice(-endedPerListMax)
  return [...open, ...ended.filter(({ orderId }) => !ids.has(orderId))]
}

function checkPattern(field: string, value: string, pattern: string): void {
  if (!new RegExp(pattern).test(value)) throw invalidField(field, `must match ${pattern}`)
}

function flagOf(field: string, value = 'false'): boolean {
  if (value === 'true' || value === '1') return true
  if (value === 'false' || value === '0' || value === '') return false
  throw invalidField(field, 'must be true or false')
}

function sendAnswer(reply: FastifyReply, { code, json }: OrderAnswer): FastifyReply {
  return sendJson(reply.code(code), json)
}

function traceparentOf({ headers }: FastifyRequest): string | undefined {
  const { traceparent } = headers
  return typeof traceparent === 'string' && printable.test(traceparent) ? traceparent : undefined
}

/** The clOrdId by which a POST may be sent again. @throws DoorError INVALID_FIELD */
function idempotencyKeyOf({ headers }: FastifyRequest): string | undefined {
  const { 'idempotency-key': key } = headers
  if (key === undefined) return undefined
  if (typeof key === 'string' && idempotencyKey.test(key)) return key
  throw invalidField('Idempotency-Key', `must match ${idempotencyKeyPattern}`)
}

import type { FastifyInstance } from 'fastify'
import { assert } from '../base/assert.ts'
import { accountPattern, commandSchemas, symbolPattern } from '../schemas/command.ts'
import * as http from '../schemas/http.ts'
import * as risk from '../schemas/risk-service.ts'

/** What `components.schemas` of the documents holds. */
const schemas = {
  NewOrder: {
    ...commandSchemas.new,
    description: 'Names also in snake_case, ordType also as type or order_type, enums and symbols in any case.',
  },
  Replace: { ...commandSchemas.replace, description: 'The order is that of the path.' },
  Order: http.orderAnswerSchema,
  Orders: { type: 'array', items: { $ref: '#/components/schemas/Order' } },
  Error: http.doorErrorSchema,
  Book: http.bookSchema,
  AccountPositions: http.accountPositionsSchema,
  PositionsPage: http.positionsPageSchema,
  SnapshotPage: http.snapshotPageSchema,
  PnlStats: http.pnlStatsSchema,
  GatewayStats: http.gatewayStatsSchema,
  Health: http.healthSchema,
  Alive: http.aliveSchema,
  Profile: http.profileSchema,
  Check: risk.checkAnswerSchema,
  RiskMetrics: risk.riskMetricsSchema,
  RiskPortfolio: risk.riskPortfolioSchema,
  RiskAlerts: risk.riskAlertsSchema,
  RiskStats: risk.riskStatsSchema,
  Flushed: http.flushAnswerSchema,
  SinkStats: http.sinkStatsSchema,
  CheckStats: risk.checkStatsSchema,
} as const
type SchemaName = keyof typeof schemas

interface Operation {
  readonly summary: string
  readonly query?: Readonly<Record<string, object>>
  readonly headers?: Readonly<Record<string, object>>
  readonly body?: SchemaName
  /** Of each status that is no error; several where the question decides. */
  readonly answers: Readonly<Record<number, readonly SchemaName[]>>
  /** Instead of JSON. */
  readonly mediaType?: string
}
type Operations = Readonly<Record<string, Operation>>

const account = { type: 'string', pattern: accountPattern }
const symbol = { type: 'string', pattern: symbolPattern }
const clOrdId = { type: 'string', minLength: 1, maxLength: 64 }
const whole = (minimum: number, maximum: number, fallback?: number) => ({
  type: 'integer',
  minimum,
  maximum,
  ...(fallback === undefined ? {} : { default: fallback }),
})
const paging = { limit: whole(1, 10_000, 1_000), after: { type: 'string' } }

/** The routes of every port, by method and path as Fastify has them. */
const common: Operations = {
  'GET /health': { summary: 'health; 503 when unhealthy', answers: { 200: ['Health'], 503: ['Health'] } },
  'GET /health/detailed': { summary: 'the same', answers: { 200: ['Health'], 503: ['Health'] } },
  'GET /health/ready': { summary: 'whether it is at work', answers: { 200: ['Health'], 503: ['Health'] } },
  'GET /health/live': { summary: 'that the process answers', answers: { 200: ['Alive'] } },
  'GET /metrics': { summary: 'Prometheus metrics', answers: { 200: [] }, mediaType: 'text/plain' },
  'GET /debug/profile': {
    summary: 'a CPU profile of the live process; from the same machine only',
    query: {
      seconds: whole(1, 60, 5),
      workload: whole(1, 1_000_000),
      format: { enum: ['json', 'cpuprofile'], default: 'json' },
    },
    answers: { 200: ['Profile'] },
  },
  'GET /openapi.json': { summary: 'this document', answers: { 200: [] } },
}

const sink: Operations = {
  'POST /flush': { summary: 'commits what the stream holds now, and answers then', answers: { 200: ['Flushed'] } },
  'GET /stats': { summary: 'counts since the start', answers: { 200: ['SinkStats'] } },
}

/** The routes that a service has besides. */
const own: Readonly<Record<string, Operations>> = {
  gateway: {
    'POST /orders': {
      summary: 'a new order; 200 when its report is stored, 202 while it is not',
      headers: { 'Idempotency-Key': { type: 'string', pattern: http.idempotencyKeyPattern } },
      body: 'NewOrder',
      answers: { 200: ['Order'], 202: ['Order'] },
    },
    'GET /orders': {
      summary: 'open orders, and of those that have ended the last 1,000',
      query: { account, active_only: http.flagSchema },
      answers: { 200: ['Orders'] },
    },
    'GET /orders/:id': { summary: 'an order', answers: { 200: ['Order'] } },
    'PATCH /orders/:id': {
      summary: 'replaces an order',
      body: 'Replace',
      answers: { 200: ['Order'], 202: ['Order'] },
    },
    'DELETE /orders/:id': {
      summary: 'cancels an order',
      query: { account, clOrdId, cl_ord_id: clOrdId },
      answers: { 200: ['Order'], 202: ['Order'] },
    },
    'GET /positions/:account': { summary: 'positions and sums of an account', answers: { 200: ['AccountPositions'] } },
    'GET /book/:symbol': {
      summary: 'an order book',
      query: { depth: whole(1, 1_000, 50) },
      answers: { 200: ['Book'] },
    },
    'GET /stats': { summary: 'counts since the start', answers: { 200: ['GatewayStats'] } },
  },
  'risk-gate': {
    'POST /check': { summary: 'what would become of an order', body: 'NewOrder', answers: { 200: ['Check'] } },
    'GET /risk/portfolio': {
      summary: 'exposure, drawdown and VaR of all accounts, or of one',
      query: { account },
      answers: { 200: ['RiskMetrics', 'RiskPortfolio'] },
    },
    'GET /risk/alerts': { summary: 'limits that are nearly used up', answers: { 200: ['RiskAlerts'] } },
    'GET /stats': { summary: 'counts since the start', answers: { 200: ['RiskStats'] } },
  },
  'risk-check': {
    'POST /check': { summary: 'what would become of an order', body: 'NewOrder', answers: { 200: ['Check'] } },
    'GET /stats': { summary: 'counts since the start', answers: { 200: ['CheckStats'] } },
  },
  'pnl-updater': {
    'GET /positions': {
      summary: 'positions, page by page',
      query: { account, symbol, ...paging },
      answers: { 200: ['PositionsPage'] },
    },
    'GET /positions/:account': { summary: 'positions and sums of an account', answers: { 200: ['AccountPositions'] } },
    'GET /snapshot': {
      summary: 'equity, PnL and performance, page by page',
      query: { account, ...paging },
      answers: { 200: ['SnapshotPage'] },
    },
    'GET /stats': { summary: 'counts since the start', answers: { 200: ['PnlStats'] } },
  },
  'tick-sink': sink,
  'alt-sink': sink,
  'execution-sink': sink,
}

/**
 * Adds `GET /openapi.json`, the OpenAPI 3.1 description of this port. Must be called before routes are added.
 * @throws BugError when a route is added that has no description here
 */
export function addOpenApi(app: FastifyInstance, service: string): void {
  const operations: Operations = { ...common, ...own[service] }
  const routes = new Set<string>()
  app.addHook('onRoute', ({ method, url }) => {
    for (const verb of [method].flat()) {
      if (verb === 'HEAD') continue
      const route = `${verb} ${url}`
      assert(operations[route], `${service}: ${route} is not described in src/http/openapi.ts`)
      routes.add(route)
    }
  })
  app.get('/openapi.json', () =>
    documentOf(service, Object.fromEntries(Object.entries(operations).filter(([route]) => routes.has(route)))),
  )
}

/** The OpenAPI document of a service. @param operations what its port answers; unset: all that it can */
export function documentOf(service: string, operations: Operations = { ...common, ...own[service] }): object {
  const paths: Record<string, Record<string, object>> = {}
  for (const [route, operation] of Object.entries(operations)) {
    const [method = '', path = ''] = route.split(' ')
    const template = path.replaceAll(/:(\w+)/g, '{$1}')
    paths[template] = { ...paths[template], [method.toLowerCase()]: describe(method, path, operation) }
  }
  return {
    openapi: '3.1.0',
    info: { title: `Trade2026 ${service}`, version: '1', license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
    paths,
    components: { schemas: namedIn(operations) },
  }
}

function describe(method: string, path: string, operation: Operation): object {
  const { summary, query = {}, headers = {}, body, answers, mediaType } = operation
  const inPath = Array.from(path.matchAll(/:(\w+)/g), ([, name = '']) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }))
  const inQuery = Object.entries(query).map(([name, schema]) => ({ name, in: 'query', schema }))
  const inHeader = Object.entries(headers).map(([name, schema]) => ({ name, in: 'header', schema }))
  const parameters = [...inPath, ...inQuery, ...inHeader]
  const responses = Object.entries(answers).map(([status, names]) => {
    const refs = names.map(refOf)
    const schema = refs.length > 1 ? { anyOf: refs } : (refs[0] ?? {})
    return [status, { description: summary, content: { [mediaType ?? 'application/json']: { schema } } }]
  })
  const error = { description: 'refused', content: { 'application/json': { schema: refOf('Error') } } }
  return {
    operationId: `${method.toLowerCase()}${path.replaceAll(/\W+(\w)/g, (_, letter: string) => letter.toUpperCase())}`,
    summary,
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined
      ? {}
      : { requestBody: { required: true, content: { 'application/json': { schema: refOf(body) } } } }),
    responses: { ...(Object.fromEntries(responses) as object), default: error },
  }
}

function refOf(name: SchemaName): object {
  return { $ref: `#/components/schemas/${name}` }
}

/** The schemas that operations name, and what those name. */
function namedIn(operations: Operations): object {
  const names = new Set<SchemaName>(['Error'])
  for (const { body, answers } of Object.values(operations)) {
    if (body) names.add(body)
    for (const name of Object.values(answers).flat()) names.add(name)
  }
  if (names.has('Orders')) names.add('Order')
  return Object.fromEntries(Object.entries(schemas).filter(([name]) => names.has(name as SchemaName)))
}

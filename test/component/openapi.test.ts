import { Ajv2020 } from 'ajv/dist/2020.js'
import t from 'tap'
import { documentOf } from '../../src/http/openapi.ts'
import { orderViewStatuses } from '../../src/schemas/http.ts'
import { statusOf } from '../../src/domain/order-views.ts'
import { ordStatuses } from '../../src/schemas/enums.ts'
import { limitOrder } from '../support/gateway.ts'
import { startTestNats, startTestWorkers, until } from '../support/stack.ts'

interface Document {
  readonly openapi: string
  readonly info: { readonly title: string }
  readonly paths: Readonly<Record<string, Readonly<Record<string, OperationObject>>>>
  readonly components: { readonly schemas: Readonly<Record<string, object>> }
}
interface OperationObject {
  readonly operationId: string
  readonly parameters?: readonly { readonly name: string; readonly in: string }[]
  readonly responses: Readonly<Record<string, { readonly content: Readonly<Record<string, unknown>> }>>
}

const workers = ['risk-gate', 'oms-matcher', 'pnl-updater', 'tape', 'gateway'] as const
const doors = ['gateway', 'risk-gate', 'pnl-updater'] as const

void t.test('P2.07 OpenAPI: every port describes what it answers', async (t) => {
  const server = await startTestNats(t)
  const { ports } = await startTestWorkers(t, server.url, { workers })
  const documents = new Map<string, Document>()
  for (const worker of workers) {
    const response = await fetch(`http://127.0.0.1:${ports[worker]}/openapi.json`)
    t.match(response.headers.get('content-type'), /^application\/json/)
    documents.set(worker, (await response.json()) as Document)
  }

  await t.test('P2.07 OpenAPI: routes and documents agree', (t) => {
    for (const [worker, document] of documents) {
      t.match(document, { openapi: '3.1.0', info: { title: `Trade2026 ${worker}` } })
      // A route that is not described does not start; one that is described and not there would be missing here.
      t.same(document, JSON.parse(JSON.stringify(documentOf(worker))), `${worker} serves all that is described`)
      const ids = Object.values(document.paths).flatMap((path) =>
        Object.values(path).map(({ operationId }) => operationId),
      )
      t.equal(new Set(ids).size, ids.length, 'ids are unique')
      for (const [path, operations] of Object.entries(document.paths))
        for (const { parameters = [] } of Object.values(operations)) {
          const inPath = parameters.filter((parameter) => parameter.in === 'path').map(({ name }) => `{${name}}`)
          t.same(inPath, path.match(/\{\w+\}/g) ?? [], path)
        }
      for (const [, name = ''] of JSON.stringify(document).matchAll(/"#\/components\/schemas\/(\w+)"/g))
        t.ok(document.components.schemas[name], `${worker}: ${name} is there`)
    }
    const routesOf = (worker: string) => Object.keys(documents.get(worker)?.paths ?? {})
    t.ok(routesOf('gateway').includes('/orders/{id}') && routesOf('risk-gate').includes('/check'))
    t.ok(routesOf('pnl-updater').includes('/snapshot') && routesOf('tape').includes('/debug/profile'))
    t.same(
      [...ordStatuses].filter((ordStatus) => !orderViewStatuses.includes(statusOf({ ordStatus }))),
      [],
    )
    t.end()
  })

  await t.test('P2.07 OpenAPI: real answers are as described, every operation asked', async (t) => {
    const asked = new Set<string>()
    const validators = new Map(
      [...documents].map(([worker, document]) => {
        const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true })
        return [worker, ajv.addSchema(document, worker)]
      }),
    )
    /** Asks, and compares status and body with the operation of this path template. */
    const ask = async (
      worker: (typeof workers)[number],
      method: string,
      template: string,
      path: string,
      body?: string,
    ) => {
      const response = await fetch(`http://127.0.0.1:${ports[worker]}${path}`, {
        method,
        ...(body === undefined ? {} : { body, headers: { 'content-type': 'application/json' } }),
      })
      const operation = documents.get(worker)?.paths[template]?.[method.toLowerCase()]
      asked.add(`${worker} ${method} ${template}`)
      const key = operation?.responses[response.status] ? String(response.status) : 'default'
      const mediaType = response.headers.get('content-type')?.split(';')[0] ?? ''
      t.ok(
        operation?.responses[key]?.content[mediaType],
        `${worker}: ${method} ${path} ${response.status} ${mediaType}`,
      )
      const text = await response.text()
      if (mediaType !== 'application/json') return { status: response.status, json: text as unknown }
      const escaped = [template, mediaType].map((part) => part.replaceAll('~', '~0').replaceAll('/', '~1'))
      const pointer = ['paths', escaped[0], method.toLowerCase(), 'responses', key, 'content', escaped[1], 'schema']
      const validate = validators
        .get(worker)
        ?.getSchema(`${worker}#/${pointer.map((part) => encodeURIComponent(part ?? '')).join('/')}`)
      const json = JSON.parse(text) as unknown
      t.ok(validate?.(json), `${method} ${path} ${response.status}: ${JSON.stringify(validate?.errors)}`)
      return { status: response.status, json }
    }
    for (const worker of workers) {
      for (const path of ['/health', '/health/detailed', '/health/ready', '/health/live', '/metrics', '/openapi.json'])
        await ask(worker, 'GET', path, path)
      await ask(worker, 'GET', '/debug/profile', '/debug/profile?workload=100')
      await ask(worker, 'GET', '/debug/profile', '/debug/profile?seconds=x')
    }
    const post = (body: string) => ask('gateway', 'POST', '/orders', '/orders', body)
    t.match(await post(limitOrder('a', 'buy', '0.1', '45000')), { status: 200, json: { status: 'NEW' } })
    t.match(await post(limitOrder('b', 'sell', '0.05', '45000')), { status: 200, json: { status: 'FILLED' } })
    t.match(await post(limitOrder('b', 'sell', '0.05', '45000.001')), { status: 200, json: { status: 'REJECTED' } })
    t.match(await post('{"side":"up"}'), { status: 400 })
    t.match(await post('{'), { status: 400 })
    await ask('gateway', 'GET', '/orders/{id}', '/orders/o-1')
    t.match(await ask('gateway', 'GET', '/orders/{id}', '/orders/o-99'), { status: 404 })
    await ask('gateway', 'PATCH', '/orders/{id}', '/orders/o-1', '{"price":44000}')
    await ask('gateway', 'GET', '/orders', '/orders?account=a')
    await ask('gateway', 'GET', '/orders', '/orders?account=a&active_only=true')
    await ask('gateway', 'GET', '/book/{symbol}', '/book/BTCUSDT?depth=5')
    await ask('gateway', 'GET', '/book/{symbol}', '/book/BTCUSDT?depth=x')
    await ask('gateway', 'GET', '/stats', '/stats')
    await until('the position', async () => {
      const { json } = await ask('gateway', 'GET', '/positions/{account}', '/positions/a')
      return (json as { aggregate: unknown }).aggregate !== null
    })
    await ask('gateway', 'GET', '/positions/{account}', '/positions/nobody')
    await ask('gateway', 'DELETE', '/orders/{id}', '/orders/o-1?account=a')
    for (const body of [limitOrder('a', 'buy', '0.1', '45000'), limitOrder('a', 'buy', '9e9', '45000'), '{}'])
      await ask('risk-gate', 'POST', '/check', '/check', body)
    await ask('risk-gate', 'GET', '/risk/portfolio', '/risk/portfolio')
    await ask('risk-gate', 'GET', '/risk/portfolio', '/risk/portfolio?account=a')
    await ask('risk-gate', 'GET', '/risk/portfolio', '/risk/portfolio?account=-')
    await ask('risk-gate', 'GET', '/risk/alerts', '/risk/alerts')
    await ask('risk-gate', 'GET', '/stats', '/stats')
    for (const query of ['', '?account=a', '?limit=1', '?limit=x'])
      await ask('pnl-updater', 'GET', '/positions', `/positions${query}`)
    await ask('pnl-updater', 'GET', '/positions/{account}', '/positions/a')
    await ask('pnl-updater', 'GET', '/snapshot', '/snapshot')
    await ask('pnl-updater', 'GET', '/snapshot', '/snapshot?account=a')
    await ask('pnl-updater', 'GET', '/stats', '/stats')
    const described = [...documents].flatMap(([worker, { paths }]) =>
      Object.entries(paths).flatMap(([path, operations]) =>
        Object.keys(operations).map((method) => `${worker} ${method.toUpperCase()} ${path}`),
      ),
    )
    t.same([...asked].sort(), described.sort(), 'nothing described was left out')
    t.ok(doors.every((door) => described.some((route) => route.startsWith(door))))
  })
})

import t, { type Test } from 'tap'
import type { Nats } from '../../src/runtime/nats.ts'
import { type Ask, asker, limitOrder, startDoor } from '../support/gateway.ts'
import { startTestNginx } from '../support/nginx.ts'
import { checkAcknowledged, lifeOf } from '../support/order-life.ts'
import { settled, startDoors } from '../support/processes.ts'
import { startProxy } from '../support/proxy.ts'
import { until } from '../support/stack.ts'

// Where nginx is not there yet, it is installed.
t.setTimeout(300_000)

const json = { 'content-type': 'application/json' }
const keyed = (key: string) => ({ ...json, 'idempotency-key': key })

/** How often the clOrdId of a POST is in ORDERS. */
async function timesSent(nats: Nats): Promise<Map<string, number>> {
  const { names } = await lifeOf(nats)
  const times = new Map<string, number>()
  for (const name of names.values()) if (name !== undefined) times.set(name, (times.get(name) ?? 0) + 1)
  return times
}

void t.test('P3.19 nginx before three gateways, one killed with -9 under load', async (t) => {
  const { nats, doors, ports } = await startDoors(t)
  const balancer = await startTestNginx(t, ports)
  const ask = asker(balancer.port)

  const total = 3_000
  const acknowledged = new Map<string, string>()
  const brokenOff = new Set<string>()
  let next = 0
  const client = async () => {
    while (next < total) {
      const number = (next += 1)
      const isKeyed = number % 4 !== 0
      const name = `${isKeyed ? 'keyed' : 'plain'}-${number}`
      const body = limitOrder(
        'a',
        number % 2 === 0 ? 'buy' : 'sell',
        '0.01',
        '45000',
        isKeyed ? '' : `,"clOrdId":"${name}"`,
      )
      const answer = await ask('POST', '/orders', body, isKeyed ? keyed(name) : json)
      if (answer.status === 200 || answer.status === 202) acknowledged.set(name, String(answer.json['order_id']))
      else {
        t.match(answer, { status: 503, retryAfter: '1', json: { error: 'SYSTEM_UNRESOLVED' } }, name)
        brokenOff.add(name)
      }
    }
  }
  const load = Promise.all(Array.from({ length: 32 }, client))
  await until('some load', () => next > total / 3, 30_000)
  // It stands still for a moment first, so that there are requests which it has and has not answered.
  doors[1]?.kill('SIGSTOP')
  await until('more load', () => next > total / 2, 30_000)
  doors[1]?.kill('SIGKILL')
  await load
  await settled(nats)

  const isKeyed = (name: string) => name.startsWith('keyed')
  t.same([...brokenOff].filter(isKeyed), [], 'a POST with a key is answered, whatever gateway died')
  t.equal(acknowledged.size + brokenOff.size, total)
  await checkAcknowledged(t, nats, acknowledged)
  const times = await timesSent(nats)
  t.same(
    [...times].filter(([name, count]) => !isKeyed(name) && count > 1),
    [],
    'a POST without a key was sent once at most',
  )

  const requests = await until('the log', () => balancer.requests().length === total && balancer.requests())
  const before = requests.slice(0, total / 3)
  for (const port of ports) {
    const share = before.filter((line) => line.includes(`upstream=127.0.0.1:${port} `)).length / before.length
    t.ok(share > 0.2, `${port} had ${(share * 100).toFixed(0)} % of the load`)
  }
  const movedOn = requests.filter((line) => line.includes(`upstream=127.0.0.1:${ports[1]}, `))
  t.ok(movedOn.length > 3, `${movedOn.length} requests went on to another gateway`)
  const [last = ''] = requests.slice(-1)
  t.match(last, / 200 /, 'two gateways go on')
  t.equal((await ask('GET', '/debug/profile')).status, 403)
})

/** Two gateways, of which one's answers can be lost. */
async function startLossy(t: Test) {
  const { nats, gateway, startGateway } = await startDoor(t)
  const other = await startGateway('other')
  const proxy = await startProxy(t, gateway.ports.gateway ?? 0)
  const lossyPort = Number(new URL(proxy.url).port)
  const balancer = await startTestNginx(t, [lossyPort, other.ports.gateway ?? 0])
  const ask = asker(balancer.port)
  let logged = 0
  /** Asks twice at once, so that one goes to each gateway, and cuts one's answer off as soon as `isDone`. */
  const askBoth = async (request: (index: number) => ReturnType<Ask>, isDone: () => Promise<boolean>) => {
    proxy.open()
    proxy.dropAnswers()
    const asked = [0, 1].map(request)
    await until('both to have arrived', isDone)
    proxy.cut()
    const answers = await Promise.all(asked)
    logged += 2
    const lines = await until('the log', () => balancer.requests().length === logged && balancer.requests().slice(-2))
    const gateways = lines.map((line) => (/ upstream=(.*) status=/.exec(line)?.[1] ?? '').split(', '))
    t.same(gateways.filter(([first]) => first === `127.0.0.1:${lossyPort}`).length, 1, 'one went to each')
    return { answers, tries: gateways.map(({ length }) => length).sort() }
  }
  return { nats, ask, askBoth }
}

void t.test('P3.19 nginx sends a POST again only with an Idempotency-Key', async (t) => {
  const { nats, ask, askBoth } = await startLossy(t)
  const lastOrder = async () => (await nats.jsm.streams.info('ORDERS')).state.last_seq
  const post = (headers: Record<string, string>) => ask('POST', '/orders', limitOrder('a', 'buy', '1', '10'), headers)

  const safe = await askBoth(
    (index) => post(keyed(`key-${index}`)),
    async () => (await lastOrder()) === 2,
  )
  for (const answer of safe.answers) t.match(answer, { status: 200, json: { status: 'NEW' } })
  t.same(safe.tries, [1, 2], 'one of them was sent twice')
  const times = await timesSent(nats)
  t.same([times.get('key-0'), times.get('key-1')].sort(), [1, 2])
  const { accepted } = await lifeOf(nats)
  t.same([accepted.get('key-0'), accepted.get('key-1')], [1, 1], 'and is one order')
  const ids = safe.answers.map(({ json }) => json['order_id'])
  t.same(ids.sort(), ['o-1', 'o-2'], 'the first, which was stored before its answer was lost')

  const before = await lastOrder()
  const unsafe = await askBoth(
    () => post(json),
    async () => (await lastOrder()) === before + 2,
  )
  t.same(unsafe.answers.map(({ status }) => status).sort(), [200, 503])
  t.match(
    unsafe.answers.find(({ status }) => status === 503),
    { retryAfter: '1', json: { error: 'SYSTEM_UNRESOLVED' } },
  )
  t.same(unsafe.tries, [1, 1])
  t.equal(await lastOrder(), before + 2, 'it was not sent twice')
})

import t from 'tap'
import { Redis } from 'ioredis'
import { streamSpecs } from '../../src/subjects/contract.ts'
import { startTestValkey, untilHealth } from '../support/health.ts'
import { settled } from '../support/processes.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'

const workers = ['risk-gate', 'oms-matcher', 'pnl-updater', 'tape', 'gateway'] as const
const rounds = 20

interface Connections {
  readonly connections: { readonly name: string; readonly subscriptions: number }[]
}

void t.test('P1.14 workers that are stopped leave nothing behind', async (t) => {
  const server = await startTestNats(t)
  const valkey = await startTestValkey(t)
  const nats = await connectTestNats(t, server.url)
  const redis = new Redis(valkey.url)
  t.teardown(() => redis.disconnect())
  const connectionsOf = async (name: string) => {
    const response = await fetch(`http://127.0.0.1:${server.monitorPort}/connz?subs=1`)
    return ((await response.json()) as Connections).connections.filter((connection) => connection.name === name)
  }
  const consumers = async () => {
    let count = 0
    // Of a bucket that was watched, the server removes the consumer itself, five minutes later.
    for (const { name } of streamSpecs) count += (await nats.jsm.streams.info(name)).state.consumer_count
    return count
  }
  const clients = async () =>
    String(await redis.call('CLIENT', 'LIST'))
      .trim()
      .split('\n').length
  /** What keeps a process alive or costs it: timers, sockets, servers. */
  const resources = () => {
    const counts: Record<string, number> = {}
    for (const name of process.getActiveResourcesInfo()) counts[name] = (counts[name] ?? 0) + 1
    return counts
  }

  const running: { subscriptions: number; consumers: number; clients: number }[] = []
  const stopped: { consumers: number; clients: number; timers: number; sockets: number; servers: number }[] = []
  for (let round = 0; round < rounds; round += 1) {
    const started = await startTestWorkers(t, server.url, { workers, env: { REDIS_URL: valkey.url } })
    for (const worker of workers)
      await untilHealth(`${worker} to be healthy`, started.ports[worker], ({ body }) => body.status === 'healthy')
    for (const side of ['BUY', 'SELL']) {
      const order = { account: side, symbol: 'BTCUSDT', side, type: 'LIMIT', quantity: 1, price: 45_000 }
      await nats.js.publish('orders.new', JSON.stringify(order))
    }
    await settled(nats)
    const [connection] = await connectionsOf(workers.join('+'))
    running.push({
      subscriptions: connection?.subscriptions ?? -1,
      consumers: await consumers(),
      clients: await clients(),
    })
    await started.stop()
    await until('the connection to be gone', async () => (await connectionsOf(workers.join('+'))).length === 0)
    await until('Redis to be left', async () => (await clients()) === 1)
    const { Timeout = 0, TCPSocketWrap = 0, TCPServerWrap = 0 } = resources()
    stopped.push({
      consumers: await consumers(),
      clients: await clients(),
      timers: Timeout,
      sockets: TCPSocketWrap,
      servers: TCPServerWrap,
    })
  }
  t.comment(JSON.stringify({ running, stopped }))
  const names = ['subscriptions', 'consumers', 'clients'] as const
  for (const name of names)
    t.ok((running[rounds - 1]?.[name] ?? Infinity) <= (running[1]?.[name] ?? 0), `${name} do not grow`)
  for (const name of ['consumers', 'clients', 'timers', 'sockets', 'servers'] as const)
    t.ok((stopped[rounds - 1]?.[name] ?? Infinity) <= (stopped[1]?.[name] ?? 0), `${name} do not grow`)
})

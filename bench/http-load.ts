import { Latencies, type Percentiles } from '../src/cli/latencies.ts'
import { seededRandom } from '../src/cli/order-flow.ts'
import { type Address, encodeRequest, HttpWire } from './http-wire.ts'
import { Metronome } from './metronome.ts'

export interface HttpLoadSpec {
  /** `http://host:port/path` */
  readonly url: string
  readonly method: 'GET' | 'POST'
  readonly requests: number
  readonly connections: number
  /**
   * `closed`: every connection sends its next request when it has the answer; a number: requests a second over all
   * connections, each timed from when it was due; `at once`: a connection for each, opened when the clock starts.
   */
  readonly pace: 'closed' | number | 'at once'
  readonly seed: number
}

export interface HttpLoadOutcome {
  readonly seconds: number
  readonly statuses: Readonly<Record<string, number>>
  readonly latencyMs: Percentiles
  /** Sequences in ORDERS of the orders in the answers. */
  readonly orderNumbers: readonly number[]
  /** User and system time of the load generator for one request. */
  readonly clientCpuUs: number
}

/** Small limit orders around one price, of twenty accounts: about half of them trade. */
function orderBodies(count: number, seed: number): string[] {
  const random = seededRandom(seed)
  return Array.from({ length: count }, (_, index) =>
    JSON.stringify({
      account: `http-${index % 20}`,
      symbol: 'BTCUSDT',
      side: random() < 0.5 ? 'buy' : 'sell',
      order_type: 'LIMIT',
      quantity: 0.001,
      price: 45_000 + Math.floor(random() * 100),
    }),
  )
}

async function run(spec: HttpLoadSpec): Promise<HttpLoadOutcome> {
  const { hostname, port, pathname } = new URL(spec.url)
  const address: Address = { host: hostname, port: Number(port) }
  const { method, requests, pace } = spec
  const bodies = method === 'POST' ? orderBodies(requests, spec.seed) : Array.from({ length: requests }, () => '')
  const encoded = bodies.map((body) => encodeRequest(method, pathname, address, body))
  const failed = Promise.withResolvers<never>()
  const opened: HttpWire[] = []
  const open = async () => {
    const wire = await HttpWire.connect(address, failed.reject)
    opened.push(wire)
    return wire
  }
  const ready = pace === 'at once' ? [] : await Promise.all(Array.from({ length: spec.connections }, open))
  const latencies = new Latencies()
  const statuses: Record<string, number> = {}
  const orderNumbers: number[] = []
  let next = 0
  const take = (wire: HttpWire, dueMs: number) =>
    new Promise<void>((resolve) => {
      const request = encoded[next]
      next += 1
      if (request === undefined) {
        resolve()
        return
      }
      wire.send(request, (status, body) => {
        latencies.add(performance.now() - dueMs)
        statuses[status] = (statuses[status] ?? 0) + 1
        const orderNumber = /"order_id":"o-(\d+)"/.exec(body)?.[1]
        if (orderNumber !== undefined) orderNumbers.push(Number(orderNumber))
        resolve()
      })
    })
  const cpuBefore = process.cpuUsage()
  const startedMs = performance.now()
  const paced = async (ratePerSecond: number) => {
    const intervalMs = 1_000 / ratePerSecond
    const metronome = new Metronome(performance.timeOrigin + startedMs, intervalMs)
    const free = [...ready]
    const under = new Set<Promise<void>>()
    const fill = () => {
      for (;;) {
        const dueMs = startedMs + next * intervalMs
        if (next >= requests || dueMs > performance.now()) return
        const wire = free.pop()
        if (!wire) return
        const one = take(wire, dueMs).then(() => {
          free.push(wire)
          under.delete(one)
          fill()
        })
        under.add(one)
      }
    }
    while (next < requests) {
      await metronome.tick()
      fill()
    }
    await metronome.stop()
    await Promise.all(under)
  }
  const lane = async (wire: HttpWire) => {
    while (next < requests) await take(wire, performance.now())
  }
  const all =
    pace === 'closed'
      ? Promise.all(ready.map(lane))
      : pace === 'at once'
        ? Promise.all(encoded.map(async () => take(await open(), startedMs)))
        : paced(pace)
  await Promise.race([all, failed.promise])
  const seconds = (performance.now() - startedMs) / 1_000
  const cpu = process.cpuUsage(cpuBefore)
  for (const wire of opened) wire.close()
  return {
    seconds,
    statuses,
    latencyMs: latencies.percentilesMs(),
    orderNumbers,
    clientCpuUs: (cpu.user + cpu.system) / requests,
  }
}

if (import.meta.main) {
  process.on('SIGINT', () => undefined)
  process.on('message', (spec: HttpLoadSpec) => {
    run(spec).then(
      (outcome) => process.send?.({ outcome }),
      (error: unknown) => process.send?.({ failed: error instanceof Error ? error.message : String(error) }),
    )
  })
  process.on('disconnect', () => process.exit())
}

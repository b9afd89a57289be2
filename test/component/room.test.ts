import t from 'tap'
import { decodeExecution } from '../../src/schemas/execution.ts'
import { AckedPublisher } from '../../src/runtime/acks.ts'
import { readStream } from '../../src/runtime/reader.ts'
import { asker } from '../support/gateway.ts'
import { healthAt, untilHealth, watchHealth } from '../support/health.ts'
import { settled } from '../support/processes.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'

const workers = ['risk-gate', 'oms-matcher', 'pnl-updater', 'tape', 'gateway'] as const
/** The least there may be, buckets included: ORDERS gets 6.4 MiB of it. */
const streamsMaxBytes = 86 * 2 ** 20
const refusePercent = 85

void t.test('P1.15 when a stream of the chain is nearly full, new orders are refused and cancels pass', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const { ports } = await startTestWorkers(t, server.url, {
    workers,
    env: { STREAMS_MAX_BYTES: String(streamsMaxBytes), CLORDID_MEMORY: '100' },
  })
  const ask = asker(ports.gateway)
  const publisher = new AckedPublisher(nats.connection)
  t.teardown(() => publisher.close())
  const percentOf = async (stream: string) => {
    const { config, state } = await nats.jsm.streams.info(stream)
    return (100 * state.bytes) / config.max_bytes
  }
  const lastOf = async (stream: string) => (await nats.jsm.streams.info(stream)).state.last_seq
  const order = (clOrdId: string, more: object = {}) =>
    JSON.stringify({
      clOrdId,
      account: 'a',
      symbol: 'BTCUSDT',
      side: 'BUY',
      type: 'LIMIT',
      quantity: 0.01,
      price: 40_000,
      ...more,
    })
  const publish = async (kind: string, body: string) => {
    const ack = await publisher.request(`orders.${kind}`, body)
    if (ack.outcome !== 'stored') throw new Error(JSON.stringify(ack))
    return ack.sequence
  }
  /** The first report of a command. */
  const reportOf = async (sequence: number) => {
    await settled(nats)
    for await (const { srcSeq, data } of readStream(nats, 'EXECUTIONS', 1, await lastOf('EXECUTIONS')))
      if (srcSeq === sequence) return decodeExecution(data).reports[0]
    return undefined
  }
  const metric = async (port: number | undefined, name: string) => {
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
    const line = text.split('\n').find((candidate) => candidate.startsWith(name))
    return line === undefined ? undefined : Number(line.slice(line.lastIndexOf(' ')))
  }
  const isHealthy = ({ body }: { body: { status: string } }) => body.status === 'healthy'
  for (const worker of workers) await untilHealth(`${worker} to be healthy`, ports[worker], isHealthy)

  const kept = await publish('new', order('kept'))
  const second = await publish('new', order('second'))
  const third = await publish('new', order('third'))
  const watches = workers.map((worker) => watchHealth(t, ports[worker]))

  await t.test('P1.15 ORDERS fills up with orders, until the gate refuses them by name', async (t) => {
    const note = 'n'.repeat(15_000)
    let sent = 0
    const refused = () => metric(ports['oms-matcher'], 'oms_orders_total{status="REJECTED"')
    await until(
      'the first refusal',
      async () => {
        // As it fills, its readings come: once a second.
        const body = order(`fill-${(sent += 1)}`, { note, price: 30_000 })
        await publish('new', body)
        // Near the bound the gate's reading, taken once a second, is waited for: this stream is tiny.
        const percent = await percentOf('ORDERS')
        const reading = () => metric(ports['risk-gate'], 'stream_used_percent{stream="ORDERS"')
        if (percent > 80) await until('the gate to see it', async () => ((await reading()) ?? 0) > percent - 1)
        return (sent % 10 === 0 && ((await refused()) ?? 0) > 0) || (await percentOf('ORDERS')) > 93
      },
      60_000,
    )
    t.ok((await percentOf('ORDERS')) >= refusePercent, 'not before 85 %')
    t.ok(((await refused()) ?? 0) > 0, 'before nothing is promised any more')
    for (const worker of workers) {
      await untilHealth(
        'health to name the stream',
        ports[worker],
        ({ code, body }) =>
          code === 200 &&
          body.status === 'degraded' &&
          /^stream ORDERS is \d\d\.\d % full$/.test(body.reasons[0] ?? ''),
      )
      const { storage } = (await healthAt(ports[worker])).body.checks
      t.ok((storage['ORDERS']?.used_percent ?? 0) >= refusePercent)
      t.type(storage['ORDERS']?.seconds_until_full, 'number')
      t.equal(storage['ALT']?.seconds_until_full, null, 'what does not grow is never full')
      t.ok(((await metric(ports[worker], 'stream_used_percent{stream="ORDERS"')) ?? 0) >= refusePercent)
      t.ok(((await metric(ports[worker], 'stream_seconds_until_full{stream="ORDERS"')) ?? -1) >= 0)
    }
  })

  await t.test('P1.15 new orders and replaces are refused, cancels pass', async (t) => {
    const [news, replace, cancel, massCancel] = [
      await publish('new', order('again')),
      await publish('replace', JSON.stringify({ account: 'a', origClOrdId: 'kept', clOrdId: 'kept-2', price: 41_000 })),
      await publish('cancel', JSON.stringify({ account: 'a', origClOrdId: 'second' })),
      await publish('mass_cancel', JSON.stringify({ account: 'a', symbol: 'NONE' })),
    ]
    t.match(await reportOf(news), { execType: 'Rejected', ordStatus: 'Rejected', ordRejReason: 'SYSTEM_STORAGE' })
    t.match(await reportOf(replace), {
      execType: 'ReplaceRejected',
      ordRejReason: 'SYSTEM_STORAGE',
      orderId: `o-${kept}`,
    })
    t.match(await reportOf(cancel), { execType: 'Canceled', orderId: `o-${second}` })
    t.equal(await reportOf(massCancel), undefined, 'it met nothing')
    t.equal((await ask('GET', `/orders/o-${kept}`)).json['status'], 'NEW', 'a refused replace changes nothing')
  })

  await t.test('P1.15 the door refuses before it publishes, and takes cancels', async (t) => {
    const before = await lastOf('ORDERS')
    const answer = await ask('POST', '/orders', order('door'))
    t.equal(answer.status, 503)
    t.match(answer.text, /SYSTEM_STORAGE/)
    t.match(answer.text, /ORDERS is \d\d\.\d % full/)
    t.ok(Number(answer.retryAfter) > 0)
    t.equal(await lastOf('ORDERS'), before, 'nothing was published')
    const cancelled = await ask('DELETE', `/orders/o-${third}`)
    t.match({ status: cancelled.status, ...cancelled.json }, { status: 'CANCELLED', order_id: `o-${third}` })
    t.equal(cancelled.status, 200)
  })

  await t.test('P1.15 after a trim orders pass again, under the names that were refused', async (t) => {
    await settled(nats)
    await nats.jsm.streams.purge('ORDERS', { keep: 1 })
    for (const [index, worker] of workers.entries()) {
      await untilHealth(`${worker} to be healthy`, ports[worker], isHealthy)
      t.same(await watches[index]?.end(), ['healthy', 'degraded', 'healthy'])
    }
    t.equal((await healthAt(ports.gateway)).body.checks.storage['ORDERS']?.seconds_until_full, null)
    t.match(await reportOf(await publish('new', order('again'))), { execType: 'New', clOrdId: 'again' })
    t.match((await ask('POST', '/orders', order('door'))).json, { status: 'NEW' })
    const replaced = JSON.stringify({ account: 'a', origClOrdId: 'kept', clOrdId: 'kept-2', price: 41_000 })
    t.match(await reportOf(await publish('replace', replaced)), { execType: 'Replaced', clOrdId: 'kept-2' })
  })

  for (const stream of ['RISK', 'EXECUTIONS', 'POSITIONS'])
    await t.test(`P1.15 ${stream} nearly full`, async (t) => {
      await settled(nats)
      const { config, state } = await nats.jsm.streams.info(stream)
      const shrinkTo = (percent: number) =>
        nats.jsm.streams.update(stream, { max_bytes: Math.floor((100 * state.bytes) / percent) })
      await shrinkTo(87)
      await untilHealth(
        'health to name it',
        ports['risk-gate'],
        ({ body }) => body.reasons[0]?.startsWith(`stream ${stream} is `) ?? false,
      )
      t.equal((await ask('POST', '/orders', order(`${stream}-door`))).status, 503)
      const name = `${stream}-direct`
      t.match(await reportOf(await publish('new', order(name))), { ordRejReason: 'SYSTEM_STORAGE' })
      await shrinkTo(97)
      await untilHealth('nothing to be promised', ports['risk-gate'], ({ code }) => code === 503)
      await nats.jsm.streams.update(stream, { max_bytes: config.max_bytes })
      await untilHealth('health', ports['risk-gate'], isHealthy)
      await untilHealth('health', ports.gateway, isHealthy)
      t.match(await reportOf(await publish('new', order(name))), { execType: 'New' })
      t.match((await ask('POST', '/orders', order(`${stream}-door`))).json, { status: 'NEW' })
    })
})

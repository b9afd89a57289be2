import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { asker, limitOrder } from '../support/gateway.ts'
import { healthAt, untilHealth } from '../support/health.ts'
import { readTable } from '../support/lake.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

const workers = ['tick-sink', 'alt-sink', 'execution-sink'] as const
const isHealthy = ({ body }: { body: { status: string } }) => body.status === 'healthy'
const hashOf = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 16)
const slow = { TICK_FLUSH_MS: '600000', ALT_FLUSH_MS: '600000', EXECUTION_FLUSH_MS: '600000' }

void t.test('P3.08 the three tables', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const lake = join(tempDir(t), 'lake')
  const env = { LAKE_URI: lake, LAKE_SYMBOLS_MAX: '3', ...slow }
  const running = await startTestWorkers(t, server.url, {
    workers: [...workers, 'risk-gate', 'oms-matcher', 'pnl-updater', 'tape', 'gateway'],
    env,
  })
  const { ports } = running
  const flush = async (sink: (typeof workers)[number]) => {
    const { status, json } = await asker(ports[sink])('POST', '/flush')
    t.equal(status, 200)
    return json
  }
  const letters = async () => {
    const { state } = await nats.jsm.streams.info('DLQ', { subjects_filter: '>' })
    return Object.keys(state.subjects ?? {}).sort()
  }
  for (const sink of workers) await untilHealth(`${sink} to be healthy`, ports[sink], isHealthy)

  await t.test('P3.08 P3.09 P3.10 ticks', async (t) => {
    const us = 1_795_339_800_123_456
    const tick = (fields: object) => JSON.stringify({ event_ts: us, price: 45_000.5, ...fields })
    for (const [subject, body] of [
      ['BINANCE.BTCUSDT', tick({ ingest_ts: us + 1, size: 0.25, side: 'BUY', trade_id: 't-1', source_seq: 9 })],
      ['BINANCE.BTCUSDT', tick({ ingest_ts: us + 2, size: '0.250', side: 'buy', tradeId: 't-1', source_seq: 10 })],
      ['BINANCE.ETHUSDT', tick({ event_ts: '2026-11-21T23:59:59.999999Z', price: '-0.000000123' })],
      ['BINANCE.ETHUSDT', tick({ event_ts: '2026-11-21T23:59:59.999999Z', price: '-0.000000123' })],
      ['BINANCE.ETHUSDT', 'nope'],
      ['BINANCE.EURUSD', tick({ source_seq: '9223372036854775807' })],
      ['BINANCE.GBPUSD', tick({})],
      ['BINANCE.BTCUSDT', tick({ event_ts: 1 })],
    ] as const)
      await nats.js.publish(`market.tick.${subject}`, body)
    t.match(await flush('tick-sink'), { version: 1, rows: 4 })
    t.match(await flush('tick-sink'), { version: 1, rows: 0 })
    const { rows, commits } = await readTable(lake, 'market_ticks')
    t.match(rows, [
      {
        stream_seq: 1n,
        event_ts: new Date('2026-11-22T09:30:00.123Z'),
        venue: 'BINANCE',
        symbol: 'BTCUSDT',
        dt: '2026-11-22',
        price: 45_000.5,
        size: 0.25,
        side: 'buy',
        trade_id: 't-1',
        source_seq: 9n,
        hash_id: hashOf(`BINANCE|BTCUSDT|${us}|45000.5|0.25|t-1`),
      },
      { stream_seq: 3n, symbol: 'ETHUSDT', dt: '2026-11-21', price: -0.000000123, size: null, trade_id: null },
      { stream_seq: 4n, symbol: 'ETHUSDT' },
      { stream_seq: 6n, symbol: 'EURUSD', source_seq: 9_223_372_036_854_775_807n },
    ])
    t.equal(rows.length, 4)
    t.match(commits, [
      { firstStreamSeq: 1, lastStreamSeq: 8, messages: 8, rows: 4, duplicates: 1, deadLetters: 3, empty: 0 },
    ])
    t.same(await letters(), ['dlq.tick-sink.TICKS.5', 'dlq.tick-sink.TICKS.7', 'dlq.tick-sink.TICKS.8'])
    const reasonOf = async (sequence: number) => {
      const letter = await nats.jsm.streams.getMessage('DLQ', { last_by_subj: `dlq.tick-sink.TICKS.${sequence}` })
      return letter?.header.get('Reason')
    }
    t.match(await reasonOf(7), /^LAKE_SYMBOLS_MAX: GBPUSD would be one more than the 3/)
    t.match(await reasonOf(8), /^INVALID_FIELD: event_ts must be from 2000-01-01/)
  })

  await t.test('P3.08 P3.10 documents', async (t) => {
    const us = 1_795_339_800_000_000
    const document = (fields: object) => JSON.stringify({ event_ts: us, source: 'wire', doc_id: 'n-1', ...fields })
    for (const [category, body] of [
      ['news', document({ title: 'A', body: 'ü', symbols: ['AAPL', 'MSFT'], sentiment: 0.5, metadata: { a: [1] } })],
      ['news', document({ title: 'A, again' })],
      ['news', document({ doc_id: null, title: 'no name' })],
      ['news', document({ doc_id: null, title: 'no name' })],
      ['filings', document({ symbols: [] })],
      ['filings', '[]'],
    ] as const)
      await nats.js.publish(`alt.norm.${category}`, body)
    t.match(await flush('alt-sink'), { version: 1, rows: 4 })
    const { rows, commits } = await readTable(lake, 'alt_docs')
    t.match(rows, [
      {
        stream_seq: 1n,
        event_ts: new Date('2026-11-22T09:30:00Z'),
        category: 'news',
        dt: '2026-11-22',
        source: 'wire',
        doc_id: 'n-1',
        title: 'A',
        body: 'ü',
        url: null,
        symbols: ['AAPL', 'MSFT'],
        sentiment: 0.5,
        metadata: '{"a":[1]}',
        hash_id: hashOf(`news|wire|n-1|${us}`),
      },
      { stream_seq: 3n, doc_id: null, title: 'no name' },
      { stream_seq: 4n, doc_id: null },
      { stream_seq: 5n, category: 'filings', symbols: [], metadata: null },
    ])
    t.match(commits, [{ messages: 6, rows: 4, duplicates: 1, deadLetters: 1 }])
  })

  await t.test('P3.08 executions', async (t) => {
    const ask = asker(ports.gateway)
    const post = (body: string) => ask('POST', '/orders', body)
    t.match(await post(limitOrder('maker', 'sell', '0.5', '45000', ',"clOrdId":"m-1"')), { status: 200 })
    t.match(await post(limitOrder('taker', 'buy', '0.2', '45010')), { json: { status: 'FILLED' } })
    t.match(await post(limitOrder('taker', 'buy', '1e30', '45010')), { json: { status: 'REJECTED' } })
    t.match(await post(limitOrder('taker', 'buy', '0.2', '45010.001')), { json: { status: 'REJECTED' } })
    const { version, rows: flushed } = await flush('execution-sink')
    const { rows, commits } = await readTable(lake, 'executions')
    t.same([version, flushed], [1, 5])
    t.match(rows, [
      {
        report_index: 0,
        orders_seq: 1n,
        exec_type: 'New',
        cl_ord_id: 'm-1',
        order_qty: 0.5,
        price: 45_000,
      },
      {
        report_index: 0,
        orders_seq: 2n,
        exec_type: 'New',
        account: 'taker',
        leaves_qty: 0.2,
        cum_qty: 0,
        avg_px: null,
      },
      {
        report_index: 1,
        exec_id: /^\d+-2$/,
        exec_type: 'Trade',
        ord_status: 'Filled',
        last_qty: 0.2,
        last_px: 45_000,
        avg_px: 45_000,
        liquidity: 'TAKER',
        fee: 10.8,
        side: 'BUY',
        ord_type: 'LIMIT',
        time_in_force: 'GTC',
        symbol: 'BTCUSDT',
        dt: new Date().toISOString().slice(0, 10),
      },
      { report_index: 2, orders_seq: 2n, account: 'maker', liquidity: 'MAKER', fee: 7.2 },
      { orders_seq: 4n, exec_type: 'Rejected', ord_rej_reason: 'PRICE_OFF_TICK', order_qty: 0.2 },
    ])
    t.same(new Set(rows.map((row) => row['transact_time'] instanceof Date)), new Set([true]))
    t.match(commits, [{ messages: 5, rows: 5, deadLetters: 1, empty: 1 }], 'an epoch record and a number too large')
    t.match(await letters(), [/^dlq.alt-sink/, 'dlq.execution-sink.EXECUTIONS.4'])
  })

  await t.test('P3.08 own trades come from the tape, each once', async (t) => {
    const query = { last_by_subj: 'market.tick.T2026.BTCUSDT' }
    const last = await until('the tick', () => nats.jsm.streams.getMessage('TICKS', query).catch(() => undefined))
    await nats.js.publish('market.tick.T2026.BTCUSDT', last?.data ?? '')
    t.match(await flush('tick-sink'), { rows: 1 })
    const { rows, commits } = await readTable(lake, 'market_ticks')
    t.match(rows.at(-1), { venue: 'T2026', trade_id: /^\d+-2$/, price: 45_000, size: 0.2, side: 'buy' })
    t.match(commits.at(-1), { rows: 1, duplicates: 1 })
  })

  await t.test('P3.01 health, statistics and metrics', async (t) => {
    for (const sink of workers) {
      const { code, body } = await healthAt(ports[sink])
      t.equal(code, 200)
      t.match(body, {
        status: 'healthy',
        service: sink,
        checks: { database: 'connected', redis: null, nats: 'connected' },
      })
      t.equal(body.checks.lag?.messages, 0)
      t.match(await asker(ports[sink])('GET', '/stats'), { status: 200, json: { rows_buffered: 0, redelivered: 0 } })
      const metrics = await (await fetch(`http://127.0.0.1:${ports[sink]}/metrics`)).text()
      const { rows = 0 } = (await asker(ports[sink])('GET', '/stats')).json
      t.match(metrics, new RegExp(`^sink_rows_total\\{worker="${sink}"\\} ${Number(rows)}$`, 'm'))
      for (const name of ['sink_bytes_total', 'sink_commit_seconds_count', 'sink_last_commit_timestamp_seconds'])
        t.match(metrics, new RegExp(`^${name}\\{worker="${sink}"\\} [1-9]`, 'm'))
    }
  })

  await t.test('P3.10 after a start repeats are known by what the table holds', async (t) => {
    await running.stop()
    const again = await startTestWorkers(t, server.url, { workers: ['tick-sink'], env })
    const body = JSON.stringify({ event_ts: 1_795_339_800_123_456, price: 45_000.5, size: 0.25, trade_id: 't-1' })
    await nats.js.publish('market.tick.BINANCE.BTCUSDT', body)
    const other = body.replace('t-1', 't-2')
    await nats.js.publish('market.tick.BINANCE.BTCUSDT', other)
    const { json } = await asker(again.ports['tick-sink'])('POST', '/flush')
    t.match(json, { rows: 1 })
    const { commits } = await readTable(lake, 'market_ticks')
    t.match(commits.at(-1), { rows: 1, duplicates: 1, deadLetters: 0 })
    await again.stop()
  })

  await t.test('P3.09 names of partitions that cannot be read are taken from the table', async (t) => {
    const names = join(lake, '_names', 'market_ticks')
    t.same(JSON.parse(readFileSync(names, 'utf8')), ['BTCUSDT', 'ETHUSDT', 'EURUSD'])
    for (const [index, garbage] of ['["BTC', '{}', '[1]'].entries()) {
      writeFileSync(names, garbage)
      const again = await startTestWorkers(t, server.url, { workers: ['tick-sink'], env })
      for (const symbol of ['GBPUSD', 'ETHUSDT'])
        await nats.js.publish(`market.tick.BINANCE.${symbol}`, '{"event_ts":1795339800,"price":1}')
      const { json } = await asker(again.ports['tick-sink'])('POST', '/flush')
      t.match(json, { rows: 1 })
      const { commits } = await readTable(lake, 'market_ticks')
      t.match(commits.at(-1), { rows: 1, duplicates: 0, deadLetters: 1 }, `the fourth is one too many: ${index}`)
      await again.stop()
    }
  })
})

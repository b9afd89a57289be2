import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { runCli, startCli } from '../support/cli.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

const header = 'ts_ms,event,id,side,price,size'

/**
 * An hour of orders on both sides that never meet, beside those that do:
 * four trades, of which the tape has one as it is, one in another size, and besides two that nothing here can explain.
 */
const noise = Array.from({ length: 500 }, (_, index) => {
  const isBuy = index % 2 === 0
  const [side, price] = isBuy ? ['buy', 90 - (index % 50)] : ['sell', 210 + (index % 50)]
  const start = 1_000_000 + index * 7_000
  const lines = [`${start},new,n${index},${side},${price}.25,${1 + index / 8}`]
  return index % 3 === 0 ? [...lines, `${start + 3_000},cancel,n${index},${side},${price}.25,1`] : lines
}).flat()
const flow = [
  header,
  '1000000,new,m1,buy,100,20000',
  '1001000,new,t1,sell,99.5,0.4',
  '1001200,trade,1,,100,0.40',
  '1060000,new,t2,sell,100,0.2',
  '1060100,trade,2,,100,0.3',
  '1120000,trade,3,,99,1',
  '1120500,cancel,t2,sell,100,0',
  '1120600,cancel,unknown,sell,100,0',
  '1180000,new,m2,sell,150,1',
  '1180100,new,m3,sell,151,1',
  '1180200,new,t3,buy,151,2',
  '1180900,trade,4,,150,1',
  '1199000,trade,5,,151,1',
  '1200000,cancel,m1,,,',
  ...noise,
].join('\n')

interface ReplayDocument {
  symbol: string
  [name: string]: unknown
}

const expected = {
  ok: true,
  new: 6 + 500,
  cancel: 3 + 167,
  trades: 4,
  tape: 5,
  reproduced: 2,
  unreproduced: { restedBeforeFile: 2, otherSize: 1, otherPrice: 0, notTraded: 0 },
  notOnTape: 2,
  unanswered: 0,
  isInOrder: true,
  othersFills: 0,
  refused: { ORDER_CLOSED: 1, ORDER_UNKNOWN: 1 },
}

void t.test('P2.02 `replay` plays a file through the pipeline that runs', async (t) => {
  const folder = tempDir(t)
  const file = join(folder, 'flow.csv')
  writeFileSync(file, flow)
  const server = await startTestNats(t)
  const env = { NATS_URL: server.url }
  await startTestWorkers(t, server.url, { workers: ['risk-gate', 'oms-matcher', 'pnl-updater'] })
  const nats = await connectTestNats(t, server.url)
  const bucket = await until('the limits', () => nats.kvm.open('LIMITS').catch(() => undefined))
  const limitKeys = async () => {
    const keys: string[] = []
    for await (const key of await bucket.keys()) keys.push(key)
    return keys.sort()
  }
  const keysBefore = await until('the seed', async () => {
    const keys = await limitKeys()
    return keys.length > 0 && keys
  })
  const replay = (...args: string[]) => runCli(['replay', ...args], env)
  const openOrders = async (account: string) => {
    const { stdout } = await runCli(['order', 'list', '--account', account, '--json'], env)
    return (JSON.parse(stdout) as { orders: unknown[] }).orders.length
  }

  await t.test('its trades are compared with the tape, and nothing is left behind', async (t) => {
    const { code, stdout, stderr } = await replay(file, '--json', '--at-least', '2')
    t.equal(code, 0, stderr)
    const document = JSON.parse(stdout) as ReplayDocument
    t.match(document, expected)
    t.match(document.symbol, /^REPLAY-\w+$/)
    const commands: string[] = []
    const { last_seq: last } = (await nats.jsm.streams.info('ORDERS')).state
    for (let seq = 1; seq <= last; seq += 1) {
      const stored = await nats.jsm.streams.getMessage('ORDERS', { seq })
      const { clOrdId, origClOrdId } = stored?.json<{ clOrdId?: string; origClOrdId?: string }>() ?? {}
      commands.push(`${stored?.subject.split('.')[1]} ${clOrdId ?? origClOrdId}`)
    }
    const rows = flow.split('\n').map((line) => line.split(','))
    const sent = rows.flatMap(([, event, id]) => (event === 'new' || event === 'cancel' ? [`${event} ${id}`] : []))
    t.same(commands.slice(0, sent.length), sent, 'in the order of the file, one after the other')
    t.same(commands.slice(sent.length), ['mass_cancel undefined', 'mass_cancel undefined'])
    const run = document.symbol.slice('REPLAY-'.length).toLowerCase()
    t.equal(await openOrders(`replay-${run}-a`), 0)
    t.equal(await openOrders(`replay-${run}-b`), 0)
    t.same(await limitKeys(), keysBefore)
  })

  await t.test('as a table, gzipped, under a given symbol, orders kept, fewer trades than wanted: 1', async (t) => {
    writeFileSync(`${file}.gz`, gzipSync(flow))
    const { code, stdout, stderr } = await replay(`${file}.gz`, '--symbol', 'flow', '--keep-orders', '--at-least', '3')
    t.equal(code, 1, stderr)
    t.match(stdout, /^tape +5 trades, 2 reproduced \(40\.0 %\)$/m)
    t.match(stdout, /^ +2 {2}no order of the file could be its maker/m)
    t.match(stdout, /^NOT OK$/m)
    t.match(stderr, /fewer than 3 trades/)
    const [account = ''] = (await nats.jsm.streams.getMessage('ORDERS', { last_by_subj: 'orders.new.*' }))?.subject
      .split('.')
      .slice(2) ?? ['']
    t.ok((await openOrders(account)) > 100)
    t.same(await limitKeys(), keysBefore)
  })

  await t.test('a file that does not fit: 64, and nothing is sent', async (t) => {
    const before = (await nats.jsm.streams.info('ORDERS')).state.last_seq
    writeFileSync(file, `${flow}\n2,new,z,buy,much,1`)
    const { code, stderr } = await replay(file)
    t.equal(code, 64)
    t.match(stderr, /FILE_INVALID: .*flow\.csv, line \d+, column price: .*"much"/)
    t.equal((await nats.jsm.streams.info('ORDERS')).state.last_seq, before)
    const away = await runCli(['replay', file, '--nats', 'nats://127.0.0.1:1', '--start'], env)
    t.equal(away.code, 64, 'a server that is named, or one of its own')
  })

  await t.test('steps finer than the instrument: 64, and what to do', async (t) => {
    writeFileSync(file, `${header}\n1,new,a,buy,0.0001,1`)
    const { code, stderr } = await replay(file)
    t.equal(code, 64)
    t.match(stderr, /line 2: refused: .*0\.0001.* ticks of 0\.0001 .*config\/instruments\.json.*--start/)
    t.same(await limitKeys(), keysBefore)
  })

  await t.test('Ctrl-C: 130, orders and limits are removed', async (t) => {
    writeFileSync(file, `${header}\n1,new,a,buy,1,1\n9000000,new,b,buy,1,1`)
    const run = startCli(t, ['replay', file, '--speed', '1'], env)
    const subject = await until('the order', async () => {
      const last = await nats.jsm.streams.getMessage('EXECUTIONS', { last_by_subj: 'executions.*' }).catch(() => null)
      const { reports = [] } = last?.json<{ reports?: { clOrdId?: string; account: string }[] }>() ?? {}
      return reports[0]?.clOrdId === 'a' && reports[0].account
    })
    t.not((await limitKeys()).length, keysBefore.length, 'the limits are lifted while it runs')
    t.equal(await run.interrupt(), 130, run.stderr())
    t.equal(await openOrders(subject), 0)
    t.same(await limitKeys(), keysBefore)
  })

  await t.test('somebody else who trades in the symbol: 1, and it is said', async (t) => {
    const resting = { account: 'alice', symbol: 'SHARED', side: 'sell', type: 'limit', quantity: 1, price: 5 }
    await nats.js.publish('orders.new', JSON.stringify(resting))
    writeFileSync(file, `${header}\n0,new,a,buy,5,1\n0,trade,1,,5,1`)
    const met = await replay(file, '--symbol', 'SHARED', '--json')
    t.equal(met.code, 1, met.stderr)
    t.match(JSON.parse(met.stdout), { ok: false, trades: 1, reproduced: 1, othersFills: 1 })
    t.match(met.stderr, /others traded in SHARED meanwhile \(1 fills of theirs\).*--symbol/)

    writeFileSync(file, `${header}\n0,new,c,buy,4,1\n2000,new,d,buy,4,1`)
    const run = replay(file, '--symbol', 'SHARED', '--speed', '1')
    await until('the first order', async () => {
      const last = await nats.jsm.streams.getMessage('ORDERS', { last_by_subj: 'orders.new.*' })
      return last?.json<{ clOrdId?: string }>().clOrdId === 'c'
    })
    for (const order of [resting, { ...resting, account: 'bob', side: 'buy' }])
      await nats.js.publish('orders.new', JSON.stringify(order))
    t.match(await run, { code: 1, stderr: /others traded in SHARED meanwhile \(2 fills/ }, 'with one another')
  })

  await t.test('half the time at twice the speed', async (t) => {
    writeFileSync(file, `${header}\n0,new,a,buy,1,1\n6000,new,b,buy,1,1`)
    const { code, stdout, stderr } = await replay(file, '--speed', '2', '--json')
    t.equal(code, 0, stderr)
    const { elapsedMs } = JSON.parse(stdout) as { elapsedMs: number }
    t.ok(elapsedMs >= 3_000 && elapsedMs < 6_000, `${elapsedMs} ms`)
  })
})

void t.test('P2.02 `replay --start` brings a pipeline of its own that counts as the file does', async (t) => {
  const tmp = tempDir(t)
  const file = join(tmp, 'fine.csv')
  const rows = ['0,new,a,buy,0.0000125,3', '10,new,b,sell,0.0000125,3', '20,trade,1,,0.0000125,3']
  writeFileSync(file, [header, ...rows].join('\n'))
  const env = { TMPDIR: tmp, NATS_URL: '', STREAMS_MAX_BYTES: String(512 * 2 ** 20) }
  const { code, stdout, stderr } = await runCli(['replay', file, '--start', '--json'], env)
  t.equal(code, 0, stderr)
  t.match(JSON.parse(stdout), { ok: true, trades: 1, reproduced: 1, tick: '0.0000001', lot: '1' })
  t.same(readdirSync(tmp), ['fine.csv'], 'nothing is left')
})

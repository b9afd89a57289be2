import t from 'tap'
import { ensureStreams } from '../../src/runtime/streams.ts'
import { runCli, startCli } from '../support/cli.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'

const escape = String.fromCharCode(27)

void t.test('P2.11 `book` and `order list` show what rests, once or for ever, with colours or without', async (t) => {
  const server = await startTestNats(t)
  const env = { NATS_URL: server.url }
  const book = (...args: string[]) => runCli(['book', ...args], env)

  const nobody = await book('BTCUSDT')
  t.equal(nobody.code, 69)
  t.match(nobody.stderr, /COMPONENT_MISSING: no active oms-matcher/)

  await startTestWorkers(t, server.url, { workers: ['risk-gate', 'oms-matcher'] })
  const nats = await connectTestNats(t, server.url)
  const send = (side: string, quantity: string, price: number, more: object = {}) =>
    nats.js.publish(
      'orders.new.alice',
      JSON.stringify({ symbol: 'SOLUSDT', type: 'limit', side, quantity, price, ...more }),
    )
  await send('buy', '0.00000003', 99.5)
  await send('buy', '2', 100)
  await send('sell', '12.5', 101)
  await send('buy', '1', 44_000, { symbol: 'BTCUSDT' })
  const listed = await until('the orders', async () => {
    const { code, stdout } = await runCli(['order', 'list', '--account', 'alice', '--json'], env)
    return code === 0 && (JSON.parse(stdout) as { orders: unknown[] }).orders.length === 4 && stdout
  })
  t.match(listed, '"account":"alice"')

  await t.test('a table', async (t) => {
    const { code, stdout } = await book('solusdt')
    t.equal(code, 0)
    t.match(stdout.replace(/as of command \d+/, '…').split('\n'), [
      'SOLUSDT  …',
      '  quantity   bid  ask  quantity',
      '         2   100  101      12.5',
      '0.00000003  99.5',
      '',
    ])
    const shallow = await book('SOLUSDT', '--depth', '1')
    t.notMatch(shallow.stdout, '99.5')
    t.match((await book('NOSUCH')).stdout, /^the book is empty$/m)
    t.equal((await book('no symbol')).code, 64)
    t.equal((await book('SOLUSDT', '--depth', 'x')).code, 64)
  })

  await t.test('JSON, numbers as they are', async (t) => {
    const { stdout } = await book('SOLUSDT', '--json')
    t.match(stdout, '"bids":[[100,2],[99.5,0.00000003]],"asks":[[101,12.5]]')
  })

  await t.test('colours: on a terminal only, not with NO_COLOR or --no-color', async (t) => {
    const shows = async (args: readonly string[], more: Readonly<Record<string, string | undefined>>) =>
      (await runCli(args, { ...env, ...more })).stdout.includes(escape)
    const forced = { NO_COLOR: undefined, FORCE_COLOR: '1' }
    t.equal(await shows(['book', 'SOLUSDT'], forced), true)
    t.equal(await shows(['book', 'SOLUSDT'], { NO_COLOR: undefined }), false, 'no terminal')
    t.equal(await shows(['book', 'SOLUSDT'], { NO_COLOR: '1' }), false)
    t.equal(await shows(['book', 'SOLUSDT', '--no-color'], forced), false)
    t.equal(await shows(['--no-color', 'book', 'SOLUSDT'], forced), false)
  })

  await t.test('--watch follows', async (t) => {
    const books = startCli(t, ['book', 'SOLUSDT', '--watch', '--json'], env)
    const lists = startCli(t, ['order', 'list', '--account', 'alice', '--symbol', 'SOLUSDT', '--watch', '--json'], env)
    await until('both', () => books.lines.length > 0 && lists.lines.length > 0)
    t.equal((JSON.parse(lists.lines[0] ?? '') as { orders: unknown[] }).orders.length, 3, 'of one symbol')
    await send('sell', '1', 102)
    await until('the new level', () => books.lines.some((line) => line.includes('[102,1]')))
    await until('the new order', () => lists.lines.some((line) => line.includes('"price":102')))
    t.equal(await books.interrupt(), 130)
    t.equal(await lists.interrupt(), 130)
  })
})

void t.test('P2.11 every field of an order has an option', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  await ensureStreams(nats, 512 * 2 ** 20)
  const calls: readonly (readonly [args: readonly string[], body: Readonly<Record<string, unknown>>])[] = [
    [['--price', '43000'], { price: '43000', ordType: 'LIMIT' }],
    [[], { ordType: 'MARKET' }],
    [['--stop-price', '43500'], { stopPrice: '43500', ordType: 'STOP' }],
    [['--stop-price', '43500', '--price', '43400'], { stopPrice: '43500', price: '43400', ordType: 'STOP_LIMIT' }],
    [['--trailing-offset', '25'], { trailingOffset: '25', ordType: 'TRAILING_STOP' }],
    [['--price', '1', '--display-quantity', '0.1'], { displayQuantity: '0.1' }],
    [['--price', '2', '--stp-mode', 'expire_maker'], { stpMode: 'expire_maker' }],
    [['--price', '3', '--expire-at', '2100-01-01T00:00:00Z'], { expireAt: '2100-01-01T00:00:00Z', timeInForce: 'GTD' }],
    [['--price', '4', '--post-only', '--tif', 'day'], { postOnly: true, timeInForce: 'day' }],
    [['--price', '5', '--reduce-only', '--cl-ord-id', 'mine'], { reduceOnly: true, clOrdId: 'mine' }],
  ]
  // Nobody answers: what was stored is what counts.
  const env = { NATS_URL: server.url }
  const order = ['order', 'new', 'BTCUSDT', 'sell', '1', '--timeout-ms', '5000', '--account', 'bob']
  const ends = await Promise.all(calls.map(([args]) => runCli([...order, ...args], env)))
  for (const { code, stderr } of ends) t.equal(code, 69, stderr)
  const bodies: string[] = []
  for (let seq = 1; seq <= calls.length; seq += 1)
    bodies.push(canonical((await nats.jsm.streams.getMessage('ORDERS', { seq }))?.json() ?? {}))
  const common = { symbol: 'BTCUSDT', side: 'sell', quantity: '1', account: 'bob' }
  t.same(
    bodies.sort(),
    calls
      .map(([args, body]) => {
        const at = args.indexOf('--price')
        const ordType = 'ordType' in body ? {} : { ordType: 'LIMIT', price: args[at + 1] }
        return canonical({ ...common, ...ordType, ...body })
      })
      .sort(),
  )
})

function canonical(body: object): string {
  return JSON.stringify(Object.entries(body).sort(([a], [b]) => (a < b ? -1 : 1)))
}

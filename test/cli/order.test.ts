import t from 'tap'
import { runCli } from '../support/cli.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'

interface Report {
  orderId: string
  execType: string
  ordStatus: string
  ordRejReason?: string
  account: string
}
interface OrderDocument {
  orderId?: string
  seq: number
  answered: boolean
  reports: Report[]
  order?: Record<string, unknown>
}

const parse = (text: string) => JSON.parse(text) as OrderDocument

void t.test('P1.05 orders from the command line', async (t) => {
  const server = await startTestNats(t)
  const env = { NATS_URL: server.url }
  const order = (...args: string[]) => runCli(['order', ...args], env)

  await t.test('without streams nothing is sent, exit 69', async (t) => {
    const { code, stderr } = await order('new', 'BTCUSDT', 'buy', '1')
    t.equal(code, 69)
    t.match(stderr, /COMPONENT_MISSING: .*no stream (ORDERS|EXECUTIONS).*trade2026 up/)
  })

  const workers = await startTestWorkers(t, server.url, { workers: ['risk-gate', 'oms-matcher'] })
  const nats = await connectTestNats(t, server.url)
  const lastOf = async (stream: string) => (await nats.jsm.streams.info(stream)).state.last_seq

  const consumers = async () => (await nats.jsm.consumers.list('EXECUTIONS').next()).map(({ name }) => name)
  // The gate's own.
  const consumersBefore = await until('the gate', async () => {
    const names = await consumers()
    return names.length > 0 && names
  })

  await t.test('new: accepted, filled, refused', async (t) => {
    const resting = await order(
      'new',
      'BTCUSDT',
      'buy',
      '0.00000003',
      '--price',
      '45000',
      '--account',
      'alice',
      '--json',
    )
    t.equal(resting.code, 0, resting.stderr)
    t.match(parse(resting.stdout), {
      orderId: 'o-1',
      seq: 1,
      answered: true,
      reports: [{ orderId: 'o-1', execType: 'New', ordStatus: 'New', account: 'alice' }],
    })
    t.match(resting.stdout, '"orderQty":0.00000003,', 'numbers as they are stored')
    const stored = await nats.jsm.streams.getMessage('ORDERS', { seq: 1 })
    t.equal(stored?.subject, 'orders.new.alice')
    t.same(Object.keys(stored?.json() ?? {}).toSorted(), ['account', 'ordType', 'price', 'quantity', 'side', 'symbol'])

    const market = await order('new', 'btcusdt', 'SELL', '0.00000002', '--cl-ord-id', 'mine')
    t.equal(market.code, 0, market.stderr)
    t.equal(
      market.stdout,
      [
        'o-2 BTCUSDT SELL New MARKET 0.00000002 IOC as mine → New (default)',
        'o-2 BTCUSDT SELL Trade 0.00000002 @ 45000 → Filled (default)',
        'o-1 BTCUSDT BUY Trade 0.00000002 @ 45000 → PartiallyFilled (alice)',
        '',
      ].join('\n'),
    )

    const refused = await order('new', 'BTCUSDT', 'buy', '5000000', '--price', '45000', '--json')
    t.equal(refused.code, 1)
    t.match(parse(refused.stdout).reports, [{ execType: 'Rejected', ordRejReason: 'RISK_MAX_QUANTITY' }])
    t.match(refused.stderr, /refused: RISK_MAX_QUANTITY.*1000000/)

    const again = await order('new', 'BTCUSDT', 'buy', '1', '--cl-ord-id', 'mine')
    t.equal(again.code, 1)
    t.match(again.stderr, /DUPLICATE_CL_ORD_ID/)
  })

  await t.test('a wrong call sends nothing, exit 64', async (t) => {
    const before = await lastOf('ORDERS')
    const calls = [
      [['new', 'BTCUSDT', 'hold', 'much'], /side must be one of BUY SELL; quantity must be a decimal number/],
      [['new', 'BTCUSDT', 'buy', '1', '--type', 'limit'], /price is missing for LIMIT/],
      [['replace', 'o-1'], /nothing to change/],
      [['show', '12'], /named like o-12/],
    ] as const
    await Promise.all(
      calls.map(async ([args, text]) => {
        const { code, stderr, stdout } = await order(...args)
        t.equal(code, 64, args.join(' '))
        t.match(stderr, text)
        t.equal(stdout, '')
      }),
    )
    t.equal(await lastOf('ORDERS'), before)
  })

  await t.test('replace, list, cancel, show', async (t) => {
    const gtd = await order(
      'new',
      'ETHUSDT',
      'buy',
      '1',
      '--price',
      '2400',
      '--expire-at',
      '2100-01-01T00:00:00Z',
      '--json',
    )
    t.match(parse(gtd.stdout).reports[0], { timeInForce: 'GTD', ordType: 'LIMIT' }, gtd.stderr)
    const { orderId = '' } = parse(gtd.stdout)

    const replaced = await order('replace', orderId, '--price', '2401.5', '--account', 'default')
    t.equal(replaced.stdout, `${orderId} ETHUSDT BUY Replaced 1 @ 2401.5 → New (default)\n`, replaced.stderr)
    const listed = await order('list', '--json')
    t.match(JSON.parse(listed.stdout), {
      account: 'default',
      orders: [{ orderId, symbol: 'ETHUSDT', quantity: 1, price: 2401.5, status: 'NEW', filledQuantity: 0 }],
    })
    const table = await order('list', '--account', 'alice')
    t.match(
      table.stdout,
      /^order +symbol +side +quantity +price +filled +avgPx +status +clOrdId\no-1 +BTCUSDT +BUY +0\.00000003 +45000 /,
    )

    const foreign = await order('cancel', orderId, '--account', 'alice')
    t.equal(foreign.code, 1)
    t.match(foreign.stderr, /ORDER_NOT_OWNED/)
    const all = await order('mass-cancel', '--all-accounts', '--json')
    t.equal(all.code, 0)
    t.same(
      parse(all.stdout).reports.map(({ orderId, execType }) => [orderId, execType]),
      [
        ['o-1', 'Canceled'],
        [orderId, 'Canceled'],
      ],
    )
    const nothing = await order('mass-cancel', '--all-accounts')
    t.equal(nothing.code, 0)
    t.match(nothing.stderr, /nothing to cancel/)
    const late = await order('cancel', orderId)
    t.equal(late.code, 1)
    t.match(late.stderr, /ORDER_CLOSED/)

    const show = (id: string, ...args: string[]) => order('show', id, ...args)
    const [shown, refused, other, unknown] = await Promise.all([
      show(orderId, '--json'),
      show('o-3'),
      show(`o-${parse(all.stdout).seq}`),
      show('o-99999'),
    ])
    t.match(parse(shown.stdout).order, { orderId, status: 'CANCELLED', price: 2401.5, filledQuantity: 0 })
    t.same(
      parse(shown.stdout)
        .reports.map(({ execType }) => execType)
        .filter((execType) => execType !== 'CancelRejected'),
      ['New', 'Replaced', 'Canceled'],
      'what a mass cancel of all symbols did is found too',
    )
    t.equal(refused.code, 0)
    t.match(refused.stdout, /^o-3 BTCUSDT BUY 5000000 @ 45000: RISK_REJECTED/)
    t.equal(other.code, 1)
    t.match(other.stderr, /is a mass cancel/)
    t.equal(unknown.code, 1)
    t.match(unknown.stderr, /no order o-99999: ORDERS ends at/)
  })

  await t.test('without workers the command is stored and the exit code 69', async (t) => {
    await workers.stop()
    const { code, stdout, stderr } = await order(
      'new',
      'BTCUSDT',
      'buy',
      '1',
      '--price',
      '45000',
      '--json',
      '--timeout-ms',
      // For the answer, which does not come, and for storing the command, which must not take longer.
      '3000',
    )
    t.equal(code, 69)
    const seq = await lastOf('ORDERS')
    t.same(parse(stdout), { orderId: `o-${seq}`, seq, answered: false, reports: [] })
    t.match(stderr, /stored.*not answered after 3000 ms/)
    const pending = await order('show', `o-${seq}`)
    t.equal(pending.code, 0)
    t.match(pending.stdout, /^o-\d+ BTCUSDT BUY 1 @ 45000: PENDING_NEW/)
    const list = await order('list')
    t.equal(list.code, 69)
    t.match(list.stderr, /no active oms-matcher/)
    const left = (await consumers()).filter((name) => !consumersBefore.includes(name))
    t.same(left, [], 'no command leaves a consumer behind')
  })
})

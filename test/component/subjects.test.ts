import t from 'tap'
import { startClient } from '../support/client.ts'
import { connectTestNats, startTestNats, startTestWorkers } from '../support/stack.ts'

const order = { symbol: 'BTCUSDT', side: 'BUY', ordType: 'LIMIT', quantity: 1, price: 100 }

void t.test('P1.07 what subjects and bodies say together', async (t) => {
  const server = await startTestNats(t)
  await startTestWorkers(t, server.url)
  const nats = await connectTestNats(t, server.url)
  const client = await startClient(t, nats)
  const ask = async (subject: string, body: object) => {
    const sequence = await client.send(subject, body)
    const { reports } = await client.answerTo(sequence)
    return { orderId: `o-${sequence}`, report: reports[0], reports }
  }

  await t.test('P1.07 a plain subject is of the account default', async (t) => {
    t.match((await ask('orders.new', order)).report, { account: 'default', execType: 'New' })
    t.match((await ask('orders.new', { ...order, account: 'alice' })).report, { account: 'alice', execType: 'New' })
  })

  await t.test('P1.07 a token of the subject is the account', async (t) => {
    t.match((await ask('orders.new.alice', order)).report, { account: 'alice', execType: 'New' })
    const { report } = await ask('orders.new.alice', { ...order, account: 'alice' })
    t.match(report, { account: 'alice', execType: 'New' }, 'the body may say so too')
    t.match((await ask('orders.new.Alice', { ...order, account: 'alice' })).report, {
      account: 'Alice',
      ordRejReason: 'ACCOUNT_MISMATCH',
      text: 'the body names account "alice", the subject Alice',
    })
  })

  await t.test('P1.07 a cancel or replace by orderId needs no account', async (t) => {
    const { orderId } = await ask('orders.new.bob', order)
    t.match((await ask('orders.replace', { orderId, price: 99 })).report, {
      orderId,
      account: 'bob',
      execType: 'Replaced',
      price: 99,
    })
    t.match((await ask('orders.cancel', { orderId })).report, { orderId, account: 'bob', execType: 'Canceled' })
  })

  await t.test('P1.07 a cancel by origClOrdId on a plain subject is of the account default', async (t) => {
    const bobs = await ask('orders.new.bob', { ...order, clOrdId: 'same' })
    const own = await ask('orders.new', { ...order, clOrdId: 'same' })
    const { report } = await ask('orders.cancel', { origClOrdId: 'same' })
    t.match(report, { orderId: own.orderId, account: 'default', execType: 'Canceled' })
    t.match((await ask('orders.cancel.bob', { origClOrdId: 'same' })).report, {
      orderId: bobs.orderId,
      account: 'bob',
      execType: 'Canceled',
    })
  })

  await t.test('P1.07 on the subject of an account only its orders are met', async (t) => {
    const { orderId } = await ask('orders.new.bob', order)
    for (const subject of ['orders.cancel.eve', 'orders.replace.eve']) {
      const { report } = await ask(subject, { orderId, price: 99 })
      t.match(report, { orderId, account: 'eve', ordRejReason: 'ORDER_NOT_OWNED' })
      t.notOk(report && 'side' in report, 'and nothing of the order is told')
    }
    t.same((await ask('orders.mass_cancel.eve', {})).reports, [])
    t.match((await ask('orders.mass_cancel.bob', {})).reports, [{ orderId, account: 'bob', execType: 'Canceled' }])
  })

  await t.test('P1.07 fields in camelCase and snake_case, enums and symbols in any case', async (t) => {
    const camel = {
      symbol: 'btcusdt',
      side: 'bUy',
      ordType: 'Limit',
      quantity: '0.10',
      price: '1e2',
      clOrdId: 'camel',
      timeInForce: 'gtd',
      expireAt: '2199-01-01T00:00:00Z',
      postOnly: true,
      stpMode: 'none',
    }
    const snake = {
      symbol: 'BtcUsdt',
      side: 'BUY',
      order_type: 'LIMIT',
      quantity: 0.1,
      price: 100.0,
      cl_ord_id: 'snake',
      time_in_force: 'Gtd',
      expire_at: 7226582400,
      post_only: true,
      stp_mode: 'None',
    }
    const expected = {
      account: 'default',
      symbol: 'BTCUSDT',
      side: 'BUY',
      ordType: 'LIMIT',
      timeInForce: 'GTD',
      execType: 'New',
      ordStatus: 'New',
      orderQty: 0.1,
      price: 100,
      leavesQty: 0.1,
      cumQty: 0,
    }
    for (const body of [camel, snake]) {
      const { report, orderId } = await ask('orders.new', body)
      t.strictSame(report, { orderId, clOrdId: body === camel ? 'camel' : 'snake', ...expected })
    }
    t.match((await ask('orders.cancel', { orig_cl_ord_id: 'snake', cl_ord_id: 'gone' })).report, {
      execType: 'Canceled',
      clOrdId: 'gone',
      origClOrdId: 'snake',
    })
    const { report } = await ask('orders.mass_cancel', { all_accounts: true, symbol: 'btcusdt', side: 'buy' })
    t.match(report, { execType: 'Canceled' })
  })

  await t.test('P1.07 type, order_type, orderType and ordType mean the same, and must say the same', async (t) => {
    const untyped = { symbol: 'BTCUSDT', side: 'BUY', quantity: 1, price: 100 }
    for (const name of ['type', 'order_type', 'orderType', 'ordType', 'ord_type'])
      t.match((await ask('orders.new', { ...untyped, [name]: 'limit' })).report, { ordType: 'LIMIT', execType: 'New' })
    const both = { ...untyped, type: 'limit', order_type: 'LIMIT' }
    t.match((await ask('orders.new', both)).report, { execType: 'New' })
    for (const contradiction of [
      { ...order, type: 'MARKET' },
      { ...order, postOnly: true, post_only: false },
    ])
      t.match((await ask('orders.new', contradiction)).report, {
        ordRejReason: 'INVALID_FIELD',
        text: /given twice and not the same/,
      })
  })

  await t.test('P1.07 a token that is no account', async (t) => {
    for (const token of ['bad!', '_venue', '-x', 'a'.repeat(33), 'é', '*', '>'])
      for (const body of [order, { ...order, account: 'alice' }]) {
        const { report, orderId } = await ask(`orders.new.${token}`, body)
        t.strictSame(report, {
          orderId,
          symbol: 'BTCUSDT',
          side: 'BUY',
          ordType: 'LIMIT',
          execType: 'Rejected',
          ordStatus: 'Rejected',
          orderQty: 1,
          price: 100,
          leavesQty: 0,
          cumQty: 0,
          ordRejReason: 'INVALID_FIELD',
          text: 'account of the subject must match ^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$',
        })
      }
  })

  await t.test('P1.07 other subjects are not stored, and their publisher is told', async (t) => {
    const before = (await nats.jsm.streams.info('ORDERS')).state.last_seq
    for (const subject of [
      'orders',
      'orders.new.a.b',
      'orders.new.',
      'orders.New',
      'orders.amend',
      'orders.mass-cancel',
    ])
      await t.rejects(client.send(subject, order), subject)
    t.equal((await nats.jsm.streams.info('ORDERS')).state.last_seq, before)
  })
})

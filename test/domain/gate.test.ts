import t from 'tap'
import { usPerDay } from '../../src/base/clock.ts'
import { BugError } from '../../src/base/assert.ts'
import { ClOrdIds } from '../../src/domain/cl-ord-ids.ts'
import { Expiries } from '../../src/domain/expiries.ts'
import { Gate, type Evaluation } from '../../src/domain/gate.ts'
import { OrderOwners } from '../../src/domain/order-owners.ts'
import { dayEndAfter, protectionTicksOf } from '../../src/domain/order-terms.ts'
import { decodeCommand } from '../../src/schemas/command.ts'
import type { InstrumentsConfig } from '../../src/schemas/instrument.ts'
import type { LimitSet } from '../../src/schemas/limits.ts'
import { rejectReasons, type RejectReason } from '../../src/schemas/reject-reasons.ts'
import { type Body, Desk, instruments, limit, noon, reasonOf, refused, stop } from './gate-desk.ts'
import type { CommandKind, NewRecord, RiskRecord } from '../../src/schemas/risk.ts'

void t.test('P1.20 every refusal has its reason and a text that names field, bound and value', (t) => {
  const buy = limit('BUY', 1, 100)
  const replaceable = (desk: Desk, more: Body = {}) => desk.order('BUY', 1, 100, { clOrdId: 'first', ...more })
  const rows: {
    name: string
    before?: (desk: Desk) => void
    options?: Partial<ConstructorParameters<typeof Gate>[0]>
    kind?: CommandKind
    body: Body | string
    account?: string
    storageFull?: boolean
    reason: RejectReason
    text: RegExp
    echo?: Body
  }[] = [
    { name: 'not JSON', body: '{', reason: 'INVALID_MESSAGE', text: /not JSON/, echo: {} },
    {
      name: 'a missing field',
      body: { symbol: 'S', side: 'BUY', type: 'LIMIT', price: 1, clOrdId: 'c' },
      reason: 'INVALID_FIELD',
      text: /quantity is missing/,
      echo: { account: 'default', symbol: 'S', side: 'BUY', ordType: 'LIMIT', price: '1' },
    },
    {
      name: 'another account than the subject',
      body: { ...buy, account: 'bob' },
      account: 'alice',
      reason: 'ACCOUNT_MISMATCH',
      text: /bob.*alice/,
    },
    {
      name: 'storage is full',
      body: buy,
      storageFull: true,
      reason: 'SYSTEM_STORAGE',
      text: /only cancels/,
      echo: { account: 'default', symbol: 'S', side: 'BUY', ordType: 'LIMIT', quantity: '1', price: '100' },
    },
    {
      name: 'stopPrice off tick',
      body: { symbol: 'S', side: 'BUY', type: 'STOP', quantity: 1, stopPrice: '1.001' },
      reason: 'PRICE_OFF_TICK',
      text: /stopPrice 1\.001 .* 0\.01$/,
      echo: { account: 'default', symbol: 'S', side: 'BUY', ordType: 'STOP', quantity: '1', stopPrice: '1.001' },
    },
    {
      name: 'trailingOffset off tick',
      body: { symbol: 'S', side: 'BUY', type: 'TRAILING_STOP', quantity: 1, trailingOffset: '1.001' },
      reason: 'PRICE_OFF_TICK',
      text: /trailingOffset 1\.001 .* 0\.01$/,
    },
    {
      name: 'displayQuantity off lot',
      body: { ...buy, displayQuantity: '0.0005' },
      reason: 'QUANTITY_OFF_LOT',
      text: /displayQuantity 0\.0005 .* 0\.001$/,
    },
    {
      name: 'a trailing stop without any price',
      body: { symbol: 'S', side: 'SELL', type: 'TRAILING_STOP', quantity: 1, trailingOffset: 1 },
      reason: 'PRICE_NO_REFERENCE',
      text: /S has no trade/,
    },
    {
      name: 'unknown symbol, strict',
      options: { instruments: { ...instruments, strict: true } },
      body: buy,
      reason: 'SYMBOL_UNKNOWN',
      text: /symbol S is not configured/,
    },
    { name: 'off tick', body: limit('BUY', 1, '100.005'), reason: 'PRICE_OFF_TICK', text: /price 100\.005 .* 0\.01$/ },
    {
      name: 'price too large',
      body: limit('BUY', 1, '90000000000000.01'),
      reason: 'PRICE_OUT_OF_RANGE',
      text: /price 90000000000000\.01 .* 90000000000000$/,
    },
    {
      name: 'price absurd',
      body: limit('BUY', 1, '1e4000'),
      reason: 'PRICE_OUT_OF_RANGE',
      text: /price 1e4000 is above/,
    },
    {
      name: 'off lot',
      body: limit('BUY', '1.0005', 1),
      reason: 'QUANTITY_OFF_LOT',
      text: /quantity 1\.0005 .* 0\.001$/,
    },
    {
      name: 'quantity too large',
      body: limit('BUY', '1e13', 1),
      reason: 'QUANTITY_OUT_OF_RANGE',
      text: /quantity 10000000000000 .* 9000000000000$/,
    },
    {
      name: 'the same clOrdId',
      before: replaceable,
      body: { ...buy, clOrdId: 'first' },
      reason: 'DUPLICATE_CL_ORD_ID',
      text: /first for o-1$/,
      echo: {
        ...{ account: 'default', symbol: 'S', side: 'BUY', ordType: 'LIMIT', quantity: '1', price: '100' },
        refOrderId: 'o-1',
      },
    },
    {
      name: 'GTD in the past',
      body: { ...buy, timeInForce: 'GTD', expireAt: '2026-11-22T12:00:00.000001Z' },
      reason: 'ORDER_EXPIRY_PAST',
      text: /expireAt 2026-11-22T12:00:00\.000001Z .* 2026-11-22T12:00:00\.000001Z$/,
    },
    {
      name: 'market order without any price',
      body: { symbol: 'S', side: 'BUY', type: 'MARKET', quantity: 1 },
      reason: 'PRICE_NO_REFERENCE',
      text: /S has no trade/,
    },
    ...(['cancel', 'replace'] as const).flatMap((kind) => {
      const more = kind === 'replace' ? { quantity: 2 } : {}
      return [
        {
          name: `${kind} of an unknown order`,
          kind,
          body: { orderId: 'o-77', ...more },
          reason: 'ORDER_UNKNOWN' as const,
          text: /o-77/,
        },
        {
          name: `${kind} of what is no id of ours`,
          kind,
          body: { orderId: 'x', ...more },
          reason: 'ORDER_UNKNOWN' as const,
          text: /x/,
        },
        {
          name: `${kind} of an unknown name`,
          before: replaceable,
          kind,
          body: { origClOrdId: 'second', ...more },
          reason: 'ORDER_UNKNOWN' as const,
          text: /default has no order second/,
        },
        {
          name: `${kind} of a name of another account`,
          before: replaceable,
          kind,
          body: { origClOrdId: 'first', account: 'bob', ...more },
          reason: 'ORDER_UNKNOWN' as const,
          text: /bob has no order first/,
        },
        {
          name: `${kind} of another's order`,
          before: replaceable,
          kind,
          body: { orderId: 'o-1', account: 'bob', ...more },
          reason: 'ORDER_NOT_OWNED' as const,
          text: /o-1 .* bob/,
        },
      ]
    }),
    {
      name: 'replace of an ended order',
      before: (desk) => desk.end(replaceable(desk), 'Canceled'),
      kind: 'replace',
      body: { origClOrdId: 'first', price: 99 },
      reason: 'ORDER_CLOSED',
      text: /o-1 is no longer open/,
      echo: { origClOrdId: 'first', orderId: 'o-1', account: 'default', price: '99' },
    },
    {
      name: 'replace by a name that is used',
      before: replaceable,
      kind: 'replace',
      body: { orderId: 'o-1', price: 99, clOrdId: 'first' },
      reason: 'DUPLICATE_CL_ORD_ID',
      text: /first for o-1/,
      echo: { orderId: 'o-1', account: 'default', price: '99', refOrderId: 'o-1' },
    },
    {
      name: 'replace off tick',
      before: replaceable,
      kind: 'replace',
      body: { orderId: 'o-1', price: '99.001' },
      reason: 'PRICE_OFF_TICK',
      text: /99\.001/,
    },
    {
      name: 'replace off lot',
      before: replaceable,
      kind: 'replace',
      body: { orderId: 'o-1', quantity: '0.0001' },
      reason: 'QUANTITY_OFF_LOT',
      text: /0\.0001/,
    },
    {
      name: 'expireAt on GTC',
      before: replaceable,
      kind: 'replace',
      body: { orderId: 'o-1', expireAt: '2027-01-01T00:00:00Z' },
      reason: 'INVALID_FIELD',
      text: /expireAt applies to timeInForce GTD only/,
    },
    {
      name: 'expireAt in the past',
      before: (desk) => replaceable(desk, { timeInForce: 'GTD', expireAt: '2027-01-01T00:00:00Z' }),
      kind: 'replace',
      body: { orderId: 'o-1', expireAt: '2026-11-22T12:00:00Z' },
      reason: 'ORDER_EXPIRY_PAST',
      text: /2026-11-22T12:00:00\.000000Z/,
    },
    {
      name: 'price on a market order',
      before: (desk) => desk.send('new', { symbol: 'REF', side: 'BUY', type: 'MARKET', quantity: 1 }),
      kind: 'replace',
      body: { orderId: 'o-1', price: 99 },
      reason: 'INVALID_FIELD',
      text: /price does not apply to MARKET/,
    },
    ...['STOP', 'TRAILING_STOP'].map((type) => ({
      name: `price on a ${type}`,
      before: (desk: Desk) => desk.send('new', stop(type)),
      kind: 'replace' as const,
      body: { orderId: 'o-1', price: 99 },
      reason: 'INVALID_FIELD' as const,
      text: new RegExp(`price does not apply to ${type}$`),
    })),
    ...['LIMIT', 'MARKET', 'TRAILING_STOP'].map((type) => ({
      name: `stopPrice on a ${type}`,
      before: (desk: Desk) => desk.send('new', stop(type)),
      kind: 'replace' as const,
      body: { orderId: 'o-1', stopPrice: 99 },
      reason: 'INVALID_FIELD' as const,
      text: new RegExp(`stopPrice does not apply to ${type}$`),
    })),
    {
      name: 'stopPrice off tick in a replace',
      before: (desk) => desk.send('new', stop('STOP')),
      kind: 'replace',
      body: { orderId: 'o-1', stopPrice: '99.001' },
      reason: 'PRICE_OFF_TICK',
      text: /stopPrice 99\.001/,
    },
    {
      name: 'replace while storage is full',
      before: replaceable,
      kind: 'replace',
      body: { orderId: 'o-1', price: 99 },
      storageFull: true,
      reason: 'SYSTEM_STORAGE',
      text: /only cancels/,
    },
  ]
  for (const { name, before, options, kind = 'new', body, account, storageFull, reason, text, echo } of rows) {
    const desk = new Desk(options)
    before?.(desk)
    const held = desk.gate.openOrders
    const record = desk.send(kind, body, {
      ...(account === undefined ? {} : { account }),
      ...(storageFull === undefined ? {} : { storageFull }),
    })
    t.match(record, { type: 'reject', kind, reason, text }, name)
    if (echo) t.strictSame(refused(record).echo, echo, `${name}: echo`)
    t.equal(desk.gate.openOrders, held, `${name}: nothing is held`)
  }
  const seen = new Set(rows.map(({ reason }) => reason))
  const others: RejectReason[] = [
    ...(['ORDER_WOULD_TAKE', 'ORDER_NOT_REDUCING', 'ORDER_QUANTITY_BELOW_FILLED', 'SYSTEM_COMMAND_FAULT'] as const),
    ...rejectReasons.filter((reason) => reason.startsWith('RISK_')),
  ]
  t.strictSame([...seen, ...others].sort(), [...rejectReasons].sort(), 'no reason of the gate is left out')
  t.end()
})

void t.test('P1.20 the checks come in their order: symbol, numbers, name, time, reference, limits', (t) => {
  const wrong: Body = {
    ...{ symbol: 'S', side: 'BUY', type: 'MARKET', quantity: '1.0005', clOrdId: 'n' },
    ...{ timeInForce: 'GTD', expireAt: '2026-01-01T00:00:00Z', account: 'blocked' },
  }
  const desk = new Desk()
  desk.limits('account.blocked', { blocked: true, maxQuantity: 1 })
  desk.send('new', { ...limit('BUY', 1, 1), account: 'blocked', clOrdId: 'n' })
  const steps: [Body, RejectReason][] = [
    [{}, 'QUANTITY_OFF_LOT'],
    [{ quantity: 2 }, 'DUPLICATE_CL_ORD_ID'],
    [{ clOrdId: 'm' }, 'ORDER_EXPIRY_PAST'],
    [{ timeInForce: 'GTC', expireAt: null, clOrdId: 'o' }, 'PRICE_NO_REFERENCE'],
    [{ symbol: 'REF', clOrdId: 'p' }, 'RISK_SYMBOL_BLOCKED'],
  ]
  let body = wrong
  for (const [fix, reason] of steps) {
    body = { ...body, ...fix }
    t.equal(reasonOf(desk.send('new', body)), reason)
  }
  desk.limits('account.blocked', { maxQuantity: 1 })
  t.equal(reasonOf(desk.send('new', { ...body, clOrdId: 'q' })), 'RISK_MAX_QUANTITY')
  t.end()
})

void t.test('P1.10 each limit passes at its value and refuses one unit above, with rule, limit and actual', (t) => {
  const rows: {
    rule: RejectReason
    limits: LimitSet
    before?: (desk: Desk) => void
    at: Body
    above: Body
    limit: string
    actual: string
  }[] = [
    {
      rule: 'RISK_MAX_QUANTITY',
      limits: { maxQuantity: '2.5' },
      at: limit('BUY', '2.5', 1),
      above: limit('BUY', '2.501', 1),
      limit: '2.5',
      actual: '2.501',
    },
    {
      rule: 'RISK_MAX_ORDER_VALUE',
      limits: { maxOrderValue: '250.00001' },
      at: limit('SELL', '2.5', 100),
      above: limit('SELL', '2.5', '100.01'),
      limit: '250.00001',
      actual: '250.025',
    },
    {
      rule: 'RISK_MAX_POSITION',
      limits: { maxPosition: 10 },
      before: (desk) => {
        desk.position(3)
        desk.order('BUY', 4, 100)
        desk.order('SELL', 2, 100)
      },
      at: limit('BUY', 3, 100),
      above: limit('BUY', '3.001', 100),
      limit: '10',
      actual: '10.001',
    },
    {
      rule: 'RISK_MAX_POSITION',
      limits: { maxPosition: 10 },
      before: (desk) => {
        desk.position(-3)
        desk.order('SELL', 4, 100)
        desk.order('BUY', 2, 100)
      },
      at: limit('SELL', 3, 100),
      above: limit('SELL', '3.001', 100),
      limit: '10',
      actual: '10.001',
    },
    {
      rule: 'RISK_MAX_OPEN_ORDERS',
      limits: { maxOpenOrders: 2 },
      before: (desk) => {
        desk.position(1)
        desk.order('BUY', 1, 100)
      },
      at: limit('BUY', 1, 100),
      above: limit('BUY', 1, 100),
      limit: '2',
      actual: '3',
    },
    {
      // |2 × 110 + 100| in S, and |0 − 3 × 50| in the other symbol.
      rule: 'RISK_GROSS_EXPOSURE',
      limits: { maxGrossExposure: 470 },
      before: (desk) => {
        desk.position(2, 110)
        desk.order('BUY', 1, 100)
      },
      at: limit('SELL', 3, 50, { symbol: 'OTHER' }),
      above: limit('SELL', 3, '50.01', { symbol: 'OTHER' }),
      limit: '470',
      actual: '470.03',
    },
  ]
  for (const { rule, limits, before, at, above, limit: bound, actual } of rows) {
    for (const key of ['default', 'account.default', 'symbol.S', 'symbol.OTHER']) {
      const desk = new Desk()
      before?.(desk)
      desk.limits('default', { maxQuantity: 1e9 })
      desk.limits(key, limits)
      const source = key.startsWith('symbol') ? `symbol ${key.slice(7)}` : 'account default'
      const applies = !key.startsWith('symbol') || (above['symbol'] === key.slice(7) && rule !== 'RISK_GROSS_EXPOSURE')
      if (rule === 'RISK_MAX_OPEN_ORDERS') t.equal(desk.send('new', at).type, 'new', `${rule} ${key}`)
      else {
        const passed = new Desk()
        before?.(passed)
        passed.limits(key, limits)
        const record = passed.send('new', at)
        t.equal(record.type, 'new', `${rule} ${key} at the limit`)
        if (applies) t.equal((record as NewRecord).check?.rule, rule)
      }
      const record = desk.send('new', above)
      if (!applies) {
        t.equal(record.type, 'new', `${rule} ${key} is another symbol's`)
        continue
      }
      t.match(record, { type: 'reject', reason: rule, check: { rule, limit: bound, actual } }, `${rule} ${key}`)
      t.equal(refused(record).text, `${rule}: limit ${bound}, actual ${actual} (${source})`)
    }
  }
  t.end()
})

void t.test('P1.10 limits of a symbol count what the account has in that symbol', (t) => {
  const desk = new Desk()
  desk.limits('symbol.S', { maxOpenOrders: 1, maxGrossExposure: 300 })
  desk.order('BUY', 1, 100, { symbol: 'OTHER' })
  desk.order('BUY', 50, 100, { symbol: 'OTHER' })
  const first = desk.order('BUY', 3, 100)
  t.equal(reasonOf(desk.send('new', limit('BUY', 1, 1))), 'RISK_MAX_OPEN_ORDERS')
  t.equal(desk.send('new', limit('BUY', 1, 1, { account: 'bob' })).type, 'new')
  desk.end(first, 'Canceled')
  t.match(desk.send('new', limit('BUY', '3.001', 100)), {
    reason: 'RISK_GROSS_EXPOSURE',
    check: { limit: '300', actual: '300.1' },
  })
  t.end()
})

void t.test('P1.10 an account entry replaces the default and both it and the symbol entry must pass', (t) => {
  const desk = new Desk()
  t.equal(reasonOf(desk.send('new', limit('BUY', '1000000.001', '0.01'))), 'RISK_MAX_QUANTITY', 'built in')
  desk.limits('account.default', { maxQuantity: 2_000_000 })
  desk.order('BUY', '1000000.001', '0.01')
  desk.limits('symbol.S', { maxQuantity: 5 })
  t.match(desk.send('new', limit('BUY', 6, '0.01')), { text: /limit 5, actual 6 \(symbol S\)/ })
  desk.limits('symbol.S', null)
  desk.order('BUY', 6, '0.01')
  desk.limits('default', { maxQuantity: 1 })
  desk.order('BUY', 6, '0.01')
  t.equal(reasonOf(desk.send('new', limit('BUY', 6, '0.01', { account: 'bob' }))), 'RISK_MAX_QUANTITY')
  t.equal(desk.gate.limitsRevision, 4)
  t.end()
})

void t.test('P1.10 an accepted order names the limit it comes closest to', (t) => {
  const desk = new Desk()
  desk.limits('default', { maxQuantity: 10, maxOrderValue: 1000 })
  const checkOf = (body: Body) => (desk.send('new', body) as NewRecord).check
  t.strictSame(checkOf(limit('BUY', 5, 1)), { rule: 'RISK_MAX_QUANTITY', limit: '10', actual: '5' })
  t.strictSame(checkOf(limit('BUY', 5, 101)), { rule: 'RISK_MAX_ORDER_VALUE', limit: '1000', actual: '505' })
  desk.limits('symbol.S', { maxOpenOrders: 3 })
  t.strictSame(checkOf(limit('BUY', 5, 1)), { rule: 'RISK_MAX_OPEN_ORDERS', limit: '3', actual: '3' })
  t.end()
})

void t.test('P1.10 orders that reduce risk and cancels are never blocked; what would turn the position is', (t) => {
  for (const [key, limits] of [
    ['account.default', { blocked: true }],
    ['symbol.S', { blocked: true }],
    ['default', { maxPosition: 0 }],
    ['symbol.S', { maxGrossExposure: 0 }],
  ] as const) {
    for (const sign of [1, -1]) {
      const name = `${key} ${JSON.stringify(limits)} ${sign}`
      const desk = new Desk()
      desk.position(10 * sign)
      const away = sign > 0 ? 'SELL' : 'BUY'
      const towards = sign > 0 ? 'BUY' : 'SELL'
      const working = desk.order(away, 4, 100)
      desk.limits(key, limits)
      const reason =
        'blocked' in limits
          ? 'RISK_SYMBOL_BLOCKED'
          : 'maxPosition' in limits
            ? 'RISK_MAX_POSITION'
            : 'RISK_GROSS_EXPOSURE'
      t.equal(reasonOf(desk.send('new', limit(towards, '0.001', 100))), reason, `${name}: adds`)
      t.equal(reasonOf(desk.send('new', limit(away, '6.001', 100))), reason, `${name}: turns`)
      t.equal(desk.send('new', limit(away, 6, 100)).type, 'new', `${name}: reduces`)
      t.equal(reasonOf(desk.send('new', limit(away, '0.001', 100))), reason, `${name}: together they turn`)
      t.equal(desk.send('cancel', { orderId: `o-${working}` }).type, 'cancel', `${name}: cancel`)
      t.equal(desk.send('mass_cancel', { account: 'default' }).type, 'massCancel', `${name}: mass cancel`)
      desk.end(working, 'Canceled')
      t.equal(desk.send('new', limit(away, 4, 100)).type, 'new', `${name}: room again`)
    }
  }
  const desk = new Desk()
  desk.position(10)
  desk.limits('default', { maxQuantity: 5 })
  t.equal(reasonOf(desk.send('new', limit('SELL', 6, 100))), 'RISK_MAX_QUANTITY', 'size limits hold for all')
  t.match(desk.send('new', limit('SELL', 5, 100)), { type: 'new', check: { rule: 'RISK_MAX_QUANTITY' } })
  const blocked = new Desk()
  blocked.limits('symbol.S', { blocked: true })
  t.match(blocked.send('new', limit('SELL', 5, 100)), {
    reason: 'RISK_SYMBOL_BLOCKED',
    text: 'RISK_SYMBOL_BLOCKED: limit 0, actual 5 (symbol S)',
  })
  t.end()
})

void t.test('P1.10 what is open is held until its end is reported, whatever the end', (t) => {
  const ends: [string, (desk: Desk, order: number, cmdSeq: number) => void][] = [
    ['Canceled', (desk, order) => desk.end(order, 'Canceled')],
    ['Expired', (desk, order) => desk.end(order, 'Expired')],
    [
      'Rejected',
      (desk, order, cmdSeq) =>
        desk.report(cmdSeq, { orderId: `o-${order}`, execType: 'Rejected', ordStatus: 'Rejected' }),
    ],
  ]
  for (const [name, end] of ends) {
    const desk = new Desk()
    desk.limits('default', { maxPosition: 10 })
    const order = desk.order('BUY', 10, 100)
    const { cmdSeq } = desk.gate
    t.equal(reasonOf(desk.send('new', limit('BUY', 1, 100))), 'RISK_MAX_POSITION', `${name}: held`)
    desk.report(cmdSeq, { orderId: `o-${order}`, execType: 'New', ordStatus: 'New' })
    t.equal(reasonOf(desk.send('new', limit('BUY', 1, 100))), 'RISK_MAX_POSITION', `${name}: still held`)
    end(desk, order, cmdSeq)
    t.equal(desk.gate.openOrders, 0)
    desk.order('BUY', 10, 100)
  }
  const desk = new Desk()
  desk.limits('default', { maxPosition: 10 })
  const order = desk.order('BUY', 10, 100)
  desk.fill(order, 4, 99, 'PartiallyFilled')
  t.match(desk.send('new', limit('BUY', '0.001', 100)), { check: { actual: '10.001' } }, 'filled or held, it counts')
  desk.end(order, 'Canceled')
  t.match(desk.send('new', limit('BUY', '6.001', 100)), { check: { actual: '10.001' } })
  desk.order('BUY', 6, 100)
  t.end()
})

void t.test('P1.10 reports of commands that were refused release nothing', (t) => {
  const desk = new Desk()
  const order = desk.order('BUY', 1, 100)
  const { cmdSeq } = desk.gate
  for (const execType of ['CancelRejected', 'ReplaceRejected', 'Rejected'] as const)
    desk.report(cmdSeq + 1, { orderId: `o-${order}`, execType, ordStatus: 'Canceled' })
  t.equal(desk.gate.openOrders, 1)
  for (const report of [
    { orderId: 'o-9', execType: 'Canceled', ordStatus: 'Canceled' },
    { orderId: 'o-1', execType: 'Trade', ordStatus: 'Filled', lastQty: 2, lastPx: 1 },
    { orderId: 'o-1', execType: 'Trade', ordStatus: 'Filled', lastQty: 0.5, lastPx: 1 },
  ] as const)
    t.throws(() => desk.report(9, report), BugError)
  t.end()
})

void t.test('P1.10 a replace holds the larger of old and new until it is answered', (t) => {
  const over = (desk: Desk) => desk.send('new', limit('BUY', '0.001', '0.01'))
  const answer = (desk: Desk, cmdSeq: number, execType: 'Replaced' | 'ReplaceRejected') =>
    desk.report(cmdSeq, { orderId: 'o-1', execType, ordStatus: 'New' })
  const setUp = () => {
    const desk = new Desk()
    desk.limits('default', { maxPosition: 10, maxGrossExposure: 2_000 })
    desk.order('BUY', 4, 100, { clOrdId: 'a' })
    return desk
  }
  const replace = (desk: Desk, change: Body) => {
    const record = desk.send('replace', { orderId: 'o-1', ...change })
    t.equal(record.type, 'replace', JSON.stringify(record))
    return record.cmdSeq
  }

  const up = setUp()
  t.match(up.send('replace', { orderId: 'o-1', quantity: '10.001' }), { reason: 'RISK_MAX_POSITION' })
  const raised = replace(up, { quantity: 10 })
  t.match(over(up), { reason: 'RISK_MAX_POSITION', check: { actual: '10.001' } }, 'the new is held at once')
  answer(up, raised, 'ReplaceRejected')
  up.order('BUY', 6, 100)
  t.match(over(up), { check: { actual: '10.001' } }, 'refused: the old remains')

  const down = setUp()
  const lowered = replace(down, { quantity: 2 })
  t.match(down.send('new', limit('BUY', '6.001', 1)), { check: { actual: '10.001' } }, 'the old is held until then')
  answer(down, lowered, 'Replaced')
  down.order('BUY', 8, 1)
  t.match(over(down), { check: { actual: '10.001' } })

  const value = setUp()
  t.match(value.send('replace', { orderId: 'o-1', price: '500.01' }), {
    reason: 'RISK_GROSS_EXPOSURE',
    check: { limit: '2000', actual: '2000.04' },
  })
  const crossed = replace(value, { price: 500, quantity: 1 })
  t.match(
    value.send('new', limit('BUY', 1, '1500.01')),
    { check: { limit: '2000', actual: '2000.01' } },
    '1 at 500 is 500, not 4 at 500',
  )
  answer(value, crossed, 'Replaced')
  t.match(value.send('new', limit('BUY', 1, '1500.01')), { check: { actual: '2000.01' } })
  const smaller = value.send('replace', { orderId: 'o-1', price: 400 })
  t.notOk('check' in smaller, 'what adds nothing is not checked')

  const many = setUp()
  const first = replace(many, { quantity: 5 })
  const second = replace(many, { price: 300 })
  const third = replace(many, { quantity: 2 })
  t.match(many.send('new', limit('SELL', 1, '0.01')).type, 'new')
  t.match(many.send('new', limit('BUY', 1, '500.01')), { check: { actual: '2000.01' } }, '5 at 300 may come')
  answer(many, first, 'ReplaceRejected')
  t.match(many.send('new', limit('BUY', 1, '800.01')), { check: { actual: '2000.01' } }, '4 at 300 may come')
  answer(many, second, 'Replaced')
  answer(many, third, 'Replaced')
  t.match(many.send('new', limit('BUY', 1, '1400.01')), { check: { actual: '2000.01' } }, '2 at 300 came')
  many.fill(1, 1, 300, 'PartiallyFilled')
  many.fill(1, 1, 300, 'Filled')
  t.equal(many.gate.openOrders, 1)

  const filled = setUp()
  const late = replace(filled, { quantity: 8, clOrdId: 'b' })
  filled.fill(1, 4, 100, 'Filled')
  t.equal(filled.gate.openOrders, 0, 'an end releases what a pending replace held')
  filled.report(late, { orderId: 'o-1', execType: 'ReplaceRejected', ordStatus: 'Filled' })
  filled.order('BUY', 6, 1)
  t.end()
})

void t.test('P1.10 a replace in several parts is settled by its last, by whatever it was answered', (t) => {
  const desk = new Desk()
  desk.limits('default', { maxPosition: 10 })
  const order = desk.order('BUY', 4, 100)
  const { cmdSeq } = desk.send('replace', { orderId: `o-${order}`, quantity: 10, clOrdId: 'again' })
  const part = (sequence: number, label: string) =>
    desk.gate.feedback(sequence, { cmdSeq, transactTime: 'x', part: label, reports: [] })
  part(1, '1/2')
  t.equal(reasonOf(desk.send('new', limit('BUY', 1, 1))), 'RISK_MAX_POSITION')
  part(2, '2/2')
  desk.gate.checkInvariants()
  desk.order('BUY', 6, 1)
  t.end()
})

void t.test('P1.10 market orders are protected by the last own trade, else the reference price', (t) => {
  const rows: [boolean, number, number, number][] = [
    [true, 10_000, 500, 10_500],
    [false, 10_000, 500, 9_500],
    [true, 3, 500, 3],
    [false, 3, 500, 3],
    [true, 39, 300, 40],
    [false, 39, 300, 38],
    [false, 1, 10_000, 1],
    [true, 9e15, 500, 9e15],
    [false, 9e15, 1, 8_999_100_000_000_000],
  ]
  for (const [buy, mark, bps, ticks] of rows)
    t.equal(protectionTicksOf(buy, mark, bps), ticks, `${buy ? 'buy' : 'sell'} ${mark} ± ${bps}`)
  const desk = new Desk()
  const market = (side: string, more: Body = {}) =>
    desk.send('new', { symbol: 'REF', side, type: 'MARKET', quantity: 1, ...more })
  t.match(market('BUY'), { protectionTicks: 10_500, timeInForce: 'IOC' })
  t.match(market('SELL', { timeInForce: 'DAY' }), { protectionTicks: 9_500, timeInForce: 'IOC' })
  t.notOk('expireUs' in market('BUY', { timeInForce: 'GTD', expireAt: '2027-01-01T00:00:00Z' }))
  t.match(market('BUY', { timeInForce: 'FOK' }), { timeInForce: 'FOK' })
  desk.fill(desk.order('BUY', 1, 200, { symbol: 'REF' }), 1, 200, 'Filled')
  t.match(market('BUY'), { protectionTicks: 21_000 })
  desk.limits('default', { maxOrderValue: 209 })
  t.match(market('BUY'), { reason: 'RISK_MAX_ORDER_VALUE', check: { actual: '210' } }, 'held at the protection price')
  t.end()
})

void t.test('P1.10 quantities and prices near 9e15 stay exact', (t) => {
  const desk = new Desk({ instruments: { default: { tick: '0.000000001', lot: '0.000000001' }, instruments: {} } })
  const top = '9000000'
  const limits = { maxQuantity: top, maxOrderValue: '81000000000000', maxGrossExposure: '1e30' as unknown as number }
  desk.limits('default', { ...limits, maxPosition: '27000000' })
  for (let n = 0; n < 3; n += 1) desk.fill(desk.order('BUY', top, top), 9e6, 9e6, 'Filled')
  t.match(desk.send('new', limit('BUY', '0.000000001', top)), {
    check: { limit: '27000000', actual: '27000000.000000001' },
  })
  desk.limits('default', { ...limits, maxPosition: '1000000000', maxGrossExposure: '243000000000000' })
  t.match(desk.send('new', limit('BUY', '0.000000001', '0.000000001')), {
    check: { rule: 'RISK_GROSS_EXPOSURE', limit: '243000000000000', actual: '243000000000000.000000000000000001' },
  })
  t.end()
})

void t.test('P1.20 a clOrdId names one order: new and replace share it, refusals keep it, SYSTEM_* does not', (t) => {
  const desk = new Desk()
  const named = (clOrdId: string, more: Body = {}) => desk.send('new', { ...limit('BUY', 1, 100), clOrdId, ...more })
  named('a')
  t.equal(refused(named('a')).echo.refOrderId, 'o-1')
  t.equal(named('a', { account: 'bob' }).type, 'new', "another account's names are its own")
  t.equal(reasonOf(named('r', { price: '1.001' })), 'PRICE_OFF_TICK')
  t.equal(reasonOf(named('r')), 'DUPLICATE_CL_ORD_ID', 'a refused order keeps its name')
  t.equal(refused(named('r')).echo.refOrderId, 'o-4')
  t.equal(reasonOf(named('i', { side: 'UP' })), 'INVALID_FIELD')
  t.equal(named('i').type, 'new', 'what was never a command names nothing')
  t.equal(reasonOf(desk.send('new', { ...limit('BUY', 1, 1), clOrdId: 's' }, { storageFull: true })), 'SYSTEM_STORAGE')
  t.equal(named('s').type, 'new')

  t.equal(desk.send('replace', { origClOrdId: 'a', price: 99, clOrdId: 'b' }).type, 'replace')
  t.equal(reasonOf(named('b')), 'DUPLICATE_CL_ORD_ID')
  for (const origClOrdId of ['a', 'b'])
    t.match(desk.send('cancel', { origClOrdId }), { type: 'cancel', target: 1, origClOrdId }, 'any name it had')
  const { cmdSeq } = desk.send('replace', { origClOrdId: 'b', price: 98, clOrdId: 'c' })
  const fault = { ordStatus: 'Rejected', ordRejReason: 'SYSTEM_COMMAND_FAULT' } as const
  desk.report(cmdSeq, { orderId: 'o-1', execType: 'ReplaceRejected', ...fault })
  t.equal(named('c').type, 'new', 'free after a fault')
  desk.report(desk.gate.cmdSeq, { orderId: `o-${desk.srcSeq}`, execType: 'Rejected', ...fault })
  t.equal(named('c').type, 'new', 'and again')
  t.equal(reasonOf(desk.send('replace', { orderId: 'o-77', account: 'z', price: 1, clOrdId: 'z' })), 'ORDER_UNKNOWN')
  t.equal(refused(named('z', { account: 'z' })).echo.refOrderId, `o-${desk.srcSeq - 1}`)
  t.end()
})

void t.test('P1.20 a refused replace leads its name to no order that is not its own', (t) => {
  const desk = new Desk()
  desk.order('BUY', 1, 100, { account: 'alice' })
  const replace = { account: 'mallory', price: 1 }
  t.equal(reasonOf(desk.send('replace', { ...replace, orderId: 'o-1', clOrdId: 'm1' })), 'ORDER_NOT_OWNED')
  t.equal(reasonOf(desk.send('replace', { ...replace, orderId: 'o-4', clOrdId: 'm2' })), 'ORDER_UNKNOWN')
  desk.order('BUY', 1, 100, { account: 'alice' })
  t.equal(desk.srcSeq, 4)
  for (const origClOrdId of ['m1', 'm2'])
    t.equal(reasonOf(desk.send('cancel', { account: 'mallory', origClOrdId })), 'ORDER_UNKNOWN')
  t.end()
})

void t.test('P1.20 names are forgotten by count, per account and venue, not while their order is open', (t) => {
  const desk = new Desk({ clOrdIdMemory: 3, clOrdIdMemoryVenue: 5 })
  const named = (account: string, clOrdId: string) => {
    const record = desk.send('new', { ...limit('BUY', 1, 100), account, clOrdId })
    return record.type === 'new' ? desk.srcSeq : undefined
  }
  const open = named('a', 'open')
  const close = (order: number | undefined) => desk.end(order ?? 0, 'Canceled')
  for (const name of ['1', '2', '3', '4']) close(named('a', name))
  t.equal(named('a', '2'), undefined, 'still in the window')
  const again = named('a', '1')
  t.not(again, undefined, 'out of the window')
  t.equal(named('a', 'open'), undefined, 'kept: open')
  close(open)
  const reopened = named('a', 'open')
  t.not(reopened, undefined, 'its end forgets it')
  for (const name of ['1', '2', '3']) close(named('b', name))
  close(again)
  t.not(named('a', '4'), undefined, "other accounts' names push it out of the venue's window")
  t.not(named('a', '1'), undefined)
  t.equal(named('a', 'open'), undefined)
  t.end()
})

void t.test(
  'P1.10 P1.08 a gate restarts with a larger clOrdId memory: names given again since are the later order',
  (t) => {
    const small = new Desk({ clOrdIdMemory: 2 })
    const records: RiskRecord[] = []
    const send = (kind: CommandKind, body: Body) => records.push(small.send(kind, body))
    const named = (clOrdId: string) => send('new', { ...limit('BUY', 1, 100), account: 'a', clOrdId })
    const closed = new Map<number, number>()
    const close = (order: number) => {
      small.end(order, 'Canceled')
      closed.set(records.length, order)
    }
    for (const name of ['x', 'y', 'z', 'x']) {
      named(name)
      close(small.srcSeq)
    }
    named('open')
    send('replace', { account: 'a', origClOrdId: 'open', price: 99, clOrdId: 'y' })
    t.strictSame([...new Set(records.map(({ type }) => type))], ['new', 'replace'], 'all pass')

    const announced = small.gate.takeNewInstruments()
    const replayed = (clOrdIdMemory: number) => {
      const desk = new Desk({ clOrdIdMemory })
      let executionsSeq = 0
      records.forEach((record, index) => {
        desk.gate.replay({
          executionsSeq,
          limitsRevision: 0,
          instruments: index === 0 ? announced : [],
          records: [record],
        })
        const order = closed.get(index + 1)
        if (order === undefined) return
        desk.end(order, 'Canceled')
        executionsSeq += 1
      })
      desk.srcSeq = small.srcSeq
      desk.timeUs = small.timeUs
      return desk
    }
    t.equal(replayed(2).gate.stateHash(), small.gate.stateHash(), 'the same memory is the same gate')
    const large = replayed(5)
    const again = (clOrdId: string, more: Body = {}) =>
      large.send('new', { ...limit('BUY', 1, 100), account: 'a', clOrdId, ...more })
    t.match(again('x'), { reason: 'DUPLICATE_CL_ORD_ID', echo: { refOrderId: 'o-4' } })
    t.match(again('y'), { reason: 'DUPLICATE_CL_ORD_ID', echo: { refOrderId: 'o-5' } })
    t.match(again('z'), { reason: 'DUPLICATE_CL_ORD_ID', echo: { refOrderId: 'o-3' } })
    again('1')
    t.match(again('x'), { reason: 'DUPLICATE_CL_ORD_ID' }, 'the first x left the window, the later one did not')
    t.equal(replayed(5).gate.stateHash(), replayed(5).gate.stateHash())

    const openAgain = { ...(records[4] as NewRecord), cmdSeq: 7, srcSeq: 7, timeUs: small.timeUs }
    t.throws(
      () => replayed(5).gate.replay({ executionsSeq: 4, limitsRevision: 0, records: [openAgain] }),
      BugError,
      'no memory is so small that an open order would give up its name',
    )
    t.end()
  },
)

void t.test('P1.20 names: windows that grow and then turn, and a late name that is freed', (t) => {
  const open = new Set([1])
  const names = new ClOrdIds({ perAccountMax: 2_000, venueMax: 3_000, isOpen: (orderNumber) => open.has(orderNumber) })
  for (let n = 1; n <= 9_000; n += 1) {
    // Two of three are a's, so both windows reach back over 3,000 numbers.
    names.add(n % 3 === 0 ? 'b' : 'a', `n${n}`, n)
    if (n % 500 !== 0) continue
    const known = (number: number) => names.find(number % 3 === 0 ? 'b' : 'a', `n${number}`)
    for (let number = Math.max(2, n - 4_000); number <= n; number += 37)
      t.equal(known(number), n - number < 3_000 ? number : undefined, `n${number} after ${n}`)
    t.equal(known(1), 1, 'open')
  }
  names.free('a', 'n1')
  t.equal(names.find('a', 'n1'), undefined)
  names.add('a', 'n1', 9_001)
  open.clear()
  names.release(1)
  t.equal(names.find('a', 'n1'), 9_001, 'the end of the first order leaves the name to the second')
  t.end()
})

void t.test('P1.20 targets: by own or no account; ended and refused orders go to the matcher', (t) => {
  const desk = new Desk()
  desk.order('BUY', 1, 100, { account: 'alice', clOrdId: 'x' })
  t.match(desk.send('cancel', { orderId: 'o-1' }), { type: 'cancel', target: 1 })
  t.match(desk.send('cancel', { orderId: 'o-1', account: 'alice', clOrdId: 'c' }), { target: 1, clOrdId: 'c' })
  t.match(desk.send('cancel', { account: 'alice', origClOrdId: 'x' }, { storageFull: true }), { target: 1 })
  desk.end(1, 'Expired')
  t.match(desk.send('cancel', { orderId: 'o-1' }), { type: 'cancel', target: 1 }, 'the matcher answers ORDER_CLOSED')
  t.equal(reasonOf(desk.send('cancel', { orderId: 'o-1', account: 'bob' })), 'ORDER_NOT_OWNED', 'ended or not')
  desk.send('new', limit('BUY', 1, '1.001'))
  t.match(desk.send('cancel', { orderId: `o-${desk.srcSeq}` }), { type: 'cancel', target: desk.srcSeq - 1 })
  t.match(desk.send('mass_cancel', { allAccounts: true, side: 'sell' }), { type: 'massCancel', side: 'SELL' })
  t.notOk('account' in desk.send('mass_cancel', { allAccounts: true }))
  t.end()
})

void t.test('P1.20 owners: the last orders, in a ring that grows and then turns', (t) => {
  const owners = new OrderOwners(3_000)
  for (let n = 1; n <= 10_000; n += 1) {
    owners.add(n * 3, `a${n % 7}`)
    if (n % 997 !== 0) continue
    for (const back of [0, 1, 1_500, 2_999])
      if (n > back) t.equal(owners.find((n - back) * 3), `a${(n - back) % 7}`, `${n} - ${back}`)
    t.equal(owners.find(n * 3 - 1), undefined)
    if (n > 3_000) t.equal(owners.find((n - 3_000) * 3), undefined)
  }
  t.throws(() => owners.add(30_000, 'a'), BugError)
  t.end()
})

void t.test('P1.10 DAY and GTD orders expire in order of time, once', (t) => {
  t.equal(dayEndAfter(noon, usPerDay), noon + usPerDay / 2)
  t.equal(dayEndAfter(noon, usPerDay / 2), noon + usPerDay, 'the end of the day is not after itself')
  t.equal(dayEndAfter(noon - 1, usPerDay / 2), noon)
  const desk = new Desk()
  t.equal(desk.gate.nextExpiryUs(), undefined)
  const day = desk.order('BUY', 1, 100, { timeInForce: 'DAY' })
  const at = (hours: number) => new Date(noon / 1_000 + hours * 3_600_000).toISOString()
  const gtd = (hours: number) => desk.order('BUY', 1, 100, { timeInForce: 'GTD', expireAt: at(hours) })
  const late = gtd(20)
  const early = gtd(2)
  const tied = gtd(2)
  const gone = gtd(1)
  desk.end(gone, 'Canceled')
  const hour = 3_600_000_000
  t.equal(desk.gate.nextExpiryUs(), noon + 2 * hour)
  t.strictSame(desk.gate.expire(noon + 2 * hour - 1), [])
  const targets = (records: RiskRecord[]) => records.map((record) => record.type === 'expire' && record.target)
  const first = desk.gate.expire(noon + 2 * hour)
  t.strictSame(targets(first), [early, tied])
  t.match(first[0], { srcSeq: 0, timeUs: noon + 2 * hour })
  t.strictSame(desk.gate.expire(noon + 2 * hour), [], 'asked for once')
  const moved = desk.send('replace', { orderId: `o-${late}`, expireAt: at(5) })
  t.equal(desk.gate.nextExpiryUs(), noon + 12 * hour, 'an unanswered replace may be refused: the later time')
  desk.report(moved.cmdSeq, { orderId: `o-${late}`, execType: 'Replaced', ordStatus: 'New' })
  t.equal(desk.gate.nextExpiryUs(), noon + 5 * hour)
  const later = desk.send('replace', { orderId: `o-${late}`, expireAt: at(30) })
  t.equal(desk.gate.nextExpiryUs(), noon + 12 * hour)
  desk.report(later.cmdSeq, { orderId: `o-${late}`, execType: 'ReplaceRejected', ordStatus: 'New' })
  t.strictSame(targets(desk.gate.expire(noon + 100 * hour)), [late, day], 'refused: the old time holds')
  t.equal(desk.gate.nextExpiryUs(), undefined)
  desk.end(early, 'Expired')
  t.equal(desk.gate.expire(noon + 200 * hour).length, 0)
  t.equal(desk.send('new', limit('BUY', 1, 1)).timeUs, noon + 100 * hour, 'time does not go back')
  t.end()
})

void t.test('P1.10 expiries of ended orders do not pile up, and none is lost', (t) => {
  const dueUs = new Map<number, number>()
  const expiries = new Expiries((orderNumber) => dueUs.get(orderNumber))
  let sizeMax = 0
  for (let orderNumber = 1; orderNumber <= 20_000; orderNumber += 1) {
    dueUs.set(orderNumber, 900 - (orderNumber % 700))
    expiries.add(900 - (orderNumber % 700), orderNumber)
    if (orderNumber > 50) dueUs.delete(orderNumber - (orderNumber % 50))
    if (orderNumber % 50 !== 7) dueUs.delete(orderNumber)
    sizeMax = Math.max(sizeMax, expiries.size)
  }
  t.ok(sizeMax <= 1_024, `${sizeMax} entries for ${dueUs.size} orders`)
  const expected = [...dueUs].map(([orderNumber, timeUs]) => ({ timeUs, orderNumber }))
  expected.sort((a, b) => a.timeUs - b.timeUs || a.orderNumber - b.orderNumber)
  const came: typeof expected = []
  for (let next = expiries.peek(); next; next = expiries.peek()) {
    came.push(next)
    dueUs.delete(next.orderNumber)
  }
  t.strictSame(came, expected)
  t.end()
})

void t.test('P1.10 many pending replaces hold at least what may come, and exactly that once answered', (t) => {
  const desk = new Desk()
  const order = desk.order('BUY', 1, 100)
  const replaces = Array.from({ length: 30 }, (_, n) =>
    desk.send('replace', { orderId: `o-${order}`, quantity: 2 + n, price: 60 - n }),
  )
  const held = () => [desk.gate.exposure('default', 'S')?.buyLots, desk.gate.exposure('default', 'S')?.buyValue]
  const [lots, value] = held()
  t.equal(lots, 31_000)
  t.ok(value !== undefined && value >= 31_000 * 3_100 && value <= 31_000 * 10_000)
  for (const { cmdSeq } of replaces)
    desk.report(cmdSeq, { orderId: `o-${order}`, execType: 'Replaced', ordStatus: 'New' })
  t.strictSame(held(), [31_000, 31_000 * 3_100])
  t.end()
})

void t.test('P1.10 definitions are announced once, and again when fees or collar change; units never change', (t) => {
  const desk = new Desk()
  desk.send('new', limit('BUY', 1, '1.001'))
  t.strictSame(desk.gate.takeNewInstruments(), [], 'a refused order uses no symbol')
  t.equal(desk.gate.instrument('S'), undefined)
  const first = desk.send('new', limit('BUY', 1, 1))
  desk.send('new', limit('BUY', 1, 1))
  const announced = desk.gate.takeNewInstruments()
  t.match(announced, [{ symbol: 'S', tick: '0.01', lot: '0.001', collarBps: 500 }])
  t.equal(announced.length, 1)
  t.strictSame(desk.gate.takeNewInstruments(), [])

  const message = { executionsSeq: 0, limitsRevision: 0, instruments: announced, records: [] }
  const changed: InstrumentsConfig = { ...instruments, default: { ...instruments.default, takerFeeRate: '0.01' } }
  const next = new Desk({ instruments: changed })
  next.gate.replay({ ...message, records: [{ ...first, cmdSeq: 1, srcSeq: 1 }] })
  next.srcSeq = 1
  t.strictSame(next.gate.takeNewInstruments(), [])
  next.order('BUY', 1, 1)
  t.match(next.gate.takeNewInstruments(), [{ symbol: 'S', takerFeeRate: '0.01' }])
  t.equal(next.gate.instrument('S')?.definition.takerFeeRate, '0.01')
  const other = new Gate({
    instruments: { default: { tick: '0.1', lot: '0.001' }, instruments: {} },
    dayEndUs: usPerDay,
  })
  t.throws(() => other.replay(message), { code: 'CONFIG_INSTRUMENT_CHANGED' })
  t.end()
})

void t.test('P1.10 evaluate answers as decide would, and holds nothing', (t) => {
  const desk = new Desk()
  desk.limits('default', { maxQuantity: 10, maxPosition: 4 })
  const evaluate = (body: Body): Evaluation => {
    const decoded = decodeCommand('new', Buffer.from(JSON.stringify(body)))
    if (decoded.outcome !== 'command' || decoded.command.kind !== 'new') throw new Error('not a new order')
    const before = desk.gate.stateHash()
    const evaluation = desk.gate.evaluate(decoded.command)
    t.equal(desk.gate.stateHash(), before)
    return evaluation
  }
  const check = { rule: 'RISK_MAX_POSITION', limit: '4', actual: '1' }
  t.strictSame(evaluate(limit('BUY', 1, 100)), { reason: null, text: null, check, fastPath: false })
  t.match(evaluate(limit('BUY', 1, '99.99')), { reason: null, fastPath: true })
  t.match(evaluate(limit('BUY', 11, 100)), { reason: 'RISK_MAX_QUANTITY', fastPath: true, text: /limit 10, actual 11/ })
  t.match(evaluate(limit('BUY', 5, 100)), { reason: 'RISK_MAX_POSITION', fastPath: false, check: { actual: '5' } })
  t.match(evaluate(limit('BUY', 5, '1.001')), { reason: 'PRICE_OFF_TICK', check: undefined, fastPath: false })
  t.end()
})

void t.test('P1.10 records are numbered without gaps and applied in order only', (t) => {
  const desk = new Desk()
  desk.order('BUY', 1, 1)
  desk.send('cancel', { orderId: 'o-1' })
  desk.send('new', '{')
  desk.limits('default', {})
  t.equal(desk.gate.cmdSeq, 4)
  const message = { executionsSeq: 0, limitsRevision: 0 }
  const record = {
    cmdSeq: 4,
    srcSeq: 0,
    timeUs: noon * 2,
    type: 'limits',
    revision: 1,
    key: 'default',
    limits: null,
  } as const
  t.throws(() => desk.gate.replay({ ...message, records: [record] }), BugError, 'a record twice')
  t.throws(() => desk.gate.replay({ ...message, executionsSeq: 7, records: [{ ...record, cmdSeq: 5 }] }), BugError)
  desk.gate.feedback(7, { epoch: 2, cmdSeq: 0, transactTime: 'x', reports: [] })
  t.equal(desk.gate.executionsSeq, 7, 'epoch records advance the sequence')
  t.throws(() => desk.gate.feedback(7, { cmdSeq: 1, transactTime: 'x', reports: [] }), BugError)
  desk.gate.replay({ ...message, executionsSeq: 7, records: [{ ...record, cmdSeq: 5 }] })
  t.end()
})

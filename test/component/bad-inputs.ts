/** A body as it is sent; an object as JSON. */
export type Body = string | Uint8Array | Readonly<Record<string, unknown>>
export type Report = Readonly<Record<string, unknown>>

/** Something that a client sends, and the one report that answers it. */
export interface Row {
  readonly name: string
  /** Bodies sent before on orders.new; what is of interest are their orderIds. */
  readonly before?: readonly Body[]
  /** The first of them is cancelled again. */
  readonly cancelled?: true
  /** Unset: orders.new. */
  readonly subject?: string
  readonly body: Body | ((ids: readonly string[]) => Body)
  /** Where the answer is stored. */
  readonly on: string
  /** All of the report; where `orderId` is not given it is the command's own. A RegExp stands for a text. */
  readonly report: Report | ((ids: readonly string[]) => Report)
  /** Gate or matcher may be the one to refuse it, and the gate's report has more fields. */
  readonly byEither?: true
}

export const order = { symbol: 'BTCUSDT', side: 'BUY', ordType: 'LIMIT', quantity: 1, price: 100 }
const plain = { account: 'default', symbol: 'BTCUSDT', side: 'BUY', ordType: 'LIMIT' }
/** An order as text, so that a number can be anything. */
const json = (rest: string) => `{"symbol":"BTCUSDT","side":"BUY","ordType":"LIMIT",${rest}}`
const priced = (price: string) => json(`"quantity":1,"price":${price}`)
export const sized = (quantity: string) => json(`"quantity":${quantity},"price":100`)
const nested = (levels: number) => json(`"quantity":1,"price":100,"x":${'['.repeat(levels)}${']'.repeat(levels)}`)

const rejected = (ordRejReason: string, text: string | RegExp, more: Report = {}): Report => ({
  execType: 'Rejected',
  ordStatus: 'Rejected',
  leavesQty: 0,
  cumQty: 0,
  ordRejReason,
  text,
  ...more,
})
const refused = (kind: 'Cancel' | 'Replace', ordRejReason: string, text: string | RegExp, more: Report = {}) => ({
  execType: `${kind}Rejected`,
  ordStatus: 'Rejected',
  ordRejReason,
  text,
  ...more,
})
/** The report of `order` when it rests. */
export const accepted = (more: Report = {}): Report => ({
  ...plain,
  timeInForce: 'GTC',
  execType: 'New',
  ordStatus: 'New',
  orderQty: 1,
  price: 100,
  leavesQty: 1,
  cumQty: 0,
  ...more,
})

const unreadable = (name: string, body: Body, text: string | RegExp, subject = 'orders.new'): Row => ({
  name,
  subject,
  body,
  on: '_',
  report:
    subject === 'orders.new'
      ? rejected('INVALID_MESSAGE', text)
      : refused(subject === 'orders.replace' ? 'Replace' : 'Cancel', 'INVALID_MESSAGE', text),
})
const invalid = (name: string, body: Body, text: string, echo: Report, on = 'BTCUSDT'): Row => ({
  name,
  body,
  on,
  report: rejected('INVALID_FIELD', text, echo),
})

const notJson = /^not JSON in UTF-8: ./
const badAccount = 'account must match ^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$'
const badSymbol = 'symbol must match ^[A-Z0-9][A-Z0-9_-]{0,19}$'
const noAccount = { symbol: 'BTCUSDT', side: 'BUY', ordType: 'LIMIT', orderQty: 1, price: 100 }
const noSymbol = { account: 'default', side: 'BUY', ordType: 'LIMIT', orderQty: 1, price: 100 }
const echoed = { ...plain, orderQty: 1, price: 100 }
const utf16 = Buffer.from(`\ufeff${JSON.stringify(order)}`, 'utf16le')

export const unreadables: readonly Row[] = [
  unreadable('not JSON', 'buy one bitcoin', notJson),
  unreadable('cut short', '{"symbol":"BTCUSDT"', notJson),
  unreadable('an empty body', '', notJson),
  unreadable('invalid UTF-8', Buffer.from('7b2261c328223a317d', 'hex'), notJson),
  unreadable('UTF-16', utf16, notJson),
  unreadable('NaN, bare', sized('NaN'), notJson),
  unreadable('an array', JSON.stringify([order]), 'not a JSON object'),
  unreadable('a string', '"BUY"', 'not a JSON object'),
  unreadable('a number', '1', 'not a JSON object'),
  unreadable('null', 'null', 'not a JSON object'),
  unreadable('nesting of 9', nested(8), 'nested deeper than 8'),
  unreadable('nesting of 8,000', nested(8_000), 'nested deeper than 8'),
  unreadable('not JSON, to cancel', 'all of them', notJson, 'orders.cancel'),
  unreadable('not JSON, to replace', 'by more', notJson, 'orders.replace'),
  unreadable('not JSON, to mass cancel', '{', notJson, 'orders.mass_cancel'),
]

const notPositive = (field: string) => `${field} must be greater than 0`
export const invalids: readonly Row[] = [
  invalid(
    'wrong types',
    `{"symbol":5,"side":true,"ordType":{},"quantity":[],"price":null,"postOnly":"yes","account":1,"clOrdId":7}`,
    'clOrdId must be string; account must be string; symbol must be string; side must be one of BUY SELL; ordType must be one of LIMIT MARKET STOP STOP_LIMIT TRAILING_STOP; quantity must be a decimal number; postOnly must be boolean',
    {},
    '_',
  ),
  invalid(
    'missing fields',
    {},
    'symbol is missing; side is missing; ordType is missing; quantity is missing',
    { account: 'default' },
    '_',
  ),
  invalid(
    'unknown enum values',
    { ...order, side: 'HOLD', timeInForce: 'GTX' },
    'side must be one of BUY SELL; timeInForce must be one of DAY GTC IOC FOK GTD',
    { account: 'default', symbol: 'BTCUSDT', ordType: 'LIMIT', orderQty: 1, price: 100 },
  ),
  invalid('a negative quantity', sized('-5'), notPositive('quantity'), { ...plain, price: 100 }),
  invalid('a quantity of zero', sized('0.00'), notPositive('quantity'), { ...plain, price: 100 }),
  invalid('a quantity of minus zero', sized('-0'), notPositive('quantity'), { ...plain, price: 100 }),
  invalid('a negative price', priced('"-0.01"'), notPositive('price'), { ...plain, orderQty: 1 }),
  invalid('-1e400', priced('-1e400'), notPositive('price'), { ...plain, orderQty: 1 }),
  invalid('NaN as text', sized('"NaN"'), 'quantity must be a decimal number', { ...plain, price: 100 }),
  invalid('Infinity as text', sized('"Infinity"'), 'quantity must be a decimal number', { ...plain, price: 100 }),
  invalid('an account of ours', { ...order, account: '_venue' }, badAccount, noAccount),
  invalid('an account too long', { ...order, account: 'a'.repeat(33) }, badAccount, noAccount),
  invalid('an account of two subject tokens', { ...order, account: 'a.b' }, badAccount, noAccount),
  invalid('a symbol of two words', { ...order, symbol: 'BTC USDT' }, badSymbol, noSymbol, '_'),
  invalid('a symbol of ours', { ...order, symbol: '_all' }, badSymbol, noSymbol, '_'),
  invalid('a symbol too long', { ...order, symbol: 'A'.repeat(21) }, badSymbol, noSymbol, '_'),
  invalid('a wildcard for a symbol', { ...order, symbol: '>' }, badSymbol, noSymbol, '_'),
  invalid(
    'a very long clOrdId',
    { ...order, clOrdId: 'c'.repeat(15_000) },
    'clOrdId must NOT have more than 64 characters',
    echoed,
  ),
  invalid('an empty clOrdId', { ...order, clOrdId: '' }, 'clOrdId must NOT have fewer than 1 characters', echoed),
  invalid(
    '__proto__, constructor and the like as fields',
    '{"__proto__":{"symbol":"BTCUSDT"},"constructor":1,"toString":null,"hasOwnProperty":{},"side":"BUY"}',
    'symbol is missing; ordType is missing; quantity is missing',
    { account: 'default', side: 'BUY' },
    '_',
  ),
]

const ofRange = (name: string, body: string, reason: string, text: string, echo: Report): Row => ({
  name,
  body,
  on: 'BTCUSDT',
  report: rejected(reason, text, { ...plain, ...echo }),
})
const aboveLots = (quantity: string) => `quantity ${quantity} is above the largest, 90000000`
const aboveTicks = (price: string) => `price ${price} is above the largest, 90000000000000`
export const outOfRange: readonly Row[] = [
  ofRange('off the tick', priced('100.001'), 'PRICE_OFF_TICK', 'price 100.001 is not a multiple of the tick 0.01', {
    orderQty: 1,
    price: 100.001,
  }),
  ofRange(
    'off the lot',
    sized('0.000000001'),
    'QUANTITY_OFF_LOT',
    'quantity 0.000000001 is not a multiple of the lot 0.00000001',
    { orderQty: 1e-9, price: 100 },
  ),
  ofRange('1e-400', sized('1e-400'), 'QUANTITY_OFF_LOT', 'quantity 1e-400 is not a multiple of the lot 0.00000001', {
    price: 100,
  }),
  ofRange('one lot above 9e15', sized('90000000.00000001'), 'QUANTITY_OUT_OF_RANGE', aboveLots('90000000.00000001'), {
    orderQty: 90000000.00000001,
    price: 100,
  }),
  ofRange(
    '9e15 lots',
    sized('90000000'),
    'RISK_MAX_QUANTITY',
    'RISK_MAX_QUANTITY: limit 1000000, actual 90000000 (account default)',
    {
      orderQty: 90000000,
      price: 100,
    },
  ),
  ofRange('1e15 of quantity', sized('1e15'), 'QUANTITY_OUT_OF_RANGE', aboveLots('1000000000000000'), {
    orderQty: 1e15,
    price: 100,
  }),
  ofRange('1e15 of price', priced('"1e15"'), 'PRICE_OUT_OF_RANGE', aboveTicks('1000000000000000'), {
    orderQty: 1,
    price: 1e15,
  }),
  ofRange('1e400', sized('1e400'), 'QUANTITY_OUT_OF_RANGE', aboveLots('1e400'), { price: 100 }),
  ofRange('a thousand digits', priced('9'.repeat(1_000)), 'PRICE_OUT_OF_RANGE', aboveTicks('9'.repeat(40)), {
    orderQty: 1,
  }),
]

const past = '2020-01-01T00:00:00.000000Z'
const mine = { ...order, account: 'owner' }
const seller = { ...order, account: 'seller', side: 'SELL' }
const openOfOwner: Report = accepted({ account: 'owner' })
export const rules: readonly Row[] = [
  {
    name: 'a GTD that has expired',
    body: { ...order, timeInForce: 'GTD', expireAt: '2020-01-01T00:00:00Z' },
    on: 'BTCUSDT',
    report: rejected('ORDER_EXPIRY_PAST', new RegExp(`^expireAt ${past} is not after the command's time, 20\\S+Z$`), {
      ...echoed,
      timeInForce: 'GTD',
    }),
  },
  {
    name: 'a postOnly that would take',
    before: [{ ...seller, symbol: 'POST', price: 101 }],
    body: { ...order, symbol: 'POST', price: 102, postOnly: true },
    on: 'POST',
    report: rejected('ORDER_WOULD_TAKE', 'postOnly BUY at 102 would take the opposing 101', {
      ...echoed,
      symbol: 'POST',
      timeInForce: 'GTC',
      price: 102,
    }),
  },
  {
    name: 'a clOrdId used before',
    before: [{ ...order, clOrdId: 'twice' }],
    body: { ...order, clOrdId: 'twice', side: 'SELL', price: 200 },
    on: 'BTCUSDT',
    report: ([id]) =>
      rejected('DUPLICATE_CL_ORD_ID', `account default has used clOrdId twice for ${id}`, {
        ...echoed,
        clOrdId: 'twice',
        refOrderId: id,
        side: 'SELL',
        price: 200,
      }),
  },
  {
    name: 'lone surrogates and control characters in a clOrdId are a name like any other',
    before: [{ ...order, clOrdId: '\ud800\u0000"\n' }],
    subject: 'orders.cancel',
    body: { origClOrdId: '\ud800\u0000"\n', clOrdId: '\udc00' },
    on: 'BTCUSDT',
    report: ([orderId]) =>
      accepted({
        orderId,
        clOrdId: '\udc00',
        origClOrdId: '\ud800\u0000"\n',
        execType: 'Canceled',
        ordStatus: 'Canceled',
        leavesQty: 0,
      }),
  },
  {
    name: 'names of things that every object has are accounts and clOrdIds like any other',
    before: [{ ...order, account: 'constructor', clOrdId: '__proto__' }],
    body: { ...order, account: 'toString', clOrdId: '__proto__' },
    on: 'BTCUSDT',
    report: accepted({ account: 'toString', clOrdId: '__proto__' }),
  },
  ...(['Cancel', 'Replace'] as const).flatMap((kind): Row[] => {
    const subject = kind === 'Cancel' ? 'orders.cancel' : 'orders.replace'
    const change = kind === 'Cancel' ? {} : { price: 99 }
    return [
      {
        name: `${kind} of an order that never was`,
        subject,
        body: { orderId: 'o-999999999', ...change },
        on: '_',
        report: refused(kind, 'ORDER_UNKNOWN', 'no order o-999999999 is known', { orderId: 'o-999999999', ...change }),
      },
      {
        name: `${kind} of an order that is none of ours`,
        subject,
        body: { orderId: 'o-1"\u0000', ...change },
        on: '_',
        report: refused(kind, 'ORDER_UNKNOWN', 'no order o-1"\u0000 is known', { orderId: 'o-1"\u0000', ...change }),
      },
      {
        name: `${kind} of a name that is not known`,
        subject,
        body: { origClOrdId: 'nobody', ...change },
        on: '_',
        report: refused(kind, 'ORDER_UNKNOWN', 'account default has no order nobody', {
          origClOrdId: 'nobody',
          account: 'default',
          ...change,
        }),
      },
      {
        name: `${kind} of another's order`,
        before: [mine],
        subject,
        body: ([orderId]) => ({ orderId, account: 'thief', ...change }),
        on: '_',
        report: ([orderId]) =>
          refused(kind, 'ORDER_NOT_OWNED', `${orderId} is not an order of account thief`, {
            orderId,
            account: 'thief',
            ...change,
          }),
      },
      {
        name: `${kind} of an order that was cancelled`,
        before: [mine],
        cancelled: true,
        subject,
        body: ([orderId]) => ({ orderId, ...change }),
        on: '_',
        report: ([orderId]) =>
          refused(kind, 'ORDER_CLOSED', new RegExp(`${orderId} is no(t| longer) open`), {
            orderId,
            ordStatus: 'Canceled',
          }),
        byEither: true,
      },
      {
        name: `${kind} of nothing`,
        subject,
        body: change,
        on: '_',
        report: refused(kind, 'INVALID_FIELD', 'orderId is missing (or origClOrdId)', change),
      },
    ]
  }),
  {
    name: 'a replace to what is filled already',
    before: [
      { ...seller, symbol: 'BELOW', quantity: 0.4 },
      { ...mine, symbol: 'BELOW' },
    ],
    subject: 'orders.replace',
    body: ([, orderId]) => ({ orderId, quantity: 0.4, clOrdId: 'less' }),
    on: 'BELOW',
    report: ([, orderId]) => ({
      ...openOfOwner,
      orderId,
      clOrdId: 'less',
      symbol: 'BELOW',
      execType: 'ReplaceRejected',
      ordStatus: 'PartiallyFilled',
      leavesQty: 0.6,
      cumQty: 0.4,
      avgPx: 100,
      ordRejReason: 'ORDER_QUANTITY_BELOW_FILLED',
      text: 'quantity 0.4 must be more than the 0.4 filled',
    }),
  },
  {
    name: 'a replace of nothing shows the order to whom it belongs',
    before: [mine],
    subject: 'orders.replace.owner',
    body: ([orderId]) => ({ orderId }),
    on: 'BTCUSDT',
    report: ([orderId]) => ({
      ...openOfOwner,
      orderId,
      execType: 'ReplaceRejected',
      ordRejReason: 'INVALID_FIELD',
      text: 'quantity is missing (or price, stopPrice, expireAt): nothing to change',
    }),
  },
  {
    name: 'a replace of nothing does not show it to another',
    before: [mine],
    subject: 'orders.replace.thief',
    body: ([orderId]) => ({ orderId, account: 'owner' }),
    on: '_',
    report: ([orderId]) =>
      refused('Replace', 'INVALID_FIELD', 'quantity is missing (or price, stopPrice, expireAt): nothing to change', {
        orderId,
        account: 'thief',
      }),
  },
  {
    name: 'a mass cancel without an account',
    subject: 'orders.mass_cancel',
    body: { symbol: 'BTCUSDT' },
    on: 'BTCUSDT',
    report: refused('Cancel', 'INVALID_FIELD', 'account is missing (or allAccounts: true)', { symbol: 'BTCUSDT' }),
  },
  {
    name: 'a mass cancel of an account and of all',
    subject: 'orders.mass_cancel',
    body: { account: 'owner', allAccounts: true },
    on: '_',
    report: refused('Cancel', 'INVALID_FIELD', 'allAccounts does not go with account', { account: 'owner' }),
  },
  {
    name: 'a body for another account than the subject',
    subject: 'orders.new.alice',
    body: { ...order, account: 'bob' },
    on: 'BTCUSDT',
    report: rejected('ACCOUNT_MISMATCH', 'the body names account "bob", the subject alice', {
      ...echoed,
      account: 'alice',
    }),
  },
  {
    name: 'a mass cancel of all accounts on the subject of one',
    subject: 'orders.mass_cancel.alice',
    body: { allAccounts: true },
    on: '_',
    report: refused('Cancel', 'ACCOUNT_MISMATCH', 'the body names all accounts, the subject alice', {
      account: 'alice',
    }),
  },
]

export const taken: readonly Row[] = [
  { name: 'nesting of 8', body: nested(7), on: 'BTCUSDT', report: accepted() },
  { name: 'a byte order mark', body: `\ufeff${JSON.stringify(order)}`, on: 'BTCUSDT', report: accepted() },
  {
    name: 'of equal keys the last',
    body: json('"quantity":5,"quantity":"1","price":90,"price":100,"side":"SELL","side":"BUY"'),
    on: 'BTCUSDT',
    report: accepted(),
  },
  {
    name: 'a clOrdId of 64 characters outside the basic plane',
    body: { ...order, clOrdId: '\u{1f600}'.repeat(64) },
    on: 'BTCUSDT',
    report: accepted({ clOrdId: '\u{1f600}'.repeat(64) }),
  },
]

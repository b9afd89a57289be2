import t, { type Test } from 'tap'
import {
  canonicalDecimal,
  decodeCommand,
  echoOfCommand,
  targetOf,
  type DecodedCommand,
} from '../../src/schemas/command.ts'
import type { CommandKind } from '../../src/schemas/risk.ts'

const decode = (kind: CommandKind, body: string, subjectAccount?: string, traceparent?: string) =>
  decodeCommand(kind, Buffer.from(body), subjectAccount, traceparent)

const limit = { symbol: 'BTCUSDT', side: 'BUY', ordType: 'LIMIT', quantity: '0.5', price: '45000' }
const decodeNew = (fields: object, subjectAccount?: string) =>
  decode('new', JSON.stringify({ ...limit, ...fields }), subjectAccount)

function commandOf(t: Test, decoded: DecodedCommand, name: string) {
  if (decoded.outcome !== 'command') {
    t.fail(`${name}: ${decoded.outcome} ${JSON.stringify(decoded)}`)
    return undefined
  }
  return decoded.command
}

/** The names of the fields that are wrong; undefined when none is. */
const wrongFields = (decoded: DecodedCommand) =>
  decoded.outcome === 'invalid' ? decoded.fields.map(({ field }) => field) : undefined

void t.test('P1.07 every spelling of a new order is the same order', (t) => {
  const expected = { kind: 'new', account: 'a', ...limit }
  const rows: readonly string[] = [
    '{"account":"a","symbol":"BTCUSDT","side":"BUY","ordType":"LIMIT","quantity":"0.5","price":"45000"}',
    '{"account":"a","symbol":"BTCUSDT","side":"BUY","type":"LIMIT","quantity":0.5,"price":45000}',
    '{"account":"a","symbol":"btcusdt","side":"buy","order_type":"limit","quantity":0.5,"price":45000}',
    '{"account":"a","symbol":"BtcUsdt","side":"Buy","orderType":"Limit","quantity":0.5,"price":"45000"}',
    '{"account":"a","symbol":"BTCUSDT","side":"BUY","ord_type":"limit","type":"LIMIT","ordType":"Limit","quantity":0.5,"price":45000}',
    '{"account":"a","symbol":"BTCUSDT","side":"BUY","type":"LIMIT","quantity":0.5,"price":45000,"stopPrice":null,"unknown":{"a":[1]}}',
    '\n{ "price" : 45000, "quantity":0.5,"type":"LIMIT","side":"BUY","symbol":"BTCUSDT","account":"a" }\t',
  ]
  for (const body of rows) t.same(commandOf(t, decode('new', body), body), expected, body)
  t.end()
})

void t.test('P1.07 every field of a new order, in camelCase and in snake_case', (t) => {
  const values: readonly (readonly [camel: string, snake: string, written: unknown, decoded: unknown])[] = [
    ['clOrdId', 'cl_ord_id', 'my-1', 'my-1'],
    ['account', 'account', 'acc-1_X', 'acc-1_X'],
    ['symbol', 'symbol', 'eth-usd_1', 'ETH-USD_1'],
    ['side', 'side', 'sell', 'SELL'],
    ['ordType', 'ord_type', 'stop_limit', 'STOP_LIMIT'],
    ['quantity', 'quantity', 1.25, '1.25'],
    ['price', 'price', '1e2', '1e2'],
    ['stopPrice', 'stop_price', 99.5, '99.5'],
    ['timeInForce', 'time_in_force', 'gtd', 'GTD'],
    ['expireAt', 'expire_at', '2026-11-22T09:30:00Z', 1_795_339_800_000_000],
    ['reduceOnly', 'reduce_only', true, true],
    ['postOnly', 'post_only', false, false],
    ['displayQuantity', 'display_quantity', '0.25', '0.25'],
    ['stpMode', 'stp_mode', 'Expire_Both', 'EXPIRE_BOTH'],
    ['traceparent', 'traceparent', '00-1-2-01', '00-1-2-01'],
  ]
  const expected = { kind: 'new', ...Object.fromEntries(values.map(([camel, , , decoded]) => [camel, decoded])) }
  for (const spelling of [0, 1] as const) {
    const body = JSON.stringify(Object.fromEntries(values.map((row) => [row[spelling], row[2]])))
    t.same(commandOf(t, decode('new', body), body), expected)
  }
  const trailing = decodeNew({ ordType: 'trailing_stop', trailing_offset: 2, price: null })
  t.match(trailing, { outcome: 'command', command: { ordType: 'TRAILING_STOP', trailingOffset: '2' } })
  t.end()
})

void t.test('P1.07 synonyms that contradict are invalid, those that agree are not', (t) => {
  const rows: readonly (readonly [fields: string, wrong: string[] | undefined])[] = [
    ['"ordType":"MARKET","type":"LIMIT"', ['ordType']],
    ['"type":"limit","order_type":"LIMIT"', undefined],
    ['"ordType":"LIMIT","cl_ord_id":"a","clOrdId":"b"', ['clOrdId']],
    ['"ordType":"LIMIT","cl_ord_id":"a","clOrdId":"a"', undefined],
    ['"ordType":"LIMIT","postOnly":true,"post_only":false', ['postOnly']],
    ['"ordType":"LIMIT","postOnly":true,"post_only":null', undefined],
    ['"ordType":"LIMIT","displayQuantity":1,"display_quantity":2', ['displayQuantity']],
    ['"ordType":"LIMIT","displayQuantity":1,"display_quantity":"1"', undefined],
  ]
  for (const [fields, wrong] of rows) {
    const body = `{"symbol":"BTCUSDT","side":"BUY","quantity":5,"price":1,${fields}}`
    t.same(wrongFields(decode('new', body)), wrong, fields)
  }
  t.end()
})

void t.test('P1.07 numbers are taken by their text, of the right place', (t) => {
  const rows: readonly (readonly [fields: string, quantity: string, price: string])[] = [
    ['"quantity":0.1,"price":45000.00', '0.1', '45000'],
    ['"quantity":90071992547409931234.5,"price":1e-7', '90071992547409931234.5', '1e-7'],
    ['"quantity":1E+2,"price":0.30000000000000004', '1E+2', '0.30000000000000004'],
    ['"x":{"quantity":7,"price":8},"quantity":1,"price":2', '1', '2'],
    ['"quantity":1,"price":2,"x":{"quantity":7,"price":[8,{"price":9}]}', '1', '2'],
    ['"quantity":1,"price":2,"x":[{"quantity":7}],"y":{"x":{"price":8}}', '1', '2'],
    ['"quantity":7,"price":8,"quantity":1,"price":2', '1', '2'],
    ['"quantity":"7","quantity":1,"price":{"price":3},"price":2', '1', '2'],
    ['"quantity":7,"quantity":"1","price":"2"', '1', '2'],
    ['"__proto__":{"quantity":7,"price":8},"quantity":1,"price":2', '1', '2'],
    ['"constructor":{"quantity":7},"toString":5,"hasOwnProperty":1,"quantity":1,"price":2', '1', '2'],
  ]
  for (const [fields, quantity, price] of rows) {
    const decoded = decode('new', `{"symbol":"A","side":"BUY","type":"LIMIT",${fields}}`)
    t.same(
      commandOf(t, decoded, fields),
      {
        kind: 'new',
        account: 'default',
        symbol: 'A',
        side: 'BUY',
        ordType: 'LIMIT',
        quantity,
        price,
      },
      fields,
    )
  }
  const inherited = decode('new', '{"symbol":"A","side":"BUY","type":"LIMIT","__proto__":{"quantity":7,"price":8}}')
  t.same(wrongFields(inherited), ['quantity', 'price'], 'nothing comes from __proto__')
  t.equal(({} as { quantity?: unknown }).quantity, undefined, 'nothing was polluted')
  t.end()
})

void t.test('P1.07 what is not UTF-8, not JSON, not an object or too deep is unreadable', (t) => {
  const nested = (depth: number) => `${'{"a":'.repeat(depth - 1)}{}${'}'.repeat(depth - 1)}`
  const lists = (depth: number) => `{"a":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`
  const unreadable: readonly (readonly [what: string, data: Uint8Array])[] = [
    ['empty', new Uint8Array()],
    ['no JSON', Buffer.from('nope')],
    ['half', Buffer.from('{"symbol":')],
    ['two documents', Buffer.from('{}{}')],
    ['a comma too many', Buffer.from('{"symbol":"A",}')],
    ['not UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
    ['UTF-16', Buffer.from('{}', 'utf16le')],
    ['null', Buffer.from('null')],
    ['a number', Buffer.from('1')],
    ['a text', Buffer.from('"x"')],
    ['a list', Buffer.from(`[${JSON.stringify(limit)}]`)],
    ['objects 9 deep', Buffer.from(nested(9))],
    ['lists 9 deep', Buffer.from(lists(9))],
    ['lists 8,000 deep', Buffer.from(lists(8_000))],
    ['brackets only', Buffer.from('['.repeat(16_000))],
  ]
  for (const kind of ['new', 'cancel', 'replace', 'mass_cancel'] as const)
    for (const [what, data] of unreadable) {
      const decoded = decodeCommand(kind, data)
      t.equal(decoded.outcome, 'unreadable', `${kind}: ${what}`)
      t.ok(decoded.outcome === 'unreadable' && decoded.problem.length < 150, 'the problem is short')
    }
  for (const body of [nested(8), lists(8)]) t.equal(decode('new', body).outcome, 'invalid', `8 deep is read: ${body}`)
  const readable = decode('new', `${JSON.stringify(limit).slice(0, -1)},"x":${nested(7)}}`)
  t.equal(readable.outcome, 'command', 'an unknown field may be 8 deep')
  t.end()
})

void t.test('P1.20 a wrong field is named, and what is right is echoed', (t) => {
  const rows: readonly (readonly [fields: Record<string, unknown>, wrong: readonly string[]])[] = [
    [{ symbol: undefined }, ['symbol']],
    [{ symbol: '_all' }, ['symbol']],
    [{ symbol: 'A'.repeat(21) }, ['symbol']],
    [{ symbol: 'BTC USDT' }, ['symbol']],
    [{ symbol: 'BTC.USDT' }, ['symbol']],
    [{ symbol: 'BTC>' }, ['symbol']],
    [{ symbol: 5 }, ['symbol']],
    [{ symbol: 'btcuſdt' }, ['symbol']],
    [{ side: 'ſell' }, ['side']],
    [{ side: 'HOLD' }, ['side']],
    [{ side: true }, ['side']],
    [{ ordType: 'ICEBERG' }, ['ordType']],
    [{ timeInForce: 'GFD' }, ['timeInForce']],
    [{ stpMode: 'CANCEL' }, ['stpMode']],
    [{ account: '' }, ['account']],
    [{ account: '_venue' }, ['account']],
    [{ account: 'a.b' }, ['account']],
    [{ account: 'A'.repeat(33) }, ['account']],
    [{ clOrdId: '' }, ['clOrdId']],
    [{ clOrdId: 'x'.repeat(65) }, ['clOrdId']],
    [{ clOrdId: 7 }, ['clOrdId']],
    [{ quantity: undefined }, ['quantity']],
    [{ quantity: 0 }, ['quantity']],
    [{ quantity: -1 }, ['quantity']],
    [{ quantity: '-0.0' }, ['quantity']],
    [{ quantity: '' }, ['quantity']],
    [{ quantity: ' 1' }, ['quantity']],
    [{ quantity: '1,5' }, ['quantity']],
    [{ quantity: 'NaN' }, ['quantity']],
    [{ quantity: true }, ['quantity']],
    [{ quantity: { value: 1 } }, ['quantity']],
    [{ quantity: [1] }, ['quantity']],
    [{ price: undefined }, ['price']],
    [{ price: 0 }, ['price']],
    [{ ordType: 'MARKET' }, ['price']],
    [{ ordType: 'STOP', stopPrice: 1 }, ['price']],
    [{ ordType: 'STOP', price: undefined }, ['stopPrice']],
    [{ ordType: 'STOP_LIMIT' }, ['stopPrice']],
    [{ ordType: 'TRAILING_STOP', price: undefined }, ['trailingOffset']],
    [{ stopPrice: 1 }, ['stopPrice']],
    [{ trailingOffset: 1 }, ['trailingOffset']],
    [{ timeInForce: 'GTD' }, ['expireAt']],
    [{ timeInForce: 'GTD', expireAt: 'tomorrow' }, ['expireAt']],
    [{ timeInForce: 'GTD', expireAt: true }, ['expireAt']],
    [{ timeInForce: 'GTD', expireAt: -5 }, ['expireAt']],
    [{ timeInForce: 'GTD', expireAt: '1969-12-31T23:59:59Z' }, ['expireAt']],
    [{ expireAt: 1_800_000_000 }, ['expireAt']],
    [{ postOnly: 'true' }, ['postOnly']],
    [{ postOnly: true, timeInForce: 'IOC' }, ['postOnly']],
    [{ postOnly: true, timeInForce: 'FOK' }, ['postOnly']],
    [{ reduceOnly: 1 }, ['reduceOnly']],
    [{ displayQuantity: 1, timeInForce: 'IOC' }, ['displayQuantity']],
    [{ displayQuantity: 0 }, ['displayQuantity']],
    [{ traceparent: 'x'.repeat(129) }, ['traceparent']],
    [
      { symbol: '?', side: '?', ordType: '?', quantity: '?', price: '?' },
      ['symbol', 'side', 'ordType', 'quantity', 'price'],
    ],
  ]
  for (const [fields, wrong] of rows) {
    const decoded = decodeNew(fields)
    const name = JSON.stringify(fields)
    if (decoded.outcome !== 'invalid') {
      t.fail(`${name}: ${decoded.outcome}`)
      continue
    }
    t.equal(decoded.reason, 'INVALID_FIELD', name)
    t.same(decoded.fields.map(({ field }) => field).sort(), [...wrong].sort(), `${name}: fields`)
    for (const { field, problem } of decoded.fields) {
      t.match(decoded.text, `${field} ${problem}`)
      t.notOk(field in decoded.echo, `${name}: ${field} is not echoed`)
    }
    for (const [field, value] of Object.entries(limit))
      if (!wrong.includes(field) && !(field in fields)) t.equal(decoded.echo[field as keyof typeof limit], value)
  }
  t.end()
})

void t.test('P1.20 bounds are accepted at their value', (t) => {
  const rows: readonly Record<string, unknown>[] = [
    { symbol: 'A'.repeat(20) },
    { symbol: '1' },
    { account: '9'.repeat(32) },
    { clOrdId: 'x' },
    { clOrdId: '😀'.repeat(64) },
    { quantity: '1e400' },
    { quantity: '0.'.padEnd(60, '0') + '1' },
    { timeInForce: 'GTD', expireAt: '1970-01-01T00:00:00Z' },
    { timeInForce: 'GTD', expireAt: 1.8e9 },
    { timeInForce: 'GTD', expireAt: '1800000000' },
    { timeInForce: 'IOC', postOnly: false },
    { postOnly: true, timeInForce: 'DAY' },
    { ordType: 'MARKET', price: null, timeInForce: 'FOK' },
    { traceparent: 'x'.repeat(128) },
  ]
  for (const fields of rows) t.equal(decodeNew(fields).outcome, 'command', JSON.stringify(fields))
  t.end()
})

void t.test('P1.07 times of expiry are exact in every unit', (t) => {
  const us = 1_795_379_583_836_273
  for (const written of [
    '1795379583.836273',
    '1795379583836.273',
    '1795379583836273',
    '1795379583836273000',
    '1.795379583836273e9',
  ]) {
    const body = `${JSON.stringify({ ...limit, timeInForce: 'GTD' }).slice(0, -1)},"expireAt":${written}}`
    t.match(decode('new', body), { outcome: 'command', command: { expireAt: us } }, written)
  }
  t.end()
})

void t.test('P1.07 the account: of the body, else of the subject, else default', (t) => {
  const rows: readonly (readonly [
    kind: CommandKind,
    body: object,
    subject: string | undefined,
    account: string | undefined,
  ])[] = [
    ['new', limit, undefined, 'default'],
    ['new', limit, 'alice', 'alice'],
    ['new', { ...limit, account: 'alice' }, undefined, 'alice'],
    ['new', { ...limit, account: 'alice' }, 'alice', 'alice'],
    ['cancel', { orderId: 'o-1' }, undefined, undefined],
    ['cancel', { orderId: 'o-1' }, 'alice', 'alice'],
    ['cancel', { orderId: 'o-1', account: 'alice' }, undefined, 'alice'],
    ['cancel', { origClOrdId: 'x' }, undefined, 'default'],
    ['cancel', { origClOrdId: 'x' }, 'alice', 'alice'],
    ['replace', { orderId: 'o-1', price: 1 }, undefined, undefined],
    ['replace', { orig_cl_ord_id: 'x', price: 1 }, undefined, 'default'],
    ['mass_cancel', { account: 'alice' }, undefined, 'alice'],
    ['mass_cancel', {}, 'alice', 'alice'],
    ['mass_cancel', { allAccounts: true }, undefined, undefined],
    ['mass_cancel', { allAccounts: false, account: 'alice' }, undefined, 'alice'],
  ]
  for (const [kind, body, subject, account] of rows) {
    const name = `${kind} ${JSON.stringify(body)} on ${subject ?? 'a plain subject'}`
    const command = commandOf(t, decode(kind, JSON.stringify(body), subject), name)
    t.equal(command?.account, account, name)
  }
  const mismatches: readonly (readonly [kind: CommandKind, body: object, text: string])[] = [
    ['new', { ...limit, account: 'bob' }, 'the body names account "bob", the subject alice'],
    ['cancel', { orderId: 'o-1', account: 'bob' }, 'the body names account "bob", the subject alice'],
    ['replace', { origClOrdId: 'x', price: 1, account: 'bob' }, 'the body names account "bob", the subject alice'],
    ['mass_cancel', { account: 'bob' }, 'the body names account "bob", the subject alice'],
    ['mass_cancel', { allAccounts: true }, 'the body names all accounts, the subject alice'],
  ]
  for (const [kind, body, text] of mismatches)
    t.match(decode(kind, JSON.stringify(body), 'alice'), { outcome: 'invalid', reason: 'ACCOUNT_MISMATCH', text }, text)
  const both = decode('new', JSON.stringify({ ...limit, account: 'bob', side: '?' }), 'alice')
  t.match(both, { reason: 'INVALID_FIELD', fields: [{ field: 'side' }] }, 'a wrong field comes first')
  t.end()
})

void t.test('P1.07 cancels, replaces and mass cancels', (t) => {
  const rows: readonly (readonly [kind: CommandKind, body: string, outcome: object | string[]])[] = [
    ['cancel', '{"order_id":"o-12","cl_ord_id":"c"}', { kind: 'cancel', orderId: 'o-12', clOrdId: 'c' }],
    ['cancel', '{"orderId":"o-1","symbol":"?","side":5}', { kind: 'cancel', orderId: 'o-1' }],
    ['cancel', '{}', ['orderId']],
    ['cancel', '{"orderId":"o-1","origClOrdId":"x"}', ['origClOrdId']],
    ['cancel', '{"orderId":5}', ['orderId']],
    ['cancel', '{"orderId":""}', ['orderId']],
    ['cancel', `{"orderId":"${'9'.repeat(65)}"}`, ['orderId']],
    [
      'replace',
      '{"orderId":"o-1","quantity":1.50,"price":2,"stop_price":"3","expire_at":1800000000}',
      {
        kind: 'replace',
        orderId: 'o-1',
        quantity: '1.5',
        price: '2',
        stopPrice: '3',
        expireAt: 1_800_000_000_000_000,
      },
    ],
    ['replace', '{"orderId":"o-1"}', ['quantity']],
    ['replace', '{"orderId":"o-1","clOrdId":"new"}', ['quantity']],
    ['replace', '{"price":1}', ['orderId']],
    ['replace', '{"orderId":"o-1","price":-1}', ['price']],
    [
      'mass_cancel',
      '{"account":"a","symbol":"btcusdt","side":"sell"}',
      {
        kind: 'mass_cancel',
        account: 'a',
        symbol: 'BTCUSDT',
        side: 'SELL',
      },
    ],
    ['mass_cancel', '{"all_accounts":true}', { kind: 'mass_cancel', allAccounts: true }],
    ['mass_cancel', '{}', ['account']],
    ['mass_cancel', '{"allAccounts":false}', ['account']],
    ['mass_cancel', '{"allAccounts":true,"account":"a"}', ['allAccounts']],
    ['mass_cancel', '{"account":"a","side":"both"}', ['side']],
  ]
  for (const [kind, body, outcome] of rows) {
    const decoded = decode(kind, body)
    if (Array.isArray(outcome)) t.same(wrongFields(decoded), outcome, `${kind} ${body}`)
    else t.same(commandOf(t, decoded, body), outcome, `${kind} ${body}`)
  }
  t.end()
})

void t.test('P1.07 traceparent: of the body, else of the header, cut to its bound', (t) => {
  const body = JSON.stringify({ orderId: 'o-1' })
  t.match(decode('cancel', body, undefined, 'header'), { command: { traceparent: 'header' } })
  t.match(decode('cancel', '{"orderId":"o-1","traceparent":"body"}', undefined, 'header'), {
    command: { traceparent: 'body' },
  })
  t.match(decode('cancel', body, undefined, 'x'.repeat(200)), { command: { traceparent: 'x'.repeat(128) } })
  const without = decode('cancel', body)
  t.ok(without.outcome === 'command' && !('traceparent' in without.command))
  t.match(decode('cancel', '{}', undefined, 'header'), { outcome: 'invalid', echo: { traceparent: 'header' } })
  t.end()
})

void t.test('P1.20 an echo carries decimals in plain form, and none that is unreasonably long', (t) => {
  const rows: readonly (readonly [text: string, plain: string | undefined])[] = [
    ['1e2', '100'],
    ['0.500', '0.5'],
    ['1.5E-3', '0.0015'],
    ['007', '7'],
    ['1e40', '1'.padEnd(41, '0')],
    ['1e41', undefined],
    ['1e-41', undefined],
    ['1'.repeat(40), '1'.repeat(40)],
    ['1'.repeat(41), undefined],
    ['x', undefined],
  ]
  for (const [text, plain] of rows) t.equal(canonicalDecimal(text), plain, text)
  const decoded = decodeNew({ quantity: '1e2', price: '1e99', clOrdId: 'c', stpMode: 'NONE' })
  const command = commandOf(t, decoded, 'echo')
  t.same(command && echoOfCommand(command), {
    clOrdId: 'c',
    account: 'default',
    symbol: 'BTCUSDT',
    side: 'BUY',
    ordType: 'LIMIT',
    quantity: '100',
  })
  t.end()
})

void t.test('P1.07 the order a command names', (t) => {
  const target = (orderId: string) => targetOf({ kind: 'cancel', orderId })
  t.equal(target('o-12'), 12)
  t.equal(target('o-9007199254740991'), Number.MAX_SAFE_INTEGER)
  for (const id of ['o-9007199254740993', 'o-0', 'o-01', 'o-', 'O-1', '12', 'o-1 ', 'o-1e3', 'x'])
    t.equal(target(id), undefined, id)
  t.equal(targetOf({ kind: 'cancel', origClOrdId: 'x' }), undefined)
  t.end()
})

import { createHash } from 'node:crypto'
import t from 'tap'
import { usPerDay } from '../../src/base/clock.ts'
import { decodeTick } from '../../src/schemas/tick.ts'

const nowUs = 1_795_379_583_836_273
const subject = 'market.tick.BINANCE.BTCUSDT'
const decode = (body: string | Uint8Array, from = subject) =>
  decodeTick(from, typeof body === 'string' ? Buffer.from(body) : body, nowUs)
const good = { event_ts: nowUs, price: 45_000.5 }
const decodeFields = (fields: object, from = subject) => decode(JSON.stringify({ ...good, ...fields }), from)
const hashOf = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 16)

void t.test('P3.08 every field of a tick, in snake_case and in camelCase', (t) => {
  const expected = {
    eventTsUs: 1_795_379_583_836_273,
    ingestTsUs: 1_795_379_583_900_000,
    venue: 'BINANCE',
    symbol: 'BTCUSDT',
    price: 45_000.5,
    size: 0.25,
    side: 'sell',
    tradeId: 'a-1',
    sourceSeq: 7,
    hashId: hashOf('BINANCE|BTCUSDT|1795379583836273|45000.5|0.25|a-1'),
  }
  const rows = [
    `{"event_ts":${nowUs},"ingest_ts":1795379583900,"venue":"BINANCE","symbol":"BTCUSDT","price":45000.5,"size":0.25,"side":"sell","trade_id":"a-1","source_seq":7}`,
    `{"eventTs":"2026-11-22T20:33:03.836273Z","ingestTs":"2026-11-22T20:33:03.9Z","venue":"BINANCE","symbol":"btcusdt","price":"45000.50","size":"0.25","side":"SELL","tradeId":"a-1","sourceSeq":"7"}`,
    `{"event_ts":1795379583836273999,"eventTs":1795379583836273999,"ingest_ts":1795379583.9,"venue":"binance","price":4.50005e4,"size":25e-2,"side":"Sell","trade_id":"a-1","source_seq":7,"more":{"price":[1]}}`,
  ]
  for (const row of rows) t.same(decode(row), expected, row)
  t.end()
})

void t.test('P3.08 what does not apply is undefined, and an absent ingest_ts is the time of the stream', (t) => {
  t.same(decode(`{"event_ts":${nowUs},"price":-3,"size":null,"trade_id":null}`, 'market.tick.v.sol-usd'), {
    eventTsUs: nowUs,
    ingestTsUs: nowUs,
    venue: 'v',
    symbol: 'SOL-USD',
    price: -3,
    size: undefined,
    side: undefined,
    tradeId: undefined,
    sourceSeq: undefined,
    hashId: hashOf(`v|SOL-USD|${nowUs}|-3||`),
  })
  t.end()
})

void t.test('P3.08 what a tick says gives its hash_id: numbers as plain decimals by their text', (t) => {
  const rows: readonly (readonly [fields: string, price: string, size: string, tradeId: string])[] = [
    ['"price":45000.10', '45000.1', '', ''],
    ['"price":"45000.100"', '45000.1', '', ''],
    ['"price":0.0000001', '0.0000001', '', ''],
    ['"price":1e-7,"size":1.5e3', '0.0000001', '1500', ''],
    ['"price":1e21', '1000000000000000000000', '', ''],
    ['"price":-0,"size":"0.00"', '0', '0', ''],
    ['"price":"12345678901234567890.123456789012345678901"', '12345678901234567890.123456789012345678901', '', ''],
    ['"price":0.12345678901234567890', '0.1234567890123456789', '', ''],
    ['"price":1,"trade_id":1234567890123456789', '1', '', '1234567890123456789'],
    ['"price":1,"trade_id":17', '1', '', '17'],
    ['"price":1,"trade_id":"  x|ü"', '1', '', '  x|ü'],
  ]
  for (const [fields, price, size, tradeId] of rows)
    t.match(
      decode(`{"event_ts":${nowUs},${fields}}`),
      { hashId: hashOf(`BINANCE|BTCUSDT|${nowUs}|${price}|${size}|${tradeId}`), price: Number(price) },
      fields,
    )
  t.end()
})

void t.test('P3.08 times of a tick, exact to the microsecond', (t) => {
  const us = nowUs - 5_000_000_000
  const rows: readonly (readonly [written: string, us: number])[] = [
    [`${us}`, us],
    [`"${us}"`, us],
    [`${us}999`, us],
    [`"${us}999"`, us],
    [`${String(us).slice(0, 10)}.${String(us).slice(10)}`, us],
    [String(us).slice(0, 13), Math.floor(us / 1000) * 1000],
    ['946684800', 946_684_800_000_000],
    ['"2000-01-01T00:00:00Z"', 946_684_800_000_000],
    [`${nowUs + usPerDay}`, nowUs + usPerDay],
  ]
  for (const [written, expected] of rows)
    t.match(decode(`{"event_ts":${written},"price":1}`), { eventTsUs: expected, ingestTsUs: nowUs }, written)
  t.end()
})

void t.test('P3.08 running numbers of the feed up to 64 bits', (t) => {
  t.match(decode(`{"event_ts":${nowUs},"price":1,"source_seq":9223372036854775807}`), {
    sourceSeq: 9_223_372_036_854_775_807n,
  })
  t.match(decodeFields({ source_seq: '9007199254740993' }), { sourceSeq: 9_007_199_254_740_993n })
  t.match(decodeFields({ source_seq: -5 }), { sourceSeq: -5 })
  t.end()
})

void t.test('P3.08 a tick that is wrong names every field that is', (t) => {
  const rows: readonly (readonly [fields: object, problem: RegExp])[] = [
    [{ price: undefined }, /^INVALID_FIELD: price is missing$/],
    [{ price: null, event_ts: undefined }, /^INVALID_FIELD: event_ts is missing; price is missing$/],
    [{ price: 'x' }, /price must be a decimal number/],
    [{ price: 'NaN' }, /price must be a decimal number/],
    [{ price: '1e400' }, /price must be a decimal number within/],
    [{ price: true }, /price must be a decimal number/],
    [{ price: [1] }, /price must be a decimal number/],
    [{ size: -1 }, /size must not be negative/],
    [{ size: '' }, /size must be a decimal number/],
    [{ side: 'hold' }, /side must be buy or sell/],
    [{ side: 1 }, /side must be buy or sell/],
    [{ trade_id: {} }, /trade_id must be a text/],
    [{ trade_id: '\ud800' }, /trade_id must be a text/],
    [{ trade_id: 'a', tradeId: 'b' }, /trade_id given twice and not the same, as tradeId too/],
    [{ source_seq: 1.5 }, /source_seq must be a whole number of 64 bits/],
    [{ source_seq: '9223372036854775808' }, /source_seq must be a whole number/],
    [{ venue: 'KRAKEN' }, /venue must be BINANCE, as in the subject/],
    [{ symbol: 'ETHUSDT' }, /symbol must be BTCUSDT, as in the subject/],
    [{ symbol: 5 }, /symbol must be BTCUSDT/],
    [{ event_ts: 'yesterday' }, /event_ts must be an RFC 3339 time or an epoch number/],
    [{ event_ts: -1 }, /event_ts must be an RFC 3339 time or an epoch number/],
    [{ event_ts: 946_684_799_999 }, /event_ts must be from 2000-01-01 to a day from now/],
    [{ event_ts: nowUs + usPerDay + 1 }, /event_ts must be from 2000-01-01 to a day from now/],
    [{ ingest_ts: 'x' }, /ingest_ts must be an RFC 3339 time/],
  ]
  for (const [fields, problem] of rows) {
    const decoded = decodeFields(fields)
    t.match('problem' in decoded && decoded.problem, problem, JSON.stringify(fields))
  }
  t.match(decodeFields({}, 'market.tick.V.btc%usd'), { problem: /symbol of the subject must match/ })
  t.end()
})

void t.test('P3.08 what is no tick at all is unreadable', (t) => {
  const rows: readonly (readonly [body: string | Uint8Array, problem: RegExp])[] = [
    ['', /not JSON in UTF-8/],
    ['nope', /not JSON in UTF-8/],
    [Uint8Array.from([0x7b, 0xff, 0x7d]), /not JSON in UTF-8/],
    ['[1]', /not a JSON object/],
    ['null', /not a JSON object/],
    ['1e5', /not a JSON object/],
    [`{"event_ts":${nowUs},"price":1,"x":${'['.repeat(8)}${']'.repeat(8)}}`, /nested deeper than 8/],
    [`{"x":${'['.repeat(100_000)}`, /^INVALID_MESSAGE: /],
  ]
  for (const [body, problem] of rows) {
    const decoded = decode(body)
    t.match('problem' in decoded && decoded.problem, problem)
  }
  t.notOk('problem' in decode(`{"event_ts":${nowUs},"price":1,"x":${'['.repeat(7)}${']'.repeat(7)}}`), '8 deep')
  t.end()
})

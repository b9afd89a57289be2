import { readFileSync } from 'node:fs'
import t from 'tap'
import { isPipelineError } from '../../src/base/errors.ts'
import { limitEntries, parseInstruments, parseLimits, parseLimitsEntry } from '../../src/schemas/config-files.ts'
import { definitionOf, instrumentFrom } from '../../src/schemas/instrument.ts'
import { type Halt, haltKeyOf } from '../../src/schemas/limits.ts'
import type { HaltTarget } from '../../src/schemas/risk.ts'

const file = 'config/x.json'
/** The message with which a file is refused. */
function refusalOf(parse: () => unknown): string {
  try {
    parse()
  } catch (error) {
    if (isPipelineError(error, 'CONFIG_INVALID')) return error.message
    throw error
  }
  return 'accepted'
}
const instruments = (config: object) => refusalOf(() => parseInstruments(JSON.stringify(config), file))
const limits = (config: object) => refusalOf(() => parseLimits(JSON.stringify(config), file))

void t.test('P1.07 the files that come with it are valid', (t) => {
  const read = (name: string) => readFileSync(new URL(`../../config/${name}`, import.meta.url), 'utf8')
  const config = parseInstruments(read('instruments.json'), 'config/instruments.json')
  const unlisted = definitionOf(config, 'NEVERHEARDOF')
  t.match(unlisted, { symbol: 'NEVERHEARDOF', tick: '0.01', lot: '0.00000001' }, 'what the contract says of others')
  const parsed = parseLimits(read('limits.json'), 'config/limits.json')
  t.match(
    parsed.default,
    { maxQuantity: 1e6, maxOrderValue: 1e6, maxPosition: 1e7, maxOpenOrders: 10_000, maxGrossExposure: 1e9 },
    'the limits of the contract',
  )
  t.end()
})

void t.test('P1.07 a symbol takes from its entry, else from default, else what is built in', (t) => {
  const text = JSON.stringify({
    default: { tick: '0.05', makerFeeRate: '0.001' },
    instruments: { A: { tick: '0.5', lot: '0.1', takerFeeRate: '0.00025', referencePrice: '10.5' } },
  })
  const config = parseInstruments(text, file)
  const a = definitionOf(config, 'A')
  t.match(a, { symbol: 'A', tick: '0.5', lot: '0.1', makerFeeRate: '0.001', takerFeeRate: '0.00025', quoteScale: 8 })
  t.match(definitionOf(config, 'B'), { symbol: 'B', tick: '0.05', lot: '0.00000001', collarBps: 500 })
  t.equal(definitionOf({ ...config, strict: true }, 'B'), undefined)
  t.match(a && instrumentFrom(a), {
    tick: { mantissa: 5, scale: 1 },
    lot: { mantissa: 1, scale: 1 },
    value: { mantissa: 5, scale: 2 },
    makerFeeRate: 100,
    takerFeeRate: 25,
    feeScale: 5,
    referenceTicks: 21,
  })
  t.end()
})

void t.test('P1.20 every bad entry is named, with the file', (t) => {
  t.match(
    refusalOf(() => parseInstruments('{', file)),
    /^config\/x\.json is not JSON: /,
  )
  const shape = instruments({
    default: { tick: 0.01, tik: '1' },
    instruments: { A: { quoteScale: 13 }, 'B C': {}, D: { lot: '-1' } },
    stict: true,
  })
  for (const part of ['/default/tick', '(tik)', '/instruments/A/quoteScale', '(B C)', '/instruments/D/lot', '(stict)'])
    t.ok(shape.includes(part), `${part} is in: ${shape}`)
  const values = instruments({
    default: { lot: '0.000000000000000001' },
    instruments: {
      A: { tick: '0' },
      B: { tick: '1', referencePrice: '1.5' },
      C: { tick: '1', makerFeeRate: '1' },
      D: { tick: '1', takerFeeRate: '0.0000000001' },
      E: { tick: '1' },
    },
    strict: true,
  })
  for (const part of ['/default ', '/instruments/A ', '/instruments/B ', '/instruments/C ', '/instruments/D '])
    t.ok(values.includes(part), `${part} is in: ${values}`)
  t.notOk(values.includes('/instruments/E '), 'the right one is not')

  t.equal(limits({ default: {}, accounts: {}, symbols: {} }), 'accepted')
  const wrong = limits({
    default: { maxQuantity: '1e6', maxQty: 1 },
    accounts: { _venue: {}, a: { maxOpenOrders: 1.5 } },
    symbols: { btc: {}, A: { blocked: 'yes' }, B: { maxPosition: -1 } },
  })
  for (const part of ['/default/maxQuantity', '(maxQty)', '(_venue)', '/accounts/a/maxOpenOrders', '(btc)'])
    t.ok(wrong.includes(part), `${part} is in: ${wrong}`)
  for (const part of ['/symbols/A/blocked', '/symbols/B/maxPosition']) t.ok(wrong.includes(part), part)
  t.match(limits({}), /default.*accounts.*symbols/)
  t.end()
})

void t.test('P1.07 limits become the keys of KV LIMITS; an entry that is none is refused', (t) => {
  const config = { default: { maxQuantity: 1 }, accounts: { a: { blocked: true } }, symbols: { A: {}, B: {} } }
  t.same(limitEntries(parseLimits(JSON.stringify(config), file)), [
    ['default', { maxQuantity: 1 }],
    ['account.a', { blocked: true }],
    ['symbol.A', {}],
    ['symbol.B', {}],
  ])
  const limits = { maxPosition: '1.5', maxOpenOrders: 0 }
  t.same(parseLimitsEntry('symbol.A', JSON.stringify(limits)), { kind: 'limits', key: 'symbol.A', limits })
  t.same(parseLimitsEntry('default', null), { kind: 'limits', key: 'default', limits: null })
  for (const text of ['', '{', 'null', '[]', '1', '{"maxPositon":1}', '{"maxPosition":-1}', '{"maxOpenOrders":1.5}'])
    t.match(
      refusalOf(() => parseLimitsEntry('account.a', text)),
      /^KV LIMITS account\.a(:| is not JSON)/,
      text,
    )
  t.match(
    refusalOf(() => parseLimitsEntry('default', '{"maxPosition":-1}')),
    /maxPosition/,
    'names the field',
  )
  t.end()
})

void t.test('P2.05 halts stand in KV LIMITS; keys that mean nothing are named', (t) => {
  const rows: [string, object | null, HaltTarget, Halt][] = [
    ['halt.all', { halted: true }, { scope: 'all' }, { halted: true }],
    ['halt.account.a', { halted: true, cancel: true }, { scope: 'account', name: 'a' }, { halted: true, cancel: true }],
    ['halt.symbol.A', { halted: false }, { scope: 'symbol', name: 'A' }, { halted: false }],
    ['halt.symbol.A', null, { scope: 'symbol', name: 'A' }, { halted: false }],
  ]
  for (const [key, value, target, halt] of rows) {
    t.same(parseLimitsEntry(key, value && JSON.stringify(value)), { kind: 'halt', target, halt }, key)
    t.equal(haltKeyOf(target), key)
  }
  for (const value of ['{}', '{"halted":1}', 'true', '{"halted":true,"cancle":true}'])
    t.match(
      refusalOf(() => parseLimitsEntry('halt.all', value)),
      /^KV LIMITS halt\.all: /,
      value,
    )
  for (const key of [
    ...['foo', 'symbol.btcusdt', 'symbol', 'symbol.', 'account._venue', 'accounts.a', 'halt', 'halt.account'],
    ...['halt.symbol.a', 'halt.all.x', 'symbol.A.B', 'Default', 'halt.default'],
  ])
    t.match(
      refusalOf(() => parseLimitsEntry(key, '{}')),
      `KV LIMITS ${key} means nothing and has no effect`,
      key,
    )
  t.end()
})

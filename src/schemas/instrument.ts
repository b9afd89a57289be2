import type { JSONSchema } from 'json-schema-to-ts'
import { assert } from '../base/assert.ts'
import { parseDecimal, parseUnit, unitsFromText, type Unit } from '../base/decimal.ts'
import type { TypeOf } from './type-of.ts'

const decimal = { type: 'string', pattern: '^\\d+(\\.\\d+)?$' } as const

/** One entry of config/instruments.json; decimals are text. Keys that an entry leaves out come from `default`. */
export const instrumentConfigSchema = {
  type: 'object',
  properties: {
    tick: decimal,
    lot: decimal,
    quoteScale: { type: 'integer', minimum: 0, maximum: 12 },
    makerFeeRate: decimal,
    takerFeeRate: decimal,
    collarBps: { type: 'integer', minimum: 1, maximum: 10_000 },
    referencePrice: decimal,
  },
  additionalProperties: false,
} as const satisfies JSONSchema

/** config/instruments.json. With `strict`, a symbol without an entry is `SYMBOL_UNKNOWN`; else it uses `default`. */
export const instrumentsConfigSchema = {
  type: 'object',
  properties: {
    strict: { type: 'boolean' },
    default: instrumentConfigSchema,
    instruments: {
      type: 'object',
      patternProperties: { '^[A-Z0-9][A-Z0-9_-]{0,19}$': instrumentConfigSchema },
      additionalProperties: false,
    },
  },
  required: ['default', 'instruments'],
  additionalProperties: false,
} as const satisfies JSONSchema

export type InstrumentConfig = TypeOf<typeof instrumentConfigSchema>
export type InstrumentsConfig = TypeOf<typeof instrumentsConfigSchema>

/** The complete definition of a symbol, as RISK records it; decimals are text. */
export type InstrumentDefinition = Required<Omit<InstrumentConfig, 'referencePrice'>> & {
  readonly symbol: string
  readonly referencePrice?: string
}

/** A definition made ready to count in: prices in ticks, quantities in lots, money in 10^-quoteScale. */
export interface Instrument {
  readonly definition: InstrumentDefinition
  readonly symbol: string
  readonly tick: Unit
  readonly lot: Unit
  /** The value of one tick × lot. */
  readonly value: Unit
  readonly quoteScale: number
  /** Fee rates as whole numbers of 10^-feeScale. */
  readonly makerFeeRate: number
  readonly takerFeeRate: number
  readonly feeScale: number
  readonly collarBps: number
  readonly referenceTicks: number | undefined
}

const builtIn = {
  tick: '0.01',
  lot: '0.00000001',
  quoteScale: 8,
  makerFeeRate: '0.0008',
  takerFeeRate: '0.0012',
  collarBps: 500,
} as const

/** @returns undefined when the configuration is strict and does not know the symbol */
export function definitionOf(config: InstrumentsConfig, symbol: string): InstrumentDefinition | undefined {
  const own = config.instruments[symbol]
  if (!own && config.strict) return undefined
  return { ...builtIn, ...config.default, ...own, symbol }
}

/** @throws BugError when the definition breaks a bound (tick × lot finer than 10^-18, a fee of 100 % or more, …) */
export function instrumentFrom(definition: InstrumentDefinition): Instrument {
  const tick = parseUnit(definition.tick)
  const lot = parseUnit(definition.lot)
  const value = { mantissa: tick.mantissa * lot.mantissa, scale: tick.scale + lot.scale }
  assert(
    value.scale <= 18 && Number.isSafeInteger(value.mantissa),
    `${definition.symbol}: tick × lot must not be finer than 1e-18`,
  )
  const maker = parseDecimal(definition.makerFeeRate)
  const taker = parseDecimal(definition.takerFeeRate)
  assert(maker && taker, `${definition.symbol}: fee rates must be decimals`)
  const feeScale = Math.max(maker.scale, taker.scale)
  const rate = (fee: typeof maker) => Number(fee.mantissa) * 10 ** (feeScale - fee.scale)
  assert(
    feeScale <= 9 && rate(maker) < 10 ** feeScale && rate(taker) < 10 ** feeScale,
    `${definition.symbol}: fee rates`,
  )
  const reference = definition.referencePrice === undefined ? undefined : unitsFromText(definition.referencePrice, tick)
  assert(typeof reference !== 'string', `${definition.symbol}: referencePrice must be a multiple of the tick`)
  return {
    definition,
    symbol: definition.symbol,
    tick,
    lot,
    value,
    quoteScale: definition.quoteScale,
    makerFeeRate: rate(maker),
    takerFeeRate: rate(taker),
    feeScale,
    collarBps: definition.collarBps,
    referenceTicks: reference,
  }
}

import type { JSONSchema } from 'json-schema-to-ts'
import type { TypeOf } from './type-of.ts'

const amount = {
  anyOf: [
    { type: 'number', minimum: 0 },
    { type: 'string', pattern: '^\\d+(\\.\\d+)?$' },
  ],
} as const

/**
 * Limits of one account or one symbol. Quantities in base units, values in quote currency; a limit that is left out
 * comes from the default. An order must pass its account's and its symbol's.
 */
export const limitSetSchema = {
  type: 'object',
  properties: {
    /** Largest quantity of one order. */
    maxQuantity: amount,
    /** Largest quantity × hold price of one order. */
    maxOrderValue: amount,
    /** Largest worst-case position in one symbol: |position| plus working orders of a side. */
    maxPosition: amount,
    /** Most open orders of one account (under a symbol: in that symbol). */
    maxOpenOrders: { type: 'integer', minimum: 0 },
    /** Largest worst-case gross exposure of one account (under a symbol: in that symbol). */
    maxGrossExposure: amount,
    /** Refuses every order that adds risk. */
    blocked: { type: 'boolean' },
  },
  additionalProperties: false,
} as const satisfies JSONSchema

/** config/limits.json, which seeds the KV bucket LIMITS: keys `default`, `account.<account>`, `symbol.<symbol>`. */
export const limitsConfigSchema = {
  type: 'object',
  properties: {
    default: limitSetSchema,
    accounts: {
      type: 'object',
      patternProperties: { '^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$': limitSetSchema },
      additionalProperties: false,
    },
    symbols: {
      type: 'object',
      patternProperties: { '^[A-Z0-9][A-Z0-9_-]{0,19}$': limitSetSchema },
      additionalProperties: false,
    },
  },
  required: ['default', 'accounts', 'symbols'],
  additionalProperties: false,
} as const satisfies JSONSchema

export type LimitSet = TypeOf<typeof limitSetSchema>
export type LimitsConfig = TypeOf<typeof limitsConfigSchema>

import type { JSONSchema } from 'json-schema-to-ts'
import { accountPattern, symbolPattern } from './command.ts'
import type { HaltTarget } from './risk.ts'
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
      patternProperties: { [accountPattern]: limitSetSchema },
      additionalProperties: false,
    },
    symbols: {
      type: 'object',
      patternProperties: { [symbolPattern]: limitSetSchema },
      additionalProperties: false,
    },
  },
  required: ['default', 'accounts', 'symbols'],
  additionalProperties: false,
} as const satisfies JSONSchema

/** A halt in KV LIMITS: keys `halt.all`, `halt.account.<account>`, `halt.symbol.<symbol>`. */
export const haltSchema = {
  type: 'object',
  properties: {
    halted: { type: 'boolean' },
    /** What rests within the halt is cancelled. */
    cancel: { type: 'boolean' },
    /** For those who look at it. */
    reason: { type: 'string', maxLength: 200 },
  },
  required: ['halted'],
  additionalProperties: false,
} as const satisfies JSONSchema

export type Halt = TypeOf<typeof haltSchema>
export type LimitSet = TypeOf<typeof limitSetSchema>
export type LimitsConfig = TypeOf<typeof limitsConfigSchema>

/** What a key of KV LIMITS is about; undefined when it means nothing. */
export function parseLimitsKey(key: string): { kind: 'limits' } | { kind: 'halt'; target: HaltTarget } | undefined {
  if (key === 'default') return { kind: 'limits' }
  if (key === 'halt.all') return { kind: 'halt', target: { scope: 'all' } }
  const [, halt, scope, name = ''] = /^(halt\.)?(account|symbol)\.([^.]+)$/.exec(key) ?? []
  if (scope !== 'account' && scope !== 'symbol') return undefined
  if (!new RegExp(scope === 'account' ? accountPattern : symbolPattern).test(name)) return undefined
  return halt === undefined ? { kind: 'limits' } : { kind: 'halt', target: { scope, name } }
}

/** The key of KV LIMITS under which a halt stands. */
export function haltKeyOf({ scope, name }: HaltTarget): string {
  return name === undefined ? `halt.${scope}` : `halt.${scope}.${name}`
}

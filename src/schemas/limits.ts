import { Type, type Static } from 'typebox'

const amount = Type.Union([Type.Number({ minimum: 0 }), Type.String({ pattern: '^\\d+(\\.\\d+)?$' })])

/**
 * Limits of one account or one symbol. Quantities in base units, values in quote currency; a limit that is left out
 * comes from the default. An order must pass its account's and its symbol's.
 */
export const limitSetSchema = Type.Object(
  {
    /** Largest quantity of one order. */
    maxQuantity: Type.Optional(amount),
    /** Largest quantity × hold price of one order. */
    maxOrderValue: Type.Optional(amount),
    /** Largest worst-case position in one symbol: |position| plus working orders of a side. */
    maxPosition: Type.Optional(amount),
    /** Most open orders of one account (under a symbol: in that symbol). */
    maxOpenOrders: Type.Optional(Type.Integer({ minimum: 0 })),
    /** Largest worst-case gross exposure of one account (under a symbol: in that symbol). */
    maxGrossExposure: Type.Optional(amount),
    /** Refuses every order that adds risk. */
    blocked: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
)

/** config/limits.json, which seeds the KV bucket LIMITS: keys `default`, `account.<account>`, `symbol.<symbol>`. */
export const limitsConfigSchema = Type.Object(
  {
    default: limitSetSchema,
    accounts: Type.Record(Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$' }), limitSetSchema, {
      additionalProperties: false,
    }),
    symbols: Type.Record(Type.String({ pattern: '^[A-Z0-9][A-Z0-9_-]{0,19}$' }), limitSetSchema, {
      additionalProperties: false,
    }),
  },
  { additionalProperties: false },
)

export type LimitSet = Static<typeof limitSetSchema>
export type LimitsConfig = Static<typeof limitsConfigSchema>

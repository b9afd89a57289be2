import { Ajv, type ErrorObject } from 'ajv'
import type { JSONSchema } from 'json-schema-to-ts'
import { usFromEpoch, usFromRfc3339 } from '../base/clock.ts'
import { decimalTextOf, parseDecimal } from '../base/decimal.ts'
import { messageOf } from '../base/errors.ts'
import { mayBeInexact, textFromUtf8 } from '../base/json.ts'
import { ordTypes, sides, stpModes, timesInForce } from './enums.ts'
import { orderNumberOf } from './execution.ts'
import type { CommandEcho, CommandKind } from './risk.ts'
import type { TypeOf } from './type-of.ts'

const oneOf = <T extends string>(values: readonly T[]) => ({ type: 'string', enum: values }) as const

export const accountPattern = '^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$'
export const symbolPattern = '^[A-Z0-9][A-Z0-9_-]{0,19}$'

const account = { type: 'string', pattern: accountPattern } as const
const symbol = { type: 'string', pattern: symbolPattern } as const
const clOrdId = { type: 'string', minLength: 1, maxLength: 64 } as const
const decimal = { anyOf: [{ type: 'number' }, { type: 'string' }] } as const
const time = decimal
const flag = { type: 'boolean' } as const
const traceparent = { type: 'string', maxLength: 128 } as const

const newOrderSchema = {
  type: 'object',
  properties: {
    clOrdId,
    account,
    symbol,
    side: oneOf(sides),
    ordType: oneOf(ordTypes),
    quantity: decimal,
    price: decimal,
    stopPrice: decimal,
    trailingOffset: decimal,
    timeInForce: oneOf(timesInForce),
    expireAt: time,
    postOnly: flag,
    reduceOnly: flag,
    displayQuantity: decimal,
    stpMode: oneOf(stpModes),
    traceparent,
  },
  required: ['symbol', 'side', 'ordType', 'quantity'],
} as const

const cancelSchema = {
  type: 'object',
  properties: { clOrdId, account, orderId: { type: 'string' }, origClOrdId: clOrdId, traceparent },
} as const

const replaceSchema = {
  type: 'object',
  properties: { ...cancelSchema.properties, quantity: decimal, price: decimal, stopPrice: decimal, expireAt: time },
} as const

const massCancelSchema = {
  type: 'object',
  properties: { clOrdId, account, allAccounts: flag, symbol, side: oneOf(sides), traceparent },
} as const

/** JSON Schemas of the command bodies, by kind; the HTTP door publishes them. */
export const commandSchemas = {
  new: newOrderSchema,
  cancel: cancelSchema,
  replace: replaceSchema,
  mass_cancel: massCancelSchema,
} as const satisfies Record<CommandKind, JSONSchema>

/** A decoded body: decimals are the text as written, `expireAt` is in µs, defaults are not filled in. */
type Decoded<T> = {
  [K in keyof T]: K extends 'expireAt' ? number : K extends DecimalField ? string : T[K]
}
type DecimalField = 'quantity' | 'price' | 'stopPrice' | 'trailingOffset' | 'displayQuantity'

export type NewOrder = Decoded<TypeOf<typeof newOrderSchema>> & { readonly kind: 'new' }
export type Cancel = Decoded<TypeOf<typeof cancelSchema>> & { readonly kind: 'cancel' }
export type Replace = Decoded<TypeOf<typeof replaceSchema>> & { readonly kind: 'replace' }
export type MassCancel = Decoded<TypeOf<typeof massCancelSchema>> & { readonly kind: 'mass_cancel' }
export type Command = NewOrder | Cancel | Replace | MassCancel

/** One field that is wrong, and what would be right. */
export interface InvalidField {
  readonly field: string
  readonly problem: string
}

export type DecodedCommand =
  | { readonly outcome: 'command'; readonly command: Command }
  /** Not UTF-8, not JSON, not an object, nested deeper than 8: goes to the DLQ. */
  | { readonly outcome: 'unreadable'; readonly problem: string }
  /** Readable but wrong; `echo` holds the fields that are right. */
  | {
      readonly outcome: 'invalid'
      readonly reason: 'INVALID_FIELD' | 'ACCOUNT_MISMATCH'
      readonly fields: readonly InvalidField[]
      /** Names every field that is wrong. */
      readonly text: string
      /** The account is the subject's where that has one: whose command it is, whatever the body says. */
      readonly echo: CommandEcho & { readonly clOrdId?: string; readonly traceparent?: string }
    }

const ajv = new Ajv({ allErrors: true, strictNumbers: false, allowUnionTypes: true, verbose: true })
const validators = {
  new: ajv.compile(newOrderSchema),
  cancel: ajv.compile(cancelSchema),
  replace: ajv.compile(replaceSchema),
  mass_cancel: ajv.compile(massCancelSchema),
}

const decimalFields: ReadonlySet<string> = new Set<DecimalField>([
  'quantity',
  'price',
  'stopPrice',
  'trailingOffset',
  'displayQuantity',
])
const enumFields: ReadonlySet<string> = new Set(['side', 'ordType', 'timeInForce', 'stpMode', 'symbol'])
const depthMax = 8
const tooDeep = { outcome: 'unreadable', problem: `nested deeper than ${depthMax}` } as const
const validAccount = new RegExp(accountPattern)

/** Every spelling of every known field: camelCase, snake_case, and `type` for ordType. */
const canonicalNames = new Map<string, string>([
  ['type', 'ordType'],
  ['orderType', 'ordType'],
  ['order_type', 'ordType'],
])
for (const schema of Object.values(commandSchemas)) {
  for (const name of Object.keys(schema.properties)) {
    canonicalNames.set(name, name)
    canonicalNames.set(
      name.replace(/[A-Z]/g, (capital) => `_${capital.toLowerCase()}`),
      name,
    )
  }
}

/** In capitals if all ASCII: `ſ` must not become S, nor a symbol another. */
export function upperAscii(text: string): string {
  return /[^ -~]/.test(text) ? text : text.toUpperCase()
}

interface NumberSource {
  readonly holder: unknown
  readonly key: string
  readonly text: string
}

function sourceOf(numbers: readonly NumberSource[], holder: unknown, key: string): string | undefined {
  return numbers.findLast((number) => number.holder === holder && number.key === key)?.text
}

function depthOf(value: unknown, depth: number): number {
  if (typeof value !== 'object' || value === null || depth > depthMax) return depth
  let deepest = depth + 1
  for (const child of Object.values(value)) deepest = Math.max(deepest, depthOf(child, depth + 1))
  return deepest
}

/**
 * Decodes the body of a command: any spelling of names and enums, numbers by their text and never through a double.
 *
 * An absent account becomes the subject's, else `default` for a new order and for an origClOrdId.
 *
 * @param kind what the subject says it is
 * @param subjectAccount the account in the subject, if it has one
 * @param headerTraceparent used when the body has none
 */
export function decodeCommand(
  kind: CommandKind,
  data: Uint8Array,
  subjectAccount?: string,
  headerTraceparent?: string,
): DecodedCommand {
  let body: unknown
  const numbers: NumberSource[] = []
  try {
    const text = textFromUtf8(data)
    body = mayBeInexact(text)
      ? JSON.parse(text, function (this: unknown, key, value: unknown, context?: { source?: string }) {
          if (typeof value === 'number' && context?.source !== undefined)
            numbers.push({ holder: this, key, text: context.source })
          return value
        })
      : JSON.parse(text)
  } catch (error) {
    // Nested so deep that the parser ran out of stack.
    if (error instanceof RangeError) return tooDeep
    return { outcome: 'unreadable', problem: `not JSON in UTF-8: ${messageOf(error).slice(0, 100)}` }
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    return { outcome: 'unreadable', problem: 'not a JSON object' }
  if (depthOf(body, 0) > depthMax) return tooDeep

  const fields: InvalidField[] = []
  const canonical: Record<string, unknown> = {}
  for (const [written, value] of Object.entries(body as Record<string, unknown>)) {
    const name = canonicalNames.get(written)
    if (name === undefined || value === null || !(name in commandSchemas[kind].properties)) continue
    const text = typeof value === 'number' ? (sourceOf(numbers, body, written) ?? String(value)) : value
    const folded =
      decimalFields.has(name) || name === 'expireAt'
        ? text
        : enumFields.has(name) && typeof value === 'string'
          ? upperAscii(value)
          : value
    if (name in canonical && canonical[name] !== folded)
      fields.push({ field: name, problem: `given twice and not the same, as ${written} too` })
    canonical[name] = folded
  }
  canonical['traceparent'] ??= headerTraceparent?.slice(0, 128)
  if (canonical['traceparent'] === undefined) delete canonical['traceparent']
  const isOwnSubject = subjectAccount !== undefined && validAccount.test(subjectAccount)
  if (subjectAccount !== undefined && !isOwnSubject)
    fields.push({ field: 'account', problem: `of the subject must match ${accountPattern}` })
  const bodyAccount = canonical['account']
  const implied = subjectAccount ?? (kind === 'new' || 'origClOrdId' in canonical ? 'default' : undefined)
  if (bodyAccount === undefined && implied !== undefined && canonical['allAccounts'] !== true)
    canonical['account'] = implied

  const validate = validators[kind]
  if (!validate(canonical)) for (const error of validate.errors ?? []) addSchemaError(fields, error)
  for (const name of decimalFields) {
    const value = canonical[name]
    if (typeof value !== 'string' || fields.some(({ field }) => field === name)) continue
    const parsed = parseDecimal(value)
    if (!parsed) fields.push({ field: name, problem: 'must be a decimal number' })
    else if (parsed.mantissa <= 0n) fields.push({ field: name, problem: 'must be greater than 0' })
  }
  const expireAt = canonical['expireAt']
  if (typeof expireAt === 'string') {
    const timeUs = usFromEpoch(expireAt) ?? usFromRfc3339(expireAt)
    if (timeUs !== undefined && timeUs >= 0) canonical['expireAt'] = timeUs
    else if (!fields.some(({ field }) => field === 'expireAt')) fields.push({ field: 'expireAt', problem: timeProblem })
  }
  addRuleProblems(kind, canonical, fields)
  const invalid = (reason: 'INVALID_FIELD' | 'ACCOUNT_MISMATCH', text: string): DecodedCommand => {
    const echo = { ...echoOf(canonical, fields), ...(isOwnSubject ? { account: subjectAccount } : {}) }
    return { outcome: 'invalid', reason, fields, text, echo }
  }
  if (fields.length > 0)
    return invalid('INVALID_FIELD', fields.map(({ field, problem }) => `${field} ${problem}`).join('; '))
  if (subjectAccount !== undefined && canonical['account'] !== subjectAccount) {
    const named = bodyAccount === undefined ? 'all accounts' : `account ${JSON.stringify(bodyAccount)}`
    return invalid('ACCOUNT_MISMATCH', `the body names ${named}, the subject ${subjectAccount}`)
  }
  return { outcome: 'command', command: { kind, ...canonical } as Command }
}

const timeProblem = 'must be an RFC 3339 time or an epoch number'

function addSchemaError(fields: InvalidField[], error: ErrorObject): void {
  const missing = error.keyword === 'required'
  const field = missing ? String(error.params['missingProperty']) : (error.instancePath.split('/')[1] ?? '')
  if (fields.some((known) => known.field === field)) return
  fields.push({ field, problem: missing ? 'is missing' : problemOf(field, error) })
}

function problemOf(field: string, { keyword, params, message, parentSchema }: ErrorObject): string {
  if (keyword === 'enum') return `must be one of ${(params['allowedValues'] as string[]).join(' ')}`
  if (keyword === 'pattern') return `must match ${String(params['pattern'])}`
  if (parentSchema && 'enum' in parentSchema) return `must be one of ${(parentSchema['enum'] as string[]).join(' ')}`
  if (decimalFields.has(field)) return 'must be a decimal number'
  if (field === 'expireAt') return timeProblem
  return message ?? 'is invalid'
}

/** What the schema language cannot say: which fields go together. */
function addRuleProblems(kind: CommandKind, body: Record<string, unknown>, fields: InvalidField[]): void {
  const wrong = (field: string, problem: string) => {
    if (!fields.some((known) => known.field === field)) fields.push({ field, problem })
  }
  const has = (field: string) => body[field] !== undefined
  if (kind === 'new') {
    const ordType = body['ordType']
    const timeInForce = body['timeInForce']
    if ((ordType === 'LIMIT' || ordType === 'STOP_LIMIT') && !has('price')) wrong('price', `is missing for ${ordType}`)
    if ((ordType === 'MARKET' || ordType === 'STOP' || ordType === 'TRAILING_STOP') && has('price'))
      wrong('price', `does not apply to ${ordType}; a capped price is a LIMIT order with timeInForce IOC`)
    if ((ordType === 'STOP' || ordType === 'STOP_LIMIT') && !has('stopPrice'))
      wrong('stopPrice', `is missing for ${ordType}`)
    if ((ordType === 'LIMIT' || ordType === 'MARKET' || ordType === 'TRAILING_STOP') && has('stopPrice'))
      wrong('stopPrice', `does not apply to ${ordType}`)
    if (ordType === 'TRAILING_STOP' && !has('trailingOffset')) wrong('trailingOffset', 'is missing for TRAILING_STOP')
    if (ordType !== 'TRAILING_STOP' && has('trailingOffset')) wrong('trailingOffset', 'applies to TRAILING_STOP only')
    if (timeInForce === 'GTD' && !has('expireAt')) wrong('expireAt', 'is missing for GTD')
    if (timeInForce !== 'GTD' && has('expireAt')) wrong('expireAt', 'applies to timeInForce GTD only')
    const isImmediate = timeInForce === 'IOC' || timeInForce === 'FOK'
    if (body['postOnly'] === true && (ordType !== 'LIMIT' || isImmediate))
      wrong('postOnly', 'applies to LIMIT orders that may rest only')
    if (has('displayQuantity') && ((ordType !== 'LIMIT' && ordType !== 'STOP_LIMIT') || isImmediate))
      wrong('displayQuantity', 'applies to LIMIT and STOP_LIMIT orders that may rest only')
  } else if (kind === 'mass_cancel') {
    if (body['allAccounts'] === true && has('account')) wrong('allAccounts', 'does not go with account')
    if (body['allAccounts'] !== true && !has('account')) wrong('account', 'is missing (or allAccounts: true)')
  } else {
    const orderId = body['orderId']
    if (has('orderId') && has('origClOrdId')) wrong('origClOrdId', 'does not go with orderId')
    if (!has('orderId') && !has('origClOrdId')) wrong('orderId', 'is missing (or origClOrdId)')
    if (typeof orderId === 'string' && (orderId === '' || orderId.length > 64)) wrong('orderId', 'must look like o-123')
    if (kind === 'replace' && !['quantity', 'price', 'stopPrice', 'expireAt'].some(has))
      wrong('quantity', 'is missing (or price, stopPrice, expireAt): nothing to change')
  }
}

const echoDigitsMax = 40

function echoOf(
  body: Record<string, unknown>,
  fields: readonly InvalidField[],
): CommandEcho & { clOrdId?: string; traceparent?: string } {
  const echo: Record<string, unknown> = {}
  const names = [
    'clOrdId',
    'traceparent',
    'orderId',
    'origClOrdId',
    'account',
    'symbol',
    'side',
    'ordType',
    'timeInForce',
  ]
  const good = (name: string) => body[name] !== undefined && !fields.some(({ field }) => field === name)
  for (const name of names) if (good(name)) echo[name] = body[name]
  for (const name of ['quantity', 'price', 'stopPrice']) {
    const text = good(name) ? canonicalDecimal(String(body[name])) : undefined
    if (text !== undefined) echo[name] = text
  }
  return echo
}

/** Plain text of a decimal for a report; undefined when it is unreasonably long. */
export function canonicalDecimal(text: string): string | undefined {
  const decimal = parseDecimal(text)
  if (!decimal || Math.abs(decimal.scale) > echoDigitsMax || decimal.mantissa >= 10n ** BigInt(echoDigitsMax))
    return undefined
  return decimalTextOf(decimal.mantissa, decimal.scale)
}

/** What a well-formed command said, for the report that refuses it. */
export function echoOfCommand(command: Command): CommandEcho {
  return echoOf(command, [])
}

/** The number of the order that a cancel or replace names by orderId; undefined for ids that are not ours. */
export function targetOf(command: Cancel | Replace): number | undefined {
  return command.orderId === undefined ? undefined : orderNumberOf(command.orderId)
}

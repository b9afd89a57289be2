import { parseDecimal, decimalTextOf } from '../base/decimal.ts'
import { quote } from '../base/json.ts'
import type { OrderState } from '../domain/order-views.ts'
import type { InvalidField } from '../schemas/command.ts'
import { streamSpec } from '../subjects/contract.ts'

/** Largest command that ORDERS takes, its headers included. */
export const commandBytesMax = streamSpec('ORDERS').maxMsgSize ?? 0

/** What a door refuses a request with, and the status code of each; those of SYSTEM_ and overload may be tried again. */
const doorErrors = {
  INVALID_MESSAGE: 400,
  INVALID_FIELD: 400,
  LOOPBACK_ONLY: 403,
  ORDER_UNKNOWN: 404,
  ROUTE_UNKNOWN: 404,
  PROFILE_RUNNING: 409,
  BODY_TOO_LARGE: 413,
  MEDIA_TYPE: 415,
  OVERLOADED: 429,
  INTERNAL: 500,
  SYSTEM_COMMAND_FAULT: 503,
  SYSTEM_STORAGE: 503,
  SYSTEM_UNAVAILABLE: 503,
  /** The one error after which the command may have been taken all the same. */
  SYSTEM_UNRESOLVED: 503,
} as const

export type DoorErrorCode = keyof typeof doorErrors

/** A request that gets no order, list or book for an answer. */
export class DoorError extends Error {
  override name = 'DoorError'
  readonly code: DoorErrorCode
  readonly fields: readonly InvalidField[]

  constructor(code: DoorErrorCode, message: string, fields: readonly InvalidField[] = []) {
    super(message)
    this.code = code
    this.fields = fields
  }

  get status(): number {
    return doorErrors[this.code]
  }

  /** When it may be tried again; undefined where that would change nothing. */
  get retryAfterSeconds(): number | undefined {
    if (this.code === 'SYSTEM_STORAGE') return 5
    return this.status === 503 || this.status === 429 ? 1 : undefined
  }

  /** `{error, message, fields?: [{field, problem}]}` */
  toJSON(): object {
    const { code: error, message, fields } = this
    return { error, message, ...(fields.length === 0 ? {} : { fields }) }
  }
}

export function invalidField(field: string, problem: string): DoorError {
  return new DoorError('INVALID_FIELD', `${field} ${problem}`, [{ field, problem }])
}

export function orderUnknown(orderId: string): DoorError {
  return new DoorError('ORDER_UNKNOWN', `no order ${orderId} is known`)
}

export function tooLarge(): DoorError {
  return new DoorError(
    'BODY_TOO_LARGE',
    `a command has at most ${commandBytesMax} bytes, its headers (about 100) included`,
  )
}

/** The one answer about an order (contract, section 4); null where nothing is known, numbers with every digit. */
export function encodeOrderAnswer(state: OrderState, errorMessage = state.errorMessage): string {
  return (
    `{"order_id":${quote(state.orderId)},"account":${textOrNull(state.account)},"symbol":${textOrNull(state.symbol)}` +
    `,"side":${textOrNull(state.side)},"quantity":${numberOrNull(state.quantity)},"price":${numberOrNull(state.price)}` +
    `,"status":"${state.status}","filled_quantity":${numberOrNull(state.filledQuantity)}` +
    `,"average_price":${numberOrNull(state.averagePrice)},"error_message":${textOrNull(errorMessage)}}`
  )
}

function textOrNull(text: string | undefined): string {
  return text === undefined ? 'null' : quote(text)
}

/** A number of a report as a token; small ones would be printed with an exponent. */
function numberOrNull(value: number | string | undefined): string {
  if (value === undefined) return 'null'
  if (typeof value === 'number' && (value === 0 || Math.abs(value) >= 1e-6)) return String(value)
  const decimal = parseDecimal(String(value))
  return decimal ? decimalTextOf(decimal.mantissa, decimal.scale) : 'null'
}

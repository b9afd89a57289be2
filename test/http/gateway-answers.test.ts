import t from 'tap'
import { DoorError, encodeOrderAnswer } from '../../src/http/gateway-answers.ts'

void t.test('P1.13 an order answer has the ten fields of the contract, null where nothing is known', (t) => {
  t.equal(
    encodeOrderAnswer({ orderId: 'o-1', status: 'PENDING_NEW', filledQuantity: 0 }),
    '{"order_id":"o-1","account":null,"symbol":null,"side":null,"quantity":null,"price":null,"status":"PENDING_NEW","filled_quantity":0,"average_price":null,"error_message":null}',
  )
  t.end()
})

const numbers: [value: number | string, token: string][] = [
  [0, '0'],
  [0.1, '0.1'],
  [45000, '45000'],
  [0.0000001, '0.0000001'],
  [0.00000001, '0.00000001'],
  [1.2e-8, '0.000000012'],
  [0.000001, '0.000001'],
  ['90000000.00000001', '90000000.00000001'],
  ['0.00000000000000001', '0.00000000000000001'],
  ['12345678901234567890', '12345678901234567890'],
]
for (const [value, token] of numbers)
  void t.test(`P1.13 ${value} is answered as the token ${token}`, (t) => {
    const json = encodeOrderAnswer({ orderId: 'o-1', status: 'NEW', filledQuantity: value, quantity: value })
    t.match(json, `"quantity":${token},`)
    t.match(json, `"filled_quantity":${token},`)
    t.end()
  })

void t.test('P1.13 texts are quoted', (t) => {
  const state = { orderId: 'o-1', status: 'REJECTED', filledQuantity: 0, errorMessage: 'a "b"\n\u00e9' } as const
  t.equal((JSON.parse(encodeOrderAnswer(state)) as { error_message: string }).error_message, 'a "b"\n\u00e9')
  t.end()
})

void t.test('P1.13 only errors that pass say when to try again', (t) => {
  for (const [code, status, seconds] of [
    ['INVALID_FIELD', 400, undefined],
    ['ORDER_UNKNOWN', 404, undefined],
    ['BODY_TOO_LARGE', 413, undefined],
    ['OVERLOADED', 429, 1],
    ['INTERNAL', 500, undefined],
    ['SYSTEM_STORAGE', 503, 5],
    ['SYSTEM_UNAVAILABLE', 503, 1],
  ] as const) {
    const error = new DoorError(code, 'why')
    t.same([error.status, error.retryAfterSeconds], [status, seconds], code)
    t.same(JSON.parse(JSON.stringify(error)), { error: code, message: 'why' })
  }
  t.end()
})

import t from 'tap'
import { utf8FromText } from '../../src/base/json.ts'
import type { InputMessage } from '../../src/runtime/reader.ts'
import type { SinkValue } from '../../src/runtime/sink-table.ts'
import { createExecutionSink, executions } from '../../src/workers/execution-sink.ts'

const transactTime = '2026-11-22T09:30:00.000001Z'
const report = (execId: string, fields = '') =>
  `{"execId":"${execId}","orderId":"o-7","execType":"Trade","ordStatus":"Filled","transactTime":"${transactTime}"${fields}}`
const body = (reports: readonly string[], fields = '') =>
  `{"cmdSeq":12,"transactTime":"${transactTime}"${fields},"reports":[${reports.join()}]}`

/** What a sink that has seen nothing yet makes of a message. */
function take(text: string, sequence = 5) {
  const rows: (readonly SinkValue[])[] = []
  const input: InputMessage = {
    sequence,
    subject: 'executions.BTCUSDT',
    timeUs: 1_795_339_800_000_000,
    data: utf8FromText(text),
    pending: 0,
    traceparent: undefined,
    srcSeq: 7,
    position: { inSeq: 0, inIndex: 0 },
    logicVersion: 1,
  }
  const taken = createExecutionSink().take(input, {
    add: (_key, _values, row) => {
      rows.push(row)
      return true
    },
  })
  return { taken, rows }
}

const at = (name: string) => executions.columns.findIndex((column) => column.name === name)

void t.test('P3.08 decimals come into the table exactly, as long as they fit', (t) => {
  const fitting: readonly (readonly [field: string, column: string, value: string, unscaled: bigint])[] = [
    ['price', 'price', '9999999999.99999999', 10n ** 18n - 1n],
    ['price', 'price', '"-9999999999.99999999"', 1n - 10n ** 18n],
    ['lastQty', 'last_qty', '0.00000001', 1n],
    ['lastQty', 'last_qty', '1e-8', 1n],
    ['orderQty', 'order_qty', '0.100000000000', 10_000_000n],
    ['avgPx', 'avg_px', '99999999999999999999.999999999999999999', 10n ** 38n - 1n],
    ['fee', 'fee', '-0.000000000000000001', -1n],
    ['fee', 'fee', '0.1', 10n ** 17n],
  ]
  for (const [field, column, value, unscaled] of fitting) {
    const { taken, rows } = take(body([report('12-1', `,"${field}":${value}`)]))
    t.equal(taken, 1, `${field} ${value}`)
    t.equal(rows[0]?.[at(column)], unscaled, `${field} ${value}`)
  }
  t.end()
})

void t.test('P3.08 a message with a decimal that does not fit goes to the DLQ whole, by name, never rounded', (t) => {
  const unfit: readonly (readonly [field: string, value: string])[] = [
    ['price', '10000000000'],
    ['price', '-10000000000'],
    ['stopPrice', '0.000000001'],
    ['lastPx', '1.123456789'],
    ['orderQty', '9999999999.999999991'],
    ['leavesQty', '1e400'],
    ['cumQty', '"much"'],
    ['avgPx', '100000000000000000000'],
    ['avgPx', '0.0000000000000000001'],
    ['fee', '1.0000000000000000001'],
  ]
  for (const [field, value] of unfit) {
    const { taken, rows } = take(body([report('12-1'), report('12-2', `,"${field}":${value}`), report('12-3')]))
    t.match(taken, { problem: new RegExp(`^INVALID_FIELD: ${field} of 12-2 does not fit: `) }, `${field} ${value}`)
    t.same(rows, [], 'none of its reports')
  }
  t.end()
})

void t.test(
  'P3.08 report_index counts through the parts of a command, also for a sink that begins with a later one',
  (t) => {
    const keysOf = ({ rows }: ReturnType<typeof take>) => rows.map((row) => [row[0], row[1], row[2], row[3]])
    t.same(keysOf(take(body([report('12-1'), report('12-2')], ',"part":"1/2"'), 5)), [
      [5, 0, 7, 12],
      [5, 1, 7, 12],
    ])
    t.same(keysOf(take(body([report('12-3'), report('12-4')], ',"part":"2/2"'), 6)), [
      [6, 2, 7, 12],
      [6, 3, 7, 12],
    ])
    for (const [name, ids] of [
      ['one is missing', ['12-1', '12-3']],
      ['another command', ['12-1', '13-2']],
      ['from 0', ['12-0']],
    ] as const)
      t.match(take(body(ids.map((id) => report(id)))), { taken: { problem: /^INVALID_FIELD: execId/ }, rows: [] }, name)
    t.end()
  },
)

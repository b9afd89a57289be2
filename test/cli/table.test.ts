import { stripVTControlCharacters } from 'node:util'
import t from 'tap'
import { describeRefusal, describeReport } from '../../src/cli/describe.ts'
import { visible } from '../../src/cli/output.ts'
import { numeric, paint, renderTable } from '../../src/cli/table.ts'

void t.test('P2.11 what somebody else wrote stays on its line and does nothing to the terminal', (t) => {
  t.equal(
    visible('a\u0000\u001b[2J\n\u009b\u2028\u202eb ünï 😀'),
    'a\\u0000\\u001b[2J\\u000a\\u009b\\u2028\\u202eb ünï 😀',
  )
  const order = { orderId: 'o-1', account: 'a', symbol: 'S', side: 'BUY', clOrdId: 'x\r\n\u001b[31m' } as const
  const report = describeReport({
    ...order,
    execId: '1-1',
    execType: 'New',
    ordStatus: 'New',
    transactTime: '2026-01-01T00:00:00.000000Z',
  })
  t.equal(report, 'o-1 S BUY New as x\\u000d\\u000a\\u001b[31m → New (a)')
  const refused = describeRefusal({ ordRejReason: 'DUPLICATE_CL_ORD_ID', text: 'used clOrdId \u0007' })
  t.equal(refused, 'DUPLICATE_CL_ORD_ID: used clOrdId \\u0007')
  t.end()
})

void t.test('P2.11 tables: numbers to the right, and as wide as the terminal at most', (t) => {
  const columns = ['order', numeric('quantity'), 'status', 'why']
  const rows = [
    ['o-1', '0.00000001', 'NEW', 'short'],
    ['o-200', '12', 'PARTIALLY_FILLED', 'a long text that says why this was not possible'],
  ]
  const plain = (table: string) => stripVTControlCharacters(table).split('\n')
  t.same(plain(renderTable(columns, rows)), [
    'order    quantity  status            why',
    'o-1    0.00000001  NEW               short',
    'o-200          12  PARTIALLY_FILLED  a long text that says why this was not possible',
  ])
  t.same(plain(renderTable(columns, rows, 50)), [
    'order    quantity  status          why',
    'o-1    0.00000001  NEW             short',
    'o-200          12  PARTIALLY_FIL…  a long text th…',
  ])
  const narrow = plain(renderTable(columns, rows, 1))
  t.ok(
    narrow.every((line) => line.length === narrow[0]?.length || line.length < 40),
    'what cannot be cut any more stays readable',
  )
  t.match(narrow[1], '0.00000001', 'numbers are never cut')
  const coloured = [['o-1', '1', paint('PARTIALLY_FILLED', 'good'), 'x']]
  t.match(plain(renderTable(columns, coloured, 30))[1], /PARTIA\w*…/, 'colours take no room')
  t.end()
})

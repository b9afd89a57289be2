import { stripVTControlCharacters } from 'node:util'
import t from 'tap'
import { numeric, paint, renderTable } from '../../src/cli/table.ts'

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

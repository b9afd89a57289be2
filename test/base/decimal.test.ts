import t from 'tap'
import { nearestUnits, parseDecimal, parseUnit, textFromUnits, unitsFromText } from '../../src/base/decimal.ts'

const cent = parseUnit('0.01')
const nickel = parseUnit('0.05')

void t.test('P1.07 prices and quantities are counted by their text', (t) => {
  const rows: readonly (readonly [text: string, unit: string, units: number | string | undefined])[] = [
    ['45000', '0.01', 4_500_000],
    ['45000.00', '0.01', 4_500_000],
    ['4.5e4', '0.01', 4_500_000],
    ['0.1', '0.00000001', 10_000_000],
    ['45000.005', '0.01', 'off'],
    ['0.07', '0.05', 'off'],
    ['0.15', '0.05', 3],
    ['9e15', '1', 9e15],
    ['9000000000000001', '1', 'range'],
    ['90000000000000.01', '0.01', 'range'],
    ['1e400', '0.01', 'range'],
    ['1e-400', '0.01', 'off'],
    ['0', '0.01', 0],
    ['-0.01', '0.01', -1],
    ['abc', '0.01', undefined],
    ['', '0.01', undefined],
    ['1,5', '0.01', undefined],
    ['0x10', '0.01', undefined],
    ['Infinity', '0.01', undefined],
  ]
  for (const [text, unit, units] of rows) t.equal(unitsFromText(text, parseUnit(unit)), units, `${text} in ${unit}`)
  t.end()
})

void t.test('P1.07 prices from outside go to the nearest tick, ties to the even one', (t) => {
  const rows: readonly (readonly [text: string, units: number | undefined])[] = [
    ['1.00', 20],
    ['1.02', 20],
    ['1.024', 20],
    ['1.025', 20],
    ['1.0250001', 21],
    ['1.03', 21],
    ['1.075', 22],
    ['-1.075', -22],
    ['1e2', 2_000],
    ['450000000000000', 9e15],
    ['450000000000000.03', undefined],
    ['1e400', undefined],
    ['one', undefined],
  ]
  for (const [text, units] of rows) t.equal(nearestUnits(text, nickel), units, text)
  t.end()
})

void t.test('P1.07 a step is a positive decimal of at most 15 digits', (t) => {
  t.same(parseUnit('0.010'), { mantissa: 1, scale: 2 })
  t.same(parseUnit('1e3'), { mantissa: 1_000, scale: 0 })
  for (const text of ['0', '-1', '', 'x', '1234567890123456', '1e-19'])
    t.throws(() => parseUnit(text), { name: 'BugError' }, text)
  t.equal(textFromUnits(-150, cent), '-1.5')
  t.equal(textFromUnits(9e15, cent), '90000000000000')
  t.equal(parseDecimal('1e'), undefined)
  t.end()
})

import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { pipeline } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { decimalTextOf, parseDecimal, type Unit, unitsFromText } from '../base/decimal.ts'
import { isPipelineError, messageOf, PipelineError } from '../base/errors.ts'
import type { Side } from '../schemas/enums.ts'

const columns = ['ts_ms', 'event', 'id', 'side', 'price', 'size'] as const
type ColumnName = (typeof columns)[number]

/** One row of an order-flow file; decimals are plain text without trailing zeros. */
export interface FlowRow {
  /** In the file, from 1; the header is line 1. */
  readonly line: number
  /** Since the Unix epoch. */
  readonly timeMs: number
  /** `trade` is what the exchange reported; it is compared, never sent. */
  readonly event: 'new' | 'cancel' | 'trade'
  readonly id: string
  /** Always there for `new`. */
  readonly side: Side | undefined
  /** Empty only for `cancel`. */
  readonly price: string
  readonly size: string
}

/** What a file holds, and in what it counts. */
export interface FlowSummary {
  readonly counts: Readonly<Record<FlowRow['event'], number>>
  readonly firstMs: number
  readonly lastMs: number
  /** The coarsest powers of ten of which all prices and sizes are multiples, unless given. */
  readonly tick: string
  readonly lot: string
}

const lineCharsMax = 4_096
const gzipMagic = 0x1f8b

/**
 * Reads an order-flow file row by row, gzipped or plain: CSV with the columns `ts_ms event id side price size`, in any
 * order and among others.
 * @throws PipelineError FILE_INVALID naming line and column
 */
export async function* readFlow(file: string): AsyncGenerator<FlowRow> {
  let line = 0
  let places: Readonly<Record<ColumnName, number>> | undefined
  try {
    for await (const text of linesOf(file)) {
      line += 1
      if (text === '') continue
      const cells = text.split(',').map((cell) => cell.trim().replace(/^"(.*)"$/, '$1'))
      if (places) yield rowFrom(cells, places, line)
      else places = placesIn(cells)
    }
    if (!places) throw new FlowProblem(undefined, 'it is empty')
  } catch (error) {
    if (isPipelineError(error)) throw error
    const column = error instanceof FlowProblem && error.column !== undefined ? `, column ${error.column}` : ''
    throw new PipelineError('FILE_INVALID', `${file}, line ${Math.max(1, line)}${column}: ${messageOf(error)}`, {
      cause: error,
    })
  }
}

/**
 * Reads a whole file, so that nothing is sent of one that is not good.
 * @param given units that the file must count in; unset: those of its decimals
 * @throws PipelineError FILE_INVALID naming line and column
 */
export async function summarise(
  file: string,
  given: { readonly tick: Unit | undefined; readonly lot: Unit | undefined },
): Promise<FlowSummary> {
  const counts = { new: 0, cancel: 0, trade: 0 }
  const decimals = { price: 0, size: 0 }
  let firstMs = Infinity
  let lastMs = -Infinity
  for await (const { event, timeMs, price, size, line } of readFlow(file)) {
    counts[event] += 1
    firstMs = Math.min(firstMs, timeMs)
    lastMs = Math.max(lastMs, timeMs)
    if (event !== 'new') continue
    decimals.price = Math.max(decimals.price, decimalsOf(price))
    decimals.size = Math.max(decimals.size, decimalsOf(size))
    checkUnits(file, line, 'price', price, 'tick', given.tick)
    checkUnits(file, line, 'size', size, 'lot', given.lot)
  }
  if (counts.new === 0) throw new PipelineError('FILE_INVALID', `${file} has no orders: no row says \`new\``)
  return {
    counts,
    firstMs,
    lastMs,
    tick: unitText(given.tick, decimals.price),
    lot: unitText(given.lot, decimals.size),
  }
}

/** What is wrong with one line. */
class FlowProblem extends Error {
  readonly column: string | undefined

  constructor(column: string | undefined, message: string) {
    super(message)
    this.column = column
  }
}

async function* linesOf(file: string): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of await bytesOf(file)) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) yield line.trimEnd()
    if (rest.length > lineCharsMax) throw new Error(`a line has more than ${lineCharsMax} characters: this is no CSV`)
  }
  if (rest !== '') yield rest.trimEnd()
}

/** It is read twice, so that it cannot be a pipe. */
async function bytesOf(file: string): Promise<AsyncIterable<Uint8Array>> {
  const head = Buffer.alloc(2)
  const handle = await open(file).catch((error: unknown) => {
    throw new PipelineError('FILE_INVALID', `cannot read ${file}: ${messageOf(error)}`, { cause: error })
  })
  try {
    if (!(await handle.stat()).isFile()) throw new PipelineError('FILE_INVALID', `${file} is not a file`)
    await handle.read(head, 0, 2, 0)
  } finally {
    await handle.close()
  }
  const bytes = createReadStream(file)
  // What goes wrong is thrown where the last stream is read.
  return head.readUInt16BE() === gzipMagic ? pipeline(bytes, createGunzip(), () => undefined) : bytes
}

function placesIn(cells: readonly string[]): Record<ColumnName, number> {
  const names = cells.map((cell) => cell.replace(/^\ufeff/, '').toLowerCase())
  const missing = columns.filter((column) => !names.includes(column))
  if (missing.length > 0)
    throw new FlowProblem(
      missing[0],
      `not in the header; needed are ${columns.join(', ')} (the first line names the columns)`,
    )
  return Object.fromEntries(columns.map((column) => [column, names.indexOf(column)])) as Record<ColumnName, number>
}

function rowFrom(cells: readonly string[], places: Readonly<Record<ColumnName, number>>, line: number): FlowRow {
  const cell = (column: ColumnName) => cells[places[column]] ?? ''
  const time = cell('ts_ms')
  if (!/^\d{1,15}$/.test(time)) throw new FlowProblem('ts_ms', `must be Unix milliseconds, not ${shown(time)}`)
  const event = cell('event')
  if (event !== 'new' && event !== 'cancel' && event !== 'trade')
    throw new FlowProblem('event', `must be new, cancel or trade, not ${shown(event)}`)
  const id = cell('id')
  if (id === '' || id.length > 64) throw new FlowProblem('id', `must have 1 to 64 characters, not ${shown(id)}`)
  const isOptional = event === 'cancel'
  return {
    line,
    timeMs: Number(time),
    event,
    id,
    side: sideOf(cell('side'), event),
    price: amountOf('price', cell('price'), isOptional),
    size: amountOf('size', cell('size'), isOptional),
  }
}

function sideOf(text: string, event: FlowRow['event']): Side | undefined {
  const side = text.toUpperCase()
  if (side === 'BUY' || side === 'SELL') return side
  if (side !== '' || event === 'new') throw new FlowProblem('side', `must be buy or sell, not ${shown(text)}`)
  return undefined
}

function amountOf(column: ColumnName, text: string, isOptional: boolean): string {
  if (text === '' && isOptional) return ''
  const decimal = parseDecimal(text)
  if (!decimal || decimal.mantissa < 0n || (decimal.mantissa === 0n && !isOptional))
    throw new FlowProblem(column, `must be a decimal number greater than 0, not ${shown(text)}`)
  return decimalTextOf(decimal.mantissa, decimal.scale)
}

function shown(text: string): string {
  return text === '' ? 'empty' : JSON.stringify(text.slice(0, 40))
}

function decimalsOf(text: string): number {
  const point = text.indexOf('.')
  return point < 0 ? 0 : text.length - point - 1
}

function checkUnits(
  file: string,
  line: number,
  column: ColumnName,
  text: string,
  name: 'tick' | 'lot',
  unit: Unit | undefined,
): void {
  if (unit && typeof unitsFromText(text, unit) !== 'number')
    throw new PipelineError(
      'FILE_INVALID',
      `${file}, line ${line}, column ${column}: ${text} is not a multiple of the ${name} ${unitText(unit, 0)}`,
    )
}

function unitText(unit: Unit | undefined, decimals: number): string {
  return unit ? decimalTextOf(unit.mantissa, unit.scale) : decimalTextOf(1, decimals)
}

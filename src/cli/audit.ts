import { decimalTextOf, divideHalfEven, parseDecimal, pow10 } from '../base/decimal.ts'
import { textFromUtf8 } from '../base/json.ts'
import { decodeExecution, type ExecutionReport } from '../schemas/execution.ts'
import { decodeAccountPosition, decodePosition } from '../schemas/position.ts'
import type { RiskMessage } from '../schemas/risk.ts'
import type { Nats } from '../runtime/nats.ts'
import { readLatest, readStream } from '../runtime/reader.ts'

/** What the streams say about each other, counted from ORDERS and EXECUTIONS alone. */
export interface Audit {
  readonly commands: number
  readonly answers: number
  readonly unanswered: number
  readonly doubled: number
  readonly outOfOrder: number
  readonly trades: number
  readonly reports: number
  readonly rejects: Readonly<Record<string, number>>
  readonly conservation: { readonly ok: boolean; readonly problems: readonly string[] }
  readonly positions: readonly AuditedPosition[]
  readonly deadLetters: Readonly<Record<string, number>>
  /** Sequences of the first commands that have no answer, or more than one. */
  readonly examples: { readonly unanswered: readonly number[]; readonly doubled: readonly number[] }
  readonly ok: boolean
}

export interface AuditedPosition {
  readonly account: string
  readonly symbol: string
  readonly quantity: string
  readonly realizedPnl: string
  readonly fees: string
}

const scale = 36
const unit = pow10(scale)

function exact(value: number | string | undefined): bigint {
  const decimal = parseDecimal(String(value ?? 0))
  if (!decimal) throw new RangeError(`not a decimal: ${String(value)}`)
  return decimal.mantissa * pow10(scale - decimal.scale)
}

function text(value: bigint): string {
  return decimalTextOf(value, scale)
}

/** Adds up fills as plain decimals, independently of src/domain/portfolio.ts. */
export class Ledger {
  readonly quantities = new Map<string, bigint>()
  readonly cash = new Map<string, bigint>()
  readonly fees = new Map<string, bigint>()

  trade(report: ExecutionReport): void {
    const { account = '', symbol = '' } = report
    const quantity = exact(report.lastQty) * (report.side === 'BUY' ? 1n : -1n)
    const fee = exact(report.fee)
    add(this.quantities, `${account} ${symbol}`, quantity)
    add(this.cash, account, -(quantity * exact(report.lastPx)) / unit - fee)
    add(this.cash, '_venue', fee)
    add(this.fees, account, fee)
    add(this.fees, '_venue', -fee)
  }
}

function add(sums: Map<string, bigint>, key: string, amount: bigint): void {
  sums.set(key, (sums.get(key) ?? 0n) + amount)
}

/**
 * Reads ORDERS, RISK, EXECUTIONS, POSITIONS and the DLQ from their start and checks that every command has exactly one
 * answer, in the order of RISK and per account in the order of ORDERS, that quantity, cash and fees add up, and that
 * POSITIONS says what the fills say. The pipeline must be idle.
 */
export async function audit(nats: Nats): Promise<Audit> {
  const problems: string[] = []
  const state = async (stream: string) => (await nats.jsm.streams.info(stream)).state
  const orders = await state('ORDERS')
  const answered = new Map<number, number>()
  const rejects: Record<string, number> = {}
  const ledger = new Ledger()
  let trades = 0
  let reports = 0
  let outOfOrder = 0
  let lastCmdSeq = 0
  let lastSrcSeq = 0
  for await (const { data, srcSeq, sequence } of readStream(
    nats,
    'EXECUTIONS',
    1,
    (await state('EXECUTIONS')).last_seq,
  )) {
    const message = decodeExecution(data)
    if (message.epoch !== undefined) continue
    const isFirstPart = message.part === undefined || message.part.startsWith('1/')
    if (isFirstPart ? message.cmdSeq <= lastCmdSeq : message.cmdSeq !== lastCmdSeq) outOfOrder += 1
    lastCmdSeq = message.cmdSeq
    if (srcSeq === undefined) problems.push(`EXECUTIONS ${sequence} has no Src-Seq`)
    if (isFirstPart && srcSeq !== undefined && srcSeq > 0) {
      answered.set(srcSeq, (answered.get(srcSeq) ?? 0) + 1)
      // The gate decides in the order of ORDERS, so all answers come in it, those of one account too.
      if (srcSeq <= lastSrcSeq) outOfOrder += 1
      lastSrcSeq = srcSeq
    }
    reports += message.reports.length
    for (const report of message.reports) {
      if (report.ordRejReason !== undefined) rejects[report.ordRejReason] = (rejects[report.ordRejReason] ?? 0) + 1
      if (report.execType === 'Trade') {
        ledger.trade(report)
        if (report.liquidity === 'TAKER') trades += 1
      }
    }
  }

  const unanswered: number[] = []
  const doubled: number[] = []
  for (let sequence = orders.first_seq; sequence <= orders.last_seq; sequence += 1) {
    const answers = answered.get(sequence) ?? 0
    if (answers === 0) unanswered.push(sequence)
    if (answers > 1) doubled.push(sequence)
  }
  problems.push(...(await riskProblems(nats, (await state('RISK')).last_seq)))
  problems.push(...zeroSums(ledger))
  const { positions, differences } = await comparePositions(nats, ledger)
  problems.push(...differences)
  const deadLetters: Record<string, number> = {}
  const dlq = await nats.jsm.streams.info('DLQ', { subjects_filter: '>' })
  for (const subject of Object.keys(dlq.state.subjects ?? {})) {
    const worker = subject.split('.')[1] ?? ''
    deadLetters[worker] = (deadLetters[worker] ?? 0) + 1
  }

  const commands = orders.messages
  const ok = unanswered.length === 0 && doubled.length === 0 && outOfOrder === 0 && problems.length === 0
  return {
    commands,
    answers: answered.size,
    unanswered: unanswered.length,
    doubled: doubled.length,
    outOfOrder,
    trades,
    reports,
    rejects,
    conservation: { ok: problems.length === 0, problems: problems.slice(0, 20) },
    positions,
    deadLetters,
    examples: { unanswered: unanswered.slice(0, 5), doubled: doubled.slice(0, 5) },
    ok,
  }
}

async function riskProblems(nats: Nats, lastSequence: number): Promise<string[]> {
  let cmdSeq = 0
  for await (const { data, sequence } of readStream(nats, 'RISK', 1, lastSequence))
    for (const record of (JSON.parse(textFromUtf8(data)) as RiskMessage).records) {
      if (record.cmdSeq !== cmdSeq + 1) return [`RISK ${sequence}: cmdSeq ${record.cmdSeq} follows ${cmdSeq}`]
      cmdSeq = record.cmdSeq
    }
  return []
}

export function zeroSums(ledger: Ledger): string[] {
  const problems: string[] = []
  const bySymbol = new Map<string, bigint>()
  for (const [key, quantity] of ledger.quantities) add(bySymbol, key.split(' ')[1] ?? '', quantity)
  for (const [symbol, sum] of bySymbol) if (sum !== 0n) problems.push(`quantities of ${symbol} add up to ${text(sum)}`)
  for (const [name, sums] of [
    ['cash', ledger.cash],
    ['fees', ledger.fees],
  ] as const) {
    const sum = [...sums.values()].reduce((total, value) => total + value, 0n)
    if (sum !== 0n) problems.push(`${name} adds up to ${text(sum)}`)
  }
  return problems
}

async function comparePositions(
  nats: Nats,
  ledger: Ledger,
): Promise<{ positions: AuditedPosition[]; differences: string[] }> {
  const positions: AuditedPosition[] = []
  const differences: string[] = []
  const seen = new Set<string>()
  for (const [subject, { data }] of await readLatest(nats, 'POSITIONS', 'positions.>')) {
    const [, account = '', symbol] = subject.split('.')
    if (symbol !== undefined) {
      const record = decodePosition(data)
      const key = `${account} ${symbol}`
      seen.add(key)
      const expected = ledger.quantities.get(key) ?? 0n
      if (exact(record.quantity) !== expected)
        differences.push(`${key}: POSITIONS says ${record.quantity}, the fills ${text(expected)}`)
      positions.push({
        account,
        symbol,
        quantity: String(record.quantity),
        realizedPnl: String(record.realizedPnl),
        fees: String(record.fees),
      })
    } else if (account !== '_watermark' && account !== '_epoch') {
      const record = decodeAccountPosition(data)
      for (const [name, value, sums] of [
        ['cash', record.cash, ledger.cash],
        ['fees', record.fees, ledger.fees],
      ] as const) {
        const rounded = divideHalfEven(sums.get(account) ?? 0n, pow10(scale - 8)) * pow10(scale - 8)
        if (exact(value) !== rounded)
          differences.push(`${account}: POSITIONS says ${name} ${value}, the fills ${text(rounded)}`)
      }
    }
  }
  for (const key of ledger.quantities.keys()) if (!seen.has(key)) differences.push(`${key} is missing in POSITIONS`)
  positions.sort((a, b) => a.account.localeCompare(b.account) || a.symbol.localeCompare(b.symbol))
  return { positions, differences }
}

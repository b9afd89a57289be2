import type { Exact } from '../base/decimal.ts'
import { decimalTextOf, divideHalfEven, pow10, textFromUnits } from '../base/decimal.ts'
import { rfc3339FromUs } from '../base/clock.ts'
import { parseOwnJson, quote, textFromUtf8 } from '../base/json.ts'
import type { ExecType, Liquidity, OrdStatus, OrdType, Side, TimeInForce } from './enums.ts'
import type { Instrument } from './instrument.ts'
import type { RejectReason } from './reject-reasons.ts'
import type { CommandEcho } from './risk.ts'

/** The terms of an order as reports repeat them. */
export interface OrderTerms {
  readonly orderNumber: number
  readonly account: string
  readonly symbol: string
  readonly side: Side
  readonly ordType: OrdType
  readonly timeInForce: TimeInForce
  readonly clOrdId: string | undefined
  readonly quantityLots: number
  readonly priceTicks: number | undefined
  readonly stopTicks: number | undefined
  readonly traceparent: string | undefined
}

/** One report as the matcher computes it, in ticks and lots. Valid until the next record is applied. */
export interface ReportValue {
  readonly execType: ExecType
  readonly ordStatus: OrdStatus
  /** undefined for commands that were refused before they met an order. */
  readonly order: OrderTerms | undefined
  /** Unset: the order's own. */
  readonly clOrdId: string | undefined
  readonly origClOrdId: string | undefined
  /** Quantity and price of this fill; 0 lots when it is none. */
  readonly lastLots: number
  readonly lastTicks: number
  readonly leavesLots: number
  readonly cumLots: number
  /** Σ lots × ticks of all fills. */
  readonly cumCost: Exact
  readonly liquidity: Liquidity | undefined
  /** In 10^-quoteScale of the quote currency. */
  readonly fee: Exact
  readonly reason: RejectReason | undefined
  readonly text: string | undefined
  /** Of a refused command that met no order. */
  readonly echo: CommandEcho | undefined
  readonly traceparent: string | undefined
}

/** A report as EXECUTIONS carries it. Numbers of more than 15 digits come as text (`parseOwnJson`). */
export interface ExecutionReport {
  readonly execId: string
  readonly orderId: string
  readonly clOrdId?: string
  readonly origClOrdId?: string
  readonly refOrderId?: string
  readonly account?: string
  readonly symbol?: string
  readonly side?: Side
  readonly ordType?: OrdType
  readonly timeInForce?: TimeInForce
  readonly execType: ExecType
  readonly ordStatus: OrdStatus
  readonly orderQty?: number | string
  readonly price?: number | string
  readonly stopPrice?: number | string
  readonly lastQty?: number | string
  readonly lastPx?: number | string
  readonly leavesQty?: number | string
  readonly cumQty?: number | string
  readonly avgPx?: number | string
  readonly liquidity?: Liquidity
  readonly fee?: number | string
  readonly ordRejReason?: RejectReason
  readonly text?: string
  readonly transactTime: string
  readonly traceparent?: string
}

/** One message of EXECUTIONS: all reports that one record of RISK caused, or one part of them. */
export interface ExecutionMessage {
  /** Set in the record with which a matcher takes over; there is no cmdSeq then and `reports` is empty. */
  readonly epoch?: number
  readonly cmdSeq: number
  readonly symbol?: string
  readonly transactTime: string
  /** `k/n` when the reports needed n messages. */
  readonly part?: string
  readonly reports: readonly ExecutionReport[]
}

export function orderIdOf(orderNumber: number): string {
  return `o-${orderNumber}`
}

/** @returns undefined when the text is not an orderId of ours */
export function orderNumberOf(orderId: string): number | undefined {
  if (!/^o-[1-9]\d{0,15}$/.test(orderId)) return undefined
  const orderNumber = Number(orderId.slice(2))
  return Number.isSafeInteger(orderNumber) ? orderNumber : undefined
}

/** Average price: Σ lots × ticks over Σ lots, half-even at the instrument's quoteScale, as decimal text. */
export function averagePriceText(cost: Exact, lots: number, instrument: Instrument): string {
  const { tick, quoteScale } = instrument
  if (typeof cost === 'number' && cost % lots === 0 && tick.scale <= quoteScale) return textFromUnits(cost / lots, tick)
  const scaled = BigInt(cost) * BigInt(tick.mantissa) * pow10(quoteScale)
  return decimalTextOf(divideHalfEven(scaled, BigInt(lots) * pow10(tick.scale)), quoteScale)
}

/**
 * The JSON of one report: FIX 4.4 names in camelCase, absent when they do not apply, numbers as plain decimals.
 * @param execId `cmdSeq-n`, n from 1 over all parts
 * @param instrument of the order's symbol; needed whenever `report.order` is set
 */
export function encodeReport(
  report: ReportValue,
  execId: string,
  fallbackOrderId: string,
  transactTime: string,
  instrument: Instrument | undefined,
): string {
  const { order, echo } = report
  const clOrdId = report.clOrdId ?? order?.clOrdId
  let json = `{"execId":"${execId}","orderId":${quote(order ? orderIdOf(order.orderNumber) : (echo?.orderId ?? fallbackOrderId))}`
  if (clOrdId !== undefined) json += `,"clOrdId":${quote(clOrdId)}`
  if (report.origClOrdId !== undefined) json += `,"origClOrdId":${quote(report.origClOrdId)}`
  if (order && instrument) {
    json += `,"account":"${order.account}","symbol":"${order.symbol}","side":"${order.side}","ordType":"${order.ordType}","timeInForce":"${order.timeInForce}","execType":"${report.execType}","ordStatus":"${report.ordStatus}","orderQty":${textFromUnits(order.quantityLots, instrument.lot)}`
    if (order.priceTicks !== undefined) json += `,"price":${textFromUnits(order.priceTicks, instrument.tick)}`
    if (order.stopTicks !== undefined) json += `,"stopPrice":${textFromUnits(order.stopTicks, instrument.tick)}`
    if (report.lastLots > 0)
      json += `,"lastQty":${textFromUnits(report.lastLots, instrument.lot)},"lastPx":${textFromUnits(report.lastTicks, instrument.tick)}`
    json += `,"leavesQty":${textFromUnits(report.leavesLots, instrument.lot)},"cumQty":${textFromUnits(report.cumLots, instrument.lot)}`
    if (report.cumLots > 0) json += `,"avgPx":${averagePriceText(report.cumCost, report.cumLots, instrument)}`
    if (report.liquidity !== undefined)
      json += `,"liquidity":"${report.liquidity}","fee":${decimalTextOf(report.fee, instrument.quoteScale)}`
  } else {
    if (echo?.refOrderId !== undefined) json += `,"refOrderId":"${echo.refOrderId}"`
    if (echo?.account !== undefined) json += `,"account":${quote(echo.account)}`
    if (echo?.symbol !== undefined) json += `,"symbol":${quote(echo.symbol)}`
    if (echo?.side !== undefined) json += `,"side":"${echo.side}"`
    if (echo?.ordType !== undefined) json += `,"ordType":"${echo.ordType}"`
    if (echo?.timeInForce !== undefined) json += `,"timeInForce":"${echo.timeInForce}"`
    json += `,"execType":"${report.execType}","ordStatus":"${report.ordStatus}"`
    if (echo?.quantity !== undefined) json += `,"orderQty":${echo.quantity}`
    if (echo?.price !== undefined) json += `,"price":${echo.price}`
    if (echo?.stopPrice !== undefined) json += `,"stopPrice":${echo.stopPrice}`
    if (report.execType === 'Rejected') json += ',"leavesQty":0,"cumQty":0'
  }
  if (report.reason !== undefined) json += `,"ordRejReason":"${report.reason}"`
  if (report.text !== undefined) json += `,"text":${quote(report.text)}`
  json += `,"transactTime":"${transactTime}"`
  const traceparent = report.traceparent ?? order?.traceparent
  if (traceparent !== undefined) json += `,"traceparent":${quote(traceparent)}`
  return `${json}}`
}

/** Most reports in one message; a message stays below the server's max_payload of 1 MiB. */
export const reportsPerMessageMax = 1_000
const reportBytesPerMessageMax = 900_000

/** The bodies of EXECUTIONS that one record of RISK causes: one, or parts 1…n. `reports` are encoded reports. */
export function encodeExecutions(
  cmdSeq: number,
  symbol: string | undefined,
  timeUs: number,
  reports: readonly string[],
): string[] {
  const start = `{"cmdSeq":${cmdSeq}${symbol === undefined ? '' : `,"symbol":"${symbol}"`},"transactTime":"${rfc3339FromUs(timeUs)}"`
  if (reports.length <= 1) return [`${start},"reports":[${reports[0] ?? ''}]}`]
  const parts: string[][] = [[]]
  let bytes = 0
  for (const report of reports) {
    const size = Buffer.byteLength(report)
    let part = parts[parts.length - 1] ?? []
    if (part.length >= reportsPerMessageMax || (part.length > 0 && bytes + size > reportBytesPerMessageMax)) {
      part = []
      parts.push(part)
      bytes = 0
    }
    part.push(report)
    bytes += size
  }
  return parts.map((part, index) => {
    const label = parts.length === 1 ? '' : `,"part":"${index + 1}/${parts.length}"`
    return `${start}${label},"reports":[${part.join(',')}]}`
  })
}

/**
 * Reads a message of EXECUTIONS that our own matcher wrote.
 * @throws Error when it plainly is none
 */
export function decodeExecution(data: Uint8Array): ExecutionMessage {
  const message = parseOwnJson(textFromUtf8(data)) as Partial<ExecutionMessage> | null
  if (message === null || !Array.isArray(message.reports)) throw new TypeError('it has no reports')
  if (message.epoch === undefined && !Number.isSafeInteger(message.cmdSeq)) throw new TypeError('it has no cmdSeq')
  for (const report of message.reports as readonly (Partial<ExecutionReport> | null)[])
    if (typeof report?.orderId !== 'string' || typeof report.execType !== 'string')
      throw new TypeError('a report has no orderId or execType')
  return message as ExecutionMessage
}

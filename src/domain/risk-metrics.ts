import { decimalTextOf, divideHalfEven, parseDecimal, pow10, textFromUnits } from '../base/decimal.ts'
import { rfc3339FromUs } from '../base/clock.ts'
import { accountScale } from '../schemas/position.ts'
import type { RiskFigures } from '../schemas/risk-service.ts'
import type { AccountExposure, Exposure } from './exposure.ts'
import { multiply } from './money.ts'
import type { LimitUse } from './risk-rules.ts'
import type { HistoricalSimulation, ValueAtRisk, ValuedPosition } from './value-at-risk.ts'

/** The risk figures of one account; money in 10^-18 of the quote currency. */
export interface AccountMetrics {
  readonly account: string
  /** Σ |position × mark|. */
  readonly gross: bigint
  /** Σ position × mark. */
  readonly net: bigint
  /** Σ of the worst cases with open orders: what maxGrossExposure limits. */
  readonly worstCase: bigint
  /** The largest |position × mark|. */
  readonly largest: bigint
  /** undefined when POSITIONS does not say. */
  readonly drawdown: bigint | undefined
  /** null below 30 returns. */
  readonly valueAtRisk: ValueAtRisk | null
  readonly openOrders: number
}

const unit = 10n ** BigInt(accountScale)
const perUnit = 10 ** accountScale
const moneyScale = 8

/** Position × mark in 10^-18 of the quote currency. */
function markedAtto({ positionLots, market }: Exposure): bigint {
  return BigInt(multiply(positionLots, market.markTicks ?? 0)) * market.attoPerValue
}

export function metricsOf(
  account: AccountExposure,
  drawdown: bigint | undefined,
  simulation: HistoricalSimulation,
): AccountMetrics {
  let gross = 0n
  let net = 0n
  let largest = 0n
  const positions: ValuedPosition[] = []
  for (const [symbol, exposure] of account.bySymbol) {
    if (exposure.positionLots === 0) continue
    const value = markedAtto(exposure)
    const size = value < 0n ? -value : value
    gross += size
    net += value
    if (size > largest) largest = size
    positions.push({ symbol, value: Number(value) / perUnit })
  }
  return {
    account: account.name,
    gross,
    net,
    worstCase: account.grossAtto(),
    largest,
    drawdown,
    valueAtRisk: simulation.valueAtRisk(positions),
    openOrders: account.openOrders,
  }
}

/** Accounts listed, those with the largest worst case. */
export const accountsListedMax = 1_000

/** Sums over all accounts, and the largest of them, taken in one after the other. */
export class TotalMetrics {
  gross = 0n
  net = 0n
  worstCase = 0n
  /** Undefined while no account has one. */
  drawdown: bigint | undefined
  /** Null when an account has none: a sum without it would be too small. */
  valueAtRisk: { var95: number; var99: number } | null = null
  openOrders = 0
  count = 0
  #lacksValueAtRisk = false
  readonly #bySymbol = new Map<string, bigint>()
  #largest: AccountMetrics[] = []

  add(account: AccountExposure, metrics: AccountMetrics): void {
    this.count += 1
    this.gross += metrics.gross
    this.net += metrics.net
    this.worstCase += metrics.worstCase
    this.openOrders += metrics.openOrders
    if (metrics.drawdown !== undefined) this.drawdown = (this.drawdown ?? 0n) + metrics.drawdown
    if (!metrics.valueAtRisk) this.#lacksValueAtRisk = true
    const { var95, var99 } = this.valueAtRisk ?? { var95: 0, var99: 0 }
    this.valueAtRisk =
      this.#lacksValueAtRisk || !metrics.valueAtRisk
        ? null
        : { var95: var95 + metrics.valueAtRisk.var95, var99: var99 + metrics.valueAtRisk.var99 }
    for (const [symbol, exposure] of account.bySymbol) {
      if (exposure.positionLots === 0) continue
      const value = markedAtto(exposure)
      this.#bySymbol.set(symbol, (this.#bySymbol.get(symbol) ?? 0n) + (value < 0n ? -value : value))
    }
    this.#largest.push(metrics)
    if (this.#largest.length >= 2 * accountsListedMax) this.#cut()
  }

  /** Of the symbol that most is held in. */
  get largest(): bigint {
    let largest = 0n
    for (const value of this.#bySymbol.values()) if (value > largest) largest = value
    return largest
  }

  /** The accounts with the largest worst case, largest first, 1,000 at most. */
  listed(): readonly AccountMetrics[] {
    this.#cut()
    return this.#largest
  }

  #cut(): void {
    this.#largest.sort((a, b) => (a.worstCase === b.worstCase ? 0 : a.worstCase > b.worstCase ? -1 : 1))
    this.#largest = this.#largest.slice(0, accountsListedMax)
  }
}

type Summed = Omit<AccountMetrics, 'account'>

export function figuresOf({ gross, net, worstCase, largest, drawdown, valueAtRisk }: Summed): RiskFigures {
  const number = (atto: bigint) => Number(atto) / perUnit
  return {
    gross: number(gross),
    net: number(net),
    worstCase: number(worstCase),
    concentration: gross === 0n ? undefined : Number(largest) / Number(gross),
    drawdown: drawdown === undefined ? undefined : number(drawdown),
    var95: valueAtRisk?.var95,
    var99: valueAtRisk?.var99,
  }
}

/** Money of 10^-18 with 8 decimals, half-even. */
function moneyText(atto: bigint): string {
  return decimalTextOf(divideHalfEven(atto, pow10(accountScale - moneyScale)), moneyScale)
}

function estimateText(value: number): string {
  const decimal = parseDecimal(value.toFixed(moneyScale))
  return decimal ? decimalTextOf(decimal.mantissa, decimal.scale) : 'null'
}

function encodeFigures({ gross, net, worstCase, largest, drawdown, valueAtRisk, openOrders }: Summed): string {
  const concentration = gross === 0n ? 'null' : decimalTextOf(divideHalfEven(largest * pow10(6), gross), 6)
  return (
    `"gross_exposure":${moneyText(gross)},"net_exposure":${moneyText(net)},"worst_case_exposure":${moneyText(worstCase)}` +
    `,"concentration":${concentration},"drawdown":${drawdown === undefined ? 'null' : moneyText(drawdown)}` +
    `,"var_95":${valueAtRisk ? estimateText(valueAtRisk.var95) : 'null'}` +
    `,"var_99":${valueAtRisk ? estimateText(valueAtRisk.var99) : 'null'},"open_orders":${openOrders}`
  )
}

/** `risk:metrics:current` and `GET /risk/portfolio`. */
export function encodeTotals(
  total: TotalMetrics,
  at: { readonly timeUs: number; readonly executionsSeq: number; readonly returns: number },
): string {
  const accounts = total.listed().map((metrics) => `{"account":"${metrics.account}",${encodeFigures(metrics)}}`)
  return (
    `{"computed_at":"${rfc3339FromUs(at.timeUs)}","executions_seq":${at.executionsSeq},"returns":${at.returns}` +
    `,"total":{${encodeFigures(total)}},"accounts_count":${total.count},"accounts":[${accounts.join(',')}]}`
  )
}

/** `GET /risk/portfolio?account=`. */
export function encodePortfolio(account: AccountExposure, metrics: AccountMetrics, uses: readonly LimitUse[]): string {
  const positions: string[] = []
  for (const [symbol, exposure] of account.bySymbol) {
    const { positionLots, market } = exposure
    if (positionLots === 0) continue
    const { instrument, markTicks } = market
    const mark = markTicks === undefined ? 'null' : textFromUnits(markTicks, instrument.tick)
    positions.push(
      `{"symbol":"${symbol}","quantity":${textFromUnits(positionLots, instrument.lot)},"mark_price":${mark},"value":${moneyText(markedAtto(exposure))}}`,
    )
  }
  const limits = uses.map((use) => `{${encodeUse(use)}}`)
  return `{"account":"${account.name}",${encodeFigures(metrics)},"positions":[${positions.join(',')}],"limits":[${limits.join(',')}]}`
}

/** Fields of an object, without its braces. */
export function encodeUse({ limit, symbol, source, used, limitValue, share }: LimitUse): string {
  const percent = decimalTextOf(Math.round(share * 10_000), 2)
  return `"limit":"${limit}","symbol":${symbol === undefined ? 'null' : `"${symbol}"`},"source":"${source}","used":${used},"limit_value":${limitValue},"used_percent":${percent}`
}

/** An amount that POSITIONS holds, in 10^-18. */
export function attoFrom(amount: number | string): bigint | undefined {
  const decimal = parseDecimal(String(amount))
  if (!decimal || decimal.scale > accountScale) return undefined
  return decimal.mantissa * (decimal.scale < 0 ? unit * pow10(-decimal.scale) : unit / pow10(decimal.scale))
}

import { parseDecimal, type Unit } from '../../src/base/decimal.ts'
import type { ExecutionMessage } from '../../src/schemas/execution.ts'
import type { Instrument } from '../../src/schemas/instrument.ts'
import type { LimitSet } from '../../src/schemas/limits.ts'
import type { NewRecord, ReplaceRecord, RuleCheck } from '../../src/schemas/risk.ts'

/** Terms that a replace asks for; what is absent stays. */
export interface NaiveReplace {
  readonly cmdSeq: number
  readonly clOrdId?: string | undefined
  readonly quantityLots?: number | undefined
  readonly priceTicks?: number | undefined
  readonly stopTicks?: number | undefined
  readonly expireUs?: number | undefined
}

export interface NaiveOrder {
  readonly orderNumber: number
  readonly record: NewRecord
  quantityLots: number
  cumLots: number
  /** The price it is held at. */
  ticks: number
  readonly collarBps: number
  expireUs: number | undefined
  expiring: boolean
  isOpen: boolean
  pending: NaiveReplace[]
}

/** Whole units in a decimal, by the schoolbook. */
function unitsIn(value: number | string, unit: Unit): number {
  const decimal = parseDecimal(String(value))
  if (!decimal) throw new Error(`no decimal: ${value}`)
  const scaled = decimal.mantissa * 10n ** BigInt(unit.scale + 20 - decimal.scale)
  return Number(scaled / (BigInt(unit.mantissa) * 10n ** 20n))
}

/** The collar about a price, to whole ticks inward, within 1 … 9e15. */
export function naiveProtection(buy: boolean, ticks: number, collarBps: number): number {
  const collared = BigInt(ticks) * BigInt(10_000 + (buy ? 1 : -1) * collarBps)
  const floor = collared / 10_000n
  const inward = Number(buy || floor * 10_000n === collared ? floor : floor + 1n)
  return Math.min(9e15, Math.max(1, inward))
}

/** The hold price that a replace asks for. */
function askedTicks({ record, collarBps, ticks }: NaiveOrder, { priceTicks, stopTicks }: NaiveReplace): number {
  if (record.ordType === 'STOP')
    return stopTicks === undefined ? ticks : naiveProtection(record.side === 'BUY', stopTicks, collarBps)
  return priceTicks ?? ticks
}

/** Every pair of quantity and price that the order may end up with, each pending replace being accepted or not. */
export function outcomesOf(order: NaiveOrder, pending = order.pending): { lots: number; ticks: number }[] {
  return pending.reduce(
    (outcomes, replace) => [
      ...outcomes,
      ...outcomes.map(({ lots, ticks }) => ({
        lots: replace.quantityLots ?? lots,
        ticks: askedTicks({ ...order, ticks }, replace),
      })),
    ],
    [{ lots: order.quantityLots, ticks: order.ticks }],
  )
}

export interface NaiveHold {
  lots: bigint
  value: bigint
}

/** The most that may still fill, over all outcomes. */
export function naiveHoldOf(order: NaiveOrder, pending = order.pending): NaiveHold {
  let lots = 0n
  let value = 0n
  for (const outcome of outcomesOf(order, pending)) {
    const leaves = BigInt(Math.max(0, outcome.lots - order.cumLots))
    if (leaves > lots) lots = leaves
    if (leaves * BigInt(outcome.ticks) > value) value = leaves * BigInt(outcome.ticks)
  }
  return { lots, value }
}

export interface NaiveExposure {
  position: bigint
  buy: NaiveHold
  sell: NaiveHold
  open: number
}

const abs = (value: bigint) => (value < 0n ? -value : value)
const max = (a: bigint, b: bigint) => (a > b ? a : b)

export function naiveWorstPosition({ position, buy, sell }: NaiveExposure): bigint {
  return max(abs(position + buy.lots), abs(position - sell.lots))
}

/** What somebody knows who keeps every order and sums up anew each time. */
export class NaiveView {
  readonly orders = new Map<number, NaiveOrder>()
  readonly positions = new Map<string, bigint>()
  readonly marks = new Map<string, number>()
  readonly #instruments: ReadonlyMap<string, Instrument>

  constructor(instruments: ReadonlyMap<string, Instrument>) {
    this.#instruments = instruments
  }

  accept(record: NewRecord): void {
    this.orders.set(record.srcSeq, {
      orderNumber: record.srcSeq,
      record,
      quantityLots: record.quantityLots,
      cumLots: 0,
      ticks: record.priceTicks ?? record.protectionTicks ?? 0,
      collarBps: this.#instruments.get(record.symbol)?.collarBps ?? 0,
      expireUs: record.expireUs,
      expiring: false,
      isOpen: true,
      pending: [],
    })
  }

  replace(record: ReplaceRecord): void {
    this.order(record.target).pending.push(record)
  }

  order(orderNumber: number): NaiveOrder {
    const order = this.orders.get(orderNumber)
    if (!order) throw new Error(`the venue knows no order ${orderNumber}`)
    return order
  }

  open(): NaiveOrder[] {
    return [...this.orders.values()].filter(({ isOpen }) => isOpen)
  }

  apply({ cmdSeq, part, reports }: ExecutionMessage): void {
    for (const report of reports) {
      const order = this.orders.get(Number(report.orderId.slice(2)))
      if (!order) continue
      const { record } = order
      if (report.execType === 'Rejected' && record.cmdSeq === cmdSeq) order.isOpen = false
      if (report.execType === 'Canceled' || report.execType === 'Expired') order.isOpen = false
      const replace = order.pending.find((pending) => pending.cmdSeq === cmdSeq)
      if (report.execType === 'Replaced' && replace) {
        order.quantityLots = replace.quantityLots ?? order.quantityLots
        order.ticks = askedTicks(order, replace)
        order.expireUs = replace.expireUs ?? order.expireUs
        order.pending = order.pending.filter((pending) => pending !== replace)
      }
      if (record.ordType === 'TRAILING_STOP' && report.stopPrice !== undefined) {
        const { tick } = this.#instruments.get(record.symbol) ?? {}
        if (tick) order.ticks = naiveProtection(record.side === 'BUY', unitsIn(report.stopPrice, tick), order.collarBps)
      }
      if (report.execType === 'Trade') {
        const instrument = this.#instruments.get(record.symbol)
        if (!instrument) throw new Error(record.symbol)
        const lots = unitsIn(report.lastQty ?? '', instrument.lot)
        const key = `${record.account} ${record.symbol}`
        order.cumLots += lots
        const signed = BigInt(record.side === 'BUY' ? lots : -lots)
        this.positions.set(key, (this.positions.get(key) ?? 0n) + signed)
        this.marks.set(record.symbol, unitsIn(report.lastPx ?? '', instrument.tick))
        if (order.cumLots === order.quantityLots) order.isOpen = false
      }
    }
    if (part !== undefined && part.split('/')[0] !== part.split('/')[1]) return
    for (const order of this.orders.values())
      order.pending = order.pending.filter((pending) => pending.cmdSeq !== cmdSeq)
  }

  /** @param without an order to leave out */
  exposure(account: string, symbol: string, without?: NaiveOrder): NaiveExposure {
    const exposure: NaiveExposure = {
      position: this.positions.get(`${account} ${symbol}`) ?? 0n,
      buy: { lots: 0n, value: 0n },
      sell: { lots: 0n, value: 0n },
      open: 0,
    }
    for (const order of this.open()) {
      if (order.record.account !== account || order.record.symbol !== symbol) continue
      exposure.open += 1
      if (order === without) continue
      const hold = naiveHoldOf(order)
      const side = order.record.side === 'BUY' ? exposure.buy : exposure.sell
      side.lots += hold.lots
      side.value += hold.value
    }
    return exposure
  }

  /** max(|P·m + B|, |P·m − S|) in 10^-18. */
  gross(symbol: string, { position, buy, sell }: NaiveExposure): bigint {
    const instrument = this.#instruments.get(symbol)
    if (!instrument) throw new Error(symbol)
    const marked = position * BigInt(this.marks.get(symbol) ?? instrument.referenceTicks ?? 0)
    return max(abs(marked + buy.value), abs(marked - sell.value)) * attoIn(instrument.value)
  }
}

function attoIn(unit: Unit): bigint {
  return BigInt(unit.mantissa) * 10n ** BigInt(18 - unit.scale)
}

export interface NaiveDemand {
  readonly account: string
  readonly symbol: string
  readonly buy: boolean
  readonly lots: number
  /** In tick × lot. */
  readonly value: bigint
  readonly hold: NaiveHold
  /** The order whose place it takes. */
  readonly instead?: NaiveOrder
}

interface NaiveCheck {
  readonly rule: string
  /** 10^-18. */
  readonly limit: bigint
  readonly actual: bigint
  /** What the limit lets pass, in whole units. */
  readonly room: bigint
}

/** 10^-18 in a decimal. */
export function attoOf(value: number | string): bigint {
  const decimal = parseDecimal(String(value))
  if (!decimal) throw new Error(`no decimal: ${value}`)
  return decimal.mantissa * 10n ** BigInt(18 - decimal.scale)
}

/**
 * The rules as the contract says them: every check that applies, in their order.
 * @param halted what is halted: `all`, `account a` or `symbol S`
 * @returns `halted`, `blocked`, or the checks; the first with actual > limit is the one that breaks
 */
export function naiveChecks(
  view: NaiveView,
  instruments: ReadonlyMap<string, Instrument>,
  limits: ReadonlyMap<string, LimitSet>,
  halted: ReadonlySet<string>,
  demand: NaiveDemand,
): 'halted' | 'blocked' | NaiveCheck[] {
  const { account, symbol, buy, hold } = demand
  const instrument = instruments.get(symbol)
  if (!instrument) throw new Error(symbol)
  const sets: LimitSet[] = [
    { ...limits.get('default'), ...limits.get(`account.${account}`) },
    limits.get(`symbol.${symbol}`) ?? {},
  ]
  const exposure = view.exposure(account, symbol, demand.instead)
  const side = buy ? exposure.buy : exposure.sell
  side.lots += hold.lots
  side.value += hold.value
  const { position } = exposure
  const reduces = buy ? position < 0n && side.lots <= -position : position > 0n && side.lots <= position
  if (!reduces && ['all', `account ${account}`, `symbol ${symbol}`].some((one) => halted.has(one))) return 'halted'
  if (!reduces && sets.some(({ blocked }) => blocked)) return 'blocked'
  const symbols = [...instruments.keys()]
  const open = symbols.reduce((total, other) => total + view.exposure(account, other).open, 0)
  const gross = symbols.reduce(
    (total, other) => total + view.gross(other, other === symbol ? exposure : view.exposure(account, other)),
    0n,
  )
  const atto = 10n ** 18n
  const checks: NaiveCheck[] = []
  const check = (rule: string, name: Exclude<keyof LimitSet, 'blocked'>, unit: bigint, actuals: [bigint, bigint]) => {
    sets.forEach((set, index) => {
      const limit = set[name]
      if (limit === undefined) return
      const room = attoOf(limit) - (attoOf(limit) % unit)
      checks.push({ rule, limit: attoOf(limit), actual: actuals[index] ?? 0n, room })
    })
  }
  const both = (actual: bigint): [bigint, bigint] => [actual, actual]
  const lot = attoIn(instrument.lot)
  const value = attoIn(instrument.value)
  check('RISK_MAX_QUANTITY', 'maxQuantity', lot, both(BigInt(demand.lots) * lot))
  check('RISK_MAX_ORDER_VALUE', 'maxOrderValue', value, both(demand.value * value))
  if (!reduces) check('RISK_MAX_POSITION', 'maxPosition', lot, both(naiveWorstPosition(exposure) * lot))
  const opened = (count: number) => BigInt(count + (demand.instead ? 0 : 1)) * atto
  check('RISK_MAX_OPEN_ORDERS', 'maxOpenOrders', atto, [opened(open), opened(exposure.open)])
  if (!reduces) check('RISK_GROSS_EXPOSURE', 'maxGrossExposure', 1n, [gross, view.gross(symbol, exposure)])
  return checks
}

/** Whether a record's check is one of the model's, and none is used more. */
export function isTightest(check: RuleCheck, checks: readonly NaiveCheck[]): boolean {
  const use = ({ actual, room }: NaiveCheck) => Number(actual) / Number(room)
  const named = checks.find(
    ({ rule, limit, actual }) =>
      rule === check.rule && limit === attoOf(check.limit) && actual === attoOf(check.actual),
  )
  return named !== undefined && checks.every((other) => use(other) <= use(named) * (1 + 1e-9))
}

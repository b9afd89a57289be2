import type { InstrumentDefinition } from '../../src/schemas/instrument.ts'
import type { ExecType, Liquidity, OrdStatus } from '../../src/schemas/enums.ts'
import type { OrderTerms, ReportValue } from '../../src/schemas/execution.ts'
import type { RejectReason } from '../../src/schemas/reject-reasons.ts'
import type { MassCancelRecord, NewRecord, RejectRecord, ReplaceRecord, RiskRecord } from '../../src/schemas/risk.ts'

type Order = { -readonly [K in keyof OrderTerms]: OrderTerms[K] } & {
  /** Worst price at which it may trade: its limit, or the protection of a market order. */
  limitTicks: number
  postOnly: boolean
  leavesLots: number
  cumLots: number
  cumCost: bigint
  /** Time priority: running number of entries into the book. */
  entry: number
}

/** Numerator and denominator of plain decimal text. */
function rationalOf(text: string): [bigint, bigint] {
  const [whole = '', fraction = ''] = text.split('.')
  return [BigInt(whole + fraction), 10n ** BigInt(fraction.length)]
}

/**
 * The matching rules of the contract (3, 3a) for LIMIT and MARKET orders, written to be obviously right: one array of
 * open orders, filtered and sorted anew whenever it matters. The oracle that the matcher is compared with.
 */
export class NaiveBook {
  readonly #definitions = new Map<string, InstrumentDefinition>()
  /** How orders ended, by orderId. */
  readonly #ended = new Map<string, OrdStatus>()
  readonly #lastTradeTicks = new Map<string, number>()
  #open: Order[] = []
  #entries = 0

  define(definition: InstrumentDefinition): void {
    this.#definitions.set(definition.symbol, definition)
  }

  /** Price of the symbol's last trade. */
  lastTradeTicks(symbol: string): number | undefined {
    return this.#lastTradeTicks.get(symbol)
  }

  get openOrders(): number {
    return this.#open.length
  }

  /** Price in ticks and lots of the best levels of each side, best first. */
  depth(symbol: string, levels: number): { bids: [number, bigint][]; asks: [number, bigint][] } {
    const side = (name: 'BUY' | 'SELL'): [number, bigint][] => {
      const lots = new Map<number, bigint>()
      for (const order of this.#open)
        if (order.symbol === symbol && order.side === name)
          lots.set(order.limitTicks, (lots.get(order.limitTicks) ?? 0n) + BigInt(order.leavesLots))
      return [...lots].sort(([a], [b]) => (name === 'BUY' ? b - a : a - b)).slice(0, levels)
    }
    return { bids: side('BUY'), asks: side('SELL') }
  }

  apply(record: RiskRecord): ReportValue[] {
    switch (record.type) {
      case 'new':
        return this.#new(record)
      case 'replace':
        return this.#replace(record)
      case 'cancel': {
        const order = this.#find(record.target)
        if (!order) return [this.#closed('CancelRejected', record.target, record)]
        return [this.#end(order, 'Canceled', commandFields(order, record))]
      }
      case 'massCancel':
        return this.#massCancel(record)
      case 'expire': {
        const order = this.#find(record.target)
        return order ? [this.#end(order, 'Expired')] : []
      }
      case 'reject':
        return [this.#reject(record)]
      case 'limits':
      case 'halt':
        return []
    }
  }

  #new(record: NewRecord): ReportValue[] {
    const limitTicks = record.ordType === 'MARKET' ? record.protectionTicks : record.priceTicks
    if (limitTicks === undefined) throw new Error('the record has no price')
    const order: Order = {
      orderNumber: record.srcSeq,
      account: record.account,
      symbol: record.symbol,
      side: record.side,
      ordType: record.ordType,
      timeInForce: record.timeInForce,
      clOrdId: record.clOrdId,
      quantityLots: record.quantityLots,
      priceTicks: record.priceTicks,
      stopTicks: record.stopTicks,
      traceparent: record.traceparent,
      limitTicks,
      postOnly: record.postOnly === true,
      leavesLots: record.quantityLots,
      cumLots: 0,
      cumCost: 0n,
      entry: 0,
    }
    const counter = this.#counterOrders(order, limitTicks)
    if (order.postOnly && counter.length > 0)
      return [this.#end(order, 'Rejected', { reason: 'ORDER_WOULD_TAKE', text: 'would take' })]
    const reports = [reportOf(order, 'New')]
    const available = counter.reduce((sum, maker) => sum + BigInt(maker.leavesLots), 0n)
    if (record.timeInForce === 'FOK' && available < BigInt(order.leavesLots))
      return [...reports, this.#end(order, 'Expired')]
    reports.push(...this.#enter(order, record))
    const mayRest = record.ordType === 'LIMIT' && record.timeInForce !== 'IOC'
    if (order.leavesLots > 0 && !mayRest) reports.push(this.#end(order, 'Expired'))
    return reports
  }

  #replace(record: ReplaceRecord): ReportValue[] {
    const order = this.#find(record.target)
    if (!order) return [this.#closed('ReplaceRejected', record.target, record)]
    const quantityLots = record.quantityLots ?? order.quantityLots
    const priceTicks = record.priceTicks ?? order.limitTicks
    const fields = commandFields(order, record)
    const refuse = (reason: RejectReason) => [
      reportOf(order, 'ReplaceRejected', { ...fields, reason, text: 'refused' }),
    ]
    if (quantityLots <= order.cumLots) return refuse('ORDER_QUANTITY_BELOW_FILLED')
    if (order.postOnly && this.#counterOrders(order, priceTicks).length > 0) return refuse('ORDER_WOULD_TAKE')

    const keepsPriority = quantityLots < order.quantityLots && priceTicks === order.limitTicks
    order.clOrdId = record.clOrdId ?? order.clOrdId
    order.quantityLots = quantityLots
    order.leavesLots = quantityLots - order.cumLots
    order.priceTicks = priceTicks
    order.limitTicks = priceTicks
    const replaced = reportOf(order, 'Replaced', fields)
    if (keepsPriority) return [replaced]
    this.#open = this.#open.filter((other) => other !== order)
    return [replaced, ...this.#enter(order, record)]
  }

  #massCancel(record: MassCancelRecord): ReportValue[] {
    return this.#open
      .filter(({ account }) => record.account === undefined || account === record.account)
      .filter(({ symbol }) => record.symbol === undefined || symbol === record.symbol)
      .filter(({ side }) => record.side === undefined || side === record.side)
      .sort((a, b) => a.orderNumber - b.orderNumber)
      .map((order) => this.#end(order, 'Canceled', commandFields(order, record)))
  }

  #reject(record: RejectRecord): ReportValue {
    const { clOrdId, traceparent, reason, text, echo } = record
    const fields = { clOrdId, traceparent, reason, text, echo, origClOrdId: echo.origClOrdId }
    if (record.kind === 'new') return { ...withoutOrder('Rejected', 'Rejected'), ...fields }
    const execType = record.kind === 'replace' ? 'ReplaceRejected' : 'CancelRejected'
    if (record.kind === 'mass_cancel') return { ...withoutOrder(execType, 'Rejected'), ...fields }
    const order = this.#open.find(({ orderNumber }) => `o-${orderNumber}` === echo.orderId)
    if (order && (echo.account === undefined || echo.account === order.account))
      return reportOf(order, execType, { ...commandFields(order, record), reason, text })
    const status = reason === 'ORDER_CLOSED' ? this.#ended.get(echo.orderId ?? '') : undefined
    return { ...withoutOrder(execType, status ?? 'Rejected'), ...fields }
  }

  /** A cancel or replace of an order that is not open. */
  #closed(
    execType: 'CancelRejected' | 'ReplaceRejected',
    target: number,
    record: { clOrdId?: string; origClOrdId?: string; traceparent?: string },
  ): ReportValue {
    return {
      ...withoutOrder(execType, this.#ended.get(`o-${target}`) ?? 'Rejected'),
      clOrdId: record.clOrdId,
      origClOrdId: record.origClOrdId,
      traceparent: record.traceparent,
      reason: 'ORDER_CLOSED',
      text: 'closed',
      echo: { orderId: `o-${target}` },
    }
  }

  #find(orderNumber: number): Order | undefined {
    return this.#open.find((order) => order.orderNumber === orderNumber)
  }

  /** The orders that `taker` would meet at `limitTicks`, in the order in which it meets them. */
  #counterOrders(taker: Order, limitTicks: number): Order[] {
    const sign = taker.side === 'BUY' ? 1 : -1
    return this.#open
      .filter(({ symbol, side }) => symbol === taker.symbol && side !== taker.side)
      .filter((maker) => sign * maker.limitTicks <= sign * limitTicks)
      .sort((a, b) => sign * (a.limitTicks - b.limitTicks) || a.entry - b.entry)
  }

  /** Trades as far as the limit allows; what is left goes to the end of its price. */
  #enter(taker: Order, { traceparent }: RiskRecord): ReportValue[] {
    const reports: ReportValue[] = []
    for (const maker of this.#counterOrders(taker, taker.limitTicks)) {
      if (taker.leavesLots === 0) break
      const lots = Math.min(taker.leavesLots, maker.leavesLots)
      reports.push({ ...this.#fill(taker, lots, maker.limitTicks, 'TAKER'), traceparent })
      reports.push(this.#fill(maker, lots, maker.limitTicks, 'MAKER'))
    }
    if (taker.leavesLots > 0) {
      taker.entry = this.#entries += 1
      this.#open.push(taker)
    }
    return reports
  }

  #fill(order: Order, lots: number, ticks: number, liquidity: Liquidity): ReportValue {
    order.leavesLots -= lots
    order.cumLots += lots
    order.cumCost += BigInt(lots) * BigInt(ticks)
    this.#lastTradeTicks.set(order.symbol, ticks)
    const fee = this.#fee(order.symbol, lots, ticks, liquidity)
    const fields = { lastLots: lots, lastTicks: ticks, liquidity, fee }
    if (order.leavesLots > 0) return reportOf(order, 'Trade', fields)
    return { ...this.#end(order, 'Filled', fields), execType: 'Trade' }
  }

  /** lots × lot × ticks × tick × rate, half to even at the quote scale, as a count of 10^-quoteScale. */
  #fee(symbol: string, lots: number, ticks: number, liquidity: Liquidity): bigint {
    const definition = this.#definitions.get(symbol)
    if (!definition) throw new Error(`${symbol} is not defined`)
    const rate = liquidity === 'MAKER' ? definition.makerFeeRate : definition.takerFeeRate
    let numerator = BigInt(lots) * BigInt(ticks) * 10n ** BigInt(definition.quoteScale)
    let denominator = 1n
    for (const factor of [definition.tick, definition.lot, rate]) {
      const [n, d] = rationalOf(factor)
      numerator *= n
      denominator *= d
    }
    const below = numerator / denominator
    const twiceRest = 2n * (numerator % denominator)
    if (twiceRest < denominator) return below
    if (twiceRest > denominator) return below + 1n
    return below % 2n === 0n ? below : below + 1n
  }

  #end(
    order: Order,
    status: 'Filled' | 'Canceled' | 'Expired' | 'Rejected',
    fields: Partial<ReportValue> = {},
  ): ReportValue {
    order.leavesLots = 0
    this.#open = this.#open.filter((other) => other !== order)
    this.#ended.set(`o-${order.orderNumber}`, status)
    return reportOf(order, status, { ...fields, ordStatus: status })
  }
}

/** What a report about `order` takes from the cancel, replace or mass cancel that caused it. */
function commandFields(order: Order, record: { clOrdId?: string; traceparent?: string }): Partial<ReportValue> {
  return {
    clOrdId: record.clOrdId ?? order.clOrdId,
    origClOrdId: record.clOrdId === undefined ? undefined : order.clOrdId,
    traceparent: record.traceparent,
  }
}

function reportOf(order: Order, execType: ExecType, fields: Partial<ReportValue> = {}): ReportValue {
  const { leavesLots, cumLots, cumCost } = order
  const status = cumLots > 0 ? 'PartiallyFilled' : 'New'
  return { ...withoutOrder(execType, status), order: { ...order }, leavesLots, cumLots, cumCost, ...fields }
}

function withoutOrder(execType: ExecType, ordStatus: OrdStatus): ReportValue {
  return {
    execType,
    ordStatus,
    order: undefined,
    clOrdId: undefined,
    origClOrdId: undefined,
    lastLots: 0,
    lastTicks: 0,
    leavesLots: 0,
    cumLots: 0,
    cumCost: 0n,
    liquidity: undefined,
    fee: 0n,
    reason: undefined,
    text: undefined,
    echo: undefined,
    traceparent: undefined,
  }
}

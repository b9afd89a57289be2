import type { InstrumentDefinition } from '../../src/schemas/instrument.ts'
import type { ExecType, Liquidity, OrdStatus, StpMode } from '../../src/schemas/enums.ts'
import type { OrderTerms, ReportValue } from '../../src/schemas/execution.ts'
import type { RejectReason } from '../../src/schemas/reject-reasons.ts'
import type { MassCancelRecord, NewRecord, RejectRecord, ReplaceRecord, RiskRecord } from '../../src/schemas/risk.ts'

type Order = { -readonly [K in keyof OrderTerms]: OrderTerms[K] } & {
  /** Worst price at which it may trade: its limit, or the protection of a market order. */
  limitTicks: number
  postOnly: boolean
  reduceOnly: boolean
  stpMode: StpMode
  /** Largest quantity shown at a time; Infinity unless it is an iceberg. */
  peakLots: number
  trailingTicks: number | undefined
  /** A stop before its trigger: open, not in the book. */
  waiting: boolean
  /** What the book shows of `leavesLots`. */
  shownLots: number
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
 * The matching rules of the contract (3, 3a), written to be obviously right: one array of open orders, searched anew
 * for every fill; a FOK is tried on a copy. The oracle that the matcher is compared with.
 */
export class NaiveBook {
  /** How often what has come about, so that a test can tell what it has shown. */
  readonly seen = new Map<string, number>()
  readonly #definitions = new Map<string, InstrumentDefinition>()
  /** How orders ended, by orderId. */
  readonly #ended = new Map<string, OrdStatus>()
  readonly #lastTradeTicks = new Map<string, number>()
  /** Signed lots by account and symbol. */
  readonly #positions = new Map<string, bigint>()
  #open: Order[] = []
  /** Stops that a trade of this record has triggered, not yet activated. */
  #triggered: Order[] = []
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
        if (order.symbol === symbol && order.side === name && !order.waiting)
          lots.set(order.limitTicks, (lots.get(order.limitTicks) ?? 0n) + BigInt(order.shownLots))
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
      limitTicks: record.priceTicks ?? record.protectionTicks ?? NaN,
      postOnly: record.postOnly === true,
      reduceOnly: record.reduceOnly === true,
      stpMode: record.stpMode ?? 'NONE',
      peakLots:
        record.displayLots === undefined || record.displayLots >= record.quantityLots ? Infinity : record.displayLots,
      trailingTicks: record.trailingTicks,
      waiting: false,
      shownLots: 0,
      leavesLots: record.quantityLots,
      cumLots: 0,
      cumCost: 0n,
      entry: 0,
    }
    if (order.reduceOnly && this.#reducible(order) === 0n)
      return [this.#end(order, 'Rejected', { reason: 'ORDER_NOT_REDUCING', text: 'does not reduce' })]
    if (order.quantityLots > 10_000 * order.peakLots)
      return [this.#end(order, 'Rejected', { reason: 'INVALID_FIELD', text: 'too many peaks' })]
    if (order.postOnly && this.#bestCounterOrder(order))
      return [this.#end(order, 'Rejected', { reason: 'ORDER_WOULD_TAKE', text: 'would take' })]
    const lastTicks = this.#lastTradeTicks.get(order.symbol)
    if (order.trailingTicks !== undefined && lastTicks !== undefined)
      order.stopTicks = Math.max(1, Math.min(9e15, trailedFrom(order, lastTicks)))
    const reports = [reportOf(order, 'New')]
    if (order.stopTicks === undefined) reports.push(...this.#enter(order, record))
    else reports.push(...this.#waitForTrigger(order, record))
    return [...reports, ...this.#activateTriggered()]
  }

  #replace(record: ReplaceRecord): ReportValue[] {
    const order = this.#find(record.target)
    if (!order) return [this.#closed('ReplaceRejected', record.target, record)]
    const quantityLots = record.quantityLots ?? order.quantityLots
    const limitTicks = record.priceTicks ?? order.limitTicks
    const fields = commandFields(order, record)
    const refuse = (reason: RejectReason) => [
      reportOf(order, 'ReplaceRejected', { ...fields, reason, text: 'refused' }),
    ]
    if (quantityLots <= order.cumLots) return refuse('ORDER_QUANTITY_BELOW_FILLED')
    if (record.stopTicks !== undefined && !order.waiting) return refuse('INVALID_FIELD')
    if (quantityLots > 10_000 * order.peakLots) return refuse('INVALID_FIELD')
    if (order.postOnly && this.#bestCounterOrder({ ...order, limitTicks })) return refuse('ORDER_WOULD_TAKE')

    const keepsPriority = quantityLots < order.quantityLots && limitTicks === order.limitTicks
    order.clOrdId = record.clOrdId ?? order.clOrdId
    order.quantityLots = quantityLots
    order.leavesLots = quantityLots - order.cumLots
    order.limitTicks = limitTicks
    if (order.priceTicks !== undefined) order.priceTicks = limitTicks
    order.stopTicks = record.stopTicks ?? order.stopTicks
    const reports = [reportOf(order, 'Replaced', fields)]
    if (order.waiting) {
      if (record.stopTicks !== undefined) this.#saw('a waiting stop gets another stop price')
      this.#open = this.#open.filter((other) => other !== order)
      reports.push(...this.#waitForTrigger(order, record))
    } else if (keepsPriority) {
      order.shownLots = Math.min(order.shownLots, order.leavesLots)
      if (order.shownLots < order.leavesLots) this.#saw('an iceberg made smaller')
    } else {
      this.#open = this.#open.filter((other) => other !== order)
      reports.push(...this.#enter(order, record))
    }
    return [...reports, ...this.#activateTriggered()]
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

  #saw(what: string): void {
    this.seen.set(what, (this.seen.get(what) ?? 0) + 1)
  }

  /** The order that `taker` meets first: best price, then earliest entry. */
  #bestCounterOrder(taker: Order): Order | undefined {
    const sign = taker.side === 'BUY' ? 1 : -1
    let best: Order | undefined
    for (const maker of this.#open) {
      if (maker.waiting || maker.symbol !== taker.symbol || maker.side === taker.side) continue
      if (sign * maker.limitTicks > sign * taker.limitTicks) continue
      const worse = best && (sign * (maker.limitTicks - best.limitTicks) || maker.entry - best.entry) > 0
      if (!worse) best = maker
    }
    return best
  }

  /** How many lots the order may trade before its account's position is flat. */
  #reducible(order: Order): bigint {
    const position = this.#positions.get(`${order.account} ${order.symbol}`) ?? 0n
    const against = order.side === 'BUY' ? -position : position
    return against > 0n ? against : 0n
  }

  /** A stop at entry or after a change. */
  #waitForTrigger(order: Order, record: RiskRecord): ReportValue[] {
    order.waiting = true
    if (!this.#isThrough(order)) {
      this.#open.push(order)
      return []
    }
    this.#saw(`${order.ordType} through at once`)
    return this.#activate(order, record)
  }

  #isThrough({ symbol, side, stopTicks }: Order): boolean {
    const ticks = this.#lastTradeTicks.get(symbol)
    if (ticks === undefined || stopTicks === undefined) return false
    return side === 'BUY' ? ticks >= stopTicks : ticks <= stopTicks
  }

  /** Rounds of the stops that trades have triggered, each round by order number. */
  #activateTriggered(): ReportValue[] {
    const reports: ReportValue[] = []
    for (let round = 1; this.#triggered.length > 0; round += 1) {
      const stops = this.#triggered.sort((a, b) => a.orderNumber - b.orderNumber)
      this.#triggered = []
      if (round > 1) this.#saw('stops triggered by stops')
      if (stops.length > 1) this.#saw('several stops in one round')
      for (const order of stops) {
        this.#saw(`${order.ordType} triggered by a trade`)
        reports.push(...this.#activate(order))
      }
    }
    return reports
  }

  #activate(order: Order, record?: RiskRecord): ReportValue[] {
    order.waiting = false
    if (order.ordType !== 'STOP_LIMIT') order.limitTicks = this.#protection(order)
    const triggered = { ...reportOf(order, 'Triggered'), traceparent: record?.traceparent }
    if (order.reduceOnly && this.#reducible(order) === 0n) {
      this.#saw('reduceOnly stop triggered when flat')
      return [triggered, { ...this.#end(order, 'Expired'), traceparent: record?.traceparent }]
    }
    return [triggered, ...this.#enter(order, record)]
  }

  /** stopPrice ± collar, rounded towards the stop price. */
  #protection({ symbol, side, stopTicks }: Order): number {
    const bps = BigInt(this.#definitions.get(symbol)?.collarBps ?? 0)
    const scaled = BigInt(stopTicks ?? 0) * (10_000n + (side === 'BUY' ? bps : -bps))
    const ticks = Number(side === 'BUY' || scaled % 10_000n === 0n ? scaled / 10_000n : scaled / 10_000n + 1n)
    return Math.min(9e15, Math.max(1, ticks))
  }

  /** Trades as far as its terms allow; what is left rests at the end of its price, or ends. */
  #enter(taker: Order, record?: RiskRecord): ReportValue[] {
    const traceparent = record?.traceparent
    const mayRest = taker.priceTicks !== undefined && taker.timeInForce !== 'IOC' && taker.timeInForce !== 'FOK'
    if (taker.timeInForce === 'FOK' && !this.#wouldFill(taker)) return [{ ...this.#end(taker, 'Expired'), traceparent }]
    const reports = this.#take(taker, traceparent)
    const ended = reports.some(({ execType, order }) => {
      return execType === 'Expired' && order?.orderNumber === taker.orderNumber
    })
    if (ended || taker.leavesLots === 0) return reports
    if (!mayRest) return [...reports, { ...this.#end(taker, 'Expired'), traceparent }]
    taker.shownLots = Math.min(taker.peakLots, taker.leavesLots)
    taker.entry = this.#entries += 1
    this.#open.push(taker)
    return reports
  }

  #wouldFill(taker: Order): boolean {
    if (taker.reduceOnly && this.#reducible(taker) < BigInt(taker.leavesLots)) {
      this.#saw('FOK failed: more than the position')
      return false
    }
    const copy = new NaiveBook()
    for (const [symbol, definition] of this.#definitions) copy.#definitions.set(symbol, definition)
    for (const [key, lots] of this.#positions) copy.#positions.set(key, lots)
    copy.#open = this.#open.filter(({ symbol, waiting }) => symbol === taker.symbol && !waiting).map((o) => ({ ...o }))
    copy.#entries = this.#entries
    const tried = { ...taker }
    copy.#take(tried, undefined)
    const fills = tried.leavesLots === 0 && tried.cumLots === tried.quantityLots
    for (const what of copy.seen.keys()) this.#saw(`FOK ${fills ? 'filled' : 'failed'}: ${what}`)
    return fills
  }

  #take(taker: Order, traceparent: string | undefined): ReportValue[] {
    const reports: ReportValue[] = []
    const endTaker = () => reports.push({ ...this.#end(taker, 'Expired'), traceparent })
    for (let maker = this.#bestCounterOrder(taker); maker; maker = this.#bestCounterOrder(taker)) {
      if (taker.leavesLots === 0) break
      if (taker.reduceOnly && this.#reducible(taker) === 0n) {
        this.#saw('reduceOnly taker meets an order when flat')
        endTaker()
        break
      }
      if (maker.reduceOnly && this.#reducible(maker) === 0n) {
        this.#saw('reduceOnly maker met when flat')
        reports.push(this.#end(maker, 'Expired'))
        continue
      }
      if (maker.account === taker.account) this.#saw(`self-trade ${taker.stpMode}`)
      if (maker.account === taker.account && taker.stpMode !== 'NONE') {
        if (taker.stpMode !== 'EXPIRE_TAKER') reports.push(this.#end(maker, 'Expired'))
        if (taker.stpMode === 'EXPIRE_MAKER') continue
        endTaker()
        break
      }
      let lots = Math.min(taker.leavesLots, maker.shownLots)
      for (const order of [taker, maker]) {
        if (!order.reduceOnly || this.#reducible(order) >= BigInt(lots)) continue
        this.#saw(`reduceOnly ${order === taker ? 'taker' : 'maker'} cut`)
        lots = Number(this.#reducible(order))
      }
      const [takerEnds, makerEnds] = [taker, maker].map((o) => o.reduceOnly && this.#reducible(o) === BigInt(lots))
      const ticks = maker.limitTicks
      maker.shownLots -= lots
      this.#position(taker, lots)
      this.#position(maker, lots)
      reports.push({ ...this.#fill(taker, lots, ticks, 'TAKER'), traceparent })
      reports.push(this.#fill(maker, lots, ticks, 'MAKER'))
      this.#tradeHappened(taker.symbol, ticks)
      if (maker.leavesLots > 0 && makerEnds) reports.push(this.#end(maker, 'Expired'))
      else if (maker.leavesLots > 0 && maker.shownLots === 0) {
        this.#saw('next peak')
        maker.shownLots = Math.min(maker.peakLots, maker.leavesLots)
        maker.entry = this.#entries += 1
      }
      if (taker.leavesLots > 0 && takerEnds) {
        endTaker()
        break
      }
    }
    return reports
  }

  #position({ account, symbol, side }: Order, lots: number): void {
    const key = `${account} ${symbol}`
    this.#positions.set(key, (this.#positions.get(key) ?? 0n) + BigInt(side === 'BUY' ? lots : -lots))
  }

  /** Moves the trailing stops, then marks the stops that this price triggers. */
  #tradeHappened(symbol: string, ticks: number): void {
    this.#lastTradeTicks.set(symbol, ticks)
    for (const order of this.#open) {
      if (!order.waiting || order.symbol !== symbol) continue
      if (order.trailingTicks !== undefined && order.stopTicks !== undefined) {
        const better = order.side === 'SELL' ? Math.max : Math.min
        const stopTicks = better(order.stopTicks, trailedFrom(order, ticks))
        if (stopTicks !== order.stopTicks) this.#saw('trailing stop moved')
        order.stopTicks = stopTicks
      }
      if (this.#isThrough(order)) this.#triggered.push(order)
    }
    this.#open = this.#open.filter((order) => !this.#triggered.includes(order))
  }

  #fill(order: Order, lots: number, ticks: number, liquidity: Liquidity): ReportValue {
    order.leavesLots -= lots
    order.cumLots += lots
    order.cumCost += BigInt(lots) * BigInt(ticks)
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

/** Where the stop of a trailing order would be if it started at `ticks`. */
function trailedFrom({ side, trailingTicks = 0 }: Order, ticks: number): number {
  return side === 'SELL' ? ticks - trailingTicks : ticks + trailingTicks
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

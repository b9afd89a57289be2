import { createHash } from 'node:crypto'
import { assert, unreachable } from '../base/assert.ts'
import { unitsFromOwn, type Exact } from '../base/decimal.ts'
import { PipelineError } from '../base/errors.ts'
import { orderNumberOf, type ExecutionMessage, type ExecutionReport } from '../schemas/execution.ts'
import { definitionOf, instrumentFrom, type Instrument, type InstrumentsConfig } from '../schemas/instrument.ts'
import type { RejectReason } from '../schemas/reject-reasons.ts'
import type { NewRecord, RejectRecord, ReplaceRecord, RiskMessage, RiskRecord } from '../schemas/risk.ts'
import { ClOrdIds } from './cl-ord-ids.ts'
import { add, subtract } from './money.ts'
import { Expiries } from './expiries.ts'
import { AccountExposure, Exposure, Market } from './exposure.ts'
import { dueUsOf, holdOf, withReplace, type HeldOrder, type Terms } from './held-order.ts'
import { OrderOwners } from './order-owners.ts'
import { RiskRules } from './risk-rules.ts'

export interface GateOptions {
  readonly instruments: InstrumentsConfig
  /** Names remembered per account and for the venue. */
  readonly clOrdIdMemory?: number
  readonly clOrdIdMemoryVenue?: number
}

/** The commands behind these never named an order, or may try again under the same name. */
const namelessReasons: ReadonlySet<RejectReason> = new Set<RejectReason>([
  'INVALID_MESSAGE',
  'INVALID_FIELD',
  'ACCOUNT_MISMATCH',
  'DUPLICATE_CL_ORD_ID',
  'SYSTEM_STORAGE',
  'SYSTEM_COMMAND_FAULT',
])
const unreadReasons: ReadonlySet<RejectReason> = new Set<RejectReason>([
  'INVALID_MESSAGE',
  'INVALID_FIELD',
  'ACCOUNT_MISMATCH',
])

/**
 * All that the gate knows: a fold over its own records in RISK and, interleaved as each message of RISK says, over
 * EXECUTIONS. Decisions are made from it elsewhere; here they are applied, live and in recovery alike.
 */
export class GateState {
  cmdSeq = 0
  timeUs = 0
  executionsSeq = 0
  limitsRevision = 0
  readonly rules = new RiskRules()
  readonly markets = new Map<string, Market>()
  readonly orders = new Map<number, HeldOrder>()
  readonly clOrdIds: ClOrdIds
  readonly owners = new OrderOwners()
  readonly expiries = new Expiries((orderNumber) => {
    const order = this.orders.get(orderNumber)
    return order && dueUsOf(order)
  })
  readonly #instruments: InstrumentsConfig
  readonly #accounts = new Map<string, AccountExposure>()
  /** Orders with pending replaces by the replace's cmdSeq. */
  readonly #replaces = new Map<number, HeldOrder>()

  constructor({ instruments, clOrdIdMemory = 100_000, clOrdIdMemoryVenue = 2_000_000 }: GateOptions) {
    this.#instruments = instruments
    this.clOrdIds = new ClOrdIds({
      perAccountMax: clOrdIdMemory,
      venueMax: clOrdIdMemoryVenue,
      isOpen: (orderNumber) => this.orders.has(orderNumber),
    })
  }

  findExposure(account: string, symbol: string): Exposure | undefined {
    return this.#accounts.get(account)?.bySymbol.get(symbol)
  }

  /** The exposure of an account in a market; one that is not kept when there is none yet. */
  exposureIn(market: Market, account: string): Exposure {
    return (
      this.findExposure(account, market.instrument.symbol) ??
      new Exposure(this.#accounts.get(account) ?? new AccountExposure(account), market)
    )
  }

  /** The account of an order that is open or among the last orders. */
  ownerOf(orderNumber: number): string | undefined {
    return this.orders.get(orderNumber)?.exposure.account.name ?? this.owners.find(orderNumber)
  }

  /** Makes a definition the one in force. */
  define(instrument: Instrument): Market {
    let market = this.markets.get(instrument.symbol)
    if (market) market.instrument = instrument
    else this.markets.set(instrument.symbol, (market = new Market(instrument)))
    return market
  }

  /**
   * Applies one stored message of RISK.
   * @throws PipelineError CONFIG_INSTRUMENT_CHANGED when the configuration counts a symbol in other units
   */
  replay(message: RiskMessage): void {
    for (const definition of message.instruments ?? []) {
      const instrument = instrumentFrom(definition)
      this.#assertSameUnits(instrument)
      this.define(instrument).current = false
    }
    assert(
      message.records.length === 0 || message.executionsSeq === this.executionsSeq,
      `decided at EXECUTIONS ${message.executionsSeq}, replayed at ${this.executionsSeq}`,
    )
    for (const record of message.records) {
      this.#yieldName(record)
      this.apply(record)
    }
  }

  /** A name that the configured memory still knows may have been forgotten, and given again, under a smaller one. */
  #yieldName(record: RiskRecord): void {
    if ((record.type !== 'new' && record.type !== 'replace') || record.clOrdId === undefined) return
    const account = record.type === 'new' ? record.account : this.#order(record.target).exposure.account.name
    this.clOrdIds.yield(account, record.clOrdId)
  }

  #assertSameUnits(instrument: Instrument): void {
    const configured = definitionOf(this.#instruments, instrument.symbol)
    if (!configured) return
    const { tick, lot, quoteScale } = instrumentFrom(configured)
    const units = (of: Pick<Instrument, 'tick' | 'lot' | 'quoteScale'>) =>
      JSON.stringify([of.tick.mantissa, of.tick.scale, of.lot.mantissa, of.lot.scale, of.quoteScale])
    if (units({ tick, lot, quoteScale }) !== units(instrument))
      throw new PipelineError(
        'CONFIG_INSTRUMENT_CHANGED',
        `${instrument.symbol}: tick, lot and quoteScale are fixed once used; restore tick ${instrument.definition.tick}, lot ${instrument.definition.lot}, quoteScale ${instrument.quoteScale}`,
      )
  }

  /** Applies one record of our own. */
  apply(record: RiskRecord): void {
    assert(record.cmdSeq === this.cmdSeq + 1, `record ${record.cmdSeq} after ${this.cmdSeq}`)
    assert(record.timeUs >= this.timeUs, `record ${record.cmdSeq} goes back in time`)
    this.cmdSeq = record.cmdSeq
    this.timeUs = record.timeUs
    switch (record.type) {
      case 'new':
        this.#applyNew(record)
        return
      case 'replace':
        this.#applyReplace(record)
        return
      case 'reject':
        this.#applyReject(record)
        return
      case 'expire':
        this.#order(record.target).expiring = true
        return
      case 'limits':
        this.limitsRevision = Math.max(this.limitsRevision, record.revision)
        this.rules.change(record.key, record.limits)
        return
      case 'cancel':
      case 'massCancel':
        return
      default:
        unreachable(record)
    }
  }

  #order(orderNumber: number): HeldOrder {
    const order = this.orders.get(orderNumber)
    assert(order, `order ${orderNumber} is not open`)
    return order
  }

  #applyNew(record: NewRecord): void {
    const { account: name, symbol, srcSeq: orderNumber } = record
    const market = this.markets.get(symbol)
    assert(market, `${symbol} has no definition`)
    let account = this.#accounts.get(name)
    if (!account) this.#accounts.set(name, (account = new AccountExposure(name)))
    let exposure = account.bySymbol.get(symbol)
    if (!exposure) account.bySymbol.set(symbol, (exposure = new Exposure(account, market)))
    const holdTicks = record.priceTicks ?? record.protectionTicks
    assert(holdTicks !== undefined, `order ${orderNumber} has no price to hold at`)
    const order: HeldOrder = {
      orderNumber,
      cmdSeq: record.cmdSeq,
      exposure,
      clOrdId: record.clOrdId,
      buy: record.side === 'BUY',
      ordType: record.ordType,
      timeInForce: record.timeInForce,
      quantityLots: record.quantityLots,
      cumLots: 0,
      holdTicks,
      expireUs: record.expireUs,
      expiring: false,
      pending: [],
      possible: [{ lots: record.quantityLots, ticks: holdTicks }],
      heldLots: 0,
      heldValue: 0,
    }
    this.orders.set(orderNumber, order)
    account.openOrders += 1
    exposure.openOrders += 1
    this.#setHold(order)
    this.owners.add(orderNumber, account.name)
    if (record.clOrdId !== undefined) this.clOrdIds.add(account.name, record.clOrdId, orderNumber)
    if (record.expireUs !== undefined) this.expiries.add(record.expireUs, orderNumber)
  }

  #applyReplace(record: ReplaceRecord): void {
    const order = this.#order(record.target)
    order.pending.push({
      cmdSeq: record.cmdSeq,
      clOrdId: record.clOrdId,
      quantityLots: record.quantityLots,
      priceTicks: record.priceTicks,
      expireUs: record.expireUs,
    })
    order.possible = withReplace(order.possible, record)
    this.#replaces.set(record.cmdSeq, order)
    this.#setHold(order)
    this.#setExpiry(order)
    if (record.clOrdId !== undefined) this.clOrdIds.add(order.exposure.account.name, record.clOrdId, order.orderNumber)
  }

  #applyReject({ srcSeq, kind, reason, clOrdId, echo }: RejectRecord): void {
    if (echo.account === undefined) return
    if (kind === 'new' && !unreadReasons.has(reason)) this.owners.add(srcSeq, echo.account)
    const names = (kind === 'new' || kind === 'replace') && !namelessReasons.has(reason)
    // Refused before its name was looked at, a command may name what is named already.
    if (!names || clOrdId === undefined || this.clOrdIds.find(echo.account, clOrdId) !== undefined) return
    const target = echo.orderId === undefined ? undefined : orderNumberOf(echo.orderId)
    // A name must never lead to an order of somebody else, or to one yet to come.
    const isOwn = target !== undefined && this.ownerOf(target) === echo.account
    this.clOrdIds.add(echo.account, clOrdId, isOwn ? target : srcSeq)
  }

  /** Folds one message of EXECUTIONS, in stream order. */
  feedback(sequence: number, message: ExecutionMessage): void {
    assert(sequence > this.executionsSeq, `EXECUTIONS ${sequence} after ${this.executionsSeq}`)
    this.executionsSeq = sequence
    if (message.epoch !== undefined) return
    for (const report of message.reports) this.#applyReport(message.cmdSeq, report)
    if (this.#replaces.size > 0 && isLastPart(message.part)) this.#settleReplace(message.cmdSeq, false)
  }

  #applyReport(cmdSeq: number, report: ExecutionReport): void {
    const { execType, ordStatus } = report
    if (execType === 'CancelRejected') return
    if (execType === 'ReplaceRejected') {
      if (report.ordRejReason === 'SYSTEM_COMMAND_FAULT') this.#freeReplaceName(cmdSeq)
      return
    }
    const order = this.orders.get(orderNumberOf(report.orderId) ?? 0)
    if (execType === 'Rejected') {
      // Also reports commands that never were an order here; only an order's own New record can end in it.
      if (order?.cmdSeq !== cmdSeq) return
      if (report.ordRejReason === 'SYSTEM_COMMAND_FAULT' && order.clOrdId !== undefined)
        this.clOrdIds.free(order.exposure.account.name, order.clOrdId)
      this.#end(order)
      return
    }
    assert(order, `${execType} for ${report.orderId}, which is not open`)
    if (execType === 'Replaced') this.#settleReplace(cmdSeq, true)
    if (report.lastQty !== undefined && report.lastPx !== undefined) {
      const { tick, lot } = order.exposure.market.instrument
      this.#fill(order, unitsFromOwn(report.lastQty, lot), unitsFromOwn(report.lastPx, tick))
    }
    if (ordStatus === 'Filled') {
      assert(order.cumLots === order.quantityLots, `order ${order.orderNumber} is Filled before its quantity is`)
      this.#end(order)
    } else if (ordStatus === 'Canceled' || ordStatus === 'Expired') this.#end(order)
  }

  #fill(order: HeldOrder, lots: number, ticks: number): void {
    order.cumLots += lots
    assert(order.cumLots <= order.quantityLots, `order ${order.orderNumber} is filled beyond its quantity`)
    order.exposure.fill(order.buy ? lots : -lots, ticks)
    this.#setHold(order)
  }

  #freeReplaceName(cmdSeq: number): void {
    const order = this.#replaces.get(cmdSeq)
    const clOrdId = order?.pending.find((replace) => replace.cmdSeq === cmdSeq)?.clOrdId
    if (order && clOrdId !== undefined) this.clOrdIds.free(order.exposure.account.name, clOrdId)
  }

  /** A pending replace has been answered; one of another kind of record, or answered before, is no news. */
  #settleReplace(cmdSeq: number, accepted: boolean): void {
    const order = this.#replaces.get(cmdSeq)
    if (!order) return
    this.#replaces.delete(cmdSeq)
    const replace = order.pending.find((pending) => pending.cmdSeq === cmdSeq)
    assert(replace, `replace ${cmdSeq} is not pending`)
    order.pending = order.pending.filter((pending) => pending !== replace)
    if (accepted) {
      order.quantityLots = replace.quantityLots ?? order.quantityLots
      order.holdTicks = replace.priceTicks ?? order.holdTicks
      order.expireUs = replace.expireUs ?? order.expireUs
      assert(order.quantityLots > order.cumLots, `order ${order.orderNumber} is replaced below what is filled`)
    }
    if (!this.orders.has(order.orderNumber)) return
    const terms: readonly Terms[] = [{ lots: order.quantityLots, ticks: order.holdTicks }]
    order.possible = order.pending.reduce(withReplace, terms)
    this.#setHold(order)
    if (replace.expireUs !== undefined) this.#setExpiry(order)
  }

  #setHold(order: HeldOrder): void {
    const { lots, value } = holdOf(order.possible, order.cumLots)
    order.exposure.hold(order.buy, lots - order.heldLots, subtract(value, order.heldValue))
    order.heldLots = lots
    order.heldValue = value
  }

  #setExpiry(order: HeldOrder): void {
    const dueUs = dueUsOf(order)
    if (dueUs !== undefined) this.expiries.add(dueUs, order.orderNumber)
  }

  #end(order: HeldOrder): void {
    const { exposure } = order
    exposure.hold(order.buy, -order.heldLots, -order.heldValue)
    order.heldLots = 0
    order.heldValue = 0
    exposure.openOrders -= 1
    exposure.account.openOrders -= 1
    this.orders.delete(order.orderNumber)
    this.clOrdIds.release(order.orderNumber)
  }

  /** SHA-256 of everything that later records may depend on. */
  hash(): string {
    const hash = createHash('sha256')
    const put = (...values: readonly unknown[]) =>
      hash.update(
        `${JSON.stringify(values, (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value))}\n`,
      )
    put(this.cmdSeq, this.timeUs, this.executionsSeq, this.limitsRevision, this.rules.entries())
    for (const { instrument, lastTicks } of this.markets.values()) put(instrument.definition, lastTicks)
    for (const { name, openOrders, bySymbol } of this.#accounts.values()) {
      put(name, openOrders)
      for (const [symbol, { positionLots, buyLots, buyValue, sellLots, sellValue, openOrders: open }] of bySymbol)
        put(symbol, positionLots, buyLots, buyValue, sellLots, sellValue, open)
    }
    for (const { exposure, ...order } of this.orders.values())
      put(exposure.account.name, exposure.market.instrument.symbol, order)
    put([...this.#replaces.keys()])
    for (const name of this.clOrdIds.entries()) hash.update(name)
    for (const owner of this.owners.entries()) hash.update(owner)
    return hash.digest('hex')
  }

  /** @throws BugError when sums do not agree with the orders they are sums of */
  checkInvariants(): void {
    const sums = new Map<
      Exposure,
      { buyLots: Exact; buyValue: Exact; sellLots: Exact; sellValue: Exact; open: number }
    >()
    for (const order of this.orders.values()) {
      const { lots, value } = holdOf(order.possible, order.cumLots)
      assert(order.heldLots === lots && order.heldValue === value, `order ${order.orderNumber}: hold`)
      assert(order.cumLots < order.quantityLots, `order ${order.orderNumber}: nothing left to fill`)
      const total = sums.get(order.exposure) ?? { buyLots: 0, buyValue: 0, sellLots: 0, sellValue: 0, open: 0 }
      if (order.buy) {
        total.buyLots = add(total.buyLots, lots)
        total.buyValue = add(total.buyValue, value)
      } else {
        total.sellLots = add(total.sellLots, lots)
        total.sellValue = add(total.sellValue, value)
      }
      total.open += 1
      sums.set(order.exposure, total)
    }
    for (const account of this.#accounts.values()) {
      let open = 0
      let grossAtto = 0n
      const accountGrossAtto = account.grossAtto()
      for (const [symbol, exposure] of account.bySymbol) {
        const expected = sums.get(exposure) ?? { buyLots: 0, buyValue: 0, sellLots: 0, sellValue: 0, open: 0 }
        assert(
          exposure.buyLots === expected.buyLots &&
            exposure.buyValue === expected.buyValue &&
            exposure.sellLots === expected.sellLots &&
            exposure.sellValue === expected.sellValue &&
            exposure.openOrders === expected.open,
          `${account.name} ${symbol}: holds`,
        )
        open += expected.open
        grossAtto += exposure.grossAttoWith(exposure.buyValue, exposure.sellValue)
      }
      assert(account.openOrders === open, `${account.name}: open orders`)
      assert(accountGrossAtto === grossAtto, `${account.name}: gross exposure`)
    }
    for (const order of this.#replaces.values())
      assert(order.pending.length > 0, `order ${order.orderNumber}: replaces`)
  }
}

function isLastPart(part: string | undefined): boolean {
  if (part === undefined) return true
  const [index, count] = part.split('/')
  return index === count
}

import { createHash } from 'node:crypto'
import { assert, unreachable } from '../base/assert.ts'
import { type Exact, unitsFromOwn } from '../base/decimal.ts'
import { PipelineError } from '../base/errors.ts'
import { orderNumberOf, type ExecutionMessage, type ExecutionReport } from '../schemas/execution.ts'
import {
  definitionOf,
  instrumentFrom,
  type Instrument,
  type InstrumentDefinition,
  type InstrumentsConfig,
} from '../schemas/instrument.ts'
import type { LimitSet } from '../schemas/limits.ts'
import type { RejectReason } from '../schemas/reject-reasons.ts'
import type { HaltTarget, NewRecord, RejectRecord, ReplaceRecord, RiskMessage, RiskRecord } from '../schemas/risk.ts'
import { ClOrdIds, type ClOrdIdsState } from './cl-ord-ids.ts'
import { AccountExposure, Exposure, Market } from './exposure.ts'
import type { HeldOrder } from './held-order.ts'
import { HeldOrders } from './held-orders.ts'
import type { HeldOrdersState } from './held-orders-state.ts'
import { OrderOwners, type OrderOwnersState } from './order-owners.ts'
import { RiskRules } from './risk-rules.ts'

export interface GateOptions {
  readonly instruments: InstrumentsConfig
  /** Names remembered per account and for the venue. */
  readonly clOrdIdMemory?: number
  readonly clOrdIdMemoryVenue?: number
}

/** All that later decisions depend on, as plain values: a snapshot of the gate. */
export interface GateSnapshot {
  readonly cmdSeq: number
  readonly timeUs: number
  readonly executionsSeq: number
  readonly limitsRevision: number
  readonly limits: readonly (readonly [key: string, limits: LimitSet])[]
  readonly halts: readonly HaltTarget[]
  readonly markets: readonly (readonly [definition: InstrumentDefinition, lastTicks: number | undefined])[]
  readonly accounts: readonly (readonly [name: string, positions: readonly (readonly [string, Exact])[]])[]
  readonly orders: HeldOrdersState
  readonly clOrdIds: ClOrdIdsState
  readonly owners: OrderOwnersState
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
  readonly orders = new HeldOrders()
  readonly clOrdIds: ClOrdIds
  readonly owners = new OrderOwners()
  readonly #instruments: InstrumentsConfig
  readonly #accounts = new Map<string, AccountExposure>()

  constructor({ instruments, clOrdIdMemory = 100_000, clOrdIdMemoryVenue = 2_000_000 }: GateOptions) {
    this.#instruments = instruments
    this.clOrdIds = new ClOrdIds({
      perAccountMax: clOrdIdMemory,
      venueMax: clOrdIdMemoryVenue,
      isOpen: (orderNumber) => this.orders.has(orderNumber),
    })
  }

  /** Every account that ever had an order. */
  get accounts(): ReadonlyMap<string, AccountExposure> {
    return this.#accounts
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
    if (!market) this.markets.set(instrument.symbol, (market = new Market(instrument)))
    const isCollarNew = market.instrument.collarBps !== instrument.collarBps
    market.instrument = instrument
    if (isCollarNew) this.orders.protectAnew(market)
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
      case 'halt':
        this.limitsRevision = Math.max(this.limitsRevision, record.revision)
        this.rules.halts.change(record, record.halted)
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
    this.orders.open(record, exposure)
    this.owners.add(orderNumber, account.name)
    if (record.clOrdId !== undefined) this.clOrdIds.add(account.name, record.clOrdId, orderNumber)
  }

  #applyReplace(record: ReplaceRecord): void {
    const order = this.#order(record.target)
    this.orders.addReplace(order, record)
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
    if (this.orders.pendingReplaces > 0 && isLastPart(message.part)) this.orders.settleReplace(message.cmdSeq, false)
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
    const { tick, lot } = order.exposure.market.instrument
    if (execType === 'Replaced') this.orders.settleReplace(cmdSeq, true)
    if (order.ordType === 'TRAILING_STOP' && report.stopPrice !== undefined)
      this.orders.moveStop(order, unitsFromOwn(report.stopPrice, tick))
    if (report.lastQty !== undefined && report.lastPx !== undefined) {
      this.orders.fill(order, unitsFromOwn(report.lastQty, lot), unitsFromOwn(report.lastPx, tick))
    }
    if (ordStatus === 'Filled') {
      assert(order.cumLots === order.quantityLots, `order ${order.orderNumber} is Filled before its quantity is`)
      this.#end(order)
    } else if (ordStatus === 'Canceled' || ordStatus === 'Expired') this.#end(order)
  }

  #freeReplaceName(cmdSeq: number): void {
    const { order, replace } = this.orders.findReplace(cmdSeq) ?? {}
    if (order && replace?.clOrdId !== undefined) this.clOrdIds.free(order.exposure.account.name, replace.clOrdId)
  }

  #end(order: HeldOrder): void {
    this.orders.end(order)
    this.clOrdIds.release(order.orderNumber)
  }

  save(): GateSnapshot {
    return {
      cmdSeq: this.cmdSeq,
      timeUs: this.timeUs,
      executionsSeq: this.executionsSeq,
      limitsRevision: this.limitsRevision,
      limits: this.rules.entries(),
      halts: this.rules.halts.entries(),
      markets: Array.from(this.markets.values(), ({ instrument, lastTicks }) => [instrument.definition, lastTicks]),
      accounts: Array.from(this.#accounts.values(), ({ name, bySymbol }) => [
        name,
        Array.from(bySymbol, ([symbol, { positionLots }]) => [symbol, positionLots] as const),
      ]),
      orders: this.orders.save(),
      clOrdIds: this.clOrdIds.save(),
      owners: this.owners.save(),
    }
  }

  /**
   * Goes on from a saved state; only before anything else.
   * @throws PipelineError CONFIG_INSTRUMENT_CHANGED when the configuration counts a symbol in other units
   */
  load(state: GateSnapshot): void {
    assert(this.cmdSeq === 0, 'a state is loaded once, at the start')
    this.cmdSeq = state.cmdSeq
    this.timeUs = state.timeUs
    this.executionsSeq = state.executionsSeq
    this.limitsRevision = state.limitsRevision
    for (const [key, limits] of state.limits) this.rules.change(key, limits)
    for (const target of state.halts) this.rules.halts.change(target, true)
    for (const [definition, lastTicks] of state.markets) {
      const instrument = instrumentFrom(definition)
      this.#assertSameUnits(instrument)
      const market = this.define(instrument)
      market.lastTicks = lastTicks
      market.current = false
    }
    const exposureOf = (account: AccountExposure, symbol: string) => {
      let exposure = account.bySymbol.get(symbol)
      if (!exposure) {
        const market = this.markets.get(symbol)
        assert(market, `${symbol} has no definition`)
        account.bySymbol.set(symbol, (exposure = new Exposure(account, market)))
      }
      return exposure
    }
    for (const [name, positions] of state.accounts) {
      const account = new AccountExposure(name)
      this.#accounts.set(name, account)
      for (const [symbol, lots] of positions) exposureOf(account, symbol).positionLots = lots
    }
    this.orders.load(state.orders, (name, symbol) => {
      const account = this.#accounts.get(name)
      assert(account, `no account ${name}`)
      return exposureOf(account, symbol)
    })
    this.clOrdIds.load(state.clOrdIds)
    this.owners.load(state.owners)
  }

  /** SHA-256 of everything that later records may depend on. */
  hash(): string {
    const hash = createHash('sha256')
    const put = (...values: readonly unknown[]) =>
      hash.update(
        `${JSON.stringify(values, (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value))}\n`,
      )
    put(
      this.cmdSeq,
      this.timeUs,
      this.executionsSeq,
      this.limitsRevision,
      this.rules.entries(),
      this.rules.halts.entries(),
    )
    for (const { instrument, lastTicks } of this.markets.values()) put(instrument.definition, lastTicks)
    for (const { name, openOrders, bySymbol } of this.#accounts.values()) {
      put(name, openOrders)
      for (const [symbol, { positionLots, buyLots, buyValue, sellLots, sellValue, openOrders: open }] of bySymbol)
        put(symbol, positionLots, buyLots, buyValue, sellLots, sellValue, open)
    }
    for (const { exposure, ...order } of this.orders.values())
      put(exposure.account.name, exposure.market.instrument.symbol, order)
    put([...this.orders.pendingSeqs()])
    for (const name of this.clOrdIds.entries()) hash.update(name)
    for (const owner of this.owners.entries()) hash.update(owner)
    return hash.digest('hex')
  }

  /** @throws BugError when sums do not agree with the orders they are sums of */
  checkInvariants(): void {
    const sums = this.orders.sums()
    for (const account of this.#accounts.values()) {
      let open = 0
      let grossAtto = 0n
      const accountGrossAtto = account.grossAtto()
      for (const [symbol, exposure] of account.bySymbol) {
        const { buyLots = 0, buyValue = 0, sellLots = 0, sellValue = 0, openOrders = 0 } = sums.get(exposure) ?? {}
        assert(
          exposure.buyLots === buyLots &&
            exposure.buyValue === buyValue &&
            exposure.sellLots === sellLots &&
            exposure.sellValue === sellValue &&
            exposure.openOrders === openOrders,
          `${account.name} ${symbol}: holds`,
        )
        open += openOrders
        grossAtto += exposure.grossAttoWith(exposure.buyValue, exposure.sellValue)
      }
      assert(account.openOrders === open, `${account.name}: open orders`)
      assert(accountGrossAtto === grossAtto, `${account.name}: gross exposure`)
    }
  }
}

function isLastPart(part: string | undefined): boolean {
  if (part === undefined) return true
  const [index, count] = part.split('/')
  return index === count
}

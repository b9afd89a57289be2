import { assert } from '../base/assert.ts'
import { rfc3339FromUs } from '../base/clock.ts'
import {
  echoOfCommand,
  targetOf,
  type Cancel,
  type DecodedCommand,
  type MassCancel,
  type NewOrder,
  type Replace,
} from '../schemas/command.ts'
import { orderIdOf, type ExecutionMessage } from '../schemas/execution.ts'
import {
  definitionOf,
  instrumentFrom,
  type Instrument,
  type InstrumentDefinition,
  type InstrumentsConfig,
} from '../schemas/instrument.ts'
import type { LimitSet } from '../schemas/limits.ts'
import type { RejectReason } from '../schemas/reject-reasons.ts'
import type {
  CancelRecord,
  CommandEcho,
  CommandKind,
  MassCancelRecord,
  NewRecord,
  RecordBase,
  RejectRecord,
  ReplaceRecord,
  RiskMessage,
  RiskRecord,
  RuleCheck,
} from '../schemas/risk.ts'
import { add, multiply, subtract } from './money.ts'
import { Market, type Exposure } from './exposure.ts'
import { GateState, type GateOptions } from './gate-state.ts'
import { holdOf, withReplace, type HeldOrder, type PendingReplace } from './held-order.ts'
import { dayEndAfter, isRefusal, lotsOf, protectionTicksOf, ticksOf, unsupported, type Refusal } from './order-terms.ts'
import type { Demand } from './risk-rules.ts'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** A new order that passed, counted in its instrument's units. */
interface AdmittedOrder {
  readonly market: Market
  readonly quantityLots: number
  readonly priceTicks: number | undefined
  readonly protectionTicks: number | undefined
  readonly expireUs: number | undefined
  readonly check: RuleCheck
}

export interface DecideInput {
  /** Sequence in ORDERS. */
  readonly srcSeq: number
  /** Timestamp in ORDERS. */
  readonly timeUs: number
  readonly kind: CommandKind
  readonly decoded: DecodedCommand
  /** Whether a stream of the chain is nearly full: then only cancels pass. */
  readonly storageFull?: boolean
}

/** What would become of a new order. */
export interface Evaluation {
  /** null: it would pass. */
  readonly reason: RejectReason | null
  readonly text: string | null
  /** The limit it broke, else the one it comes closest to; undefined when it was refused before any was looked at. */
  readonly check: RuleCheck | undefined
  /** Decided without looking at the account's portfolio: refused by size or block, or worth less than 100. */
  readonly fastPath: boolean
}

const fastPathNotional = 100

/**
 * The pre-trade risk gate: decides each command from what RISK and EXECUTIONS held so far. What it lets pass is held
 * against the account's limits until EXECUTIONS reports it filled or ended, so that no burst passes a limit. Orders
 * that reduce risk and cancels are never blocked.
 */
export class Gate {
  readonly #state: GateState
  readonly #instruments: InstrumentsConfig
  readonly #dayEndUs: number
  #newInstruments: InstrumentDefinition[] = []

  /** @param options `dayEndUs`: end of the day for DAY orders in µs after midnight UTC, up to 24:00 */
  constructor(options: GateOptions & { readonly dayEndUs: number }) {
    this.#state = new GateState(options)
    this.#instruments = options.instruments
    this.#dayEndUs = options.dayEndUs
  }

  /** Largest EXECUTIONS sequence folded in. */
  get executionsSeq(): number {
    return this.#state.executionsSeq
  }

  /** Largest revision of KV LIMITS applied. */
  get limitsRevision(): number {
    return this.#state.limitsRevision
  }

  /** Of the last record. */
  get cmdSeq(): number {
    return this.#state.cmdSeq
  }

  /** Of the last record; the next one is not earlier. */
  get timeUs(): number {
    return this.#state.timeUs
  }

  get openOrders(): number {
    return this.#state.orders.size
  }

  /** The definition in force; undefined before an order used the symbol. */
  instrument(symbol: string): Instrument | undefined {
    return this.#state.markets.get(symbol)?.instrument
  }

  /** Position and holds of an account in a symbol; undefined before its first order there. */
  exposure(account: string, symbol: string): Readonly<Exposure> | undefined {
    return this.#state.findExposure(account, symbol)
  }

  /** Decides one command. @returns its record, already applied */
  decide({ srcSeq, timeUs, kind, decoded, storageFull = false }: DecideInput): RiskRecord {
    const base = this.#base(srcSeq, timeUs)
    const record = this.#recordOf(base, kind, decoded, storageFull)
    this.#state.apply(record)
    return record
  }

  /** Issues the expiries due at `timeUs`, by time and order number. @returns their records, already applied */
  expire(timeUs: number): RiskRecord[] {
    const records: RiskRecord[] = []
    const nowUs = Math.max(timeUs, this.#state.timeUs)
    for (;;) {
      const next = this.#state.expiries.peek()
      if (!next || next.timeUs > nowUs) return records
      const record: RiskRecord = { ...this.#base(0, nowUs), type: 'expire', target: next.orderNumber }
      this.#state.apply(record)
      records.push(record)
    }
  }

  /** When `expire` next has something to do. */
  nextExpiryUs(): number | undefined {
    return this.#state.expiries.peek()?.timeUs
  }

  /** Puts a changed entry of KV LIMITS in force; null removes it. @returns its record, already applied */
  changeLimits(change: { revision: number; key: string; limits: LimitSet | null }, timeUs: number): RiskRecord {
    const record: RiskRecord = { ...this.#base(0, timeUs), type: 'limits', ...change }
    this.#state.apply(record)
    return record
  }

  /** Applies one stored message of RISK in recovery, after the feedback up to its `executionsSeq`. */
  replay(message: RiskMessage): void {
    this.#state.replay(message)
  }

  /** Folds one message of EXECUTIONS, in stream order. */
  feedback(sequence: number, message: ExecutionMessage): void {
    this.#state.feedback(sequence, message)
  }

  /** Definitions that the next message of RISK must carry; cleared by the call. */
  takeNewInstruments(): InstrumentDefinition[] {
    const taken = this.#newInstruments
    this.#newInstruments = []
    return taken
  }

  /** Says what would become of a new order now; nothing is held. */
  evaluate(command: NewOrder): Evaluation {
    const admitted = this.#admit(command, this.#state.timeUs)
    const refused = isRefusal(admitted) ? admitted : undefined
    const reason = refused?.reason ?? null
    const isSizeRefusal =
      reason === 'RISK_SYMBOL_BLOCKED' || reason === 'RISK_MAX_QUANTITY' || reason === 'RISK_MAX_ORDER_VALUE'
    let isSmall = false
    if (!isRefusal(admitted)) {
      const { value } = admitted.market.instrument
      const ticks = admitted.priceTicks ?? admitted.protectionTicks ?? 0
      const units = multiply(multiply(admitted.quantityLots, ticks), value.mantissa)
      isSmall = BigInt(units) < BigInt(fastPathNotional) * 10n ** BigInt(value.scale)
    }
    return { reason, text: refused?.text ?? null, check: admitted.check, fastPath: isSizeRefusal || isSmall }
  }

  /** SHA-256 of everything that later decisions depend on. */
  stateHash(): string {
    return this.#state.hash()
  }

  /** @throws BugError */
  checkInvariants(): void {
    this.#state.checkInvariants()
  }

  #base(srcSeq: number, timeUs: number): Mutable<RecordBase> {
    return { cmdSeq: this.#state.cmdSeq + 1, srcSeq, timeUs: Math.max(this.#state.timeUs, timeUs) }
  }

  #recordOf(base: Mutable<RecordBase>, kind: CommandKind, decoded: DecodedCommand, storageFull: boolean): RiskRecord {
    if (decoded.outcome === 'unreadable')
      return { ...base, type: 'reject', kind, reason: 'INVALID_MESSAGE', text: decoded.problem, echo: {} }
    const named = decoded.outcome === 'command' ? decoded.command : decoded.echo
    if (named.clOrdId !== undefined) base.clOrdId = named.clOrdId
    if (named.traceparent !== undefined) base.traceparent = named.traceparent
    if (decoded.outcome === 'invalid')
      return { ...base, type: 'reject', kind, reason: decoded.reason, text: decoded.text, echo: bare(decoded.echo) }
    const { command } = decoded
    assert(command.kind === kind, `a ${kind} was decoded as ${command.kind}`)
    if (storageFull && (command.kind === 'new' || command.kind === 'replace')) {
      const found = command.kind === 'replace' ? this.#target(command) : undefined
      const target = typeof found === 'number' ? found : undefined
      const account = target === undefined ? undefined : (command.account ?? this.#state.ownerOf(target))
      const text = 'the streams are nearly full; only cancels are taken'
      return rejected(base, command, { reason: 'SYSTEM_STORAGE', text }, target, account)
    }
    switch (command.kind) {
      case 'new':
        return this.#decideNew(base, command)
      case 'cancel':
        return this.#decideCancel(base, command)
      case 'replace':
        return this.#decideReplace(base, command)
      case 'mass_cancel':
        return massCancelOf(base, command)
    }
  }

  #decideNew(base: RecordBase, command: NewOrder): RiskRecord {
    const admitted = this.#admit(command, base.timeUs)
    if (isRefusal(admitted)) return rejected(base, command, admitted)
    const { market, quantityLots, priceTicks, protectionTicks, expireUs, check } = admitted
    const { symbol, side, ordType, account } = command
    assert(account !== undefined, 'a new order has an account')
    if (!this.#state.markets.has(symbol)) this.#announce(market.instrument)
    const record: Mutable<NewRecord> = {
      ...base,
      type: 'new',
      account,
      symbol,
      side,
      ordType,
      timeInForce: timeInForceOf(command),
      quantityLots,
      check,
    }
    if (priceTicks !== undefined) record.priceTicks = priceTicks
    if (protectionTicks !== undefined) record.protectionTicks = protectionTicks
    if (expireUs !== undefined) record.expireUs = expireUs
    if (command.postOnly) record.postOnly = true
    return record
  }

  /** All checks of a new order, in the order in which they are reported. */
  #admit(command: NewOrder, timeUs: number): AdmittedOrder | Refusal {
    const { account, symbol, clOrdId } = command
    assert(account !== undefined, 'a new order has an account')
    const refused = unsupported(command)
    if (refused) return refused
    const market = this.#marketOf(symbol)
    if (!market) return { reason: 'SYMBOL_UNKNOWN', text: `symbol ${symbol} is not configured` }
    const { instrument } = market
    const quantityLots = lotsOf('quantity', command.quantity, instrument.lot)
    if (isRefusal(quantityLots)) return quantityLots
    const priceTicks = command.price === undefined ? undefined : ticksOf('price', command.price, instrument.tick)
    if (priceTicks !== undefined && isRefusal(priceTicks)) return priceTicks
    const duplicate = this.#duplicate(account, clOrdId)
    if (duplicate) return duplicate
    if (command.expireAt !== undefined && command.expireAt <= timeUs) return expiryPast(command.expireAt, timeUs)
    const timeInForce = timeInForceOf(command)
    const expireUs =
      timeInForce === 'DAY' ? dayEndAfter(timeUs, this.#dayEndUs) : timeInForce === 'GTD' ? command.expireAt : undefined
    const buy = command.side === 'BUY'
    let protectionTicks: number | undefined
    if (command.ordType === 'MARKET') {
      const { markTicks } = market
      if (markTicks === undefined)
        return { reason: 'PRICE_NO_REFERENCE', text: `${symbol} has no trade and no referencePrice yet` }
      protectionTicks = protectionTicksOf(buy, markTicks, instrument.collarBps)
    }
    const holdTicks = priceTicks ?? protectionTicks
    assert(holdTicks !== undefined, 'an order has a price to hold at')
    const exposure = this.#state.exposureIn(market, account)
    const value = multiply(quantityLots, holdTicks)
    const check = this.#checkRisk({
      exposure,
      buy,
      lots: quantityLots,
      value,
      sideLots: add(buy ? exposure.buyLots : exposure.sellLots, quantityLots),
      sideValue: add(buy ? exposure.buyValue : exposure.sellValue, value),
      opens: true,
    })
    if (isRefusal(check)) return check
    return { market, quantityLots, priceTicks, protectionTicks, expireUs, check }
  }

  #checkRisk(demand: Demand): RuleCheck | Refusal {
    const { reason, check, source } = this.#state.rules.check(demand)
    if (reason === undefined) return check
    return { reason, text: `${reason}: limit ${check.limit}, actual ${check.actual} (${source})`, check }
  }

  #decideCancel(base: RecordBase, command: Cancel): RiskRecord {
    const target = this.#target(command)
    if (isRefusal(target)) return rejected(base, command, target)
    const record: Mutable<CancelRecord> = { ...base, type: 'cancel', target }
    if (command.origClOrdId !== undefined) record.origClOrdId = command.origClOrdId
    return record
  }

  #decideReplace(base: RecordBase, command: Replace): RiskRecord {
    const refused = unsupported(command)
    if (refused) return rejected(base, command, refused)
    const target = this.#target(command)
    if (isRefusal(target)) return rejected(base, command, target)
    const account = command.account ?? this.#state.ownerOf(target)
    const order = this.#state.orders.get(target)
    const replace = order ? this.#replaceTerms(base, command, order) : undefined
    if (replace && isRefusal(replace)) return rejected(base, command, replace, target, account)
    const duplicate = account === undefined ? undefined : this.#duplicate(account, command.clOrdId)
    if (duplicate) return rejected(base, command, duplicate, target, account)
    if (!order || !replace) {
      const text = `${orderIdOf(target)} is no longer open`
      return rejected(base, command, { reason: 'ORDER_CLOSED', text }, target, account)
    }
    if (replace.expireUs !== undefined && replace.expireUs <= base.timeUs)
      return rejected(base, command, expiryPast(replace.expireUs, base.timeUs), target, account)
    const check = this.#checkReplace(order, replace)
    if (check && isRefusal(check)) return rejected(base, command, check, target, account)
    const record: Mutable<ReplaceRecord> = { ...base, type: 'replace', target }
    if (command.origClOrdId !== undefined) record.origClOrdId = command.origClOrdId
    if (replace.quantityLots !== undefined) record.quantityLots = replace.quantityLots
    if (replace.priceTicks !== undefined) record.priceTicks = replace.priceTicks
    if (replace.expireUs !== undefined) record.expireUs = replace.expireUs
    if (check) record.check = check
    return record
  }

  /** The changes a replace asks for, counted in the order's units. */
  #replaceTerms({ cmdSeq, clOrdId }: RecordBase, command: Replace, order: HeldOrder): PendingReplace | Refusal {
    const { tick, lot } = order.exposure.market.instrument
    const { quantity, price, expireAt: expireUs } = command
    if (price !== undefined && order.ordType !== 'LIMIT')
      return { reason: 'INVALID_FIELD', text: `price does not apply to ${order.ordType}` }
    if (expireUs !== undefined && order.timeInForce !== 'GTD')
      return { reason: 'INVALID_FIELD', text: 'expireAt applies to timeInForce GTD only' }
    const quantityLots = quantity === undefined ? undefined : lotsOf('quantity', quantity, lot)
    if (quantityLots !== undefined && isRefusal(quantityLots)) return quantityLots
    const priceTicks = price === undefined ? undefined : ticksOf('price', price, tick)
    if (priceTicks !== undefined && isRefusal(priceTicks)) return priceTicks
    return { cmdSeq, clOrdId, quantityLots, priceTicks, expireUs }
  }

  /** As if the order were new and its old hold gone; undefined when the hold does not grow. */
  #checkReplace(order: HeldOrder, replace: PendingReplace): RuleCheck | Refusal | undefined {
    const possible = withReplace(order.possible, replace)
    const after = holdOf(possible, order.cumLots)
    if (after.lots <= order.heldLots && after.value <= order.heldValue) return undefined
    const { exposure, buy } = order
    return this.#checkRisk({
      exposure,
      buy,
      lots: after.lots + order.cumLots,
      value: holdOf(possible, 0).value,
      sideLots: add(buy ? exposure.buyLots : exposure.sellLots, after.lots - order.heldLots),
      sideValue: add(buy ? exposure.buyValue : exposure.sellValue, subtract(after.value, order.heldValue)),
      opens: false,
    })
  }

  /** The number of the order a cancel or replace means. */
  #target(command: Cancel | Replace): number | Refusal {
    const { account, origClOrdId, orderId = '' } = command
    if (origClOrdId !== undefined) {
      const named = account === undefined ? undefined : this.#state.clOrdIds.find(account, origClOrdId)
      // The name of a refused replace without a target is no order's.
      if (named !== undefined && this.#state.ownerOf(named) !== undefined) return named
      return { reason: 'ORDER_UNKNOWN', text: `account ${account ?? ''} has no order ${origClOrdId}` }
    }
    const orderNumber = targetOf(command)
    const owner = orderNumber === undefined ? undefined : this.#state.ownerOf(orderNumber)
    if (orderNumber === undefined || owner === undefined)
      return { reason: 'ORDER_UNKNOWN', text: `no order ${orderId} is known` }
    if (account !== undefined && account !== owner)
      return { reason: 'ORDER_NOT_OWNED', text: `${orderId} is not an order of account ${account}` }
    return orderNumber
  }

  #duplicate(account: string, clOrdId: string | undefined): Refusal | undefined {
    if (clOrdId === undefined) return undefined
    const refOrderNumber = this.#state.clOrdIds.find(account, clOrdId)
    if (refOrderNumber === undefined) return undefined
    const text = `account ${account} has used clOrdId ${clOrdId} for ${orderIdOf(refOrderNumber)}`
    return { reason: 'DUPLICATE_CL_ORD_ID', text, refOrderNumber }
  }

  /** The market of a symbol under this process's configuration; one that no order used yet is not kept. */
  #marketOf(symbol: string): Market | undefined {
    const known = this.#state.markets.get(symbol)
    if (known?.current) return known
    const definition = definitionOf(this.#instruments, symbol)
    if (!definition) return undefined
    if (!known) return new Market(instrumentFrom(definition))
    if (!sameDefinition(known.instrument.definition, definition)) this.#announce(instrumentFrom(definition))
    known.current = true
    return known
  }

  #announce(instrument: Instrument): void {
    this.#state.define(instrument)
    this.#newInstruments.push(instrument.definition)
  }
}

/** MARKET is IOC whatever it says, except FOK. */
function timeInForceOf({ ordType, timeInForce = 'GTC' }: NewOrder): NewRecord['timeInForce'] {
  return ordType === 'MARKET' && timeInForce !== 'FOK' ? 'IOC' : timeInForce
}

function sameDefinition(a: InstrumentDefinition, b: InstrumentDefinition): boolean {
  const text = (definition: InstrumentDefinition) => JSON.stringify(Object.entries(definition).sort())
  return text(a) === text(b)
}

function expiryPast(expireUs: number, timeUs: number): Refusal {
  const text = `expireAt ${rfc3339FromUs(expireUs)} is not after the command's time, ${rfc3339FromUs(timeUs)}`
  return { reason: 'ORDER_EXPIRY_PAST', text }
}

function massCancelOf(base: RecordBase, { account, symbol, side }: MassCancel): RiskRecord {
  const record: Mutable<MassCancelRecord> = { ...base, type: 'massCancel' }
  if (account !== undefined) record.account = account
  if (symbol !== undefined) record.symbol = symbol
  if (side !== undefined) record.side = side
  return record
}

/** The echo without what the record itself carries. */
function bare(echo: CommandEcho & { readonly clOrdId?: string; readonly traceparent?: string }): Mutable<CommandEcho> {
  const rest: Mutable<typeof echo> = { ...echo }
  delete rest.clOrdId
  delete rest.traceparent
  return rest
}

/** @param target the order that a refused cancel or replace means, and its account */
function rejected(
  base: RecordBase,
  command: NewOrder | Cancel | Replace,
  { reason, text, check, refOrderNumber }: Refusal,
  target?: number,
  account?: string,
): RejectRecord {
  const echo = bare(echoOfCommand(command))
  if (target !== undefined) echo.orderId = orderIdOf(target)
  if (account !== undefined) echo.account = account
  if (refOrderNumber !== undefined) echo.refOrderId = orderIdOf(refOrderNumber)
  const record: Mutable<RejectRecord> = { ...base, type: 'reject', kind: command.kind, reason, text, echo }
  if (check) record.check = check
  return record
}

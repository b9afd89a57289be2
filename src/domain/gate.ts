import { assert } from '../base/assert.ts'
import type { Cancel, DecodedCommand, MassCancel, NewOrder } from '../schemas/command.ts'
import type { ExecutionMessage } from '../schemas/execution.ts'
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
  CommandKind,
  HaltTarget,
  MassCancelRecord,
  NewRecord,
  RecordBase,
  RiskMessage,
  RiskRecord,
  RuleCheck,
} from '../schemas/risk.ts'
import { admit, holdTicksOf, timeInForceOf, type AdmittedOrder } from './admission.ts'
import { Market, type AccountExposure, type Exposure } from './exposure.ts'
import { GateState, type GateOptions, type GateSnapshot } from './gate-state.ts'
import { multiply } from './money.ts'
import { namedOrder } from './named-orders.ts'
import { isRefusal, type Refusal } from './order-terms.ts'
import { bareEcho, rejectRecord } from './reject-record.ts'
import { decideReplace } from './replace-decision.ts'
import type { LimitUse } from './risk-rules.ts'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

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
  /** Decided without looking at the account's portfolio: refused by size, block or halt, or worth less than 100. */
  readonly fastPath: boolean
}

/** What somebody else knows of an account. */
export interface OutsidePortfolio {
  readonly account: AccountExposure
  /** Of the order's symbol; undefined when the configuration does not know it. */
  readonly market: Market | undefined
  readonly timeUs: number
}

const fastPathNotional = 100
const fastPathReasons: ReadonlySet<RejectReason> = new Set<RejectReason>([
  'RISK_HALTED',
  'RISK_SYMBOL_BLOCKED',
  'RISK_MAX_QUANTITY',
  'RISK_MAX_ORDER_VALUE',
])

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

  /** Every account that ever had an order; to be looked at, not kept. */
  get accounts(): ReadonlyMap<string, AccountExposure> {
    return this.#state.accounts
  }

  /** How much of its standing limits an account uses, from a share on. */
  usesOf(account: AccountExposure, shareMin: number): LimitUse[] {
    return this.#state.rules.usesOf(account, shareMin)
  }

  /** Decides one command. @returns its record, already applied */
  decide(input: DecideInput): RiskRecord {
    const record = this.propose(input)
    this.#state.apply(record)
    return record
  }

  /** What `decide` would say, without applying it. */
  propose({ srcSeq, timeUs, kind, decoded, storageFull = false }: DecideInput): RiskRecord {
    return this.#recordOf(this.#base(srcSeq, timeUs), kind, decoded, storageFull)
  }

  /** Puts other limits in force, by their keys in KV LIMITS, instead of all there are. */
  useLimits(entries: Iterable<readonly [key: string, limits: LimitSet]>): void {
    const { rules } = this.#state
    for (const [key] of rules.entries()) rules.change(key, null)
    for (const [key, limits] of entries) rules.change(key, limits)
  }

  /** Takes the definitions of a stored message as those in force, whatever the configuration says now. */
  adopt(definitions: readonly InstrumentDefinition[]): void {
    for (const definition of definitions) this.#state.define(instrumentFrom(definition)).current = true
  }

  /** Answers a command that cannot be decided because of a bug of ours. @returns its record, already applied */
  refuseFaulty({
    srcSeq,
    timeUs,
    kind,
    account,
  }: Omit<DecideInput, 'decoded'> & { readonly account?: string }): RiskRecord {
    const text = 'the command could not be decided, three times; nothing has become of it'
    const echo = account === undefined ? {} : { account }
    const base = this.#base(srcSeq, timeUs)
    const record: RiskRecord = { ...base, type: 'reject', kind, reason: 'SYSTEM_COMMAND_FAULT', text, echo }
    this.#state.apply(record)
    return record
  }

  /** Issues the expiries due at `timeUs`, by time and order number. @returns their records, already applied */
  expire(timeUs: number): RiskRecord[] {
    const records: RiskRecord[] = []
    const nowUs = Math.max(timeUs, this.#state.timeUs)
    for (;;) {
      const next = this.#state.orders.expiries.peek()
      if (!next || next.timeUs > nowUs) return records
      const record: RiskRecord = { ...this.#base(0, nowUs), type: 'expire', target: next.orderNumber }
      this.#state.apply(record)
      records.push(record)
    }
  }

  /** When `expire` next has something to do. */
  nextExpiryUs(): number | undefined {
    return this.#state.orders.expiries.peek()?.timeUs
  }

  /** Puts a changed entry of KV LIMITS in force; null removes it. @returns its record, already applied */
  changeLimits(change: { revision: number; key: string; limits: LimitSet | null }, timeUs: number): RiskRecord {
    const record: RiskRecord = { ...this.#base(0, timeUs), type: 'limits', ...change }
    this.#state.apply(record)
    return record
  }

  /**
   * Halts or resumes; with `cancel` what rests within the halt is cancelled first.
   * @returns the records, already applied
   */
  changeHalt(
    { scope, name, revision, halted, cancel }: HaltTarget & { revision: number; halted: boolean; cancel: boolean },
    timeUs: number,
  ): RiskRecord[] {
    const target = name === undefined ? { scope } : { scope, name }
    const records: RiskRecord[] = []
    const issue = (record: RiskRecord) => {
      this.#state.apply(record)
      records.push(record)
    }
    if (halted && cancel) {
      const within = name === undefined ? {} : scope === 'account' ? { account: name } : { symbol: name }
      issue({ ...this.#base(0, timeUs), type: 'massCancel', ...within })
    }
    issue({ ...this.#base(0, timeUs), type: 'halt', revision, ...target, halted })
    return records
  }

  /** All that later decisions depend on. */
  save(): GateSnapshot {
    return this.#state.save()
  }

  /** Goes on from a saved state; only before anything else. */
  load(state: GateSnapshot): void {
    this.#state.load(state)
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

  /**
   * Says what would become of a new order now; nothing is held.
   * @param outside judges it by this portfolio instead of what the gate knows
   */
  evaluate(command: NewOrder, outside?: OutsidePortfolio): Evaluation {
    const admitted = this.#admit(command, outside?.timeUs ?? this.#state.timeUs, outside)
    if (isRefusal(admitted)) {
      const { reason, text, check } = admitted
      return { reason, text, check, fastPath: fastPathReasons.has(reason) }
    }
    const { terms, market, check } = admitted
    const { value } = market.instrument
    const units = multiply(multiply(terms.quantityLots, holdTicksOf(terms)), value.mantissa)
    const fastPath = BigInt(units) < BigInt(fastPathNotional) * 10n ** BigInt(value.scale)
    return { reason: null, text: null, check, fastPath }
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
      return { ...base, type: 'reject', kind, reason: decoded.reason, text: decoded.text, echo: bareEcho(decoded.echo) }
    const { command } = decoded
    assert(command.kind === kind, `a ${kind} was decoded as ${command.kind}`)
    if (storageFull && (command.kind === 'new' || command.kind === 'replace')) {
      const found = command.kind === 'replace' ? namedOrder(this.#state, command) : undefined
      const target = typeof found === 'number' ? found : undefined
      const account = target === undefined ? undefined : (command.account ?? this.#state.ownerOf(target))
      const text = 'the streams are nearly full; only cancels are taken'
      return rejectRecord(base, command, { reason: 'SYSTEM_STORAGE', text }, target, account)
    }
    switch (command.kind) {
      case 'new':
        return this.#decideNew(base, command)
      case 'cancel':
        return this.#decideCancel(base, command)
      case 'replace':
        return decideReplace(this.#state, base, command)
      case 'mass_cancel':
        return massCancelOf(base, command)
    }
  }

  #decideNew(base: RecordBase, command: NewOrder): RiskRecord {
    const admitted = this.#admit(command, base.timeUs)
    if (isRefusal(admitted)) return rejectRecord(base, command, admitted)
    const { market, terms, expireUs, check } = admitted
    const { symbol, side, ordType, account, stpMode = 'NONE' } = command
    assert(account !== undefined, 'a new order has an account')
    if (!this.#state.markets.has(symbol)) this.#announce(market.instrument)
    const timeInForce = timeInForceOf(command)
    const order = { account, symbol, side, ordType, timeInForce }
    const record: Mutable<NewRecord> = { ...base, type: 'new', ...order, ...terms, check }
    if (expireUs !== undefined) record.expireUs = expireUs
    if (command.postOnly) record.postOnly = true
    if (command.reduceOnly) record.reduceOnly = true
    if (stpMode !== 'NONE') record.stpMode = stpMode
    return record
  }

  #admit(command: NewOrder, timeUs: number, outside?: OutsidePortfolio): AdmittedOrder | Refusal {
    const { symbol } = command
    const market = outside ? outside.market : this.#marketOf(symbol)
    if (!market) return { reason: 'SYMBOL_UNKNOWN', text: `symbol ${symbol} is not configured` }
    return admit(this.#state, market, command, timeUs, this.#dayEndUs, outside?.account)
  }

  #decideCancel(base: RecordBase, command: Cancel): RiskRecord {
    const target = namedOrder(this.#state, command)
    if (isRefusal(target)) return rejectRecord(base, command, target)
    const record: Mutable<CancelRecord> = { ...base, type: 'cancel', target }
    if (command.origClOrdId !== undefined) record.origClOrdId = command.origClOrdId
    return record
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

function sameDefinition(a: InstrumentDefinition, b: InstrumentDefinition): boolean {
  const text = (definition: InstrumentDefinition) => JSON.stringify(Object.entries(definition).sort())
  return text(a) === text(b)
}

function massCancelOf(base: RecordBase, { account, symbol, side }: MassCancel): RiskRecord {
  const record: Mutable<MassCancelRecord> = { ...base, type: 'massCancel' }
  if (account !== undefined) record.account = account
  if (symbol !== undefined) record.symbol = symbol
  if (side !== undefined) record.side = side
  return record
}

import { isDeepStrictEqual } from 'node:util'
import { deserialize, serialize } from 'node:v8'
import t from 'tap'
import { usPerDay } from '../../src/base/clock.ts'
import { textFromUnits } from '../../src/base/decimal.ts'
import { parseOwnJson } from '../../src/base/json.ts'
import { Gate } from '../../src/domain/gate.ts'
import type { GateSnapshot } from '../../src/domain/gate-state.ts'
import type { Command, NewOrder, Replace } from '../../src/schemas/command.ts'
import { ordTypes, stpModes, type Side, type TimeInForce } from '../../src/schemas/enums.ts'
import type { ExecutionMessage } from '../../src/schemas/execution.ts'
import {
  definitionOf,
  instrumentFrom,
  type Instrument,
  type InstrumentConfig,
  type InstrumentsConfig,
} from '../../src/schemas/instrument.ts'
import type { LimitSet } from '../../src/schemas/limits.ts'
import type { RejectReason } from '../../src/schemas/reject-reasons.ts'
import type { RiskMessage, RiskRecord, RuleCheck } from '../../src/schemas/risk.ts'
import { randomFrom } from './commands.ts'
import {
  isTightest,
  naiveChecks,
  naiveHoldOf,
  naiveProtection,
  naiveWorstPosition,
  NaiveView,
  outcomesOf,
  type NaiveDemand,
  type NaiveOrder,
} from './naive-gate.ts'

const runs = 400
const decisionsPerRun = 260
/** Enumerating outcomes doubles with each pending replace. */
const pendingMax = 5
const clOrdIdMemory = 6
const clOrdIdMemoryVenue = 14

interface Flavour {
  readonly config: Record<string, InstrumentConfig>
  readonly middleTicks: number
  readonly bandTicks: number
  readonly lotsMax: number
}

const flavours: readonly Flavour[] = [
  {
    config: {
      AAA: { tick: '0.01', lot: '0.001', referencePrice: '10' },
      BBB: { tick: '0.01', lot: '0.001' },
      CCC: { tick: '0.02', lot: '0.002', referencePrice: '20', collarBps: 300 },
    },
    middleTicks: 1_000,
    bandTicks: 60,
    lotsMax: 20,
  },
  {
    // Every sum and product leaves a double's whole numbers.
    config: {
      WIDE: { tick: '0.000001', lot: '0.000000001', referencePrice: '8999000000' },
      BROAD: { tick: '0.000000001', lot: '0.000000001', collarBps: 1 },
    },
    middleTicks: 8.999e15,
    bandTicks: 1e10,
    lotsMax: 8e15,
  },
]

const accounts = ['alice', 'bob', 'carol'] as const

interface Registration {
  readonly account: string
  readonly clOrdId: string
  readonly orderNumber: number
  freed: boolean
}

interface Expected {
  readonly reason: RejectReason | undefined
  /** Of a decision about limits. */
  readonly checkIsRight?: (check: RuleCheck | undefined) => boolean
}

class Run {
  readonly #random: () => number
  readonly #flavour: Flavour
  readonly #config: InstrumentsConfig
  readonly #instruments: ReadonlyMap<string, Instrument>
  readonly #limits = new Map<string, LimitSet>()
  readonly #halted = new Set<string>()
  gate: Gate
  /** What the gate has been told, and what has happened at the venue. */
  readonly #seen: NaiveView
  readonly #truth: NaiveView
  readonly #registrations: Registration[] = []
  readonly #ownerOf = new Map<number, string>()
  readonly #riskLog: RiskMessage[] = []
  readonly #executionsLog: ExecutionMessage[] = []
  #snapshot: { state: Buffer; messages: number } | undefined
  #processed = 0
  #delivered = 0
  #srcSeq = 0
  #revision = 0
  #timeUs = Date.UTC(2026, 10, 22, 9) * 1_000
  #worst = new Map<string, bigint>()
  readonly outcomes: Map<string, number>

  constructor(seed: number, outcomes: Map<string, number>) {
    this.#random = randomFrom(seed)
    this.#flavour = this.#pick(flavours)
    this.#config = { default: {}, instruments: this.#flavour.config }
    const instruments = Object.keys(this.#flavour.config).flatMap((symbol) => {
      const definition = definitionOf(this.#config, symbol)
      return definition ? [[symbol, instrumentFrom(definition)] as const] : []
    })
    this.#instruments = new Map(instruments)
    this.#seen = new NaiveView(this.#instruments)
    this.#truth = new NaiveView(this.#instruments)
    this.gate = this.#newGate()
    this.outcomes = outcomes
  }

  #newGate(): Gate {
    const memory = { clOrdIdMemory, clOrdIdMemoryVenue }
    return new Gate({ instruments: this.#config, dayEndUs: usPerDay / 2, ...memory })
  }

  #below(bound: number): number {
    return Math.floor(this.#random() * bound)
  }

  #chance(probability: number): boolean {
    return this.#random() < probability
  }

  #pick<T>(values: readonly T[]): T {
    return values[this.#below(values.length)] as T
  }

  #pickAny<T>(values: readonly T[]): T | undefined {
    return values[this.#below(values.length)]
  }

  #count(outcome: string): void {
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1)
  }

  play(decisions: number): number {
    let records = this.#changeLimits('default')
    this.#publish(records)
    let decided = 0
    while (decided < decisions) {
      records = []
      if (this.#chance(0.05)) records.push(...this.#changeLimits())
      if (this.#chance(this.#halted.size > 0 ? 0.3 : 0.015)) records.push(...this.#changeHalt())
      const batch = 1 + this.#below(this.#pick([1, 4, 10]))
      for (let n = 0; n < batch; n += 1) {
        this.#timeUs += this.#chance(0.03) ? this.#below(usPerDay / 4) : this.#below(2_000_000)
        records.push(...this.#expire())
        records.push(this.#decide())
        decided += 1
      }
      this.#publish(records)
      // The matcher and the feedback each lag as they like.
      for (let left = this.#lag(); left > 0 && this.#processed < this.#pending().length; left -= 1) this.#process()
      for (let left = this.#lag(); left > 0 && this.#delivered < this.#executionsLog.length; left -= 1) this.#deliver()
      if (this.#chance(0.02)) this.#crash()
    }
    this.#settle()
    return decided
  }

  #lag(): number {
    return this.#chance(0.3) ? 0 : this.#below(12)
  }

  #publish(records: RiskRecord[]): void {
    const instruments = this.gate.takeNewInstruments()
    const { executionsSeq, limitsRevision } = this.gate
    const message = { executionsSeq, limitsRevision, ...(instruments.length > 0 ? { instruments } : {}), records }
    this.#riskLog.push(JSON.parse(JSON.stringify(message)) as RiskMessage)
  }

  /** Rebuilds the gate from the two streams; it must be the same, and goes on in its place. */
  #crash(): void {
    const rebuilt = this.#newGate()
    let delivered = 0
    const deliverUpTo = (sequence: number) => {
      while (delivered < sequence) {
        const message = this.#executionsLog[delivered]
        if (!message) throw new Error('EXECUTIONS ends early')
        delivered += 1
        rebuilt.feedback(delivered, message)
      }
    }
    // From the first message on, or from a snapshot of the gate of then.
    const snapshot = this.#chance(0.5) ? this.#snapshot : undefined
    if (snapshot) {
      rebuilt.load(deserialize(snapshot.state) as GateSnapshot)
      delivered = rebuilt.executionsSeq
      this.#count('crash with a snapshot')
    }
    for (const message of this.#riskLog.slice(snapshot?.messages ?? 0)) {
      deliverUpTo(message.executionsSeq)
      rebuilt.replay(message)
    }
    deliverUpTo(this.#delivered)
    if (rebuilt.stateHash() !== this.gate.stateHash()) throw new Error('the rebuilt gate is another')
    rebuilt.checkInvariants()
    this.gate = rebuilt
    // As the janitor takes it: from the streams, at a message of RISK.
    const state = rebuilt.save()
    const loaded = this.#newGate()
    loaded.load(deserialize(serialize(state)) as GateSnapshot)
    if (!isDeepStrictEqual(loaded.save(), state)) throw new Error('a loaded snapshot is another')
    this.#snapshot = { state: serialize(state), messages: this.#riskLog.length }
    this.#count('crash')
  }

  // Commands and what must become of them.

  #changeLimits(key?: string): RiskRecord[] {
    const { lotsMax, middleTicks } = this.#flavour
    const instrument = this.#pick([...this.#instruments.values()])
    const lots = (share: number) => textFromUnits(Math.floor(lotsMax * share), instrument.lot)
    const value = (share: number) =>
      textFromUnits(BigInt(Math.floor(lotsMax * share)) * BigInt(middleTicks), instrument.value)
    const change = {
      key: key ?? this.#pick(['default', 'account.alice', 'account.bob', `symbol.${instrument.symbol}`]),
      limits: {
        ...(key !== undefined || this.#chance(0.4) ? { maxQuantity: lots(0.4 + 0.6 * this.#random()) } : {}),
        ...(key !== undefined || this.#chance(0.4) ? { maxOrderValue: value(0.5 + 0.6 * this.#random()) } : {}),
        ...(key !== undefined || this.#chance(0.5) ? { maxPosition: lots(1 + 3 * this.#random()) } : {}),
        ...(key !== undefined || this.#chance(0.3) ? { maxOpenOrders: 2 + this.#below(9) } : {}),
        ...(key !== undefined || this.#chance(0.3) ? { maxGrossExposure: value(2 + 6 * this.#random()) } : {}),
        ...(key === undefined && this.#chance(0.15) ? { blocked: true } : {}),
      },
    }
    const limits = key === undefined && change.key !== 'default' && this.#chance(0.4) ? null : change.limits
    this.#revision += 1
    const record = this.gate.changeLimits({ revision: this.#revision, key: change.key, limits }, this.#timeUs)
    if (limits)
      this.#limits.set(change.key, { ...(change.key === 'default' ? this.#limits.get('default') : {}), ...limits })
    else this.#limits.delete(change.key)
    // The model takes what a changed default leaves out from before; so must the gate.
    if (change.key !== 'default' || key !== undefined) return [record]
    this.#revision += 1
    const whole = this.#limits.get('default') ?? {}
    return [record, this.gate.changeLimits({ revision: this.#revision, key: 'default', limits: whole }, this.#timeUs)]
  }

  #changeHalt(): RiskRecord[] {
    const [first] = this.#halted
    const isResumed = first !== undefined && this.#chance(0.7)
    const drawn = this.#pick([
      'all',
      `account ${this.#pick(accounts)}`,
      `symbol ${this.#pick([...this.#instruments.keys()])}`,
    ])
    const [scope, name] = (isResumed ? first : drawn).split(' ') as ['all' | 'account' | 'symbol', string?]
    const [halted, cancel] = [!isResumed, this.#chance(0.3)]
    this.#revision += 1
    const target = name === undefined ? { scope } : { scope, name }
    const records = this.gate.changeHalt({ ...target, revision: this.#revision, halted, cancel }, this.#timeUs)
    if (halted) this.#halted.add(name === undefined ? scope : `${scope} ${name}`)
    else this.#halted.delete(first ?? '')
    const types = records.map(({ type }) => type)
    if (String(types) !== (halted && cancel ? 'massCancel,halt' : 'halt'))
      throw new Error(`a halt made ${String(types)}`)
    this.#count(`${isResumed ? 'resume' : 'halt'} ${scope}${halted && cancel ? ' with cancel' : ''}`)
    return records
  }

  #expire(): RiskRecord[] {
    const nowUs = Math.max(this.#timeUs, this.gate.timeUs)
    const due = this.#seen
      .open()
      .filter(({ expiring, expireUs }) => !expiring && expireUs !== undefined)
      .map((order) => ({
        order,
        dueUs: Math.max(order.expireUs ?? 0, ...order.pending.map(({ expireUs }) => expireUs ?? 0)),
      }))
    const expected = due
      .filter(({ dueUs }) => dueUs <= nowUs)
      .sort((a, b) => a.dueUs - b.dueUs || a.order.orderNumber - b.order.orderNumber)
    const next = due.length === 0 ? undefined : Math.min(...due.map(({ dueUs }) => dueUs))
    if (this.gate.nextExpiryUs() !== next)
      throw new Error(`next expiry ${this.gate.nextExpiryUs() ?? ''}, not ${next ?? ''}`)
    const records = this.gate.expire(this.#timeUs)
    const targets = records.map((record) => (record.type === 'expire' ? record.target : undefined))
    if (String(targets) !== String(expected.map(({ order }) => order.orderNumber)))
      throw new Error(`expired ${String(targets)}`)
    for (const { order } of expected) {
      order.expiring = true
      this.#count('expire')
    }
    return records
  }

  #decide(): RiskRecord {
    const command = this.#command()
    this.#srcSeq += 1
    const storageFull = this.#chance(0.02)
    const timeUs = Math.max(this.#timeUs, this.gate.timeUs)
    const expected = this.#expect(command, storageFull, timeUs)
    const record = this.gate.decide({
      srcSeq: this.#srcSeq,
      timeUs: this.#timeUs,
      kind: command.kind,
      decoded: { outcome: 'command', command },
      storageFull,
    })
    this.#compare(command, record, expected)
    this.#remember(command, record)
    this.#checkSafety()
    return record
  }

  #command(): Command {
    const roll = this.#random()
    const account = this.#pick(accounts)
    const clOrdId = this.#chance(0.5) ? { clOrdId: `c${this.#below(40)}` } : {}
    if (roll < 0.02) return { kind: 'mass_cancel', account }
    if (roll > 0.4) return this.#newOrder(account, clOrdId)
    const target = this.#chance(0.25)
      ? { account, origClOrdId: `c${this.#below(40)}` }
      : {
          orderId: `o-${this.#chance(0.8) ? (this.#pickAny(this.#seen.open())?.orderNumber ?? 1) : 1 + this.#below(this.#srcSeq + 5)}`,
          ...(this.#chance(0.1) ? { account } : {}),
        }
    if (roll < 0.15) return { kind: 'cancel', ...target, ...clOrdId }
    const named = 'orderId' in target ? this.#seen.orders.get(Number(target.orderId.slice(2))) : undefined
    if (named && named.pending.length >= pendingMax) return { kind: 'cancel', ...target }
    const instrument = this.#instruments.get(named?.record.symbol ?? '') ?? this.#pick([...this.#instruments.values()])
    const change = {
      ...(this.#chance(0.6) ? { quantity: this.#quantity(instrument) } : {}),
      ...(this.#chance(0.6) ? { price: this.#price(instrument) } : {}),
      ...(this.#chance(0.2) ? { stopPrice: this.#price(instrument) } : {}),
      ...(named?.record.timeInForce === 'GTD' && this.#chance(0.5) ? { expireAt: this.#expireAt() } : {}),
    }
    const some = Object.keys(change).length > 0 ? change : { quantity: this.#quantity(instrument) }
    return { kind: 'replace', ...target, ...clOrdId, ...some }
  }

  #newOrder(account: string, clOrdId: { clOrdId?: string }): NewOrder {
    const instrument = this.#pick([...this.#instruments.values()])
    const ordType = this.#chance(0.55) ? 'LIMIT' : this.#pick(ordTypes)
    const hasPrice = ordType === 'LIMIT' || ordType === 'STOP_LIMIT'
    const timeInForce = this.#pick<TimeInForce>(['GTC', 'GTC', 'GTC', 'DAY', 'GTD', 'IOC', 'FOK'])
    return {
      ...{ kind: 'new', account, ...clOrdId, symbol: instrument.symbol },
      side: this.#pick<Side>(['BUY', 'SELL']),
      ordType,
      quantity: this.#quantity(instrument),
      ...(hasPrice ? { price: this.#price(instrument) } : {}),
      ...(ordType === 'STOP' || ordType === 'STOP_LIMIT' ? { stopPrice: this.#price(instrument) } : {}),
      ...(ordType === 'TRAILING_STOP' ? { trailingOffset: this.#offset(instrument) } : {}),
      ...(hasPrice && this.#chance(0.2) ? { displayQuantity: this.#quantity(instrument) } : {}),
      ...(this.#chance(0.2) ? { reduceOnly: this.#chance(0.8) } : {}),
      ...(this.#chance(0.2) ? { stpMode: this.#pick(stpModes) } : {}),
      timeInForce,
      ...(timeInForce === 'GTD' ? { expireAt: this.#expireAt() } : {}),
    }
  }

  #quantity({ lot }: Instrument): string {
    const text = textFromUnits(1 + this.#below(this.#flavour.lotsMax * this.#pick([0.15, 0.5, 1])), lot)
    return this.#chance(0.01) ? `${text}${text.includes('.') ? '' : '.'}00000000001` : text
  }

  #offset({ tick }: Instrument): string {
    return textFromUnits(1 + this.#below(2 * this.#flavour.bandTicks), tick)
  }

  #price({ tick }: Instrument): string {
    const { middleTicks, bandTicks } = this.#flavour
    const text = textFromUnits(middleTicks - bandTicks + this.#below(2 * bandTicks), tick)
    return this.#chance(0.01) ? `${text}${text.includes('.') ? '' : '.'}00000000001` : text
  }

  #expireAt(): number {
    return this.#timeUs + this.#below(usPerDay / 8) - 60_000_000
  }

  #knows(account: string, clOrdId: string): Registration | undefined {
    const venueFrom = this.#registrations.length - clOrdIdMemoryVenue
    const ofAccount = this.#registrations.filter((registration) => registration.account === account)
    const accountFrom = ofAccount.length - clOrdIdMemory
    return this.#registrations.findLast((registration, index) => {
      if (registration.freed || registration.account !== account || registration.clOrdId !== clOrdId) return false
      const isRecent = index >= venueFrom && ofAccount.indexOf(registration) >= accountFrom
      return isRecent || this.#seen.orders.get(registration.orderNumber)?.isOpen === true
    })
  }

  #expect(command: Command, storageFull: boolean, timeUs: number): Expected {
    if (command.kind === 'mass_cancel') return { reason: undefined }
    if (storageFull && command.kind !== 'cancel') return { reason: 'SYSTEM_STORAGE' }
    return command.kind === 'new' ? this.#expectNew(command, timeUs) : this.#expectChange(command, timeUs)
  }

  #expectNew(command: NewOrder, timeUs: number): Expected {
    const { account = '', symbol, side, clOrdId, quantity, price } = command
    const instrument = this.#instruments.get(symbol)
    if (!instrument) throw new Error(symbol)
    if (quantity.endsWith('00000000001')) return { reason: 'QUANTITY_OFF_LOT' }
    if (price?.endsWith('00000000001')) return { reason: 'PRICE_OFF_TICK' }
    if (command.stopPrice?.endsWith('00000000001')) return { reason: 'PRICE_OFF_TICK' }
    if (command.displayQuantity?.endsWith('00000000001')) return { reason: 'QUANTITY_OFF_LOT' }
    if (clOrdId !== undefined && this.#knows(account, clOrdId)) return { reason: 'DUPLICATE_CL_ORD_ID' }
    if (command.expireAt !== undefined && command.expireAt <= timeUs) return { reason: 'ORDER_EXPIRY_PAST' }
    const lots = this.#units(quantity, instrument.lot)
    const buy = side === 'BUY'
    let ticks = price === undefined ? undefined : this.#units(price, instrument.tick)
    if (ticks === undefined) {
      let center = command.stopPrice === undefined ? undefined : this.#units(command.stopPrice, instrument.tick)
      if (center === undefined) {
        const mark = this.#seen.marks.get(symbol) ?? instrument.referenceTicks
        if (mark === undefined) return { reason: 'PRICE_NO_REFERENCE' }
        const offset = command.trailingOffset === undefined ? 0 : this.#units(command.trailingOffset, instrument.tick)
        center = Math.min(9e15, Math.max(1, buy ? mark + offset : mark - offset))
      }
      ticks = naiveProtection(buy, center, instrument.collarBps)
    }
    const value = BigInt(lots) * BigInt(ticks)
    return this.#expectRisk({ account, symbol, buy, lots, value, hold: { lots: BigInt(lots), value } })
  }

  #expectChange(command: Replace | Extract<Command, { kind: 'cancel' }>, timeUs: number): Expected {
    const { account, origClOrdId, orderId = '' } = command
    const named =
      origClOrdId === undefined ? Number(orderId.slice(2)) : this.#knows(account ?? '', origClOrdId)?.orderNumber
    const owner = named === undefined ? undefined : this.#ownerOf.get(named)
    if (named === undefined || owner === undefined) return { reason: 'ORDER_UNKNOWN' }
    if (origClOrdId === undefined && account !== undefined && account !== owner) return { reason: 'ORDER_NOT_OWNED' }
    if (command.kind === 'cancel') return { reason: undefined }
    const order = this.#seen.orders.get(named)
    const { quantity, price, stopPrice, expireAt: expireUs, clOrdId } = command
    if (order?.isOpen) {
      const { ordType } = order.record
      const isStop = ordType === 'STOP' || ordType === 'STOP_LIMIT'
      if (price !== undefined && ordType !== 'LIMIT' && ordType !== 'STOP_LIMIT') return { reason: 'INVALID_FIELD' }
      if (stopPrice !== undefined && !isStop) return { reason: 'INVALID_FIELD' }
      if (expireUs !== undefined && order.record.timeInForce !== 'GTD') return { reason: 'INVALID_FIELD' }
      const { lot, tick } = this.#instrumentOf(order)
      if (quantity !== undefined && this.#units(quantity, lot) > 9e15) return { reason: 'QUANTITY_OUT_OF_RANGE' }
      if (quantity !== undefined && this.#units(quantity, lot) < 0) return { reason: 'QUANTITY_OFF_LOT' }
      if (price !== undefined && this.#units(price, tick) > 9e15) return { reason: 'PRICE_OUT_OF_RANGE' }
      if (price !== undefined && this.#units(price, tick) < 0) return { reason: 'PRICE_OFF_TICK' }
      if (stopPrice !== undefined && this.#units(stopPrice, tick) > 9e15) return { reason: 'PRICE_OUT_OF_RANGE' }
      if (stopPrice !== undefined && this.#units(stopPrice, tick) < 0) return { reason: 'PRICE_OFF_TICK' }
    }
    if (clOrdId !== undefined && this.#knows(owner, clOrdId)) return { reason: 'DUPLICATE_CL_ORD_ID' }
    if (!order?.isOpen) return { reason: 'ORDER_CLOSED' }
    if (expireUs !== undefined && expireUs <= timeUs) return { reason: 'ORDER_EXPIRY_PAST' }
    return this.#expectReplace(order, command)
  }

  #expectReplace(order: NaiveOrder, { quantity, price, stopPrice }: Replace): Expected {
    const { lot, tick } = this.#instrumentOf(order)
    const replace = {
      cmdSeq: 0,
      quantityLots: quantity === undefined ? undefined : this.#units(quantity, lot),
      priceTicks: price === undefined ? undefined : this.#units(price, tick),
      stopTicks: stopPrice === undefined ? undefined : this.#units(stopPrice, tick),
    }
    const pending = [...order.pending, replace]
    const before = naiveHoldOf(order)
    const hold = naiveHoldOf(order, pending)
    if (hold.lots <= before.lots && hold.value <= before.value)
      return { reason: undefined, checkIsRight: (check) => !check }
    const outcomes = outcomesOf(order, pending)
    const { account, symbol, side } = order.record
    return this.#expectRisk({
      ...{ account, symbol, buy: side === 'BUY', hold, instead: order },
      lots: Math.max(...outcomes.map(({ lots }) => lots)),
      value: outcomes
        .map(({ lots, ticks }) => BigInt(lots) * BigInt(ticks))
        .reduce((most, value) => (value > most ? value : most)),
    })
  }

  #expectRisk(demand: NaiveDemand): Expected {
    const checks = naiveChecks(this.#seen, this.#instruments, this.#limits, this.#halted, demand)
    if (checks === 'halted') return { reason: 'RISK_HALTED' }
    if (checks === 'blocked') return { reason: 'RISK_SYMBOL_BLOCKED' }
    const isReducing = !checks.some(({ rule }) => rule === 'RISK_MAX_POSITION')
    const broken = checks.find(({ actual, limit }) => actual > limit)
    if (isReducing && !broken) this.#count('reduces')
    if (!broken) return { reason: undefined, checkIsRight: (check) => !!check && isTightest(check, checks) }
    const checkIsRight = (check: RuleCheck | undefined) => !!check && isTightest(check, [broken])
    return { reason: broken.rule as RejectReason, checkIsRight }
  }

  #instrumentOf(order: NaiveOrder): Instrument {
    const instrument = this.#instruments.get(order.record.symbol)
    if (!instrument) throw new Error(order.record.symbol)
    return instrument
  }

  /** The generator's own numbers read back; −1 for those that are not whole, having been made so or for another tick. */
  #units(text: string, unit: Instrument['tick']): number {
    const [whole = '', fraction = ''] = text.split('.')
    const scaled = BigInt(whole + fraction.padEnd(30, '0'))
    const step = BigInt(unit.mantissa) * 10n ** BigInt(30 - unit.scale)
    return scaled % step === 0n || scaled / step > 9e15 ? Number(scaled / step) : -1
  }

  #compare(command: Command, record: RiskRecord, { reason, checkIsRight }: Expected): void {
    const actual = record.type === 'reject' ? record.reason : undefined
    const check = 'check' in record ? record.check : undefined
    this.#count(`${command.kind} ${actual ?? 'passed'}`)
    if (actual !== reason || (checkIsRight && !checkIsRight(check)))
      throw new Error(`${JSON.stringify(command)}: expected ${reason ?? 'to pass'}, got ${JSON.stringify(record)}`)
  }

  #remember(command: Command, record: RiskRecord): void {
    const refusal = record.type === 'reject' ? record.reason : undefined
    if (command.kind === 'new') this.#ownerOf.set(this.#srcSeq, command.account ?? '')
    const naming = command.kind === 'new' || command.kind === 'replace'
    const nameless = ['INVALID_FIELD', 'DUPLICATE_CL_ORD_ID', 'SYSTEM_STORAGE']
    if (naming && command.clOrdId !== undefined && !nameless.includes(refusal ?? '')) {
      const target =
        record.type === 'replace'
          ? record.target
          : record.type === 'reject' && record.kind === 'replace' && record.echo.orderId !== undefined
            ? Number(record.echo.orderId.slice(2))
            : this.#srcSeq
      const owner = this.#ownerOf.get(target)
      const account = command.account ?? owner
      if (account !== undefined && !this.#knows(account, command.clOrdId)) {
        const orderNumber = owner === account ? target : this.#srcSeq
        this.#registrations.push({ account, clOrdId: command.clOrdId, orderNumber, freed: false })
      }
    }
    for (const view of [this.#seen, this.#truth]) {
      if (record.type === 'new') view.accept(record)
      if (record.type === 'replace') view.replace(record)
    }
  }

  // The venue: honest, but as nasty as the records allow.

  #pending(): RiskRecord[] {
    return this.#riskLog.flatMap(({ records }) => records)
  }

  #process(): void {
    const record = this.#pending()[this.#processed]
    if (!record) throw new Error('nothing to process')
    this.#processed += 1
    if (record.type === 'limits' || record.type === 'halt') return
    const reports = this.#outcomeOf(record)
    // Orders of the venue fill whenever somebody comes for them.
    for (let left = this.#chance(0.5) ? this.#below(3) : 0; left > 0; left -= 1) {
      // The truth of a replaced order is told with these very reports.
      const others = this.#live(reports).filter(
        ({ orderNumber }) => record.type !== 'replace' || orderNumber !== record.target,
      )
      const order = this.#pickAny(others)
      if (order) reports.push(...this.#fill(order, reports))
    }
    this.#emit(record.cmdSeq, reports)
  }

  readonly #accepted = new Set<number>()

  /** Orders that the venue has taken and whose end neither it nor these reports have told. */
  #live(reports: readonly Report[]): NaiveOrder[] {
    const ended = new Set(reports.filter(({ ends }) => ends).map(({ orderNumber }) => orderNumber))
    return this.#truth.open().filter(({ orderNumber }) => this.#accepted.has(orderNumber) && !ended.has(orderNumber))
  }

  #outcomeOf(record: RiskRecord): Report[] {
    const simple = (orderNumber: number, execType: string, ordStatus: string, ends: boolean): Report[] => [
      { orderNumber, ends, lots: 0, json: { orderId: `o-${orderNumber}`, execType, ordStatus } },
    ]
    const live = (orderNumber: number) => this.#live([]).find((order) => order.orderNumber === orderNumber)
    switch (record.type) {
      case 'new': {
        if (this.#chance(0.05)) {
          const rejected = simple(record.srcSeq, 'Rejected', 'Rejected', true)
          if (this.#chance(0.3) && rejected[0]) {
            rejected[0].json['ordRejReason'] = 'SYSTEM_COMMAND_FAULT'
            this.#frees.set(record.cmdSeq, { account: record.account, clOrdId: record.clOrdId })
          }
          return rejected
        }
        this.#accepted.add(record.srcSeq)
        const order = this.#truth.order(record.srcSeq)
        const reports = simple(record.srcSeq, 'New', 'New', false)
        // A trailing stop starts where the venue's last trade is, and stands elsewhere when it triggers.
        if (record.ordType === 'TRAILING_STOP') this.#moveStop(order, reports)
        if (record.ordType === 'TRAILING_STOP' && this.#chance(0.5)) {
          reports.push(...simple(record.srcSeq, 'Triggered', 'New', false))
          this.#moveStop(order, reports)
        }
        if (this.#chance(0.5)) reports.push(...this.#fill(order, reports))
        const isImmediate = record.timeInForce === 'IOC' || record.timeInForce === 'FOK'
        if (isImmediate && !reports.some(({ ends }) => ends))
          reports.push(...simple(record.srcSeq, 'Expired', 'Expired', true))
        return reports
      }
      case 'cancel':
        return live(record.target)
          ? simple(record.target, 'Canceled', 'Canceled', true)
          : simple(record.target, 'CancelRejected', 'Filled', false)
      case 'massCancel':
        return this.#live([])
          .filter(({ record: { account } }) => account === (record.account ?? account))
          .filter(({ record: { symbol } }) => symbol === (record.symbol ?? symbol))
          .flatMap(({ orderNumber }) => simple(orderNumber, 'Canceled', 'Canceled', true))
      case 'expire':
        return live(record.target) ? simple(record.target, 'Expired', 'Expired', true) : []
      case 'replace': {
        const order = live(record.target)
        if (!order || (record.quantityLots ?? order.quantityLots) <= order.cumLots || this.#chance(0.25)) {
          const refused = simple(record.target, 'ReplaceRejected', 'New', false)
          if (this.#chance(0.1) && refused[0]) {
            refused[0].json['ordRejReason'] = 'SYSTEM_COMMAND_FAULT'
            const { account } = this.#truth.order(record.target).record
            this.#frees.set(record.cmdSeq, { account, clOrdId: record.clOrdId })
          }
          return refused
        }
        const reports = simple(record.target, 'Replaced', 'New', false)
        if (this.#chance(0.4)) {
          const { quantityLots = order.quantityLots } = record
          const ticks = outcomesOf(order, [record])[1]?.ticks ?? order.ticks
          reports.push(...this.#fill({ ...order, quantityLots, ticks }, reports))
        }
        return reports
      }
      case 'reject': {
        const { kind, echo } = record
        const orderId = echo.orderId ?? `o-${record.srcSeq}`
        const execType = kind === 'new' ? 'Rejected' : kind === 'replace' ? 'ReplaceRejected' : 'CancelRejected'
        return [{ orderNumber: 0, ends: false, lots: 0, json: { orderId, execType, ordStatus: 'Rejected' } }]
      }
      case 'limits':
      case 'halt':
        return []
    }
  }

  readonly #frees = new Map<number, { account: string; clOrdId: string | undefined }>()

  /** Tells another stop price with the last report. */
  #moveStop(order: NaiveOrder, reports: readonly Report[]): void {
    const { middleTicks, bandTicks } = this.#flavour
    const ticks = middleTicks - bandTicks + this.#below(2 * bandTicks)
    const last = reports[reports.length - 1]
    if (last) last.json['stopPrice'] = textFromUnits(ticks, this.#instrumentOf(order).tick)
  }

  #fill(order: NaiveOrder, before: readonly Report[]): Report[] {
    const filled = before
      .filter(({ orderNumber }) => orderNumber === order.orderNumber)
      .reduce((total, { lots }) => total + lots, 0)
    const leavesLots = order.quantityLots - order.cumLots - filled
    const lots = this.#chance(0.4) ? leavesLots : 1 + this.#below(leavesLots)
    const { tick, lot } = this.#instrumentOf(order)
    const better = this.#below(Math.min(30, order.ticks - 1))
    const ticks = order.record.side === 'BUY' ? order.ticks - better : Math.min(9e15, order.ticks + better)
    const ends = lots === leavesLots
    const json = {
      orderId: `o-${order.orderNumber}`,
      execType: 'Trade',
      ordStatus: ends ? 'Filled' : 'PartiallyFilled',
      lastQty: textFromUnits(lots, lot),
      lastPx: textFromUnits(ticks, tick),
    }
    return [{ orderNumber: order.orderNumber, ends, lots, json }]
  }

  #emit(cmdSeq: number, reports: readonly Report[]): void {
    const texts = reports.map(({ json }) =>
      JSON.stringify({ execId: `${cmdSeq}-1`, ...json }).replace(/"(last\w+|stopPrice)":"([^"]*)"/g, '"$1":$2'),
    )
    const at = texts.length > 1 && this.#chance(0.3) ? 1 + this.#below(texts.length - 1) : texts.length
    const parts = at < texts.length ? [texts.slice(0, at), texts.slice(at)] : [texts]
    parts.forEach((part, index) => {
      const label = parts.length > 1 ? `,"part":"${index + 1}/${parts.length}"` : ''
      const json = `{"cmdSeq":${cmdSeq},"transactTime":"x"${label},"reports":[${part.join(',')}]}`
      const message = parseOwnJson(json) as ExecutionMessage
      this.#executionsLog.push(message)
      this.#truth.apply(message)
    })
    if (this.#chance(0.01)) this.#executionsLog.push({ epoch: cmdSeq, cmdSeq: 0, transactTime: 'x', reports: [] })
  }

  #deliver(): void {
    const message = this.#executionsLog[this.#delivered]
    if (!message) throw new Error('nothing to deliver')
    this.#delivered += 1
    this.gate.feedback(this.#delivered, message)
    this.#seen.apply(message)
    const freed = this.#frees.get(message.cmdSeq)
    for (const registration of this.#registrations)
      if (registration.account === freed?.account && registration.clOrdId === freed.clOrdId)
        registration.freed ||= this.#knows(freed.account, registration.clOrdId) === registration
    this.#frees.delete(message.cmdSeq)
    this.gate.checkInvariants()
    this.#checkSafety()
  }

  // What must hold after every step.

  /** Holds are the model's, and whatever fills next, no position passes its limit or what it could become before. */
  #checkSafety(): void {
    for (const account of accounts) {
      for (const symbol of this.#instruments.keys()) {
        const key = `${account} ${symbol}`
        const seen = this.#seen.exposure(account, symbol)
        const held = this.gate.exposure(account, symbol)
        const same =
          BigInt(held?.positionLots ?? 0) === seen.position &&
          BigInt(held?.buyLots ?? 0) === seen.buy.lots &&
          BigInt(held?.buyValue ?? 0) === seen.buy.value &&
          BigInt(held?.sellLots ?? 0) === seen.sell.lots &&
          BigInt(held?.sellValue ?? 0) === seen.sell.value &&
          (held?.openOrders ?? 0) === seen.open
        if (!same) throw new Error(`${key}: the gate's holds are not the model's`)
        const worst = naiveWorstPosition(seen)
        if (naiveWorstPosition(this.#truth.exposure(account, symbol)) > worst)
          throw new Error(`${key}: more can happen than the gate holds for`)
        const limits = [
          this.#limits.get(`account.${account}`)?.maxPosition ?? this.#limits.get('default')?.maxPosition,
          this.#limits.get(`symbol.${symbol}`)?.maxPosition,
        ]
        const { lot } = this.#instruments.get(symbol) ?? {}
        for (const limit of limits) {
          if (limit === undefined || !lot) continue
          const [whole = '', fraction = ''] = String(limit).split('.')
          const limitLots =
            BigInt(whole + fraction.padEnd(18, '0')) / (BigInt(lot.mantissa) * 10n ** BigInt(18 - lot.scale))
          if (worst > limitLots && worst > (this.#worst.get(key) ?? 0n))
            throw new Error(`${key}: ${worst} lots may come, ${limitLots} are allowed`)
        }
        this.#worst.set(key, worst)
      }
    }
  }

  /** Cancels what is open, lets everything be reported, and looks at what is left. */
  #settle(): void {
    const records: RiskRecord[] = []
    for (const account of accounts) {
      this.#srcSeq += 1
      const command = { kind: 'mass_cancel', account } as const
      const decoded = { outcome: 'command', command } as const
      records.push(this.gate.decide({ srcSeq: this.#srcSeq, timeUs: this.#timeUs, kind: 'mass_cancel', decoded }))
    }
    this.#publish(records)
    while (this.#processed < this.#pending().length) this.#process()
    while (this.#delivered < this.#executionsLog.length) this.#deliver()
    this.#crash()
    if (this.gate.openOrders !== 0) throw new Error('orders are held that have ended')
    for (const account of accounts) {
      for (const symbol of this.#instruments.keys()) {
        const held = this.gate.exposure(account, symbol)
        if (!held) continue
        if (held.buyLots !== 0 || held.sellLots !== 0 || held.buyValue !== 0 || held.sellValue !== 0)
          throw new Error(`${account} ${symbol}: holds are left`)
        if (BigInt(held.positionLots) !== (this.#truth.positions.get(`${account} ${symbol}`) ?? 0n))
          throw new Error(`${account} ${symbol}: the position is another`)
      }
    }
  }
}

interface Report {
  readonly orderNumber: number
  readonly ends: boolean
  readonly lots: number
  readonly json: Record<string, unknown>
}

function play(seed: number, outcomes: Map<string, number>): number {
  try {
    return new Run(seed, outcomes).play(decisionsPerRun)
  } catch (error) {
    t.comment(`again: SEED=${seed} npx tap test/property/gate.test.ts`)
    throw error
  }
}

const { SEED } = process.env
const first = SEED === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(SEED)

void t.test(
  `P1.10 P2.01 P2.05 P4.03 no burst passes a limit, however interleaved with fills: seeds from ${first}`,
  (t) => {
    const outcomes = new Map<string, number>()
    let decisions = 0
    for (let run = 0; run < (SEED === undefined ? runs : 1); run += 1) decisions += play(first + run, outcomes)
    t.comment(`${decisions} decisions: ${JSON.stringify(Object.fromEntries([...outcomes].sort()))}`)
    if (SEED === undefined) {
      t.ok(decisions >= 50_000)
      for (const outcome of [
        ...[
          'RISK_MAX_QUANTITY',
          'RISK_MAX_ORDER_VALUE',
          'RISK_MAX_POSITION',
          'RISK_GROSS_EXPOSURE',
          'RISK_SYMBOL_BLOCKED',
          'RISK_HALTED',
        ].flatMap((reason) => [`new ${reason}`, `replace ${reason}`]),
        ...[
          'new RISK_MAX_OPEN_ORDERS',
          'new passed',
          'replace passed',
          'cancel passed',
          'expire',
          'crash',
          'crash with a snapshot',
          'reduces',
        ],
        ...[
          'halt all',
          'halt account with cancel',
          'halt symbol with cancel',
          'resume account',
          'replace INVALID_FIELD',
        ],
        ...[
          'new DUPLICATE_CL_ORD_ID',
          'replace DUPLICATE_CL_ORD_ID',
          'new PRICE_NO_REFERENCE',
          'new ORDER_EXPIRY_PAST',
        ],
        ...['replace ORDER_CLOSED', 'cancel ORDER_UNKNOWN', 'cancel ORDER_NOT_OWNED', 'new SYSTEM_STORAGE'],
      ])
        t.ok((outcomes.get(outcome) ?? 0) >= 5, `${outcome}: ${outcomes.get(outcome) ?? 0} times`)
    }
    t.end()
  },
)

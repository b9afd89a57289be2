import { textFromUtf8 } from '../base/json.ts'
import type { OrdType, Side, StpMode, TimeInForce } from './enums.ts'
import type { InstrumentDefinition } from './instrument.ts'
import type { LimitSet } from './limits.ts'
import type { RejectReason } from './reject-reasons.ts'

/** Common to all records of RISK. Prices in ticks, quantities in lots, times in µs since the Unix epoch. */
export interface RecordBase {
  /** Running number of records in RISK, from 1, without gaps. */
  readonly cmdSeq: number
  /** Sequence in ORDERS of the command this record answers; 0 when the gate issued it. */
  readonly srcSeq: number
  readonly timeUs: number
  readonly clOrdId?: string
  readonly traceparent?: string
}

/** The rule that an order came closest to breaking, or broke; amounts are decimal text. */
export interface RuleCheck {
  readonly rule: string
  readonly limit: string
  readonly actual: string
}

/** An accepted new order. Its order number is `srcSeq`. */
export interface NewRecord extends RecordBase {
  readonly type: 'new'
  readonly account: string
  readonly symbol: string
  readonly side: Side
  readonly ordType: OrdType
  readonly timeInForce: TimeInForce
  readonly quantityLots: number
  /** LIMIT and STOP_LIMIT. */
  readonly priceTicks?: number
  /**
   * MARKET: the matcher never trades through this price. STOP and TRAILING_STOP: what it is held at; when it triggers,
   * the matcher takes its own from the stop price.
   */
  readonly protectionTicks?: number
  /** STOP and STOP_LIMIT; of a TRAILING_STOP where it starts while the symbol has no trade. */
  readonly stopTicks?: number
  readonly trailingTicks?: number
  /** Less than the quantity. */
  readonly displayLots?: number
  /** DAY and GTD. */
  readonly expireUs?: number
  readonly postOnly?: true
  readonly reduceOnly?: true
  readonly stpMode?: StpMode
  readonly check?: RuleCheck
}

export interface CancelRecord extends RecordBase {
  readonly type: 'cancel'
  /** Number of the order to cancel. */
  readonly target: number
  readonly origClOrdId?: string
}

/** Changes an order; what is absent stays as it is. */
export interface ReplaceRecord extends RecordBase {
  readonly type: 'replace'
  readonly target: number
  readonly origClOrdId?: string
  /** Total quantity, filled part included. */
  readonly quantityLots?: number
  readonly priceTicks?: number
  readonly stopTicks?: number
  readonly expireUs?: number
  readonly check?: RuleCheck
}

/** Cancels every open order that fits; without `account`, of all accounts. */
export interface MassCancelRecord extends RecordBase {
  readonly type: 'massCancel'
  readonly account?: string
  readonly symbol?: string
  readonly side?: Side
}

/** What a refused command said, as far as it was readable; decimals are canonical text. */
export interface CommandEcho {
  /** The order a cancel or replace names, as given. */
  readonly orderId?: string
  readonly origClOrdId?: string
  readonly refOrderId?: string
  readonly account?: string
  readonly symbol?: string
  readonly side?: Side
  readonly ordType?: OrdType
  readonly timeInForce?: TimeInForce
  readonly quantity?: string
  readonly price?: string
  readonly stopPrice?: string
}

export type CommandKind = 'new' | 'cancel' | 'replace' | 'mass_cancel'

/** A command that the gate refused: the matcher only reports it. */
export interface RejectRecord extends RecordBase {
  readonly type: 'reject'
  readonly kind: CommandKind
  readonly reason: RejectReason
  readonly text: string
  readonly echo: CommandEcho
  readonly check?: RuleCheck
}

/** DAY and GTD orders whose time has come. Issued by the gate. */
export interface ExpireRecord extends RecordBase {
  readonly type: 'expire'
  readonly target: number
}

/** A changed entry of KV LIMITS takes effect here; null removes it. Issued by the gate; has no report. */
export interface LimitsRecord extends RecordBase {
  readonly type: 'limits'
  readonly revision: number
  readonly key: string
  readonly limits: LimitSet | null
}

/** What a halt stops: everybody, one account or one symbol. */
export interface HaltTarget {
  readonly scope: 'all' | 'account' | 'symbol'
  /** Unless `scope` is all. */
  readonly name?: string
}

/** A changed halt of KV LIMITS takes effect here. Issued by the gate; has no report. */
export interface HaltRecord extends RecordBase, HaltTarget {
  readonly type: 'halt'
  readonly revision: number
  /** false: trading is resumed. */
  readonly halted: boolean
}

export type RiskRecord =
  NewRecord | CancelRecord | ReplaceRecord | MassCancelRecord | RejectRecord | ExpireRecord | LimitsRecord | HaltRecord

/** One message of RISK: the gate's decisions over one batch. */
export interface RiskMessage {
  /** Set in the record with which a gate takes over; `records` is then empty. */
  readonly epoch?: number
  /** Last EXECUTIONS sequence that the gate had folded in when it decided this batch. */
  readonly executionsSeq: number
  /** Largest revision of KV LIMITS in force. */
  readonly limitsRevision: number
  /** Definitions that hold from this message on: symbols used for the first time, and changed fees. */
  readonly instruments?: readonly InstrumentDefinition[]
  readonly records: readonly RiskRecord[]
}

const recordTypes: ReadonlySet<unknown> = new Set<RiskRecord['type']>([
  ...(['new', 'cancel', 'replace', 'massCancel', 'reject', 'expire', 'limits', 'halt'] as const),
])

/**
 * Reads a message of RISK that our own gate wrote.
 * @throws Error when it plainly is none
 */
export function decodeRisk(data: Uint8Array): RiskMessage {
  const message = JSON.parse(textFromUtf8(data)) as Partial<RiskMessage> | null
  if (message === null || !Array.isArray(message.records)) throw new TypeError('it has no records')
  for (const record of message.records as readonly (Partial<RiskRecord> | null)[])
    if (!recordTypes.has(record?.type) || !Number.isSafeInteger(record?.cmdSeq))
      throw new TypeError('a record has no cmdSeq or type')
  return message as RiskMessage
}

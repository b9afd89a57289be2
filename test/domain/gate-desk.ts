import t from 'tap'
import { usPerDay } from '../../src/base/clock.ts'
import { Gate } from '../../src/domain/gate.ts'
import { decodeCommand } from '../../src/schemas/command.ts'
import type { ExecutionReport } from '../../src/schemas/execution.ts'
import type { InstrumentsConfig } from '../../src/schemas/instrument.ts'
import type { LimitSet } from '../../src/schemas/limits.ts'
import type { RejectReason } from '../../src/schemas/reject-reasons.ts'
import type { CommandKind, RejectRecord, RiskRecord } from '../../src/schemas/risk.ts'

export const noon = Date.UTC(2026, 10, 22, 12) * 1_000
export const instruments: InstrumentsConfig = {
  default: { tick: '0.01', lot: '0.001' },
  instruments: {
    REF: { referencePrice: '100' },
    ODD: { tick: '0.25', lot: '5', referencePrice: '10', collarBps: 300 },
  },
}

export type Body = Record<string, unknown>

/** A gate and the stream sequences around it; every step checks the gate's invariants. */
export class Desk {
  readonly gate: Gate
  srcSeq = 0
  timeUs = noon
  #executionsSeq = 0
  #revision = 0

  constructor(options: Partial<ConstructorParameters<typeof Gate>[0]> = {}) {
    this.gate = new Gate({ instruments, dayEndUs: usPerDay, ...options })
  }

  send(kind: CommandKind, body: Body | string, options: { account?: string; storageFull?: boolean } = {}): RiskRecord {
    this.srcSeq += 1
    this.timeUs += 1
    const text = typeof body === 'string' ? body : JSON.stringify(body)
    const decoded = decodeCommand(kind, Buffer.from(text), options.account)
    const { storageFull = false } = options
    const record = this.gate.decide({ srcSeq: this.srcSeq, timeUs: this.timeUs, kind, decoded, storageFull })
    this.gate.checkInvariants()
    return record
  }

  /** A LIMIT order that must pass. @returns its number */
  order(side: 'BUY' | 'SELL', quantity: number | string, price: number | string, more: Body = {}): number {
    const record = this.send('new', limit(side, quantity, price, more))
    t.equal(record.type, 'new', `an order that must pass: ${JSON.stringify(record)}`)
    return this.srcSeq
  }

  limits(key: string, limits: LimitSet | null): void {
    this.#revision += 1
    this.gate.changeLimits({ revision: this.#revision, key, limits }, this.timeUs)
  }

  halt(
    scope: 'all' | 'account' | 'symbol',
    name?: string,
    more: { halted?: boolean; cancel?: boolean } = {},
  ): RiskRecord[] {
    this.#revision += 1
    const target = name === undefined ? { scope } : { scope, name }
    const change = { ...target, revision: this.#revision, halted: true, cancel: false, ...more }
    return this.gate.changeHalt(change, this.timeUs)
  }

  /** One message of EXECUTIONS. */
  report(cmdSeq: number, ...reports: readonly Partial<ExecutionReport>[]): void {
    this.#executionsSeq += 1
    const full = reports.map((report) => ({ execId: 'x', transactTime: 'x', orderId: 'o-0', ...report }))
    this.gate.feedback(this.#executionsSeq, {
      cmdSeq,
      transactTime: 'x',
      reports: full as unknown as ExecutionReport[],
    })
    this.gate.checkInvariants()
  }

  fill(order: number, quantity: number, price: number, ordStatus: 'PartiallyFilled' | 'Filled'): void {
    this.report(0, { orderId: `o-${order}`, execType: 'Trade', ordStatus, lastQty: quantity, lastPx: price })
  }

  end(order: number, how: 'Canceled' | 'Expired'): void {
    this.report(0, { orderId: `o-${order}`, execType: how, ordStatus: how })
  }

  /** Buys (or, negative, sells) until the default account has this position in S. */
  position(quantity: number, price = 100): void {
    this.fill(this.order(quantity > 0 ? 'BUY' : 'SELL', Math.abs(quantity), price), Math.abs(quantity), price, 'Filled')
  }
}

export function limit(side: string, quantity: number | string, price: number | string, more: Body = {}): Body {
  return { symbol: 'S', side, type: 'LIMIT', quantity, price, ...more }
}

/** An order of a type in REF, whose mark is 100. */
export function stop(type: string, more: Body = {}): Body {
  return {
    ...{ symbol: 'REF', side: 'SELL', type, quantity: 1 },
    ...(type === 'STOP' || type === 'STOP_LIMIT' ? { stopPrice: 90 } : {}),
    ...(type === 'LIMIT' || type === 'STOP_LIMIT' ? { price: 89 } : {}),
    ...(type === 'TRAILING_STOP' ? { trailingOffset: 4 } : {}),
    ...more,
  }
}

export function reasonOf(record: RiskRecord): RejectReason | undefined {
  return record.type === 'reject' ? record.reason : undefined
}

export function refused(record: RiskRecord): RejectRecord {
  t.equal(record.type, 'reject', JSON.stringify(record))
  return record as RejectRecord
}

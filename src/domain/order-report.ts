import type { Exact } from '../base/decimal.ts'
import type { ExecType, Liquidity, OrdStatus } from '../schemas/enums.ts'
import type { ReportValue } from '../schemas/execution.ts'
import type { RejectReason } from '../schemas/reject-reasons.ts'
import type { CommandEcho, RecordBase } from '../schemas/risk.ts'
import type { Order } from './order.ts'

/** All reports have one shape, which keeps their readers fast. */
class OrderReport implements ReportValue {
  execType: ExecType = 'New'
  ordStatus: OrdStatus = 'New'
  order: Order | undefined = undefined
  clOrdId: string | undefined = undefined
  origClOrdId: string | undefined = undefined
  lastLots = 0
  lastTicks = 0
  leavesLots = 0
  cumLots = 0
  cumCost: Exact = 0
  liquidity: Liquidity | undefined = undefined
  fee: Exact = 0
  reason: RejectReason | undefined = undefined
  text: string | undefined = undefined
  echo: CommandEcho | undefined = undefined
  traceparent: string | undefined = undefined
}

/** Reports that are kept for the next record; more than a command causes but in rare cases. */
const keptMax = 256

/** The reports of one record, in order. They are written over by those of the next: nothing is allocated for most. */
export class Reports {
  readonly #kept: OrderReport[] = []
  /** At n the first n of those kept. */
  readonly #lists: (readonly OrderReport[])[] = []
  #count = 0

  /** Starts the reports of the next record. */
  clear(): void {
    this.#count = 0
    if (this.#kept.length > keptMax) this.#kept.length = keptMax
  }

  get values(): readonly OrderReport[] {
    const count = this.#count
    return count > keptMax ? this.#kept.slice(0, count) : (this.#lists[count] ??= this.#kept.slice(0, count))
  }

  /** An order begins, wakes or ends by itself: New, Triggered, Expired. */
  order(
    execType: ExecType,
    ordStatus: OrdStatus,
    order: Order,
    leavesLots: number,
    traceparent: string | undefined,
  ): void {
    // prettier-ignore
    this.#put(
      execType, ordStatus, order, undefined, undefined, 0, 0, leavesLots, undefined, 0, undefined, undefined, undefined,
      traceparent,
    )
  }

  /** One side of a fill, after it. */
  trade(
    order: Order,
    lastLots: number,
    lastTicks: number,
    liquidity: Liquidity,
    fee: Exact,
    traceparent: string | undefined,
  ): void {
    // prettier-ignore
    this.#put(
      'Trade', order.status, order, undefined, undefined, lastLots, lastTicks, order.leavesLots, liquidity, fee,
      undefined, undefined, undefined, traceparent,
    )
  }

  /**
   * A command did, or failed to do, something to an order: Canceled, Replaced, CancelRejected, ReplaceRejected, Rejected.
   * @param origClOrdId the order's before the command; reported when the command brings a clOrdId of its own
   */
  command(
    execType: ExecType,
    ordStatus: OrdStatus,
    order: Order,
    origClOrdId: string | undefined,
    leavesLots: number,
    command: RecordBase,
    reason?: RejectReason,
    text?: string,
  ): void {
    const own = command.clOrdId
    // prettier-ignore
    this.#put(
      execType, ordStatus, order, own ?? order.clOrdId, own === undefined ? undefined : origClOrdId, 0, 0, leavesLots,
      undefined, 0, reason, text, undefined, command.traceparent,
    )
  }

  /** A refused command that met no order. */
  echo(
    execType: ExecType,
    ordStatus: OrdStatus,
    command: RecordBase,
    origClOrdId: string | undefined,
    reason: RejectReason,
    text: string,
    echo: CommandEcho,
  ): void {
    // prettier-ignore
    this.#put(
      execType, ordStatus, undefined, command.clOrdId, origClOrdId, 0, 0, 0, undefined, 0, reason, text, echo,
      command.traceparent,
    )
  }

  #put(
    execType: ExecType,
    ordStatus: OrdStatus,
    order: Order | undefined,
    clOrdId: string | undefined,
    origClOrdId: string | undefined,
    lastLots: number,
    lastTicks: number,
    leavesLots: number,
    liquidity: Liquidity | undefined,
    fee: Exact,
    reason: RejectReason | undefined,
    text: string | undefined,
    echo: CommandEcho | undefined,
    traceparent: string | undefined,
  ): void {
    const report = (this.#kept[this.#count] ??= new OrderReport())
    this.#count += 1
    report.execType = execType
    report.ordStatus = ordStatus
    report.order = order
    report.clOrdId = clOrdId
    report.origClOrdId = origClOrdId
    report.lastLots = lastLots
    report.lastTicks = lastTicks
    report.leavesLots = leavesLots
    report.cumLots = order === undefined ? 0 : order.cumLots
    report.cumCost = order === undefined ? 0 : order.cumCost
    report.liquidity = liquidity
    report.fee = fee
    report.reason = reason
    report.text = text
    report.echo = echo
    report.traceparent = traceparent
  }
}

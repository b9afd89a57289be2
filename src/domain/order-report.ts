import type { Exact } from '../base/decimal.ts'
import type { ExecType, Liquidity, OrdStatus } from '../schemas/enums.ts'
import type { ReportValue } from '../schemas/execution.ts'
import type { RejectReason } from '../schemas/reject-reasons.ts'
import type { CommandEcho, RecordBase } from '../schemas/risk.ts'
import type { Order } from './order.ts'

/** One constructor that sets every field: reports of all kinds have the same shape, which keeps their readers fast. */
export class OrderReport implements ReportValue {
  readonly execType: ExecType
  readonly ordStatus: OrdStatus
  readonly order: Order | undefined
  readonly clOrdId: string | undefined
  readonly origClOrdId: string | undefined
  readonly lastLots: number
  readonly lastTicks: number
  readonly leavesLots: number
  readonly cumLots: number
  readonly cumCost: Exact
  readonly liquidity: Liquidity | undefined
  readonly fee: Exact
  readonly reason: RejectReason | undefined
  readonly text: string | undefined
  readonly echo: CommandEcho | undefined
  readonly traceparent: string | undefined

  constructor(
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
  ) {
    this.execType = execType
    this.ordStatus = ordStatus
    this.order = order
    this.clOrdId = clOrdId
    this.origClOrdId = origClOrdId
    this.lastLots = lastLots
    this.lastTicks = lastTicks
    this.leavesLots = leavesLots
    this.cumLots = order === undefined ? 0 : order.cumLots
    this.cumCost = order === undefined ? 0 : order.cumCost
    this.liquidity = liquidity
    this.fee = fee
    this.reason = reason
    this.text = text
    this.echo = echo
    this.traceparent = traceparent
  }
}

/** The reports of one record, in order. */
export class Reports {
  #values: OrderReport[] = []

  /** Starts the reports of the next record. */
  clear(): void {
    this.#values = []
  }

  get values(): readonly OrderReport[] {
    return this.#values
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
    this.#values.push(new OrderReport(
      execType, ordStatus, order, undefined, undefined, 0, 0, leavesLots, undefined, 0, undefined, undefined, undefined,
      traceparent,
    ))
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
    this.#values.push(new OrderReport(
      'Trade', order.status, order, undefined, undefined, lastLots, lastTicks, order.leavesLots, liquidity, fee,
      undefined, undefined, undefined, traceparent,
    ))
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
    this.#values.push(new OrderReport(
      execType, ordStatus, order, own ?? order.clOrdId, own === undefined ? undefined : origClOrdId, 0, 0, leavesLots,
      undefined, 0, reason, text, undefined, command.traceparent,
    ))
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
    this.#values.push(new OrderReport(
      execType, ordStatus, undefined, command.clOrdId, origClOrdId, 0, 0, 0, undefined, 0, reason, text, echo,
      command.traceparent,
    ))
  }
}

import type { Exact } from '../base/decimal.ts'
import type { OrdType, TimeInForce } from '../schemas/enums.ts'
import type { Exposure } from './exposure.ts'
import type { HeldOrder, PendingReplace, Terms } from './held-order.ts'
import { numberAt, numberColumn, textColumn, textsOf, type TextColumn } from './columns.ts'

/** The orders that the gate holds for, in the order of acceptance, then ended ones whose replaces are not answered. */
export interface HeldOrdersState {
  readonly openCount: number
  readonly orderNumber: Float64Array
  readonly cmdSeq: Float64Array
  readonly account: TextColumn
  readonly symbol: TextColumn
  readonly clOrdId: readonly (string | undefined)[]
  readonly buy: Uint8Array
  readonly ordType: TextColumn
  readonly timeInForce: TextColumn
  readonly quantityLots: Float64Array
  readonly cumLots: Float64Array
  readonly holdTicks: Float64Array
  readonly stopTicks: Float64Array
  readonly expireUs: Float64Array
  readonly expiring: Uint8Array
  readonly heldLots: Float64Array
  readonly heldValue: readonly Exact[]
  /** By row, of orders with replaces that are not answered. */
  readonly replaced: readonly (readonly [row: number, pending: readonly PendingReplace[], possible: readonly Terms[]])[]
}

export function saveHeldOrders(open: readonly HeldOrder[], ended: readonly HeldOrder[]): HeldOrdersState {
  const orders = [...open, ...ended]
  const numbers = (valueOf: (order: HeldOrder) => number | undefined) => numberColumn(orders.map(valueOf))
  const flags = (valueOf: (order: HeldOrder) => boolean) => Uint8Array.from(orders, (order) => (valueOf(order) ? 1 : 0))
  const texts = (valueOf: (order: HeldOrder) => string) => textColumn(orders.map(valueOf))
  return {
    openCount: open.length,
    orderNumber: numbers((order) => order.orderNumber),
    cmdSeq: numbers((order) => order.cmdSeq),
    account: texts((order) => order.exposure.account.name),
    symbol: texts((order) => order.exposure.market.instrument.symbol),
    clOrdId: orders.map((order) => order.clOrdId),
    buy: flags((order) => order.buy),
    ordType: texts((order) => order.ordType),
    timeInForce: texts((order) => order.timeInForce),
    quantityLots: numbers((order) => order.quantityLots),
    cumLots: numbers((order) => order.cumLots),
    holdTicks: numbers((order) => order.holdTicks),
    stopTicks: numbers((order) => order.stopTicks),
    expireUs: numbers((order) => order.expireUs),
    expiring: flags((order) => order.expiring),
    heldLots: numbers((order) => order.heldLots),
    heldValue: orders.map((order) => order.heldValue),
    replaced: orders.flatMap(({ pending, possible }, row) =>
      pending.length > 0 ? [[row, [...pending], possible] as const] : [],
    ),
  }
}

/** The saved orders as they were. @param exposureOf where the holds of an account in a symbol are summed up */
export function* heldOrdersOf(
  state: HeldOrdersState,
  exposureOf: (account: string, symbol: string) => Exposure,
): Generator<HeldOrder> {
  const accounts = textsOf(state.account)
  const symbols = textsOf(state.symbol)
  const ordTypes = textsOf(state.ordType)
  const timesInForce = textsOf(state.timeInForce)
  const replaced = new Map(state.replaced.map(([row, pending, possible]) => [row, { pending, possible }]))
  for (let row = 0; row < state.orderNumber.length; row += 1) {
    const { pending = [], possible } = replaced.get(row) ?? {}
    const quantityLots = state.quantityLots[row] ?? 0
    const holdTicks = state.holdTicks[row] ?? 0
    yield {
      orderNumber: state.orderNumber[row] ?? 0,
      cmdSeq: state.cmdSeq[row] ?? 0,
      exposure: exposureOf(accounts[row] ?? '', symbols[row] ?? ''),
      clOrdId: state.clOrdId[row],
      buy: state.buy[row] === 1,
      ordType: ordTypes[row] as OrdType,
      timeInForce: timesInForce[row] as TimeInForce,
      quantityLots,
      cumLots: state.cumLots[row] ?? 0,
      holdTicks,
      stopTicks: numberAt(state.stopTicks, row),
      expireUs: numberAt(state.expireUs, row),
      expiring: state.expiring[row] === 1,
      pending: [...pending],
      possible: possible ?? [{ lots: quantityLots, ticks: holdTicks }],
      heldLots: state.heldLots[row] ?? 0,
      heldValue: state.heldValue[row] ?? 0,
    }
  }
}

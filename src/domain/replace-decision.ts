import type { Replace } from '../schemas/command.ts'
import { orderIdOf } from '../schemas/execution.ts'
import type { RecordBase, RejectRecord, ReplaceRecord, RuleCheck } from '../schemas/risk.ts'
import { checkRisk } from './admission.ts'
import type { GateState } from './gate-state.ts'
import { holdOf, withReplace, type HeldOrder, type PendingReplace } from './held-order.ts'
import { add, subtract } from './money.ts'
import { duplicateName, namedOrder } from './named-orders.ts'
import { expiryPast, isRefusal, lotsOf, ticksOf, type Refusal } from './order-terms.ts'
import { rejectRecord } from './reject-record.ts'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

export function decideReplace(state: GateState, base: RecordBase, command: Replace): ReplaceRecord | RejectRecord {
  const target = namedOrder(state, command)
  if (isRefusal(target)) return rejectRecord(base, command, target)
  const account = command.account ?? state.ownerOf(target)
  const refuse = (refusal: Refusal) => rejectRecord(base, command, refusal, target, account)
  const order = state.orders.get(target)
  const replace = order ? replaceTerms(base, command, order) : undefined
  if (replace && isRefusal(replace)) return refuse(replace)
  const duplicate = account === undefined ? undefined : duplicateName(state, account, command.clOrdId)
  if (duplicate) return refuse(duplicate)
  if (!order || !replace) return refuse({ reason: 'ORDER_CLOSED', text: `${orderIdOf(target)} is no longer open` })
  const { quantityLots, priceTicks, stopTicks, expireUs } = replace
  if (expireUs !== undefined && expireUs <= base.timeUs) return refuse(expiryPast(expireUs, base.timeUs))
  const check = checkReplace(state, order, replace)
  if (check && isRefusal(check)) return refuse(check)
  const record: Mutable<ReplaceRecord> = { ...base, type: 'replace', target }
  if (command.origClOrdId !== undefined) record.origClOrdId = command.origClOrdId
  if (quantityLots !== undefined) record.quantityLots = quantityLots
  if (priceTicks !== undefined) record.priceTicks = priceTicks
  if (stopTicks !== undefined) record.stopTicks = stopTicks
  if (expireUs !== undefined) record.expireUs = expireUs
  if (check) record.check = check
  return record
}

/** The changes a replace asks for, counted in the order's units. */
function replaceTerms({ cmdSeq, clOrdId }: RecordBase, command: Replace, order: HeldOrder): PendingReplace | Refusal {
  const { ordType, timeInForce, exposure } = order
  const { tick, lot } = exposure.market.instrument
  const { quantity, price, stopPrice, expireAt: expireUs } = command
  if (price !== undefined && ordType !== 'LIMIT' && ordType !== 'STOP_LIMIT')
    return { reason: 'INVALID_FIELD', text: `price does not apply to ${ordType}` }
  if (stopPrice !== undefined && ordType !== 'STOP' && ordType !== 'STOP_LIMIT')
    return { reason: 'INVALID_FIELD', text: `stopPrice does not apply to ${ordType}` }
  if (expireUs !== undefined && timeInForce !== 'GTD')
    return { reason: 'INVALID_FIELD', text: 'expireAt applies to timeInForce GTD only' }
  const quantityLots = quantity === undefined ? undefined : lotsOf('quantity', quantity, lot)
  if (quantityLots !== undefined && isRefusal(quantityLots)) return quantityLots
  const priceTicks = price === undefined ? undefined : ticksOf('price', price, tick)
  if (priceTicks !== undefined && isRefusal(priceTicks)) return priceTicks
  const stopTicks = stopPrice === undefined ? undefined : ticksOf('stopPrice', stopPrice, tick)
  if (stopTicks !== undefined && isRefusal(stopTicks)) return stopTicks
  return { cmdSeq, clOrdId, quantityLots, priceTicks, stopTicks, expireUs }
}

/** As if the order were new and its old hold gone; undefined when the hold does not grow. */
function checkReplace(state: GateState, order: HeldOrder, replace: PendingReplace): RuleCheck | Refusal | undefined {
  const possible = withReplace(order.possible, replace, order)
  const after = holdOf(possible, order.cumLots)
  if (after.lots <= order.heldLots && after.value <= order.heldValue) return undefined
  const { exposure, buy } = order
  return checkRisk(state, {
    exposure,
    buy,
    lots: after.lots + order.cumLots,
    value: holdOf(possible, 0).value,
    sideLots: add(buy ? exposure.buyLots : exposure.sellLots, after.lots - order.heldLots),
    sideValue: add(buy ? exposure.buyValue : exposure.sellValue, subtract(after.value, order.heldValue)),
    opens: false,
  })
}

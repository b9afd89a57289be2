import { targetOf, type Cancel, type Replace } from '../schemas/command.ts'
import { orderIdOf } from '../schemas/execution.ts'
import type { GateState } from './gate-state.ts'
import type { Refusal } from './order-terms.ts'

/** The number of the order a cancel or replace means. */
export function namedOrder(state: GateState, command: Cancel | Replace): number | Refusal {
  const { account, origClOrdId, orderId = '' } = command
  if (origClOrdId !== undefined) {
    const named = account === undefined ? undefined : state.clOrdIds.find(account, origClOrdId)
    // The name of a refused replace without a target is no order's.
    if (named !== undefined && state.ownerOf(named) !== undefined) return named
    return { reason: 'ORDER_UNKNOWN', text: `account ${account ?? ''} has no order ${origClOrdId}` }
  }
  const orderNumber = targetOf(command)
  const owner = orderNumber === undefined ? undefined : state.ownerOf(orderNumber)
  if (orderNumber === undefined || owner === undefined)
    return { reason: 'ORDER_UNKNOWN', text: `no order ${orderId} is known` }
  if (account !== undefined && account !== owner)
    return { reason: 'ORDER_NOT_OWNED', text: `${orderId} is not an order of account ${account}` }
  return orderNumber
}

/** @returns undefined when the account may use the name */
export function duplicateName(state: GateState, account: string, clOrdId: string | undefined): Refusal | undefined {
  if (clOrdId === undefined) return undefined
  const refOrderNumber = state.clOrdIds.find(account, clOrdId)
  if (refOrderNumber === undefined) return undefined
  const text = `account ${account} has used clOrdId ${clOrdId} for ${orderIdOf(refOrderNumber)}`
  return { reason: 'DUPLICATE_CL_ORD_ID', text, refOrderNumber }
}

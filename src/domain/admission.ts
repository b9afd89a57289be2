import { assert } from '../base/assert.ts'
import type { NewOrder } from '../schemas/command.ts'
import type { NewRecord, RuleCheck } from '../schemas/risk.ts'
import { type AccountExposure, Exposure, type Market } from './exposure.ts'
import type { GateState } from './gate-state.ts'
import { add, multiply } from './money.ts'
import { duplicateName } from './named-orders.ts'
import { countedTerms, protectedTerms, type NewTerms } from './new-order-terms.ts'
import { dayEndAfter, expiryPast, isRefusal, type Refusal } from './order-terms.ts'
import type { Demand } from './risk-rules.ts'

/** A new order that passed. */
export interface AdmittedOrder {
  readonly market: Market
  readonly terms: NewTerms
  readonly expireUs: number | undefined
  readonly check: RuleCheck
}

/**
 * All checks of a new order after its symbol's, in the order in which they are reported.
 * @param dayEndUs end of the day for DAY orders in µs after midnight UTC
 * @param portfolio judges the order by it instead of what the gate knows of the account
 */
export function admit(
  state: GateState,
  market: Market,
  command: NewOrder,
  timeUs: number,
  dayEndUs: number,
  portfolio?: AccountExposure,
): AdmittedOrder | Refusal {
  const { account, clOrdId, expireAt } = command
  assert(account !== undefined, 'a new order has an account')
  const counted = countedTerms(command, market.instrument)
  if (isRefusal(counted)) return counted
  const duplicate = duplicateName(state, account, clOrdId)
  if (duplicate) return duplicate
  if (expireAt !== undefined && expireAt <= timeUs) return expiryPast(expireAt, timeUs)
  const timeInForce = timeInForceOf(command)
  const expireUs = timeInForce === 'DAY' ? dayEndAfter(timeUs, dayEndUs) : timeInForce === 'GTD' ? expireAt : undefined
  const terms = protectedTerms(command, counted, market)
  if (isRefusal(terms)) return terms
  const value = multiply(terms.quantityLots, holdTicksOf(terms))
  const exposure = portfolio
    ? (portfolio.bySymbol.get(command.symbol) ?? new Exposure(portfolio, market))
    : state.exposureIn(market, account)
  const buy = command.side === 'BUY'
  const check = checkRisk(state, {
    exposure,
    buy,
    lots: terms.quantityLots,
    value,
    sideLots: add(buy ? exposure.buyLots : exposure.sellLots, terms.quantityLots),
    sideValue: add(buy ? exposure.buyValue : exposure.sellValue, value),
    opens: true,
  })
  return isRefusal(check) ? check : { market, terms, expireUs, check }
}

/** The price at which an order counts against limits. */
export function holdTicksOf({ priceTicks, protectionTicks }: NewTerms): number {
  const holdTicks = priceTicks ?? protectionTicks
  assert(holdTicks !== undefined, 'an order has a price to hold at')
  return holdTicks
}

/** Halts and limits. */
export function checkRisk(state: GateState, demand: Demand): RuleCheck | Refusal {
  const outcome = state.rules.check(demand)
  return outcome.reason === undefined ? outcome.check : outcome
}

/** MARKET is IOC whatever it says, except FOK. */
export function timeInForceOf({ ordType, timeInForce = 'GTC' }: NewOrder): NewRecord['timeInForce'] {
  return ordType === 'MARKET' && timeInForce !== 'FOK' ? 'IOC' : timeInForce
}

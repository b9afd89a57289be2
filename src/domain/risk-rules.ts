import type { Exact, Unit } from '../base/decimal.ts'
import { decimalTextOf, parseDecimal, pow10, textFromUnits } from '../base/decimal.ts'
import { assert } from '../base/assert.ts'
import type { LimitSet } from '../schemas/limits.ts'
import type { Instrument } from '../schemas/instrument.ts'
import type { RejectReason } from '../schemas/reject-reasons.ts'
import type { RuleCheck } from '../schemas/risk.ts'
import { haltText, Halts } from './halts.ts'
import { magnitude, normal } from './money.ts'
import { worstPosition, type AccountExposure, type Exposure, type Market } from './exposure.ts'

/** Limits in force where KV LIMITS has no `default` entry or the entry leaves one out (contract, section 3a). */
export const builtInLimits = {
  maxQuantity: 1e6,
  maxOrderValue: 1e6,
  maxPosition: 1e7,
  maxOpenOrders: 10_000,
  maxGrossExposure: 1e9,
  blocked: false,
} as const satisfies Required<LimitSet>

export type LimitName = Exclude<keyof LimitSet, 'blocked'>

/** One limit made ready to compare: whole units, rounded down, and its text. */
interface UnitLimit {
  readonly units: Exact
  readonly text: string
}

type UnitLimits = { readonly [name in LimitName]?: UnitLimit } & { readonly blocked: boolean }

/** What an order would add, and to what. */
export interface Demand {
  readonly exposure: Exposure
  readonly buy: boolean
  /** The order's whole quantity, and × its hold price in tick × lot. */
  readonly lots: number
  readonly value: Exact
  /** Σ holds of the order's side, this order included. */
  readonly sideLots: Exact
  readonly sideValue: Exact
  /** Whether there would be one more open order. */
  readonly opens: boolean
}

type Scope = 'account' | 'symbol'

interface Rule {
  readonly limit: LimitName
  readonly reason: RejectReason
  /** Exposure rules do not apply to orders that reduce risk. */
  readonly exposure: boolean
  actual(demand: Demand, scope: Scope): Exact
  unit(instrument: Instrument): Unit
}

const one: Unit = { mantissa: 1, scale: 0 }
const atto: Unit = { mantissa: 1, scale: 18 }

/** In the order in which they are checked, after `blocked`. */
const rules: readonly Rule[] = [
  {
    limit: 'maxQuantity',
    reason: 'RISK_MAX_QUANTITY',
    exposure: false,
    actual: ({ lots }) => lots,
    unit: ({ lot }) => lot,
  },
  {
    limit: 'maxOrderValue',
    reason: 'RISK_MAX_ORDER_VALUE',
    exposure: false,
    actual: (demand) => demand.value,
    unit: ({ value }) => value,
  },
  {
    limit: 'maxPosition',
    reason: 'RISK_MAX_POSITION',
    exposure: true,
    actual: ({ exposure, buy, sideLots }) =>
      worstPosition(exposure.positionLots, buy ? sideLots : exposure.buyLots, buy ? exposure.sellLots : sideLots),
    unit: ({ lot }) => lot,
  },
  {
    limit: 'maxOpenOrders',
    reason: 'RISK_MAX_OPEN_ORDERS',
    exposure: false,
    actual: ({ exposure, opens }, scope) =>
      (scope === 'account' ? exposure.account.openOrders : exposure.openOrders) + (opens ? 1 : 0),
    unit: () => one,
  },
  {
    limit: 'maxGrossExposure',
    reason: 'RISK_GROSS_EXPOSURE',
    exposure: true,
    actual: ({ exposure, buy, sideValue }, scope) => {
      const inSymbol = buy
        ? exposure.grossAttoWith(sideValue, exposure.sellValue)
        : exposure.grossAttoWith(exposure.buyValue, sideValue)
      return scope === 'symbol' ? inSymbol : exposure.account.grossAtto() - exposure.grossAtto + inSymbol
    },
    unit: () => atto,
  },
]

/** Those that look at more than the one order. */
const standingRules = rules.filter(({ limit }) => limit !== 'maxQuantity' && limit !== 'maxOrderValue')

/** Opposite side to the position, and with all working orders of that side not larger than it. */
export function reducesRisk({ exposure: { positionLots }, buy, sideLots }: Demand): boolean {
  return buy === positionLots < 0 && positionLots !== 0 && sideLots <= magnitude(positionLots)
}

interface Passed {
  readonly reason: undefined
  /** The limit with the highest use. */
  readonly check: RuleCheck
}

interface Broken {
  readonly reason: RejectReason
  readonly check: RuleCheck
  /** Names the limit, where it comes from, and what the order would come to. */
  readonly text: string
}

export type RiskOutcome = Passed | Broken

/** How much of a limit an account's positions and open orders use, as they stand. Amounts are decimal text. */
export interface LimitUse {
  readonly limit: LimitName
  /** undefined: the whole account. */
  readonly symbol: string | undefined
  /** Where the limit comes from: `account a` or `symbol S`. */
  readonly source: string
  readonly used: string
  readonly limitValue: string
  /** used / limitValue; a limit of 0 that is in use counts as 1. */
  readonly share: number
}

/** The halts, the limits of all accounts and symbols, and the rules that compare orders with them. */
export class RiskRules {
  readonly halts = new Halts()
  readonly #sets = new Map<string, LimitSet>()
  /** Made ready per symbol on first use; all dropped when a limit changes. */
  #ready = new Map<string, WeakMap<Market, UnitLimits>>()

  /** @param key `default`, `account.<account>` or `symbol.<symbol>`; null removes the entry */
  change(key: string, limits: LimitSet | null): void {
    if (limits) this.#sets.set(key, limits)
    else this.#sets.delete(key)
    this.#ready = new Map()
  }

  /** Entries of KV LIMITS in force, by key. */
  entries(): [string, LimitSet][] {
    return [...this.#sets].sort(([a], [b]) => (a < b ? -1 : 1))
  }

  /**
   * Checks an order against its account's limits (its entry over the default) and its symbol's (its entry, if any).
   * Orders that reduce risk skip halts, `blocked` and the exposure rules.
   */
  check(demand: Demand): RiskOutcome {
    const { account, market } = demand.exposure
    const { instrument } = market
    const ofAccount = this.#limitsOf('account', account.name, market)
    const ofSymbol = this.#limitsOf('symbol', instrument.symbol, market)
    const reduces = reducesRisk(demand)
    const sourceOf = (scope: Scope) => (scope === 'account' ? `account ${account.name}` : `symbol ${instrument.symbol}`)
    if (!reduces) {
      const actual = textFromUnits(demand.lots, instrument.lot)
      const halt = this.halts.find(account.name, instrument.symbol)
      if (halt) {
        const reason = 'RISK_HALTED'
        const text = `${reason}: ${haltText(halt)} is halted; only cancels and orders that reduce risk pass`
        return { reason, check: { rule: reason, limit: '0', actual }, text }
      }
      if (ofAccount.blocked || ofSymbol.blocked) {
        const reason = 'RISK_SYMBOL_BLOCKED'
        const check = { rule: reason, limit: '0', actual }
        return { reason, check, text: refusalText(check, sourceOf(ofAccount.blocked ? 'account' : 'symbol')) }
      }
    }
    let tightestRule: Rule | undefined
    let tightestLimit: UnitLimit | undefined
    let tightestActual: Exact = 0
    let tightestScope: Scope = 'account'
    let tightestUse = -1
    let broken = false
    for (const rule of rules) {
      if (reduces && rule.exposure) continue
      for (let scope: Scope | undefined = 'account'; scope; scope = scope === 'account' ? 'symbol' : undefined) {
        const limit = (scope === 'account' ? ofAccount : ofSymbol)[rule.limit]
        if (!limit) continue
        const actual = rule.actual(demand, scope)
        broken = actual > limit.units
        const use = Number(actual) / Number(limit.units)
        if (broken || use > tightestUse) {
          tightestRule = rule
          tightestLimit = limit
          tightestActual = actual
          tightestScope = scope
          tightestUse = use
        }
        if (broken) break
      }
      if (broken) break
    }
    assert(tightestRule && tightestLimit, 'an account has every limit')
    const check = {
      rule: tightestRule.reason,
      limit: tightestLimit.text,
      actual: textFromUnits(tightestActual, tightestRule.unit(instrument)),
    }
    if (!broken) return { reason: undefined, check }
    return { reason: tightestRule.reason, check, text: refusalText(check, sourceOf(tightestScope)) }
  }

  /** The limits that an account uses by a share of `shareMin` or more; those of single orders are none. */
  usesOf(account: AccountExposure, shareMin: number): LimitUse[] {
    const uses: LimitUse[] = []
    let isFirst = true
    for (const exposure of account.bySymbol.values()) {
      const { market, buyLots, buyValue } = exposure
      const { instrument } = market
      // An order of nothing: what it would come to is what there is.
      const demand = { exposure, buy: true, lots: 0, value: 0, sideLots: buyLots, sideValue: buyValue, opens: false }
      for (const scope of ['account', 'symbol'] as const) {
        const limits = this.#limitsOf(scope, scope === 'account' ? account.name : instrument.symbol, market)
        for (const rule of standingRules) {
          const limit = limits[rule.limit]
          const ofWholeAccount = scope === 'account' && rule.limit !== 'maxPosition'
          if (!limit || (ofWholeAccount && !isFirst)) continue
          const actual = rule.actual(demand, scope)
          const share = limit.units > 0 ? Number(actual) / Number(limit.units) : Number(actual > 0)
          if (share < shareMin) continue
          uses.push({
            limit: rule.limit,
            symbol: ofWholeAccount ? undefined : instrument.symbol,
            source: scope === 'account' ? `account ${account.name}` : `symbol ${instrument.symbol}`,
            used: textFromUnits(actual, rule.unit(instrument)),
            limitValue: limit.text,
            share,
          })
        }
      }
      isFirst = false
    }
    return uses
  }

  #limitsOf(scope: Scope, name: string, market: Market): UnitLimits {
    const own = this.#sets.get(`${scope}.${name}`)
    // Accounts and symbols without an entry share one: names that clients make up must not fill the memory.
    const key = own ? `${scope}.${name}` : scope
    let byMarket = this.#ready.get(key)
    if (!byMarket) this.#ready.set(key, (byMarket = new WeakMap()))
    let limits = byMarket.get(market)
    if (!limits) {
      const fallback = scope === 'account' ? { ...builtInLimits, ...this.#sets.get('default') } : {}
      byMarket.set(market, (limits = inUnits({ ...fallback, ...own }, market.instrument)))
    }
    return limits
  }
}

function refusalText({ rule, limit, actual }: RuleCheck, source: string): string {
  return `${rule}: limit ${limit}, actual ${actual} (${source})`
}

function inUnits(set: LimitSet, instrument: Instrument): UnitLimits {
  const limits: { [name in LimitName]?: UnitLimit } & { blocked: boolean } = { blocked: set.blocked ?? false }
  for (const rule of rules) {
    const amount = set[rule.limit]
    if (amount === undefined) continue
    const decimal = parseDecimal(String(amount))
    assert(decimal, `a limit must be a decimal: ${amount}`)
    const unit = rule.unit(instrument)
    const shift = unit.scale - decimal.scale
    const scaled = shift < 0 ? decimal.mantissa / pow10(-shift) : decimal.mantissa * pow10(shift)
    limits[rule.limit] = {
      units: normal(scaled / BigInt(unit.mantissa)),
      text: decimalTextOf(decimal.mantissa, decimal.scale),
    }
  }
  return limits
}

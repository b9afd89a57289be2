/**
 * reads       KV LIMITS: limits and halts; Redis `position:{account}`; TICKS: the last own trade of a symbol
 * writes      nothing
 * state       none but what was looked up lately
 * guarantees  the gate's rules, over what is known; what is not known is said, and decided by RISK_FAIL_MODE
 * crash       nothing is lost
 */
import { nearestUnits } from '../base/decimal.ts'
import { messageOf } from '../base/errors.ts'
import { parseOwnJson, textFromUtf8 } from '../base/json.ts'
import { AccountExposure, Market } from '../domain/exposure.ts'
import type { Evaluation, Gate } from '../domain/gate.ts'
import { knownPortfolio } from '../domain/known-portfolio.ts'
import { type CheckResult, checkResultOf } from '../domain/risk-check.ts'
import { createLimitsCache, type LimitsCache } from '../runtime/limits-cache.ts'
import { LookupCache } from '../runtime/lookup-cache.ts'
import type { Nats } from '../runtime/nats.ts'
import type { AccountPositions, PositionCache } from '../runtime/position-cache.ts'
import type { NewOrder } from '../schemas/command.ts'
import { type LimitsEntry, parseLimitsEntry } from '../schemas/config-files.ts'
import { definitionOf, instrumentFrom, type InstrumentsConfig } from '../schemas/instrument.ts'
import type { RejectReason } from '../schemas/reject-reasons.ts'
import type { Settings } from '../schemas/settings.ts'
import { tapeVenue, tickSubject } from '../subjects/names.ts'

const symbolsMax = 10_000
/** A last price may be this old. */
const markTtlMs = 1_000
const noOpenOrders = 'open orders are not counted: this answer is made without the state of the gate'
const noPortfolio = 'worth less than 100: the limits of the whole account were not looked at'

/** What may turn out otherwise for an account with other positions. */
const portfolioReasons: ReadonlySet<RejectReason> = new Set<RejectReason>([
  'RISK_HALTED',
  'RISK_SYMBOL_BLOCKED',
  'RISK_MAX_POSITION',
  'RISK_MAX_OPEN_ORDERS',
  'RISK_GROSS_EXPOSURE',
])

export interface StatelessCheckOptions {
  readonly nats: Nats
  readonly positions: PositionCache
  /** Knows the rules, and the limits that were looked up; nothing else. */
  readonly rules: Gate
  readonly instruments: InstrumentsConfig
  readonly settings: Pick<Settings, 'CACHE_TTL' | 'RISK_TIMEOUT_MS' | 'RISK_FAIL_MODE' | 'FAST_PATH_ENABLED'>
  readonly nowUs: () => number
  readonly onFatal: (error: Error) => void
}

/** Last price of a symbol; undefined before its first trade. */
interface Mark {
  readonly price: string | undefined
}

/** `/check` without the state of the gate: what becomes of an order as far as it follows from limits and positions. */
export class StatelessCheck {
  readonly #options: StatelessCheckOptions
  readonly #limits: LimitsCache
  readonly #marks: LookupCache<Mark>
  readonly #markets = new Map<string, Market>()
  readonly #portfolios = new WeakMap<AccountPositions, AccountExposure>()

  static async start(options: StatelessCheckOptions): Promise<StatelessCheck> {
    const { nats, settings, rules, onFatal } = options
    const inForce = new Map<string, LimitsEntry>()
    const apply = (entry: LimitsEntry) => {
      if (entry.kind === 'limits') rules.changeLimits({ revision: 0, key: entry.key, limits: entry.limits }, 0)
      else rules.changeHalt({ ...entry.target, revision: 0, halted: entry.halt.halted, cancel: false }, 0)
    }
    const limits = await createLimitsCache(nats, {
      ttlMs: settings.CACHE_TTL * 1_000,
      timeoutMs: settings.RISK_TIMEOUT_MS,
      parse: parseLimitsEntry,
      onEntry: (key, entry) => {
        if (entry.kind === 'limits' ? entry.limits === null : !entry.halt.halted) return
        inForce.set(key, entry)
        apply(entry)
      },
      onDropped: (key) => {
        if (inForce.delete(key)) apply(parseLimitsEntry(key, null))
      },
      onFatal,
    })
    return new StatelessCheck(options, limits)
  }

  private constructor(options: StatelessCheckOptions, limits: LimitsCache) {
    this.#options = options
    this.#limits = limits
    this.#marks = new LookupCache({
      max: symbolsMax,
      ttlMs: markTtlMs,
      timeoutMs: options.settings.RISK_TIMEOUT_MS,
      load: (symbol) => lastOwnTrade(options.nats, symbol),
    })
  }

  /** Entries kept, for `/stats`. */
  get cached(): Record<string, number> {
    return { limits: this.#limits.size, positions: this.#options.positions.size, marks: this.#marks.size }
  }

  async stop(): Promise<void> {
    await this.#limits.stop()
  }

  async check(command: NewOrder): Promise<CheckResult> {
    const { settings, positions } = this.#options
    const { account = '', symbol } = command
    const unknown: string[] = []
    const warnings: string[] = []
    const [mark] = await Promise.all([this.#findMark(symbol, warnings), this.#knowLimits(account, symbol, unknown)])
    if (settings.FAST_PATH_ENABLED && unknown.length === 0) {
      const evaluation = this.#evaluate(command, new AccountExposure(account), mark)
      const { reason, fastPath } = evaluation
      if (reason === null ? fastPath : !portfolioReasons.has(reason))
        return withWarnings(checkResultOf(evaluation, true), reason === null ? [noPortfolio, ...warnings] : warnings)
    }
    let known: AccountPositions | undefined
    try {
      known = await positions.get(account)
    } catch (error) {
      unknown.push(`positions of ${account} are unknown: ${messageOf(error)}`)
    }
    if (known && !known.has(symbol)) unknown.push(`the position of ${account} in ${symbol} is unknown, not flat`)
    const portfolio = known && this.#portfolioOf(account, known)
    // What changed meanwhile was dropped.
    await this.#knowLimits(account, symbol, unknown)
    if (known && !portfolio) unknown.push(`positions of ${account} do not fit the configured lots`)
    const evaluation = this.#evaluate(command, portfolio ?? new AccountExposure(account), mark)
    const result = checkResultOf(evaluation, false)
    if (result.reason === null) warnings.unshift(noOpenOrders)
    warnings.unshift(...unknown)
    if (unknown.length === 0 || result.reason !== null || settings.RISK_FAIL_MODE === 'open')
      return withWarnings(result, warnings)
    return withWarnings({ ...result, reason: 'RISK_STATE_UNKNOWN', level: 'HIGH' }, warnings)
  }

  #evaluate(command: NewOrder, account: AccountExposure, mark: Mark | undefined): Evaluation {
    const { rules, nowUs } = this.#options
    const market = this.#marketOf(command.symbol)
    // A portfolio has brought the mark of its position, which may be another venue's.
    if (market && mark)
      market.lastTicks = mark.price === undefined ? undefined : nearestUnits(mark.price, market.instrument.tick)
    return rules.evaluate(command, { account, market, timeUs: nowUs() })
  }

  async #knowLimits(account: string, symbol: string, unknown: string[]): Promise<void> {
    const keys = ['default', `account.${account}`, `symbol.${symbol}`]
    const all = [...keys, 'halt.all', `halt.account.${account}`, `halt.symbol.${symbol}`]
    try {
      while (!this.#limits.has(all)) await this.#limits.load(all)
    } catch (error) {
      const text = `limits of ${account} and ${symbol} are unknown: ${messageOf(error)}`
      if (!unknown.includes(text)) unknown.push(text)
    }
  }

  async #findMark(symbol: string, warnings: string[]): Promise<Mark | undefined> {
    if (!this.#marketOf(symbol)) return undefined
    try {
      return this.#marks.peek(symbol) ?? (await this.#marks.get(symbol))
    } catch (error) {
      warnings.push(
        `the last price of ${symbol} is not known, an older or the reference price is used: ${messageOf(error)}`,
      )
      return undefined
    }
  }

  #marketOf(symbol: string): Market | undefined {
    let market = this.#markets.get(symbol)
    if (market) return market
    const definition = definitionOf(this.#options.instruments, symbol)
    if (!definition) return undefined
    // Anybody may ask for any symbol.
    if (this.#markets.size >= symbolsMax) this.#markets.clear()
    this.#markets.set(symbol, (market = new Market(instrumentFrom(definition))))
    return market
  }

  #portfolioOf(account: string, known: AccountPositions): AccountExposure | undefined {
    const made = this.#portfolios.get(known)
    if (made) return made
    const portfolio = knownPortfolio(account, known.values(), (symbol) => this.#marketOf(symbol))
    if (portfolio) this.#portfolios.set(known, portfolio)
    return portfolio
  }
}

function withWarnings(result: CheckResult, warnings: readonly string[]): CheckResult {
  return { ...result, warnings: [...result.warnings, ...warnings] }
}

async function lastOwnTrade(nats: Nats, symbol: string): Promise<Mark> {
  const stored = await nats.jsm.streams.getMessage('TICKS', { last_by_subj: tickSubject(tapeVenue, symbol) })
  if (!stored) return { price: undefined }
  const { price } = parseOwnJson(textFromUtf8(stored.data)) as { price?: number | string }
  return { price: price === undefined ? undefined : String(price) }
}

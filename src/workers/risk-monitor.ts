/**
 * reads       the gate's state; EXECUTIONS, with the gate: own prices; POSITIONS: drawdown of each account
 * writes      Redis `risk:metrics:current`; core subjects `risk.alert.<account>`; nothing that anything is decided by
 * state       prices of the last 500 intervals, drawdowns, alerts
 * guarantees  the gate is held up for a few ms at a time, however many accounts there are
 * crash       prices come back with the gate's snapshot and recovery, the rest with the first round after it
 */
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { BugError } from '../base/assert.ts'
import { AccountExposure } from '../domain/exposure.ts'
import type { Gate } from '../domain/gate.ts'
import type { PriceHistory } from '../domain/price-history.ts'
import { alertShareMin, RiskAlerts } from '../domain/risk-alerts.ts'
import {
  type AccountMetrics,
  attoFrom,
  encodePortfolio,
  encodeTotals,
  figuresOf,
  metricsOf,
  TotalMetrics,
} from '../domain/risk-metrics.ts'
import { HistoricalSimulation } from '../domain/value-at-risk.ts'
import type { Nats } from '../runtime/nats.ts'
import { readFrom } from '../runtime/reader.ts'
import type { ExecutionMessage } from '../schemas/execution.ts'
import { decodeAccountPosition } from '../schemas/position.ts'
import type { RiskFigures } from '../schemas/risk-service.ts'
import { positionSubject, riskAlertSubject } from '../subjects/names.ts'

const roundMs = 30_000
const alertMs = 1_000
const catchUpPollMs = 50
/** What is done in one turn of the gate's loop at most. */
const turnMs = 2

export interface RiskMonitorOptions {
  readonly gate: Gate
  /** Own prices, as the gate has seen them. */
  readonly history: PriceHistory
  readonly nats: Nats
  /** PRECOMPUTE_METRICS; without it figures are computed when they are asked for. */
  readonly isPrecomputing: boolean
  readonly nowMs: () => number
  readonly store: (json: string) => Promise<void>
  readonly onFatal: (error: Error) => void
  /** A round that failed, as while NATS is away; the next one is tried all the same. */
  readonly onProblem: (error: unknown) => void
}

/** The figures of all accounts at one time. */
export interface Snapshot {
  readonly json: string
  readonly total: RiskFigures
  readonly accounts: readonly (RiskFigures & { readonly account: string })[]
  readonly computedMs: number
  readonly durationMs: number
}

/** Accounts that have gauges of their own. */
const gaugedMax = 100

/** Watches what the accounts risk: figures every 30 s, alerts within a second of what an account does. */
export class RiskMonitor {
  readonly alerts = new RiskAlerts()
  readonly #options: RiskMonitorOptions
  readonly #history: PriceHistory
  readonly #drawdowns = new Map<string, bigint>()
  readonly #touched = new Set<string>()
  #positionsSeq = 0
  #simulation: HistoricalSimulation | undefined
  #simulatedInterval = -1
  #snapshot: Snapshot | undefined
  #round: Promise<Snapshot> | undefined
  readonly #timers = new Set<NodeJS.Timeout>()
  #isCaughtUp = false
  #isStopped = false

  constructor(options: RiskMonitorOptions) {
    this.#options = options
    this.#history = options.history
  }

  /** Folds a message of EXECUTIONS that the gate has folded. */
  take(message: ExecutionMessage): void {
    for (const { account } of message.reports) if (account !== undefined) this.#touched.add(account)
  }

  /** The gate is active; begins when it has seen all reports that there are now. */
  start(): void {
    void this.#repeat(roundMs, () => this.#everyAccount())
    void this.#repeat(alertMs, () => this.#alertTouched())
  }

  stop(): void {
    this.#isStopped = true
    for (const timer of this.#timers) clearTimeout(timer)
  }

  /** Undefined before the first. */
  get latest(): Snapshot | undefined {
    return this.#snapshot
  }

  /** Figures of all accounts: the last round's, or computed now when there are no rounds. */
  async totals(): Promise<Snapshot> {
    if (this.#options.isPrecomputing && this.#snapshot) return this.#snapshot
    return this.#compute()
  }

  /** `GET /risk/portfolio?account=`, as of now. An account that never had an order is empty. */
  async portfolio(name: string): Promise<string> {
    const { gate, nats } = this.#options
    const stored = await nats.jsm.streams.getMessage('POSITIONS', { last_by_subj: positionSubject(name) })
    if (stored) this.#takeDrawdown(name, stored.data)
    const account = gate.accounts.get(name) ?? new AccountExposure(name)
    return encodePortfolio(account, this.#metricsOf(account), gate.usesOf(account, 0))
  }

  #metricsOf(account: AccountExposure): AccountMetrics {
    const { interval } = this.#history
    if (!this.#simulation || interval !== this.#simulatedInterval) {
      this.#simulatedInterval = interval
      this.#simulation = new HistoricalSimulation(this.#history)
    }
    return metricsOf(account, this.#drawdowns.get(account.name), this.#simulation)
  }

  async #repeat(everyMs: number, run: () => Promise<void>): Promise<void> {
    const startedMs = performance.now()
    try {
      await run()
    } catch (error) {
      if (this.#isStopped) return
      if (error instanceof BugError) this.#options.onFatal(error)
      else this.#options.onProblem(error)
    }
    if (this.#isStopped) return
    const timer = setTimeout(
      () => {
        this.#timers.delete(timer)
        void this.#repeat(everyMs, run)
      },
      Math.max(0, everyMs - (performance.now() - startedMs)),
    )
    this.#timers.add(timer)
  }

  /** Until then it knows some fills and not others. */
  async #caughtUp(): Promise<void> {
    if (this.#isCaughtUp) return
    const { gate, nats } = this.#options
    const { last_seq: lastSeq } = (await nats.jsm.streams.info('EXECUTIONS')).state
    while (gate.executionsSeq < lastSeq && !this.#isStopped) await sleep(catchUpPollMs)
    this.#isCaughtUp = true
  }

  async #everyAccount(): Promise<void> {
    await this.#caughtUp()
    if (this.#options.isPrecomputing) {
      const { json } = await this.#compute()
      await this.#options.store(json)
    }
    // Marks that moved change what accounts use that did nothing themselves.
    await this.#inTurns(this.#options.gate.accounts.values(), (account) => this.#alert(account))
  }

  async #alertTouched(): Promise<void> {
    await this.#caughtUp()
    const touched = [...this.#touched]
    this.#touched.clear()
    await this.#inTurns(touched, (name) => {
      const account = this.#options.gate.accounts.get(name)
      if (account) this.#alert(account)
    })
  }

  #alert(account: AccountExposure): void {
    const { gate, nats, nowMs } = this.#options
    const uses = gate.usesOf(account, alertShareMin)
    for (const change of this.alerts.update(account.name, uses, nowMs() * 1_000))
      nats.connection.publish(riskAlertSubject(change.account), change.json)
  }

  /** One computation at a time: who asks meanwhile gets its result. */
  #compute(): Promise<Snapshot> {
    this.#round ??= this.#computeNow().finally(() => {
      this.#round = undefined
    })
    return this.#round
  }

  async #computeNow(): Promise<Snapshot> {
    const { gate, nowMs } = this.#options
    const startedMs = nowMs()
    await this.#readDrawdowns()
    const total = new TotalMetrics()
    await this.#inTurns(gate.accounts.values(), (account) => total.add(account, this.#metricsOf(account)))
    const computedMs = nowMs()
    const json = encodeTotals(total, {
      timeUs: computedMs * 1_000,
      executionsSeq: gate.executionsSeq,
      returns: this.#history.longest,
    })
    const listed = total.listed().slice(0, gaugedMax)
    const accounts = listed.map((metrics) => ({ account: metrics.account, ...figuresOf(metrics) }))
    this.#snapshot = { json, total: figuresOf(total), accounts, computedMs, durationMs: computedMs - startedMs }
    return this.#snapshot
  }

  /** Reads what changed since the last time: POSITIONS keeps the latest of each account. */
  async #readDrawdowns(): Promise<void> {
    for await (const { sequence, subject, data } of readFrom(
      this.#options.nats,
      'POSITIONS',
      'positions.*',
      this.#positionsSeq + 1,
    )) {
      this.#positionsSeq = sequence
      const name = subject.slice('positions.'.length)
      // The venue's, the watermark and epochs.
      if (!name.startsWith('_')) this.#takeDrawdown(name, data)
    }
  }

  #takeDrawdown(name: string, data: Uint8Array): void {
    const drawdown = attoFrom(decodeAccountPosition(data).drawdown)
    if (drawdown !== undefined) this.#drawdowns.set(name, drawdown)
  }

  /** Does something for each, and lets the gate work in between. */
  async #inTurns<T>(items: Iterable<T>, run: (item: T) => void): Promise<void> {
    let turnEndsMs = performance.now() + turnMs
    for (const item of items) {
      run(item)
      if (performance.now() < turnEndsMs) continue
      await nextTurn()
      if (this.#isStopped) return
      turnEndsMs = performance.now() + turnMs
    }
  }
}

import { Counter, Gauge, type Registry } from 'prom-client'
import type { AlertLevel, RiskFigures } from '../schemas/risk-service.ts'

/** Gauge names without their prefix, by figure. */
const figures: readonly (readonly [name: string, help: string, figure: keyof RiskFigures])[] = [
  ['gross_exposure', 'Sum of |position × mark|, in quote currency', 'gross'],
  ['net_exposure', 'Sum of position × mark', 'net'],
  ['worst_case_exposure', 'What maxGrossExposure limits: open orders counted at their worst', 'worstCase'],
  ['concentration_ratio', 'Largest share of one symbol in the gross exposure', 'concentration'],
  ['drawdown', 'High-water mark − equity', 'drawdown'],
  ['var_95', 'Loss over 30 s that is not exceeded in 95 % of the past cases', 'var95'],
  ['var_99', 'The same, 99 %', 'var99'],
]

/** Answers of `/check`. */
export interface CheckCounted {
  readonly approved: number
  /** By reason. */
  readonly refused: ReadonlyMap<string, number>
}

/**
 * Gauges of what the accounts risk: `risk_…` over all of them, `risk_account_…` of the largest.
 * @param read.snapshot the latest figures; undefined before the first
 */
export function addRiskGauges(
  registry: Registry,
  read: {
    snapshot: () =>
      | { readonly total: RiskFigures; readonly accounts: readonly (RiskFigures & { readonly account: string })[] }
      | undefined
    alerts: Readonly<Record<AlertLevel, number>>
    checks: CheckCounted
  },
): void {
  const registers = [registry]
  for (const [name, help, figure] of figures) {
    new Gauge({
      name: `risk_${name}`,
      help: `${help}, all accounts`,
      registers,
      collect() {
        // Without a value there is no sample rather than a 0.
        this.remove()
        const value = read.snapshot()?.total[figure]
        if (value !== undefined) this.set(value)
      },
    })
    new Gauge({
      name: `risk_account_${name}`,
      help: `${help}, the 100 accounts with the largest worst case`,
      labelNames: ['account'],
      registers,
      collect() {
        this.reset()
        for (const account of read.snapshot()?.accounts ?? []) {
          const value = account[figure]
          if (value !== undefined) this.set({ account: account.account }, value)
        }
      },
    })
  }
  new Gauge({
    name: 'risk_alerts',
    help: 'Limits that are used to 80 % (warn) or 90 % (critical)',
    labelNames: ['level'],
    registers,
    collect() {
      this.set({ level: 'warn' }, read.alerts.warn)
      this.set({ level: 'critical' }, read.alerts.critical)
    },
  })
  addCheckCounter(registry, read.checks)
}

/** Counts of `/check`. */
export function addCheckCounter(registry: Registry, checks: CheckCounted): void {
  new Counter({
    name: 'risk_checks_total',
    help: 'Answers of /check, by reason of refusal; none: approved',
    labelNames: ['reason'],
    registers: [registry],
    collect() {
      this.reset()
      this.inc({ reason: 'none' }, checks.approved)
      for (const [reason, count] of checks.refused) this.inc({ reason }, count)
    },
  })
}

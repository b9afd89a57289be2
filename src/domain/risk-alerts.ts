import { rfc3339FromUs } from '../base/clock.ts'
import type { AlertLevel } from '../schemas/risk-service.ts'
import { encodeUse } from './risk-metrics.ts'
import type { LimitUse } from './risk-rules.ts'

/** From this share of a limit on there is an alert. */
export const alertShareMin = 0.8
const criticalShare = 0.9
/** Alerts kept; there may be many accounts. */
const alertsMax = 10_000

interface Alert {
  readonly account: string
  readonly level: AlertLevel
  readonly use: LimitUse
  readonly sinceUs: number
}

/** What happened to an alert: `{event, account, level, …}`. */
export interface AlertChange {
  readonly account: string
  readonly json: string
}

/** The limits that are nearly used up, by account. */
export class RiskAlerts {
  readonly #byAccount = new Map<string, Map<string, Alert>>()
  readonly counts: Record<AlertLevel, number> = { warn: 0, critical: 0 }

  /**
   * Takes what an account uses now.
   * @param uses those of `alertShareMin` or more
   * @returns alerts that were raised, changed their level or are over
   */
  update(account: string, uses: readonly LimitUse[], timeUs: number): AlertChange[] {
    const before = this.#byAccount.get(account)
    if (!before && uses.length === 0) return []
    const changes: AlertChange[] = []
    const now = new Map<string, Alert>()
    for (const use of uses) {
      const key = `${use.source} ${use.symbol ?? ''} ${use.limit}`
      const known = before?.get(key)
      const level = use.share >= criticalShare ? 'critical' : 'warn'
      if (!known && this.#isFull) continue
      const isSame = known?.level === level
      const alert: Alert = { account, level, use, sinceUs: isSame ? known.sinceUs : timeUs }
      now.set(key, alert)
      if (known) this.counts[known.level] -= 1
      this.counts[level] += 1
      before?.delete(key)
      if (!isSame) changes.push(changeOf(known ? 'changed' : 'raised', alert))
    }
    for (const alert of before?.values() ?? []) {
      this.counts[alert.level] -= 1
      changes.push(changeOf('cleared', alert))
    }
    if (now.size > 0) this.#byAccount.set(account, now)
    else this.#byAccount.delete(account)
    return changes
  }

  /** Accounts that have one. */
  accounts(): Iterable<string> {
    return this.#byAccount.keys()
  }

  /** `GET /risk/alerts`. */
  encode(): string {
    const alerts: string[] = []
    for (const byKey of this.#byAccount.values())
      for (const alert of byKey.values()) alerts.push(`{${encodeAlert(alert)}}`)
    return `{"alerts":[${alerts.join(',')}],"truncated":${this.#isFull}}`
  }

  get #isFull(): boolean {
    return this.counts.warn + this.counts.critical >= alertsMax
  }
}

function changeOf(event: 'raised' | 'changed' | 'cleared', alert: Alert): AlertChange {
  return { account: alert.account, json: `{"event":"${event}",${encodeAlert(alert)}}` }
}

function encodeAlert({ account, level, use, sinceUs }: Alert): string {
  return `"account":"${account}","level":"${level}",${encodeUse(use)},"since":"${rfc3339FromUs(sinceUs)}"`
}

import type { CheckReason, RiskLevel } from '../schemas/risk-service.ts'
import type { RuleCheck } from '../schemas/risk.ts'
import type { Evaluation } from './gate.ts'

/** What `/check` answers. */
export interface CheckResult {
  readonly reason: CheckReason | null
  readonly level: RiskLevel
  readonly warnings: readonly string[]
  readonly fastPath: boolean
}

const mediumUse = 0.5
const highUse = 0.8
const none: readonly string[] = []

/** The answer while a stream of the chain is nearly full. */
export const storageFull: CheckResult = {
  reason: 'SYSTEM_STORAGE',
  level: 'HIGH',
  warnings: ['the streams are nearly full; only cancels are taken'],
  fastPath: false,
}

/** How much of a limit is used; a limit of 0 is used up. */
function useOf({ limit, actual }: RuleCheck): number {
  const amount = Number(limit)
  return amount === 0 ? 1 : Number(actual) / amount
}

/**
 * The answer that an evaluation leads to.
 * @param hasFastPath FAST_PATH_ENABLED; without it no answer counts as given without the portfolio
 */
export function checkResultOf({ reason, text, check, fastPath }: Evaluation, hasFastPath: boolean): CheckResult {
  if (reason !== null)
    return { reason, level: 'HIGH', warnings: text === null ? none : [text], fastPath: fastPath && hasFastPath }
  const use = check ? useOf(check) : 0
  const level = use < mediumUse ? 'LOW' : use < highUse ? 'MEDIUM' : 'HIGH'
  const warnings =
    check && use >= highUse
      ? [`${check.rule} would be used to ${Math.floor(use * 100)} %: limit ${check.limit}, actual ${check.actual}`]
      : none
  return { reason: null, level, warnings, fastPath: fastPath && hasFastPath }
}

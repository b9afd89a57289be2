/**
 * Loaded into a process of workers before anything else: a bug that shows on orders with the clOrdId `poison-gate` in the
 * gate, and `poison-matcher` in the matcher.
 */
import { GateState } from '../../src/domain/gate-state.ts'
import { Matcher } from '../../src/domain/matcher.ts'
import type { RiskRecord } from '../../src/schemas/risk.ts'

const isPoison = ({ type, clOrdId }: RiskRecord, where: string) => type !== 'reject' && clOrdId === `poison-${where}`

// eslint-disable-next-line @typescript-eslint/unbound-method -- called with the matcher it was called on
const { apply } = Matcher.prototype
Matcher.prototype.apply = function (this: Matcher, record) {
  const reports = apply.call(this, record)
  if (isPoison(record, 'matcher')) throw new TypeError('a bug in the matcher')
  return reports
}

// eslint-disable-next-line @typescript-eslint/unbound-method -- called with the state it was called on
const { apply: applyToGate } = GateState.prototype
GateState.prototype.apply = function (this: GateState, record) {
  applyToGate.call(this, record)
  if (isPoison(record, 'gate')) throw new TypeError('a bug in the gate')
}

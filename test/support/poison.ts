/**
 * Loaded into a process of workers before anything else: a bug that shows on orders with the clOrdId `poison-gate` in the
 * gate, and `poison-matcher` in the matcher.
 */
import { GateState } from '../../src/domain/gate-state.ts'
import { Matcher } from '../../src/domain/matcher.ts'
import type { RiskRecord } from '../../src/schemas/risk.ts'

interface Applier {
  apply: (this: Applier, record: RiskRecord) => unknown
}

function breakOn(prototype: Applier, where: 'gate' | 'matcher'): void {
  const { apply } = prototype
  prototype.apply = function (record) {
    const result = apply.call(this, record)
    if (record.type !== 'reject' && record.clOrdId === `poison-${where}`) throw new TypeError(`a bug in the ${where}`)
    return result
  }
}

breakOn(Matcher.prototype, 'matcher')
breakOn(GateState.prototype, 'gate')

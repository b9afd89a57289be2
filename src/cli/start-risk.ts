import type { Gate } from '../domain/gate.ts'
import { checkResultOf } from '../domain/risk-check.ts'
import { addCheckRoute, CheckCounts } from '../http/check-routes.ts'
import { takeJsonBodies } from '../http/bodies.ts'
import { DoorError } from '../http/gateway-answers.ts'
import type { FastifyInstance } from '../http/health-routes.ts'
import type { LoopState } from '../runtime/worker-loop.ts'
import type { NewOrder } from '../schemas/command.ts'
import type { Shared } from './shared.ts'

export interface RiskService {
  /** Adds the routes of the gate's port. */
  addRoutes(app: FastifyInstance, state: () => LoopState): void
}

/** What the gate answers besides deciding: what would become of an order. */
export function createRiskService({ settings }: Shared, gate: Gate, isStorageFull: () => boolean): RiskService {
  const counts = new CheckCounts()
  const check = (command: NewOrder) => {
    if (isStorageFull()) {
      const text = 'the streams are nearly full; only cancels are taken'
      return checkResultOf({ reason: 'SYSTEM_STORAGE', text, check: undefined, fastPath: false }, false)
    }
    return checkResultOf(gate.evaluate(command), settings.FAST_PATH_ENABLED)
  }
  return {
    addRoutes: (app, state) => {
      takeJsonBodies(app)
      addCheckRoute(
        app,
        (command) => {
          assertActive(state())
          return check(command)
        },
        counts,
      )
    },
  }
}

/** A stand-by knows nothing yet. @throws DoorError SYSTEM_UNAVAILABLE */
function assertActive({ phase, holder }: LoopState): void {
  if (phase === 'active') return
  const who = holder === undefined ? '' : `; ${holder} is active`
  throw new DoorError('SYSTEM_UNAVAILABLE', `this gate is ${phase === 'waiting' ? 'a stand-by' : phase}${who}`)
}

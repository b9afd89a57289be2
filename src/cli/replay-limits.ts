import type { Nats } from '../runtime/nats.ts'
import type { LimitSet } from '../schemas/limits.ts'
import { untilInForce, writeEntry } from './limits-change.ts'

const amount = `1${'0'.repeat(30)}`

/** Lets everything through. */
const unlimited: LimitSet = {
  maxQuantity: amount,
  maxOrderValue: amount,
  maxPosition: amount,
  maxOpenOrders: 1e15,
  maxGrossExposure: amount,
}

const inForceTimeoutMs = 15_000

/**
 * Frees accounts of all limits, until `remove`.
 * @returns when the gate has recorded that they are in force
 * @throws PipelineError COMPONENT_MISSING when no gate does
 */
export async function liftLimits(nats: Nats, accounts: readonly string[]): Promise<{ remove(): Promise<void> }> {
  const keys = accounts.map((account) => `account.${account}`)
  const remove = async () => {
    for (const key of keys) await writeEntry(nats, key, null)
  }
  try {
    for (const key of keys)
      await untilInForce(nats, await writeEntry(nats, key, JSON.stringify(unlimited)), inForceTimeoutMs)
  } catch (error) {
    await remove().catch(() => undefined)
    throw error
  }
  return { remove }
}

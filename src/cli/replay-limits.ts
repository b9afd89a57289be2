import { setTimeout as sleep } from 'node:timers/promises'
import { parseOwnJson, textFromUtf8, utf8FromText } from '../base/json.ts'
import { PipelineError } from '../base/errors.ts'
import type { Nats } from '../runtime/nats.ts'
import type { LimitSet } from '../schemas/limits.ts'
import type { RiskMessage } from '../schemas/risk.ts'

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
const lookEveryMs = 20

/**
 * Frees accounts of all limits, until `remove`.
 * @returns when the gate has recorded that they are in force
 * @throws PipelineError COMPONENT_MISSING when no gate does
 */
export async function liftLimits(nats: Nats, accounts: readonly string[]): Promise<{ remove(): Promise<void> }> {
  const bucket = await nats.kvm.open('LIMITS')
  const keys = accounts.map((account) => `account.${account}`)
  const remove = async () => {
    for (const key of keys) await bucket.purge(key)
  }
  try {
    let revision = 0
    for (const key of keys) revision = await bucket.put(key, utf8FromText(JSON.stringify(unlimited)))
    await untilInForce(nats, revision)
  } catch (error) {
    await remove().catch(() => undefined)
    throw error
  }
  return { remove }
}

async function untilInForce(nats: Nats, revision: number): Promise<void> {
  const deadlineMs = Date.now() + inForceTimeoutMs
  for (;;) {
    const { last_seq: last } = (await nats.jsm.streams.info('RISK')).state
    const message = last > 0 ? await nats.jsm.streams.getMessage('RISK', { seq: last }) : null
    const { limitsRevision = 0 } = message ? (parseOwnJson(textFromUtf8(message.data)) as Partial<RiskMessage>) : {}
    if (limitsRevision >= revision) return
    if (Date.now() > deadlineMs)
      throw new PipelineError(
        'COMPONENT_MISSING',
        `no risk-gate took up the limits of the accounts within ${inForceTimeoutMs / 1_000} s; \`trade2026 lag\` says which workers run`,
      )
    await sleep(lookEveryMs)
  }
}

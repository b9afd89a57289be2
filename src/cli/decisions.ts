import { PipelineError } from '../base/errors.ts'
import { Gate } from '../domain/gate.ts'
import { dayTimeUs } from '../runtime/config.ts'
import { decodeMessage } from '../runtime/decode-message.ts'
import type { Nats } from '../runtime/nats.ts'
import { type InputMessage, readOn } from '../runtime/reader.ts'
import { SeenExecutions } from '../runtime/seen-executions.ts'
import { assertOwnLogic, snapshotsOfLogic } from '../runtime/logic-version.ts'
import { readSnapshot } from '../runtime/snapshots.ts'
import { decodeCommand } from '../schemas/command.ts'
import type { ExecutionMessage } from '../schemas/execution.ts'
import type { InstrumentsConfig } from '../schemas/instrument.ts'
import { decodeRisk, type RiskRecord } from '../schemas/risk.ts'
import type { Settings } from '../schemas/settings.ts'
import { workerSpec } from '../subjects/contract.ts'
import { parseOrdersSubject } from '../subjects/names.ts'
import { type RiskGateSnapshot, riskGateLogicVersion } from '../workers/risk-gate.ts'

/** A decision as it was recorded, and as it comes out again. */
export interface Decision {
  /** Of the message of RISK. */
  readonly sequence: number
  readonly recorded: RiskRecord
  /** Undefined for what nobody can decide again: what the gate issued itself, and what was given up. */
  readonly again: RiskRecord | undefined
  /** Its command is missing in ORDERS, which begins before it. */
  readonly isOrderGone: boolean
}

/**
 * Decides every command again from what the gate recorded: the command in ORDERS, the EXECUTIONS it had seen, the limits
 * and definitions in force. What was recorded stays what has happened.
 *
 * @param gate as it was after RISK `after`; as new when that is 0
 * @param onLimits called at the start and whenever recorded limits have come into force
 */
export async function* decideAgain(
  nats: Nats,
  gate: Gate,
  decode: (message: InputMessage) => ExecutionMessage,
  { after, last }: { readonly after: number; readonly last: number },
  signal: AbortSignal,
  onLimits?: () => void,
): AsyncGenerator<Decision> {
  if (last <= after) return
  onLimits?.()
  const seen = new SeenExecutions(nats)
  const { first_seq: firstOrder, last_seq: lastOrder } = (await nats.jsm.streams.info('ORDERS')).state
  let orders: AsyncGenerator<InputMessage> | undefined
  let order: InputMessage | undefined
  /** @returns undefined when it is gone */
  const orderOf = async (srcSeq: number): Promise<InputMessage | undefined> => {
    orders ??= readOn(nats, 'ORDERS', srcSeq, { signal })
    while (srcSeq <= lastOrder && (order?.sequence ?? 0) < srcSeq && order?.pending !== 0) {
      const next = await orders.next()
      if (next.done) return undefined
      order = next.value
    }
    return order?.sequence === srcSeq ? order : undefined
  }
  try {
    for await (const stored of readOn(nats, 'RISK', after + 1, { signal })) {
      assertOwnLogic('RISK', stored, riskGateLogicVersion)
      const message = decodeMessage('RISK', stored, decodeRisk)
      if (message.epoch === undefined) {
        while (gate.executionsSeq < message.executionsSeq) {
          const { executionsSeq } = gate
          const execution = await seen.after(executionsSeq, stored.sequence, message.executionsSeq)
          gate.feedback(execution.sequence, decode(execution))
        }
        gate.adopt(message.instruments ?? [])
        for (const recorded of message.records) {
          const { srcSeq } = recorded
          // What has been trimmed nobody misses.
          const isOwed = srcSeq >= firstOrder && srcSeq > 0
          const order = isOwed ? await orderOf(srcSeq) : undefined
          const decided = order && again(gate, order, recorded)
          yield { sequence: stored.sequence, recorded, again: decided, isOrderGone: isOwed && !order }
          gate.replay({ executionsSeq: gate.executionsSeq, limitsRevision: gate.limitsRevision, records: [recorded] })
          if (recorded.type === 'limits') onLimits?.()
        }
      }
      if (stored.sequence >= last) return
    }
  } finally {
    seen.stop()
    await orders?.return(undefined)
  }
}

function again(gate: Gate, order: InputMessage, recorded: RiskRecord): RiskRecord | undefined {
  const reason = recorded.type === 'reject' ? recorded.reason : undefined
  if (reason === 'SYSTEM_COMMAND_FAULT') return undefined
  const { sequence: srcSeq, timeUs, subject, data, traceparent } = order
  const { kind, account } = parseOrdersSubject(subject)
  const decoded = decodeCommand(kind, data, account, traceparent)
  const record = gate.propose({ srcSeq, timeUs, kind, decoded, storageFull: reason === 'SYSTEM_STORAGE' })
  gate.takeNewInstruments()
  return record
}

/** Byte for byte, as RISK holds them. */
export function isSame(again: RiskRecord, recorded: RiskRecord): boolean {
  return JSON.stringify(again) === JSON.stringify(recorded)
}

/** The gate as it was at the oldest point from which everything is there, and was decided by this logic. */
export async function oldestGate(
  nats: Nats,
  { settings, instruments }: { readonly settings: Settings; readonly instruments: InstrumentsConfig },
): Promise<{ readonly gate: Gate; readonly after: number }> {
  const create = () =>
    new Gate({ instruments, dayEndUs: dayTimeUs(settings.DAY_END_UTC), clOrdIdMemory: settings.CLORDID_MEMORY })
  const { first_seq: first } = (await nats.jsm.streams.info('RISK')).state
  const { first_seq: firstExecution } = (await nats.jsm.streams.info('EXECUTIONS')).state
  const { since, newestFirst } = await snapshotsOfLogic(nats, workerSpec('risk-gate'), riskGateLogicVersion)
  if (since === 0 && first <= 1 && firstExecution <= 1) return { gate: create(), after: 0 }
  for (const meta of newestFirst.toReversed()) {
    if (meta.ownSequence < first - 1 || (meta.followedSequence ?? 0) < firstExecution - 1) continue
    const gate = create()
    gate.load(((await readSnapshot(nats, meta)) as RiskGateSnapshot).gate)
    return { gate, after: meta.ownSequence }
  }
  throw new PipelineError(
    'SNAPSHOT_MISSING',
    `RISK begins at ${first}, and the gate has no snapshot from there on: \`trade2026 snapshots --take\` makes one for what comes`,
  )
}

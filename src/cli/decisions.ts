import type { Gate } from '../domain/gate.ts'
import { decodeMessage } from '../runtime/decode-message.ts'
import type { Nats } from '../runtime/nats.ts'
import { type InputMessage, readOn } from '../runtime/reader.ts'
import { decodeCommand } from '../schemas/command.ts'
import type { ExecutionMessage } from '../schemas/execution.ts'
import { decodeRisk, type RiskRecord } from '../schemas/risk.ts'
import { parseOrdersSubject } from '../subjects/names.ts'

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
  const executions = readOn(nats, 'EXECUTIONS', gate.executionsSeq + 1, { signal })
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
      const message = decodeMessage('RISK', stored, decodeRisk)
      if (message.epoch === undefined) {
        while (gate.executionsSeq < message.executionsSeq) {
          const next = await executions.next()
          if (next.done) return
          gate.feedback(next.value.sequence, decode(next.value))
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
    await executions.return(undefined)
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

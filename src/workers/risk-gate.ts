/**
 * reads       ORDERS: commands as they came; EXECUTIONS: what became of them; KV LIMITS
 * writes      RISK: one message a batch, all its decisions inside; DLQ: what cannot be read
 * state       holds, positions, open orders, clOrdIds, limits (src/domain/gate.ts)
 * guarantees  every command is decided once, in order; no burst passes a limit
 * crash       its own decisions are read back from RISK, each after the EXECUTIONS it had seen; none is taken again
 */
import type { Clock } from '../base/clock.ts'
import { textFromUtf8 } from '../base/json.ts'
import type { Gate } from '../domain/gate.ts'
import { decodeCommand } from '../schemas/command.ts'
import type { ExecutionMessage } from '../schemas/execution.ts'
import type { RiskMessage, RiskRecord } from '../schemas/risk.ts'
import type { LimitsChange } from '../runtime/limits-bucket.ts'
import type { Nats } from '../runtime/nats.ts'
import { followStream, type InputMessage, readStream } from '../runtime/reader.ts'
import type { DeadLetter } from '../runtime/side-writer.ts'
import type { Fold } from '../runtime/worker-loop.ts'
import { parseOrdersSubject, riskSubject } from '../subjects/names.ts'

export interface RiskGateOptions {
  readonly gate: Gate
  readonly decode: (message: InputMessage) => ExecutionMessage
  readonly nats: Nats
  readonly clock: Clock
  /** True while a stream of the chain is too full for new orders. */
  readonly isStorageFull: () => boolean
  /** Takes the changes of KV LIMITS that arrived since the last call, in order of revision. */
  readonly takeLimitsChanges: () => readonly LimitsChange[]
  readonly onFatal: (error: Error) => void
}

export function createRiskGate(options: RiskGateOptions): { fold: Fold; stop: () => Promise<void> } {
  const { gate, nats, clock } = options
  let inSeq = 0
  let follower: { stop(): Promise<void> } | undefined

  const decide = (message: InputMessage, records: RiskRecord[], deadLetters: DeadLetter[]) => {
    const { kind, account } = parseOrdersSubject(message.subject)
    const decoded = decodeCommand(kind, message.data, account, message.traceparent)
    if (decoded.outcome === 'unreadable') deadLetters.push({ message, reason: `INVALID_MESSAGE: ${decoded.problem}` })
    records.push(...gate.expire(message.timeUs))
    records.push(
      gate.decide({
        srcSeq: message.sequence,
        timeUs: message.timeUs,
        kind,
        decoded,
        storageFull: options.isStorageFull(),
      }),
    )
  }

  const fold: Fold = {
    handle: (batch) => {
      const records: RiskRecord[] = []
      const deadLetters: DeadLetter[] = []
      const nowUs = clock.nowMs() * 1_000
      for (const change of options.takeLimitsChanges())
        if (change.revision > gate.limitsRevision) records.push(gate.changeLimits(change, nowUs))
      // With a backlog the commands' own times move the day on; only an idle gate goes by its clock.
      if (batch.length === 0 && (gate.nextExpiryUs() ?? Infinity) <= nowUs) records.push(...gate.expire(nowUs))
      for (const message of batch) decide(message, records, deadLetters)
      inSeq = batch[batch.length - 1]?.sequence ?? inSeq
      if (records.length === 0) return { outputs: [] }
      const instruments = gate.takeNewInstruments()
      const message: RiskMessage = {
        executionsSeq: gate.executionsSeq,
        limitsRevision: gate.limitsRevision,
        ...(instruments.length === 0 ? {} : { instruments }),
        records,
      }
      const output = { subject: riskSubject, body: JSON.stringify(message), position: { inSeq, inIndex: 0 } }
      return { outputs: [output], deadLetters }
    },

    recover: async (position, ownLastSequence) => {
      inSeq = position.inSeq
      await recoverGate(options, ownLastSequence)
      follower = await followStream(
        nats,
        'EXECUTIONS',
        gate.executionsSeq + 1,
        (message) => gate.feedback(message.sequence, options.decode(message)),
        options.onFatal,
      )
    },
  }
  return { fold, stop: async () => follower?.stop() }
}

/** Folds RISK up to `lastSequence`, each message after the EXECUTIONS that the gate had seen when it wrote it. */
async function recoverGate({ gate, nats, decode }: RiskGateOptions, lastSequence: number): Promise<void> {
  const executionsLast = (await nats.jsm.streams.info('EXECUTIONS')).state.last_seq
  const executions = readStream(nats, 'EXECUTIONS', gate.executionsSeq + 1, executionsLast)
  try {
    for await (const { data } of readStream(nats, 'RISK', 1, lastSequence)) {
      const message = JSON.parse(textFromUtf8(data)) as RiskMessage
      if (message.epoch !== undefined) continue
      while (gate.executionsSeq < message.executionsSeq) {
        const next = await executions.next()
        if (next.done) break
        gate.feedback(next.value.sequence, decode(next.value))
      }
      gate.replay(message)
    }
  } finally {
    await executions.return(undefined)
  }
}

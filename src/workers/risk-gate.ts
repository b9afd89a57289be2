/**
 * reads       ORDERS: commands as they came; EXECUTIONS: what became of them; KV LIMITS
 * writes      RISK: one message a batch, all its decisions inside; DLQ: what cannot be read
 * state       holds, positions, open orders, clOrdIds, limits (src/domain/gate.ts)
 * guarantees  every command is decided once, in order; no burst passes a limit
 * crash       goes on from a snapshot; its own decisions since are read back from RISK, each after the EXECUTIONS it
 *             had seen; none is taken again
 */
import type { Clock } from '../base/clock.ts'
import { PipelineError } from '../base/errors.ts'
import type { Gate } from '../domain/gate.ts'
import type { GateSnapshot } from '../domain/gate-state.ts'
import type { PriceHistory, PriceHistoryState } from '../domain/price-history.ts'
import { decodeCommand } from '../schemas/command.ts'
import type { ExecutionMessage } from '../schemas/execution.ts'
import { decodeRisk, type RiskRecord } from '../schemas/risk.ts'
import { decodeMessage } from '../runtime/decode-message.ts'
import type { LimitsChange } from '../runtime/limits-bucket.ts'
import type { Nats } from '../runtime/nats.ts'
import type { Position } from '../runtime/position.ts'
import { followStream, type InputMessage } from '../runtime/reader.ts'
import { assertSameOrders } from '../runtime/rewound.ts'
import { SeenExecutions } from '../runtime/seen-executions.ts'
import type { Output } from '../runtime/fenced-writer.ts'
import type { DeadLetter } from '../runtime/side-writer.ts'
import type { Fold } from '../runtime/fold.ts'
import { parseOrdersSubject, riskSubject } from '../subjects/names.ts'

export interface RiskGateOptions {
  readonly gate: Gate
  /** Own prices, which come and go with the gate's state. */
  readonly history: PriceHistory
  /** Records in a message of RISK at most. */
  readonly batchMax: number
  readonly decode: (message: InputMessage) => ExecutionMessage
  readonly nats: Nats
  readonly clock: Clock
  /** True while a stream of the chain is too full for new orders. */
  readonly isStorageFull: () => boolean
  /** Takes the changes of KV LIMITS that arrived since the last call, in order of revision. */
  readonly takeLimitsChanges: () => readonly LimitsChange[]
  /** A message of EXECUTIONS has been folded, live or in recovery. */
  readonly onFeedback?: (message: ExecutionMessage) => void
  readonly onFatal: (error: Error) => void
}

/** All that the worker goes on from. */
export interface RiskGateSnapshot {
  readonly gate: GateSnapshot
  readonly history: PriceHistoryState
}

/** Grows with every change after which equal records leave another state. */
export const riskGateLogicVersion = 1

export function createRiskGate(options: RiskGateOptions): { fold: Fold; stop: () => Promise<void> } {
  const { gate, history, nats, clock } = options
  let inSeq = 0
  let current: Position | undefined
  let follower: { stop(): Promise<void> } | undefined
  /** Until it is active. */
  const seen = new SeenExecutions(nats)

  const apply = (sequence: number, execution: ExecutionMessage) => {
    gate.feedback(sequence, execution)
    history.take(execution)
    options.onFeedback?.(execution)
  }
  const take = (message: InputMessage) => apply(message.sequence, options.decode(message))

  const fold: Fold = {
    handle: (batch, _isReplay, faults) => {
      const decided: Decided[] = []
      const deadLetters: DeadLetter[] = []
      const issue = (records: Iterable<RiskRecord>) => {
        for (const record of records) decided.push({ record, inSeq })
      }
      current = undefined
      const nowUs = clock.nowMs() * 1_000
      for (const change of options.takeLimitsChanges())
        if (change.revision > gate.limitsRevision) issue(recordsOf(change, gate, nowUs))
      // With a backlog the commands' own times move the day on; only an idle gate goes by its clock.
      if (batch.length === 0 && (gate.nextExpiryUs() ?? Infinity) <= nowUs) issue(gate.expire(nowUs))
      for (const message of batch) {
        const { sequence: srcSeq, timeUs } = message
        current = { inSeq: srcSeq, inIndex: 0 }
        const { kind, account } = parseOrdersSubject(message.subject)
        if (faults?.has(srcSeq, 0)) {
          inSeq = srcSeq
          issue([gate.refuseFaulty({ srcSeq, timeUs, kind, ...(account === undefined ? {} : { account }) })])
          continue
        }
        const command = decodeCommand(kind, message.data, account, message.traceparent)
        if (command.outcome === 'unreadable')
          deadLetters.push({ message, reason: `INVALID_MESSAGE: ${command.problem}` })
        issue(gate.expire(timeUs))
        inSeq = srcSeq
        issue([gate.decide({ srcSeq, timeUs, kind, decoded: command, storageFull: options.isStorageFull() })])
      }
      return { outputs: messagesOf(decided, gate, options.batchMax), deadLetters }
    },

    current: () => current,

    state: {
      logicVersion: riskGateLogicVersion,
      save: (): RiskGateSnapshot => ({ gate: gate.save(), history: history.save() }),
      load: (state) => {
        const saved = state as RiskGateSnapshot
        gate.load(saved.gate)
        history.load(saved.history)
      },
      followedSequence: () => gate.executionsSeq,
    },

    redo: async (own) => {
      const message = decodeMessage('RISK', own, decodeRisk)
      if (message.epoch !== undefined) return
      while (gate.executionsSeq < message.executionsSeq)
        take(await seen.after(gate.executionsSeq, own.sequence, message.executionsSeq))
      gate.replay(message)
    },

    onRecovered: async (position) => {
      inSeq = position.inSeq
      seen.stop()
      await assertSameOrders(nats)
      follower = await followStream(
        nats,
        'EXECUTIONS',
        gate.executionsSeq + 1,
        (message) => {
          const execution = options.decode(message)
          // cmdSeq numbers the gate's own decisions, and it has folded all that it did not take itself.
          if (execution.cmdSeq > gate.cmdSeq)
            throw new PipelineError(
              'WRITER_FENCED',
              `risk-gate: EXECUTIONS ${message.sequence} answers a decision of another process: it has taken over`,
            )
          apply(message.sequence, execution)
        },
        options.onFatal,
      )
    },
  }
  const stop = async () => {
    seen.stop()
    await follower?.stop()
  }
  return { fold, stop }
}

function recordsOf(change: LimitsChange, gate: Gate, nowUs: number): RiskRecord[] {
  const { revision } = change
  if (change.kind === 'limits') return [gate.changeLimits({ revision, key: change.key, limits: change.limits }, nowUs)]
  const { halted, cancel = false } = change.halt
  return gate.changeHalt({ ...change.target, revision, halted, cancel }, nowUs)
}

/** A record, and the last command in ORDERS that is decided with it. */
interface Decided {
  readonly record: RiskRecord
  readonly inSeq: number
}

/** A message stays below the server's max_payload of 1 MiB. */
const messageBytesMax = 900_000

/**
 * Messages of RISK for records in order. What the gate issued comes before the command it was due at, so that after a
 * crash between two messages that command is read again.
 */
function messagesOf(decided: readonly Decided[], gate: Gate, batchMax: number): Output[] {
  if (decided.length === 0) return []
  const { executionsSeq, limitsRevision } = gate
  const instruments = gate.takeNewInstruments()
  const outputs: Output[] = []
  let records: string[] = []
  let bytes = 0
  let position = { inSeq: 0, inIndex: 0 }
  const close = () => {
    const defined =
      outputs.length > 0 || instruments.length === 0 ? '' : `"instruments":${JSON.stringify(instruments)},`
    const head = `"executionsSeq":${executionsSeq},"limitsRevision":${limitsRevision}`
    outputs.push({ subject: riskSubject, body: `{${head},${defined}"records":[${records.join(',')}]}`, position })
    records = []
    bytes = 0
  }
  for (const { record, inSeq } of decided) {
    const json = JSON.stringify(record)
    const size = Buffer.byteLength(json)
    if (records.length === batchMax || (records.length > 0 && bytes + size > messageBytesMax)) close()
    records.push(json)
    bytes += size
    position = { inSeq, inIndex: 0 }
  }
  close()
  return outputs
}

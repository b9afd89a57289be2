import { Attempts } from '../runtime/attempts.ts'
import type { Log } from '../runtime/log.ts'
import type { Nats } from '../runtime/nats.ts'
import { positionOf, storedMessage } from '../runtime/position.ts'
import { Replay } from '../runtime/replay.ts'
import { sharedDecoder } from '../runtime/shared-decoder.ts'
import { decodeExecution } from '../schemas/execution.ts'
import type { InstrumentsConfig } from '../schemas/instrument.ts'
import type { Settings } from '../schemas/settings.ts'
import { type StreamName, workerSpec } from '../subjects/contract.ts'
import { createOmsMatcher } from '../workers/oms-matcher.ts'
import { decideAgain, isSame, oldestGate } from './decisions.ts'
import { Check } from './verify-check.ts'

/** A moment of the chain: EXECUTIONS up to a message, and what led to it. What comes later is not looked at. */
export interface Cut {
  readonly orders: number
  readonly risk: number
  readonly executions: number
}

/** The cut that ends with the last answer that is stored now. */
export async function cutOf(nats: Nats): Promise<Cut> {
  const executions = (await nats.jsm.streams.info('EXECUTIONS')).state.last_seq
  const risk = await inSeqOf(nats, 'EXECUTIONS', executions)
  return { executions, risk, orders: await inSeqOf(nats, 'RISK', risk) }
}

async function inSeqOf(nats: Nats, stream: StreamName, sequence: number): Promise<number> {
  const message = sequence > 0 ? await storedMessage(nats.jsm, stream, { seq: sequence }) : null
  return message ? positionOf(message.header).inSeq : 0
}

export interface VerifyParts {
  readonly nats: Nats
  readonly settings: Settings
  readonly instruments: InstrumentsConfig
  readonly log: Log
  readonly signal: AbortSignal
  readonly onProgress: (step: string, part?: number) => void
}

/** ORDERS ↔ RISK: every command has one record, in order, and it is what the gate decides of it. */
export async function verifyDecisions(parts: VerifyParts, cut: Cut): Promise<Check> {
  const { nats, signal, onProgress } = parts
  const check = new Check('orders-risk')
  const orders = (await nats.jsm.streams.info('ORDERS')).state
  if (orders.messages !== orders.last_seq - orders.first_seq + 1 && orders.messages > 0)
    check.differs(
      `ORDERS lacks ${orders.last_seq - orders.first_seq + 1 - orders.messages} messages between ${orders.first_seq} and ${orders.last_seq}`,
    )
  const { gate, after } = await oldestGate(nats, parts)
  let lastCmdSeq = gate.cmdSeq
  let lastSrcSeq: number | undefined = after === 0 ? Math.max(0, orders.first_seq - 1) : undefined
  const decode = sharedDecoder('EXECUTIONS', decodeExecution)
  try {
    for await (const { sequence, recorded, again, isOrderGone } of decideAgain(
      nats,
      gate,
      decode,
      { after, last: cut.risk },
      signal,
    )) {
      onProgress('ORDERS and RISK', (sequence - after) / (cut.risk - after))
      const { cmdSeq, srcSeq } = recorded
      if (cmdSeq !== lastCmdSeq + 1) check.differs(`RISK ${sequence}: cmdSeq ${cmdSeq} follows ${lastCmdSeq}`)
      lastCmdSeq = cmdSeq
      if (isOrderGone) check.differs(`ORDERS ${srcSeq} is gone, which RISK ${sequence} answers`)
      if (srcSeq > 0) {
        if (srcSeq !== (lastSrcSeq ?? srcSeq - 1) + 1)
          check.differs(`RISK ${sequence}: record ${cmdSeq} answers ORDERS ${srcSeq} after ${lastSrcSeq}`)
        lastSrcSeq = srcSeq
      }
      check.compared(
        again && !isSame(again, recorded)
          ? `RISK ${sequence}, record ${cmdSeq} of ORDERS ${srcSeq}: recorded ${JSON.stringify(recorded)}, decided again ${JSON.stringify(again)}`
          : undefined,
      )
    }
  } catch (error) {
    check.failed(error)
  }
  if (lastSrcSeq !== undefined && lastSrcSeq < Math.min(cut.orders, orders.last_seq))
    check.differs(`ORDERS ${lastSrcSeq + 1} to ${cut.orders} have no record in RISK`)
  return check
}

/** RISK ↔ EXECUTIONS: every record is answered once, in order, with the very bytes that the matcher makes of it. */
export async function verifyAnswers({ nats, log, onProgress }: VerifyParts, cut: Cut): Promise<Check> {
  const check = new Check('risk-executions')
  const spec = workerSpec('oms-matcher')
  const faults = new Attempts(nats, spec, log)
  await faults.load()
  const states = await Promise.all(['RISK', 'EXECUTIONS'].map((stream) => nats.jsm.streams.info(stream)))
  const isWhole = states.every(({ state }) => state.first_seq <= 1)
  const { fold } = createOmsMatcher()
  const replay = new Replay({
    ...{ nats, spec, fold, log, faults },
    from: isWhole ? 'beginning' : 'oldest',
    onMet: (own, again) => {
      onProgress('RISK and EXECUTIONS', own.sequence / cut.executions)
      const { inSeq, inIndex, part } = own.position
      const position = again?.position
      const isRight =
        position?.inSeq === inSeq &&
        position.inIndex === inIndex &&
        position.part === part &&
        again?.srcSeq === own.srcSeq
      check.compared(
        isRight
          ? undefined
          : `EXECUTIONS ${own.sequence}: headers say record ${inIndex} of RISK ${inSeq} for ORDERS ${own.srcSeq}, it is record ${position?.inIndex} of ${position?.inSeq} for ${again?.srcSeq}`,
      )
    },
  })
  try {
    if (cut.executions > 0) await replay.finish(cut.executions)
  } catch (error) {
    check.failed(error)
  } finally {
    replay.stop()
  }
  return check
}

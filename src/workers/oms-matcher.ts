/**
 * reads       RISK: the gate's decisions, record by record
 * writes      EXECUTIONS: one message (or its parts) a record, all its reports inside
 * state       the order books (src/domain/matcher.ts), a function of RISK alone
 * guarantees  every record is answered once, in order; replaying RISK gives the same bytes
 * crash       goes on from a snapshot; RISK is folded again from there, and what comes out is what EXECUTIONS holds
 */
import { assert } from '../base/assert.ts'
import { rfc3339FromUs } from '../base/clock.ts'
import { Matcher } from '../domain/matcher.ts'
import type { MatcherState } from '../domain/matcher-state.ts'
import { statusOf, type OrderViewStatus } from '../domain/order-views.ts'
import { encodeExecutions, encodeReport, orderIdOf, type ReportValue } from '../schemas/execution.ts'
import { decodeRisk, type RiskRecord } from '../schemas/risk.ts'
import { decodeMessage } from '../runtime/decode-message.ts'
import type { Output } from '../runtime/fenced-writer.ts'
import type { Position } from '../runtime/position.ts'
import type { InputMessage } from '../runtime/reader.ts'
import type { Fold } from '../runtime/fold.ts'
import { executionsSubject } from '../subjects/names.ts'

/** A record that has been answered, after its last report is stored. */
export interface AnsweredRecord {
  /** Sequence in ORDERS of its command; 0 if the gate issued it. */
  readonly srcSeq: number
  /** Of its order afterwards; undefined for a mass cancel that met nothing. */
  readonly status: OrderViewStatus | undefined
  /** When ORDERS stored it. */
  readonly timeUs: number
}

/** Grows with every change after which equal records give other reports. */
export const matcherLogicVersion = 1

interface MatcherSnapshot {
  readonly cmdSeq: number
  readonly matcher: MatcherState
}

type AnswerOutput = Output & { readonly answered?: AnsweredRecord }

/** @param onAnswered called for what this process has answered itself, in order */
export function createOmsMatcher(onAnswered?: (record: AnsweredRecord) => void): {
  fold: Fold
  matcher: Matcher
  /** The last record folded. */
  cmdSeq: () => number
} {
  const matcher = new Matcher()
  let cmdSeq = 0
  let current: Position | undefined
  const fold: Fold = {
    handle: (batch, _isReplay, faults) => {
      const outputs: Output[] = []
      for (const message of batch) {
        current = undefined
        const { instruments = [], records } = decodeMessage('RISK', message, decodeRisk)
        for (const definition of instruments) matcher.define(definition)
        records.forEach((record, inIndex) => {
          assert(record.cmdSeq === cmdSeq + 1, `RISK ${message.sequence}: cmdSeq ${record.cmdSeq} follows ${cmdSeq}`)
          cmdSeq = record.cmdSeq
          current = { inSeq: message.sequence, inIndex }
          const reports = faults?.has(message.sequence, inIndex) ? matcher.refuseFaulty(record) : matcher.apply(record)
          outputs.push(...answer(matcher, record, reports, message, inIndex))
        })
      }
      return { outputs }
    },
    current: () => current,
    onStored: (outputs) => {
      for (const { answered } of outputs as readonly AnswerOutput[]) if (answered) onAnswered?.(answered)
    },
    state: {
      logicVersion: matcherLogicVersion,
      save: (): MatcherSnapshot => ({ cmdSeq, matcher: matcher.save() }),
      load: (state) => {
        const saved = state as MatcherSnapshot
        cmdSeq = saved.cmdSeq
        matcher.load(saved.matcher)
      },
    },
  }
  return { fold, matcher, cmdSeq: () => cmdSeq }
}

function answer(
  matcher: Matcher,
  record: RiskRecord,
  reports: readonly ReportValue[],
  message: InputMessage,
  inIndex: number,
): AnswerOutput[] {
  // Changed limits and halts have no report; everything else has an answer, be it an empty one.
  if (record.type === 'limits' || record.type === 'halt') return []
  const transactTime = rfc3339FromUs(record.timeUs)
  const fallbackOrderId = orderIdOf(record.srcSeq)
  const encoded = reports.map((report, index) =>
    encodeReport(
      report,
      `${record.cmdSeq}-${index + 1}`,
      fallbackOrderId,
      transactTime,
      report.order && matcher.instrument(report.order.symbol),
    ),
  )
  const symbol = symbolOf(record, reports)
  const subject = `w.${executionsSubject(symbol, record.type === 'massCancel')}`
  const answered = { srcSeq: record.srcSeq, status: statusAfter(reports), timeUs: record.timeUs }
  const bodies = encodeExecutions(record.cmdSeq, symbol, record.timeUs, encoded)
  return bodies.map((body, index) => ({
    subject,
    body,
    position: {
      inSeq: message.sequence,
      inIndex,
      ...(bodies.length === 1 ? {} : { part: `${index + 1}/${bodies.length}` }),
    },
    srcSeq: record.srcSeq,
    ...(index === bodies.length - 1 ? { answered } : {}),
  }))
}

/** The status of the order that the first report is about, as the last one leaves it. */
function statusAfter(reports: readonly ReportValue[]): OrderViewStatus | undefined {
  const order = reports[0]?.order
  const last = reports.findLast((report) => report.order === order)
  return last && statusOf({ ordStatus: last.ordStatus, ...(last.reason ? { ordRejReason: last.reason } : {}) })
}

function symbolOf(record: RiskRecord, reports: readonly ReportValue[]): string | undefined {
  if (record.type === 'massCancel') return record.symbol
  const report = reports[0]
  return report?.order?.symbol ?? report?.echo?.symbol
}

/**
 * reads       RISK: the gate's decisions, record by record
 * writes      EXECUTIONS: one message (or its parts) a record, all its reports inside
 * state       the order books (src/domain/matcher.ts), a function of RISK alone
 * guarantees  every record is answered once, in order; replaying RISK gives the same bytes
 * crash       RISK is folded again from its start; what EXECUTIONS holds already is not sent again
 */
import { assert } from '../base/assert.ts'
import { rfc3339FromUs } from '../base/clock.ts'
import { textFromUtf8 } from '../base/json.ts'
import { Matcher } from '../domain/matcher.ts'
import { encodeExecutions, encodeReport, orderIdOf, type ReportValue } from '../schemas/execution.ts'
import type { RiskMessage, RiskRecord } from '../schemas/risk.ts'
import type { Output } from '../runtime/fenced-writer.ts'
import type { InputMessage } from '../runtime/reader.ts'
import type { Fold } from '../runtime/worker-loop.ts'
import { executionsSubject } from '../subjects/names.ts'

export function createOmsMatcher(): { fold: Fold; matcher: Matcher } {
  const matcher = new Matcher()
  let cmdSeq = 0
  const fold: Fold = {
    handle: (batch) => {
      const outputs: Output[] = []
      for (const message of batch) {
        const { instruments = [], records } = JSON.parse(textFromUtf8(message.data)) as RiskMessage
        for (const definition of instruments) matcher.define(definition)
        records.forEach((record, inIndex) => {
          assert(record.cmdSeq === cmdSeq + 1, `RISK ${message.sequence}: cmdSeq ${record.cmdSeq} follows ${cmdSeq}`)
          cmdSeq = record.cmdSeq
          outputs.push(...answer(matcher, record, message, inIndex))
        })
      }
      return { outputs }
    },
  }
  return { fold, matcher }
}

function answer(matcher: Matcher, record: RiskRecord, message: InputMessage, inIndex: number): Output[] {
  const reports = matcher.apply(record)
  // Changed limits have no report; everything else has an answer, be it an empty one.
  if (record.type === 'limits') return []
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
  }))
}

function symbolOf(record: RiskRecord, reports: readonly ReportValue[]): string | undefined {
  if (record.type === 'massCancel') return record.symbol
  const report = reports[0]
  return report?.order?.symbol ?? report?.echo?.symbol
}

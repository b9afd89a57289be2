/**
 * reads       EXECUTIONS
 * writes      the table executions, a row a report; DLQ: messages with what does not fit into it
 * state       none
 * guarantees  every report once, (stream_seq, report_index) names it; no number is rounded
 * crash       goes on after the last sequence that the table has recorded
 */
import { dateFromUs, usFromRfc3339 } from '../base/clock.ts'
import { unscaledFrom } from '../base/decimal.ts'
import { messageOf } from '../base/errors.ts'
import type { Column, TableDefinition } from '../lake/schema.ts'
import type { InputMessage } from '../runtime/reader.ts'
import type { SinkFold } from '../runtime/sink-fold.ts'
import type { SinkValue } from '../runtime/sink-table.ts'
import { decodeExecution, type ExecutionMessage, type ExecutionReport } from '../schemas/execution.ts'
import { isEventTime } from '../schemas/feed-fields.ts'

/** A column that comes from a field of the report. */
interface ReportColumn {
  readonly name: string
  readonly field: keyof ExecutionReport
  /** Digits in all and after the point; unset: a text. */
  readonly decimal?: readonly [precision: number, scale: number]
  readonly comment: string
}

const text = (name: string, field: keyof ExecutionReport, comment: string): ReportColumn => ({ name, field, comment })
/** A price or a quantity. */
const number = (name: string, field: keyof ExecutionReport, comment: string): ReportColumn => ({
  name,
  field,
  decimal: [18, 8],
  comment,
})
const money = (name: string, field: keyof ExecutionReport, comment: string): ReportColumn => ({
  name,
  field,
  decimal: [38, 18],
  comment,
})

const reportColumns: readonly ReportColumn[] = [
  text('exec_id', 'execId', 'cmdSeq-n, n from 1 over all reports of a command'),
  text('order_id', 'orderId', 'o- and orders_seq of the order'),
  text('cl_ord_id', 'clOrdId', 'the client’s name for the order or for the command'),
  text('orig_cl_ord_id', 'origClOrdId', 'cl_ord_id of the order that a cancel or replace is about'),
  text('ref_order_id', 'refOrderId', 'of a duplicate cl_ord_id: the order that has it'),
  text('account', 'account', 'whose order'),
  text('symbol', 'symbol', 'of the order'),
  text('side', 'side', 'BUY or SELL'),
  text('ord_type', 'ordType', 'LIMIT MARKET STOP STOP_LIMIT TRAILING_STOP'),
  text('time_in_force', 'timeInForce', 'DAY GTC IOC FOK GTD'),
  text('exec_type', 'execType', 'what this reports; FIX tag 150'),
  text('ord_status', 'ordStatus', 'of the order after it; FIX tag 39'),
  number('order_qty', 'orderQty', 'quantity of the order'),
  number('price', 'price', 'limit price'),
  number('stop_price', 'stopPrice', 'price at which a stop triggers'),
  number('last_qty', 'lastQty', 'quantity of this fill'),
  number('last_px', 'lastPx', 'price of this fill'),
  number('leaves_qty', 'leavesQty', 'open after this'),
  number('cum_qty', 'cumQty', 'filled up to this'),
  money('avg_px', 'avgPx', 'average price of all fills'),
  text('liquidity', 'liquidity', 'MAKER or TAKER'),
  money('fee', 'fee', 'in the quote currency'),
  text('ord_rej_reason', 'ordRejReason', 'why it was refused'),
  text('text', 'text', 'rule, limit and actual value'),
]

export const executions = {
  name: 'executions',
  description: 'Reports: the life of every order',
  columns: [
    { name: 'stream_seq', type: 'long', nullable: true, comment: 'sequence in the stream EXECUTIONS; key, first part' },
    {
      name: 'report_index',
      type: 'integer',
      nullable: true,
      comment: 'of the reports of a command, from 0; key, second part',
    },
    {
      name: 'orders_seq',
      type: 'long',
      nullable: true,
      comment: 'sequence of the command in ORDERS; 0 if the gate issued it',
    },
    { name: 'cmd_seq', type: 'long', nullable: true, comment: 'running number of the command, in the order of RISK' },
    ...reportColumns.map(({ name, decimal, comment }): Column => {
      const type = decimal === undefined ? 'string' : (`decimal(${decimal[0]},${decimal[1]})` as const)
      return { name, type, nullable: true, comment }
    }),
    { name: 'transact_time', type: 'timestamp', nullable: true, comment: 'time of the command' },
    { name: 'traceparent', type: 'string', nullable: true, comment: 'W3C trace context of the command' },
    { name: 'dt', type: 'date', nullable: true, comment: 'UTC date of transact_time' },
  ],
  partitionColumns: ['dt'],
  configuration: { 'delta.checkpointInterval': '100', 'delta.appendOnly': 'true' },
} as const satisfies TableDefinition & { readonly name: string }

export function createExecutionSink(): SinkFold {
  return {
    table: executions.name,
    take: (input, rows) => {
      let message: ExecutionMessage
      try {
        message = decodeExecution(input.data)
      } catch (error) {
        return { problem: `INVALID_MESSAGE: ${messageOf(error)}` }
      }
      if (message.epoch !== undefined || message.reports.length === 0) return 'empty'
      const timeUs = usFromRfc3339(message.transactTime)
      if (timeUs === undefined || !isEventTime(timeUs, input.timeUs))
        return invalid('transactTime must be a time from 2000-01-01 to a day from now')
      const encoded = rowsOf(input, message, timeUs)
      if (!Array.isArray(encoded)) return encoded
      const dt = dateFromUs(timeUs)
      for (const row of encoded) if (!rows.add(dt, () => ({ dt }), row)) return 'full'
      return encoded.length
    },
  }
}

const invalid = (problem: string) => ({ problem: `INVALID_FIELD: ${problem}` })

/** @returns what is wrong when one of the reports does not fit: a message comes into the table whole, or not at all */
function rowsOf(
  input: InputMessage,
  { cmdSeq, reports }: ExecutionMessage,
  timeUs: number,
): SinkValue[][] | { readonly problem: string } {
  const rows: SinkValue[][] = []
  let firstIndex: number | undefined
  for (const [at, report] of reports.entries()) {
    // A message may be a later part of a command's reports; execId counts through all of them.
    const index = indexOf(report.execId, cmdSeq)
    firstIndex ??= index
    if (index === undefined || index !== (firstIndex ?? 0) + at)
      return invalid(`execId ${report.execId} is not the next of ${cmdSeq}`)
    const row: SinkValue[] = [input.sequence, index, input.srcSeq ?? null, cmdSeq]
    for (const column of reportColumns) {
      const value = valueOf(report, column)
      if (value === undefined)
        return invalid(`${column.field} of ${report.execId} does not fit: ${String(report[column.field])}`)
      row.push(value)
    }
    row.push(timeUs, report.traceparent ?? null)
    rows.push(row)
  }
  return rows
}

/** 0-based, over all parts. */
function indexOf(execId: unknown, cmdSeq: number): number | undefined {
  const prefix = `${cmdSeq}-`
  if (typeof execId !== 'string' || !execId.startsWith(prefix)) return undefined
  const number = Number(execId.slice(prefix.length))
  return Number.isSafeInteger(number) && number > 0 ? number - 1 : undefined
}

/** @returns undefined when it does not fit */
function valueOf(report: ExecutionReport, { field, decimal }: ReportColumn): SinkValue | undefined {
  const value = report[field]
  if (value === undefined) return null
  if (decimal === undefined) return typeof value === 'string' ? value : undefined
  return unscaledFrom(value, ...decimal)
}

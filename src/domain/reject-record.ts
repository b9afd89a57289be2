import { echoOfCommand, type Cancel, type NewOrder, type Replace } from '../schemas/command.ts'
import { orderIdOf } from '../schemas/execution.ts'
import type { CommandEcho, RecordBase, RejectRecord } from '../schemas/risk.ts'
import type { Refusal } from './order-terms.ts'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** The echo without what the record itself carries. */
export function bareEcho(
  echo: CommandEcho & { readonly clOrdId?: string; readonly traceparent?: string },
): Mutable<CommandEcho> {
  const rest: Mutable<typeof echo> = { ...echo }
  delete rest.clOrdId
  delete rest.traceparent
  return rest
}

/** @param target the order that a refused cancel or replace means, and its account */
export function rejectRecord(
  base: RecordBase,
  command: NewOrder | Cancel | Replace,
  { reason, text, check, refOrderNumber }: Refusal,
  target?: number,
  account?: string,
): RejectRecord {
  const echo = bareEcho(echoOfCommand(command))
  if (target !== undefined) echo.orderId = orderIdOf(target)
  if (account !== undefined) echo.account = account
  if (refOrderNumber !== undefined) echo.refOrderId = orderIdOf(refOrderNumber)
  const record: Mutable<RejectRecord> = { ...base, type: 'reject', kind: command.kind, reason, text, echo }
  if (check) record.check = check
  return record
}

import { exitCodes, PipelineError } from '../base/errors.ts'
import { parseOwnJson, textFromUtf8 } from '../base/json.ts'
import { isOpen, type OrdersPage, type OrderState, viewOf } from '../domain/order-views.ts'
import { pendingState } from '../http/lookup.ts'
import type { Nats } from '../runtime/nats.ts'
import { storedMessage } from '../runtime/position.ts'
import { query } from '../runtime/query.ts'
import { readSince } from '../runtime/reader.ts'
import { accountPattern, decodeCommand } from '../schemas/command.ts'
import { type ExecutionMessage, type ExecutionReport, orderNumberOf } from '../schemas/execution.ts'
import { executionsSubject, parseOrdersSubject, querySubjects } from '../subjects/names.ts'
import { withNats } from './connect.ts'
import { describeOrder, describeReport } from './describe.ts'
import type { SendOptions } from './order-send.ts'
import { exactJson, numberText, printJson, printLine, redraw, say, visible } from './output.ts'
import { numeric, renderTable } from './table.ts'
import { watch } from './watch.ts'

/** Clocks of servers may differ by this much. */
const clockSlackUs = 1_000_000

/** Prints the state of an order and all its reports. Exit code 1 when there is no such order. */
export async function showOrder(orderId: string, options: SendOptions): Promise<void> {
  const orderNumber = orderNumberOf(orderId)
  if (orderNumber === undefined) throw new PipelineError('USAGE', `an order is named like o-12, not ${orderId}`)
  const found = await withNats(options, ['ORDERS', 'EXECUTIONS'], (nats) => find(nats, orderId, orderNumber, options))
  if (typeof found === 'string') {
    say(found)
    process.exitCode = exitCodes.failed
    return
  }
  const { order, reports, isComplete } = found
  if (!isComplete) say(`the search in EXECUTIONS was given up after ${options.timeoutMs} ms: reports are missing`)
  if (options.json) printJson({ orderId, seq: orderNumber, order, reports })
  else {
    printLine(describeOrder(order))
    for (const report of reports) printLine(`${report.transactTime}  ${describeReport(report)}`)
  }
}

type Parser = (data: Uint8Array) => unknown

/** Numbers for JSON, with every digit, or to be shown. */
function parserFor(json: boolean): Parser {
  return json ? exactJson : (data) => parseOwnJson(textFromUtf8(data))
}

interface FoundOrder {
  readonly order: OrderState
  readonly reports: readonly ExecutionReport[]
  readonly isComplete: boolean
}

/** @returns why there is no such order, as text */
async function find(
  nats: Nats,
  orderId: string,
  orderNumber: number,
  { json, timeoutMs }: SendOptions,
): Promise<FoundOrder | string> {
  const parse = parserFor(json)
  const command = await storedMessage(nats.jsm, 'ORDERS', { seq: orderNumber })
  const { last_seq: lastSequence } = (await nats.jsm.streams.info('ORDERS')).state
  if (!command && orderNumber > lastSequence) return `no order ${orderId}: ORDERS ends at ${lastSequence}`
  const kind = command ? parseOrdersSubject(command.subject).kind : 'new'
  if (kind !== 'new') return `no order ${orderId}: command ${orderNumber} is a ${kind.replace('_', ' ')}`
  const pending = command ? pendingOf(orderId, command) : undefined

  const { isComplete, found } = await reportsOf(nats, orderId, pending, command?.time, parse, timeoutMs)
  const reports = found.map(({ report }) => report)
  let order: OrderState | undefined
  for (const { sequence, report } of found) order = stateAfter(sequence, report) ?? order
  if (!isComplete) {
    const reply = await query(nats, querySubjects.order(orderId))
    order = (reply && (parse(reply) as OrderState | null)) ?? order
  }
  order ??= pending
  return order ? { order, reports, isComplete } : `no order ${orderId}: its command has been trimmed, and its reports`
}

function pendingOf(orderId: string, { data, subject }: { data: Uint8Array; subject: string }): OrderState {
  const decoded = decodeCommand('new', data, parseOrdersSubject(subject).account)
  if (decoded.outcome === 'command') return pendingState(orderId, decoded.command)
  return pendingState(orderId, decoded.outcome === 'invalid' ? decoded.echo : {})
}

/** @returns undefined for a refused cancel or replace, which leaves the order as it is */
function stateAfter(sequence: number, report: ExecutionReport): OrderState | undefined {
  const { execType } = report
  return execType === 'CancelRejected' || execType === 'ReplaceRejected' ? undefined : viewOf(sequence, report)
}

interface FoundReport {
  readonly sequence: number
  readonly report: ExecutionReport
}

/**
 * Reads EXECUTIONS from the command on, up to the end of the order. Reports of a mass cancel of all symbols, and those
 * without a valid symbol, have a subject of their own.
 */
async function reportsOf(
  nats: Nats,
  orderId: string,
  pending: OrderState | undefined,
  commandTime: Date | undefined,
  parse: Parser,
  timeoutMs: number,
): Promise<{ found: FoundReport[]; isComplete: boolean }> {
  const deadlineMs = Date.now() + timeoutMs
  const sinceUs = commandTime ? Math.max(0, commandTime.getTime() * 1_000 - clockSlackUs) : 0
  const found: FoundReport[] = []
  let isComplete = true
  let endSequence = Infinity
  const search = async (subject: string) => {
    for await (const { data, sequence } of readSince(nats, 'EXECUTIONS', subject, sinceUs)) {
      for (const report of (parse(data) as ExecutionMessage).reports)
        if (report.orderId === orderId) {
          found.push({ sequence, report })
          const state = stateAfter(sequence, report)
          if (state && !isOpen(state)) endSequence = sequence
        }
      if (Date.now() > deadlineMs) isComplete = false
      if (sequence >= endSequence || !isComplete) return
    }
  }
  const subjects = new Set(pending ? [pending.symbol, undefined].map((symbol) => executionsSubject(symbol, false)) : [])
  if (pending) subjects.add(executionsSubject(undefined, true))
  else subjects.add('executions.>')
  await Promise.all([...subjects].map(search))
  return { found: found.sort((a, b) => a.sequence - b.sequence), isComplete }
}

interface ListOptions extends SendOptions {
  readonly account: string
  readonly symbol?: string
  readonly watch: boolean
}

/** Prints the open orders of an account, as the matcher has them. */
export async function listOrders(options: ListOptions): Promise<void> {
  const { account, json } = options
  const symbol = options.symbol?.toUpperCase()
  if (!new RegExp(accountPattern).test(account)) throw new PipelineError('USAGE', `no account can be named ${account}`)
  await withNats(options, [], async (nats) => {
    const look = async (show: (text: string) => void) => {
      const all = await openOrdersOf(nats, account, parserFor(json))
      const orders = all.filter((order) => symbol === undefined || order.symbol === symbol)
      if (json) printJson({ account, orders })
      else show(orders.length === 0 ? `account ${account} has no open orders` : renderOrders(orders))
    }
    if (options.watch) await watch(nats, () => look(redraw))
    else await look(printLine)
  })
}

function renderOrders(orders: readonly OrderState[]): string {
  const columns = [
    'order',
    'symbol',
    'side',
    ...['quantity', 'price', 'filled', 'avgPx'].map(numeric),
    'status',
    'clOrdId',
  ]
  const rows = orders.map((order) => [
    order.orderId,
    order.symbol ?? '-',
    order.side ?? '-',
    ...[order.quantity, order.price, order.filledQuantity, order.averagePrice].map(numberText),
    order.status,
    visible(order.clOrdId ?? '-'),
  ])
  return renderTable(columns, rows)
}

async function openOrdersOf(nats: Nats, account: string, parse: Parser): Promise<OrderState[]> {
  const orders: OrderState[] = []
  for (;;) {
    const reply = await query(nats, querySubjects.orders(account), orders.at(-1)?.orderId.slice(2))
    if (!reply)
      throw new PipelineError(
        'COMPONENT_MISSING',
        'no active oms-matcher answers for its open orders; `trade2026 lag` says which workers run',
      )
    const page = parse(reply) as OrdersPage
    orders.push(...page.orders)
    if (!page.hasMore) return orders
  }
}

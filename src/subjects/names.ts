import type { CommandKind } from '../schemas/risk.ts'
import type { StreamName, WorkerName } from './contract.ts'

/** Headers of every output (contract, section 2). */
export const headerNames = {
  /** Sequence in the stream an output was made from. */
  inSeq: 'In-Seq',
  /** 0-based record within that message; of a whole-batch output its last. */
  inIndex: 'In-Index',
  /** `k/n`, on outputs that came in parts. */
  inPart: 'In-Part',
  /** Sequence in ORDERS of the command that an EXECUTIONS message answers; 0 if the gate issued it. */
  srcSeq: 'Src-Seq',
  /** Of a worker with a stream of its own: which rules made the output; without it 1. */
  logicVersion: 'Logic-Version',
  traceparent: 'traceparent',
} as const

export const riskSubject = 'risk.decisions'
export const tapeVenue = 'T2026'

const commandKinds: Readonly<Record<string, CommandKind>> = {
  new: 'new',
  cancel: 'cancel',
  replace: 'replace',
  mass_cancel: 'mass_cancel',
}

/** What a subject of ORDERS says. @throws RangeError on any other subject */
export function parseOrdersSubject(subject: string): { kind: CommandKind; account: string | undefined } {
  const [, name = '', account] = subject.split('.')
  const kind = commandKinds[name]
  if (!kind) throw new RangeError(`not a subject of ORDERS: ${subject}`)
  return { kind, account }
}

export function ordersSubject(kind: CommandKind, account?: string): string {
  return account === undefined ? `orders.${kind}` : `orders.${kind}.${account}`
}

/** Subject under which a report message is stored. */
export function executionsSubject(symbol: string | undefined, isMassCancel: boolean): string {
  return `executions.${symbol ?? (isMassCancel ? '_all' : '_')}`
}

/** Core subject on which the gate says that an account comes near a limit, or no longer does; stored nowhere. */
export function riskAlertSubject(account: string): string {
  return `risk.alert.${account}`
}

export const positionsWatermarkSubject = 'positions._watermark'

export function positionSubject(account: string, symbol?: string): string {
  return symbol === undefined ? `positions.${account}` : `positions.${account}.${symbol}`
}

export function tickSubject(venue: string, symbol: string): string {
  return `market.tick.${venue}.${symbol}`
}

export function documentSubject(category: string): string {
  return `alt.norm.${category}`
}

export function deadLetterSubject(worker: WorkerName, stream: StreamName, sequence: number): string {
  return `dlq.${worker}.${stream}.${sequence}`
}

/** Request subjects that the matcher answers. */
export const querySubjects = {
  order: (orderId: string) => `query.order.${orderId}`,
  orders: (account: string) => `query.orders.${account}`,
  book: (symbol: string) => `query.book.${symbol}`,
} as const

/**
 * reads       EXECUTIONS: fills; TICKS: prices for unrealised PnL
 * writes      POSITIONS: latest state of each account and symbol, then the watermark; Redis: the same, set if newer
 * state       positions, cost, PnL (src/domain/positions.ts), a function of EXECUTIONS; marks come from TICKS
 * guarantees  each fill counts once; quantity, cash and fees sum to zero over all accounts
 * crash       EXECUTIONS is folded again from its start; what the watermark covers is not sent again
 */
import { assert } from '../base/assert.ts'
import { nearestUnits } from '../base/decimal.ts'
import { parseOwnJson, textFromUtf8 } from '../base/json.ts'
import { OrderViews, type OrderView } from '../domain/order-views.ts'
import { fillOf, type Portfolio } from '../domain/positions.ts'
import type { ExecutionMessage } from '../schemas/execution.ts'
import type { Instrument } from '../schemas/instrument.ts'
import { encodeAccountPosition, encodePosition, encodeWatermark, type PositionState } from '../schemas/position.ts'
import type { Output } from '../runtime/fenced-writer.ts'
import type { InputMessage } from '../runtime/reader.ts'
import type { Effects, Fold } from '../runtime/worker-loop.ts'
import { positionSubject, positionsWatermarkSubject } from '../subjects/names.ts'

/** Orders that ended and are projected again after a crash, or when the projection was away. */
const endedOrdersMax = 10_000

/** Where the latest positions and orders are projected to, after they are stored. */
export interface Projection {
  positions(encoded: readonly { account: string; symbol: string; json: string; asOf: number }[]): void
  orders(views: readonly OrderView[]): void
}

export interface PnlUpdaterOptions {
  readonly portfolio: Portfolio
  readonly decode: (message: InputMessage) => ExecutionMessage
  /** undefined for a symbol that the configuration does not know. */
  readonly instrument: (symbol: string) => Instrument | undefined
  readonly projection: Projection
  /** How often positions follow the marks. */
  readonly markIntervalMs: number
  readonly nowMs: () => number
}

export interface PnlUpdater {
  readonly fold: Fold
  /** A tick of TICKS. */
  mark(message: InputMessage): void
  /** Recovery is over. */
  activated(): void
  /** Everything the projection should hold, for when it has been lost. */
  projectAll(): void
}

export function createPnlUpdater(options: PnlUpdaterOptions): PnlUpdater {
  const { portfolio, projection } = options
  const orders = new OrderViews(endedOrdersMax)
  /** Last price of each symbol in TICKS. */
  const marks = new Map<string, number>()
  let asOf = 0
  let refreshedMs = 0
  /** Of the batches on their way, by the sequence of their watermark. */
  const projected = new Map<number, OrderView[]>()

  const changes = (): Effects => {
    const { positions, accounts } = portfolio.takeChanged()
    const position = { inSeq: asOf, inIndex: 0 }
    const outputs: Output[] = positions.map((state) => ({
      subject: `w.${positionSubject(state.account, state.symbol)}`,
      body: encodePosition(state, asOf),
      position,
    }))
    for (const account of accounts)
      outputs.push({
        subject: `w.${positionSubject(account.account)}`,
        body: encodeAccountPosition(account, asOf),
        position,
      })
    return { outputs }
  }

  const project = (states: Iterable<PositionState>, at: number) =>
    projection.positions(
      Array.from(states, (state) => ({
        account: state.account,
        symbol: state.symbol,
        json: encodePosition(state, at),
        asOf: at,
      })),
    )

  const fold: Fold = {
    handle: (batch, isReplay) => {
      if (batch.length === 0) {
        if (options.nowMs() - refreshedMs < options.markIntervalMs) return { outputs: [] }
        refreshedMs = options.nowMs()
        portfolio.refreshMarks()
        return changes()
      }
      const views: OrderView[] = []
      for (const input of batch) {
        const { sequence } = input
        const message = options.decode(input)
        const changed = orders.apply(sequence, message)
        if (!isReplay) views.push(...changed)
        for (const report of message.reports)
          if (report.execType === 'Trade') {
            const instrument = options.instrument(report.symbol ?? '')
            assert(
              instrument,
              `EXECUTIONS names ${report.symbol ?? 'no symbol'}, which the configuration does not know`,
            )
            portfolio.fill(fillOf(report, instrument), instrument)
          }
        asOf = sequence
      }
      const { outputs } = changes()
      const watermark = {
        subject: `w.${positionsWatermarkSubject}`,
        body: encodeWatermark(asOf),
        position: { inSeq: asOf, inIndex: 0 },
      }
      if (!isReplay) projected.set(asOf, views)
      return { outputs: [...outputs, watermark] }
    },

    onStored: (outputs) => {
      const last = outputs[outputs.length - 1]
      if (!last) return
      for (const [sequence, views] of projected) {
        if (sequence > last.position.inSeq) break
        projection.orders(views)
        projected.delete(sequence)
      }
      projection.positions(
        outputs.flatMap(({ subject, body, position }) => {
          const [, , account, symbol] = subject.split('.')
          return account === undefined || symbol === undefined
            ? []
            : [{ account, symbol, json: body, asOf: position.inSeq }]
        }),
      )
    },
  }

  const pnl: PnlUpdater = {
    fold,
    mark: ({ data }) => {
      const price = priceOf(data)
      const instrument = price && options.instrument(price.symbol)
      if (!instrument) return
      const ticks = nearestUnits(price.price, instrument.tick)
      if (ticks === undefined || ticks <= 0) return
      marks.set(price.symbol, ticks)
      portfolio.mark(price.symbol, ticks)
    },
    activated: () => {
      // Ticks that came before their symbol's fills were folded again have marked nothing yet.
      for (const [symbol, ticks] of marks) portfolio.mark(symbol, ticks)
      pnl.projectAll()
    },
    projectAll: () => {
      for (const account of portfolio.accounts()) project(portfolio.positionsOf(account), asOf)
      projection.orders([...orders.open(), ...orders.ended()])
    },
  }
  return pnl
}

/** Anybody may publish ticks, so one that says no price is passed over; keeping it as a dead letter is the sink's work. */
function priceOf(data: Uint8Array): { symbol: string; price: string } | undefined {
  try {
    const tick = parseOwnJson(textFromUtf8(data)) as { symbol?: unknown; price?: unknown } | null
    if (typeof tick?.symbol !== 'string') return undefined
    const { symbol, price } = tick
    return typeof price === 'number' || typeof price === 'string' ? { symbol, price: String(price) } : undefined
  } catch {
    return undefined
  }
}

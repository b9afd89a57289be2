/**
 * reads       EXECUTIONS: fills; TICKS: prices for unrealised PnL
 * writes      POSITIONS: latest state of each account and symbol, then the watermark; Redis: the same, set if newer
 * state       positions, cost, PnL (src/domain/portfolio.ts), a function of EXECUTIONS; marks come from TICKS
 * guarantees  each fill counts once; quantity, cash and fees sum to zero over all accounts
 * crash       goes on from a snapshot; EXECUTIONS is folded again from there up to the watermark, and not sent again
 */
import { assert } from '../base/assert.ts'
import { nearestUnits } from '../base/decimal.ts'
import { parseOwnJson, textFromUtf8 } from '../base/json.ts'
import { isOpen, OrderViews, type OrderView } from '../domain/order-views.ts'
import { fillOf } from '../domain/fill.ts'
import type { OrderViewsState } from '../domain/order-views-state.ts'
import type { Portfolio } from '../domain/portfolio.ts'
import type { PortfolioState } from '../domain/portfolio-state.ts'
import { symbolPattern } from '../schemas/command.ts'
import type { ExecutionMessage } from '../schemas/execution.ts'
import { definitionOf, type Instrument, instrumentFrom, type InstrumentsConfig } from '../schemas/instrument.ts'
import { encodeAccountPosition, encodePosition, encodeWatermark, type PositionState } from '../schemas/position.ts'
import type { Output } from '../runtime/fenced-writer.ts'
import type { InputMessage } from '../runtime/reader.ts'
import type { Fold } from '../runtime/fold.ts'
import { positionSubject, positionsWatermarkSubject, tapeVenue, tickSubject } from '../subjects/names.ts'

/** Orders that ended and are projected again after a crash, or when the projection was away. */
const endedOrdersMax = 10_000
/** Symbols whose ticks are kept until recovery is over: anybody may publish ticks, and a stand-by waits for long. */
const earlyMarksMax = 10_000
const minuteMs = 60_000
/** Of RFC 3339, up to the minute. */
const minuteTextLength = 16
/** Positions revalued at the marks in one go: some milliseconds of work. */
const revaluedMax = 10_000
/** Positions that only a mark has moved and that are stored in an idle moment, of which there are ten a second. */
const markedMax = 50
/** How far behind the clock idle minutes end: a fill may be on its way. */
const snapshotGraceMs = 5_000
const ownTicks = tickSubject(tapeVenue, '')
const symbolRegExp = new RegExp(symbolPattern)

/** Grows with every change after which equal fills give other figures. */
export const pnlLogicVersion = 1

export interface PnlSnapshot {
  readonly asOf: number
  readonly time: string | undefined
  readonly portfolio: PortfolioState
  readonly orders: OrderViewsState
}

/** Where the latest positions and orders are projected to, after they are stored. */
export interface Projection {
  positions(encoded: readonly { account: string; symbol: string; json: string; asOf: number }[]): void
  orders(views: readonly OrderView[]): void
}

export interface PnlUpdaterOptions {
  readonly portfolio: Portfolio
  readonly decode: (message: InputMessage) => ExecutionMessage
  readonly instruments: InstrumentsConfig
  readonly projection: Projection
  /** How often positions follow the marks. */
  readonly markIntervalMs: number
  readonly nowMs: () => number
}

export interface PnlUpdater {
  readonly fold: Fold
  /** A tick of TICKS; passed over unless its symbol has traded. */
  mark(message: InputMessage): void
  /** Recovery is over. */
  activated(): void
  /** Everything the projection should hold, for when it has been lost; nothing before recovery is over. */
  projectAll(): void
  /** Whether an order is open as of `asOf`. */
  isOpen(orderId: string): boolean
  /** Recovery is over, and the figures are those of all fills up to `asOf`, a sequence of EXECUTIONS. */
  readonly isActive: boolean
  readonly asOf: number
  /** Stream time of `asOf`, RFC 3339; undefined before the first execution. */
  readonly time: string | undefined
}

export function createPnlUpdater(options: PnlUpdaterOptions): PnlUpdater {
  const { portfolio, projection } = options
  const orders = new OrderViews(endedOrdersMax)
  /** Of the symbols that have traded. */
  const instruments = new Map<string, Instrument>()
  /** Last price of each symbol in TICKS, until recovery is over. */
  const earlyMarks = new Map<string, string>()
  let isActive = false
  let asOf = 0
  let time: string | undefined
  let minuteText = ''
  let refreshedMs = 0
  /** Positions that only marks have changed and that may be taken now. */
  let markedLeft = 0
  /** Of the batches on their way, by the sequence of their watermark. */
  const projected = new Map<number, OrderView[]>()
  /** Of the last watermark taken. */
  let watermarkSeq = 0
  let views: OrderView[] = []

  /** What has traded is counted, even when a configuration made strict since does not know it. */
  const tradedInstrument = (symbol: string): Instrument => {
    const known = instruments.get(symbol)
    if (known) return known
    const definition = definitionOf({ ...options.instruments, strict: false }, symbol)
    assert(definition, `${symbol} has no definition`)
    const instrument = instrumentFrom(definition)
    instruments.set(symbol, instrument)
    return instrument
  }

  const applyMark = (symbol: string, price: string): void => {
    const instrument = instruments.get(symbol)
    const ticks = instrument && nearestUnits(price, instrument.tick)
    if (ticks !== undefined && ticks > 0) portfolio.mark(symbol, ticks)
  }

  const changes = (): Output[] => {
    const { positions, accounts } = portfolio.takeChanged(markedLeft)
    markedLeft = 0
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
    return outputs
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
        markedLeft = markedMax
        if (options.nowMs() - refreshedMs < options.markIntervalMs) return { outputs: [] }
        refreshedMs = options.nowMs()
        portfolio.advance(Math.floor((refreshedMs - snapshotGraceMs) / minuteMs))
        portfolio.refreshMarks(revaluedMax)
      }
      for (const input of batch) {
        const { sequence } = input
        const message = options.decode(input)
        // A fill belongs to the minute of its command; an epoch record has no time.
        if (message.epoch === undefined) {
          time = message.transactTime
          if (time.slice(0, minuteTextLength) !== minuteText) {
            minuteText = time.slice(0, minuteTextLength)
            portfolio.advance(Math.floor(Date.parse(time) / minuteMs))
          }
        }
        const changed = orders.apply(sequence, message)
        if (!isReplay) views.push(...changed)
        for (const report of message.reports)
          if (report.execType === 'Trade') {
            assert(report.symbol !== undefined, `${report.execId}: a Trade without symbol`)
            const instrument = tradedInstrument(report.symbol)
            portfolio.fill(fillOf(report, instrument), instrument)
          }
        asOf = sequence
      }
      return { outputs: [] }
    },

    takeOutputs: () => {
      const outputs = changes()
      if (asOf === watermarkSeq) return outputs
      watermarkSeq = asOf
      outputs.push({
        subject: `w.${positionsWatermarkSubject}`,
        body: encodeWatermark(asOf),
        position: { inSeq: asOf, inIndex: 0 },
      })
      if (views.length > 0) projected.set(asOf, views)
      views = []
      return outputs
    },

    state: {
      logicVersion: pnlLogicVersion,
      save: (): PnlSnapshot => ({ asOf, time, portfolio: portfolio.save(), orders: orders.save() }),
      load: (state) => {
        const saved = state as PnlSnapshot
        asOf = saved.asOf
        watermarkSeq = saved.asOf
        time = saved.time
        portfolio.load(saved.portfolio)
        orders.load(saved.orders)
        for (const symbol of portfolio.symbols()) tradedInstrument(symbol)
      },
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
    get isActive() {
      return isActive
    },
    get asOf() {
      return asOf
    },
    get time() {
      return time
    },
    mark: ({ subject, data }) => {
      if (subject.startsWith(ownTicks)) {
        // The fill has marked, or will; its echo is late, and only says that earlier prices are out of date.
        if (!isActive) earlyMarks.delete(subject.slice(ownTicks.length))
        return
      }
      const tick = priceOf(data)
      if (!tick) return
      if (isActive) {
        applyMark(tick.symbol, tick.price)
        return
      }
      earlyMarks.delete(tick.symbol)
      earlyMarks.set(tick.symbol, tick.price)
      if (earlyMarks.size <= earlyMarksMax) return
      const oldest = earlyMarks.keys().next()
      if (!oldest.done) earlyMarks.delete(oldest.value)
    },
    activated: () => {
      isActive = true
      // Fills folded again have marked at their own prices, which are older.
      for (const [symbol, price] of earlyMarks) applyMark(symbol, price)
      earlyMarks.clear()
      pnl.projectAll()
    },
    projectAll: () => {
      if (!isActive) return
      for (const account of portfolio.accounts()) project(portfolio.positionsOf(account), asOf)
      projection.orders([...orders.open(), ...orders.ended()])
    },
    isOpen: (orderId) => {
      const view = orders.get(orderId)
      return view !== undefined && isOpen(view)
    },
  }
  return pnl
}

/** Anybody may publish ticks, so one that says no price is passed over; keeping it as a dead letter is the sink's work. */
function priceOf(data: Uint8Array): { symbol: string; price: string } | undefined {
  try {
    const tick = parseOwnJson(textFromUtf8(data)) as { symbol?: unknown; price?: unknown } | null
    if (typeof tick?.symbol !== 'string' || !symbolRegExp.test(tick.symbol)) return undefined
    const { symbol, price } = tick
    return typeof price === 'number' || typeof price === 'string' ? { symbol, price: String(price) } : undefined
  } catch {
    return undefined
  }
}

import type { FastifyInstance } from 'fastify'
import type { Portfolio } from '../domain/portfolio.ts'
import type { LoopState } from '../runtime/fold.ts'
import { accountPattern, symbolPattern } from '../schemas/command.ts'
import { encodeFigures } from '../schemas/performance.ts'
import { encodeAccountPosition, encodePosition } from '../schemas/position.ts'
import { sendJson } from './bodies.ts'
import { DoorError, invalidField } from './gateway-answers.ts'
import type { Served } from './health-routes.ts'

const limitDefault = 1_000
const limitMax = 10_000
const accountOrVenuePattern = `${accountPattern}|^_venue$`

/** Where the figures come from. */
export interface PnlSource {
  readonly pnl: {
    /** False while it recovers or waits as a stand-by: what it knows is old. */
    readonly isActive: boolean
    /** EXECUTIONS sequence up to which everything is folded, and its stream time. */
    readonly asOf: number
    readonly time: string | undefined
  }
  readonly portfolio: Portfolio
  readonly served: Served
  readonly loop: () => LoopState
}

type Query = Readonly<Record<string, string | string[] | undefined>>

/** Adds `/positions`, `/positions/:account`, `/snapshot` and `/stats` of the pnl-updater (contract, section 4). */
export function addPnlRoutes(app: FastifyInstance, { pnl, portfolio, served, loop }: PnlSource): void {
  const startedMs = Date.now()
  const needActive = () => {
    if (pnl.isActive) return
    const { phase, holder = 'another process' } = loop()
    const why = phase === 'waiting' ? `is a stand-by: ${holder} is active` : 'still reads EXECUTIONS'
    throw new DoorError('SYSTEM_UNAVAILABLE', `this pnl-updater ${why}`)
  }
  const asOf = () => `"as_of":${pnl.asOf},"as_of_time":${pnl.time === undefined ? 'null' : `"${pnl.time}"`}`

  const positions = (query: Query): string => {
    const account = textOf(query, 'account', accountOrVenuePattern)
    const symbol = textOf(query, 'symbol', symbolPattern)
    const page = new Page(query)
    for (const name of account === undefined ? portfolio.tradingAccounts() : [account]) {
      for (const position of portfolio.positionsOf(name))
        if (symbol === undefined || position.symbol === symbol)
          page.add(`${name}.${position.symbol}`, () => encodePosition(position, pnl.asOf))
      if (page.isFull) break
    }
    return `{${asOf()},"positions":[${page.items.join(',')}],"next":${page.next()}}`
  }

  const positionsOf = (account: string): string => {
    const encoded = Array.from(portfolio.positionsOf(account), (position) => encodePosition(position, pnl.asOf))
    const state = portfolio.account(account)
    const aggregate = state ? encodeAccountPosition(state, pnl.asOf) : 'null'
    return `{"account":"${account}","positions":[${encoded.join(',')}],"aggregate":${aggregate}}`
  }

  const snapshot = (query: Query): string => {
    const account = textOf(query, 'account', accountPattern)
    const page = new Page(query)
    for (const name of account === undefined ? portfolio.tradingAccounts() : [account]) {
      const state = portfolio.account(name)
      const record = portfolio.recordOf(name)
      if (state && record) page.add(name, () => `{"account":"${name}",${encodeFigures(state, record)}}`)
      if (page.isFull) break
    }
    const { accounts, symbols, record, ...sums } = portfolio.totals()
    const totals = `{"accounts":${accounts},"symbols":${symbols},${encodeFigures(sums, record)}}`
    return `{${asOf()},"totals":${totals},"accounts":[${page.items.join(',')}],"next":${page.next()}}`
  }

  const stats = (): object => {
    const { accounts, symbols, openPositions, record } = portfolio.totals()
    const { settledSequence, pendingOutputs, redelivered, deadLetters, batches } = loop()
    return {
      uptime_seconds: Math.floor((Date.now() - startedMs) / 1_000),
      as_of: pnl.asOf,
      as_of_time: pnl.time ?? null,
      watermark: settledSequence,
      fills: record.trades,
      closing_fills: record.closingTrades,
      accounts,
      symbols,
      open_positions: openPositions,
      batches,
      pending_outputs: pendingOutputs,
      redelivered,
      dead_letters: deadLetters,
      latency_ms: served.body().checks.latency_ms,
    }
  }

  void app.register((routes, _options, done) => {
    routes.addHook('onRequest', (_request, _reply, next) => {
      needActive()
      next()
    })
    routes.get<{ Querystring: Query }>('/positions', ({ query }, reply) => sendJson(reply, positions(query)))
    routes.get<{ Params: Query }>('/positions/:account', ({ params }, reply) =>
      sendJson(reply, positionsOf(textOf(params, 'account', accountOrVenuePattern) ?? '')),
    )
    routes.get<{ Querystring: Query }>('/snapshot', ({ query }, reply) => sendJson(reply, snapshot(query)))
    routes.get('/stats', () => stats())
    done()
  })
}

/** Some of a list whose order stays as it is while it grows: `next`, given as `after`, goes on behind the last item. */
class Page {
  readonly items: string[] = []
  readonly #limit: number
  #after: string | undefined
  #last = ''
  #hasMore = false

  /** @param query its `limit` and `after` */
  constructor(query: Query) {
    const limit = textOf(query, 'limit', '^[1-9]\\d{0,5}$') ?? limitDefault
    if (Number(limit) > limitMax) throw invalidField('limit', `must be a whole number from 1 to ${limitMax}`)
    this.#limit = Number(limit)
    this.#after = textOf(query, 'after', '')
  }

  add(key: string, item: () => string): void {
    if (this.#after !== undefined) {
      if (this.#after === key) this.#after = undefined
    } else if (this.items.length === this.#limit) this.#hasMore = true
    else {
      this.#last = key
      this.items.push(item())
    }
  }

  /** Another item would change nothing. */
  get isFull(): boolean {
    return this.#hasMore
  }

  /** JSON: null at the end of the list. */
  next(): string {
    if (this.#after !== undefined) throw invalidField('after', 'must be the `next` of an earlier answer')
    return this.#hasMore ? `"${this.#last}"` : 'null'
  }
}

function textOf(query: Query, name: string, pattern: string): string | undefined {
  const text = query[name]
  if (text === undefined) return undefined
  if (typeof text !== 'string') throw invalidField(name, 'is given twice')
  if (!new RegExp(pattern).test(text)) throw invalidField(name, `must match ${pattern}`)
  return text
}

import { parseDecimal } from '../base/decimal.ts'
import { PipelineError } from '../base/errors.ts'
import { parseOwnJson, utf8FromText } from '../base/json.ts'
import { fillOf } from '../domain/fill.ts'
import { OrderViews } from '../domain/order-views.ts'
import { Portfolio } from '../domain/portfolio.ts'
import type { Nats } from '../runtime/nats.ts'
import { readLatest, readStream } from '../runtime/reader.ts'
import { type RedisRecords, readRedis } from '../runtime/redis-records.ts'
import { sharedDecoder } from '../runtime/shared-decoder.ts'
import { snapshotsOfLogic } from '../runtime/logic-version.ts'
import { readSnapshot } from '../runtime/snapshots.ts'
import { decodeExecution } from '../schemas/execution.ts'
import { definitionOf, type Instrument, instrumentFrom, type InstrumentsConfig } from '../schemas/instrument.ts'
import {
  decodeAccountPosition,
  decodePosition,
  decodeWatermark,
  encodeAccountPosition,
  encodePosition,
  type PositionRecord,
} from '../schemas/position.ts'
import { workerSpec } from '../subjects/contract.ts'
import { type PnlSnapshot, pnlLogicVersion } from '../workers/pnl-updater.ts'
import { Ledger, zeroSums } from './audit.ts'
import type { VerifyParts } from './verify-chain.ts'
import { Check } from './verify-check.ts'

/** What does not depend on marks. */
const positionFields = ['quantity', 'avgPx', 'realizedPnl', 'fees'] as const
const accountFields = ['realizedPnl', 'fees', 'cash', 'openPositions'] as const

/** Something that says how it was after a message of EXECUTIONS. */
interface Claim {
  readonly asOf: number
  readonly verify: (state: State) => void
}

interface State {
  readonly portfolio: Portfolio
  readonly orders: OrderViews
}

/**
 * EXECUTIONS ↔ POSITIONS ↔ Redis, each record as of its own `asOf`; and that quantity, cash and fees add up to zero.
 * @param redisUrl empty: there is none
 */
export async function verifyPositions(parts: VerifyParts, redisUrl: string): Promise<Check[]> {
  const { nats, settings, instruments, onProgress } = parts
  const positions = new Check('executions-positions')
  const redis = new Check('executions-redis')
  const conservation = new Check('conservation')
  // What is read first is the oldest: nothing can be ahead of what is read after it.
  const claims = redisUrl === '' ? [] : redisClaims(redis, await readRedis(redisUrl))
  const latest = await positionClaims(nats, positions)
  claims.push(...latest.claims)
  const last = claims.reduce((max, { asOf }) => Math.max(max, asOf), latest.watermark)

  const startingCash = parseDecimal(settings.STARTING_CASH)
  const state: State = {
    portfolio: new Portfolio(startingCash ? { startingCash } : {}),
    orders: new OrderViews(Number.MAX_SAFE_INTEGER),
  }
  const after = await loadOldest(nats, state)
  const due = Map.groupBy(claims, ({ asOf }) => Math.max(asOf, after))
  const verifyDue = (sequence: number) => {
    for (const { verify } of due.get(sequence) ?? []) verify(state)
  }
  verifyDue(after)
  const ledger = new Ledger()
  const lastFills = new Map<string, number>()
  const decode = sharedDecoder('EXECUTIONS', decodeExecution)
  const { last_seq: stored } = (await nats.jsm.streams.info('EXECUTIONS')).state
  if (last > stored) positions.differs(`POSITIONS or Redis are as of EXECUTIONS ${last}, which ends at ${stored}`)
  try {
    for await (const input of readStream(nats, 'EXECUTIONS', after + 1, Math.min(last, stored))) {
      const { sequence } = input
      onProgress('EXECUTIONS, POSITIONS and Redis', (sequence - after) / (last - after))
      const message = decode(input)
      state.orders.apply(sequence, message)
      for (const report of message.reports) {
        if (report.execType !== 'Trade') continue
        const instrument = instrumentOf(instruments, report.symbol ?? '')
        state.portfolio.fill(fillOf(report, instrument), instrument)
        ledger.trade(report)
        lastFills.set(`${report.account} ${report.symbol}`, sequence)
        conservation.add(1)
      }
      verifyDue(sequence)
    }
  } catch (error) {
    positions.failed(error)
  }
  for (const [key, sequence] of lastFills) {
    const asOf = latest.asOfs.get(key)
    if (sequence <= latest.watermark && (asOf === undefined || asOf < sequence))
      positions.differs(
        `${key}: POSITIONS ${asOf === undefined ? 'has nothing' : `is as of ${asOf}`}, its last fill is EXECUTIONS ${sequence}`,
      )
  }
  for (const problem of zeroSums(ledger)) conservation.differs(problem)
  const { quantityBySymbol, cash, fees } = state.portfolio.conservation()
  for (const [symbol, sum] of quantityBySymbol)
    if (sum !== 0) conservation.differs(`positions in ${symbol} add up to ${sum} lots`)
  if (cash !== 0n || fees !== 0n) conservation.differs(`cash adds up to ${cash}, fees to ${fees} (10^-18)`)
  return [positions, ...(redisUrl === '' ? [] : [redis]), conservation]
}

function instrumentOf(config: InstrumentsConfig, symbol: string): Instrument {
  const definition = definitionOf({ ...config, strict: false }, symbol)
  if (!definition) throw new PipelineError('CONFIG_INVALID', `${symbol} has no definition`)
  return instrumentFrom(definition)
}

/** @returns the message of EXECUTIONS up to which the state is one from a snapshot; 0: it begins at the beginning */
async function loadOldest(nats: Nats, { portfolio, orders }: State): Promise<number> {
  const { first_seq: first } = (await nats.jsm.streams.info('EXECUTIONS')).state
  const { since, newestFirst } = await snapshotsOfLogic(nats, workerSpec('pnl-updater'), pnlLogicVersion)
  if (since === 0 && first <= 1) return 0
  for (const meta of newestFirst.toReversed()) {
    if (meta.inSeq < first - 1) continue
    const saved = (await readSnapshot(nats, meta)) as PnlSnapshot
    portfolio.load(saved.portfolio)
    orders.load(saved.orders)
    return meta.inSeq
  }
  throw new PipelineError('SNAPSHOT_MISSING', `EXECUTIONS begins at ${first}, and PnL has no snapshot from there on`)
}

async function positionClaims(
  nats: Nats,
  check: Check,
): Promise<{ claims: Claim[]; asOfs: Map<string, number>; watermark: number }> {
  const claims: Claim[] = []
  const asOfs = new Map<string, number>()
  let watermark = 0
  for (const [subject, { data }] of await readLatest(nats, 'POSITIONS', 'positions.>')) {
    const [, account = '', symbol] = subject.split('.')
    if (subject === 'positions._watermark') watermark = decodeWatermark(data).executionsSeq
    else if (symbol !== undefined) {
      const record = decodePosition(data)
      asOfs.set(`${account} ${symbol}`, record.asOf)
      claims.push(claimOf(check, subject, account, symbol, record))
    } else if (account !== '_epoch') {
      const record = decodeAccountPosition(data)
      claims.push({
        asOf: record.asOf,
        verify: ({ portfolio }) => {
          const known = portfolio.account(account)
          const expected = known && decodeAccountPosition(utf8FromText(encodeAccountPosition(known, record.asOf)))
          check.compared(differenceOf(subject, record, expected, accountFields))
        },
      })
    }
  }
  return { claims, asOfs, watermark }
}

function claimOf(check: Check, name: string, account: string, symbol: string, record: PositionRecord): Claim {
  return {
    asOf: record.asOf,
    verify: ({ portfolio }) => {
      const known = portfolio.position(account, symbol)
      const expected = known && decodePosition(utf8FromText(encodePosition(known, record.asOf)))
      check.compared(differenceOf(name, record, expected, positionFields))
    },
  }
}

function differenceOf<T extends { readonly asOf: number }>(
  name: string,
  record: T,
  expected: T | undefined,
  fields: readonly (keyof T & string)[],
): string | undefined {
  if (!expected) return `${name}: says something as of EXECUTIONS ${record.asOf}, and nothing had traded there`
  const field = fields.find((each) => String(record[each]) !== String(expected[each]))
  if (field === undefined) return undefined
  return `${name}: ${field} is ${String(record[field])} as of EXECUTIONS ${record.asOf}, its fills say ${String(expected[field])}`
}

function redisClaims(check: Check, { positions, orders }: RedisRecords): Claim[] {
  const claims: Claim[] = []
  for (const { key, account, symbol, json } of positions) {
    let record: PositionRecord | undefined
    try {
      record = parseOwnJson(json) as PositionRecord
    } catch {
      check.differs(`${key} ${symbol}: is not JSON: ${json.slice(0, 100)}`)
    }
    if (record) claims.push(claimOf(check, `${key} ${symbol}`, account, symbol, record))
  }
  for (const { key, orderId, fields } of orders) {
    const asOf = Number(fields['asOf'])
    claims.push({
      asOf,
      verify: (state) => {
        const view = state.orders.get(orderId)
        // Of one that ended long before the oldest snapshot nobody else knows.
        if (!view) return
        const differing = Object.entries(view).find(([name, value]) => fields[name] !== String(value))
        check.compared(
          differing &&
            `${key}: ${differing[0]} is ${fields[differing[0]] ?? 'missing'} as of EXECUTIONS ${asOf}, its reports say ${String(differing[1])}`,
        )
      },
    })
  }
  return claims
}

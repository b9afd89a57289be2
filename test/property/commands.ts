import { sides, stpModes, type Side } from '../../src/schemas/enums.ts'
import type { RejectReason } from '../../src/schemas/reject-reasons.ts'
import type { InstrumentDefinition } from '../../src/schemas/instrument.ts'
import type { CommandEcho, CommandKind, NewRecord, RecordBase, RiskRecord } from '../../src/schemas/risk.ts'

/** mulberry32: uniform in [0, 1), the same numbers for the same seed everywhere. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

interface Market {
  readonly definition: InstrumentDefinition
  readonly middleTicks: number
  readonly quantityLotsMax: number
}

function market(
  symbol: string,
  [tick, lot, quoteScale, makerFeeRate, takerFeeRate]: [string, string, number, string, string],
  middleTicks: number,
  quantityLotsMax: number,
): Market {
  const definition = { symbol, tick, lot, quoteScale, makerFeeRate, takerFeeRate, collarBps: 500 }
  return { definition, middleTicks, quantityLotsMax }
}

const markets: readonly Market[] = [
  market('PLAIN', ['0.01', '0.00000001', 8, '0.0008', '0.0012'], 2_500_000, 40),
  // Fees are quarters and eighths of the quote unit: many halves to round.
  market('TIES', ['0.5', '1', 0, '0.25', '0.5'], 3_000, 9),
  market('COARSE', ['25', '10', 4, '0', '0.001'], 3_000, 12),
  // Both factors near 9e15: every sum and product leaves a double's whole numbers.
  market('WIDE', ['0.000001', '0.000000001', 12, '0.000000001', '0.000000003'], 9e15 - 2_000, 9e15),
]

export const instruments: readonly InstrumentDefinition[] = markets.map(({ definition }) => definition)

const accountNames = ['alice', 'bob', 'carol', 'dave', 'Erin_5'] as const
const gateReasons: readonly RejectReason[] = [
  'INVALID_FIELD',
  'ORDER_UNKNOWN',
  'ORDER_CLOSED',
  'ORDER_NOT_OWNED',
  'ACCOUNT_MISMATCH',
  'DUPLICATE_CL_ORD_ID',
  'RISK_MAX_QUANTITY',
]
const kinds: readonly CommandKind[] = ['new', 'cancel', 'replace', 'mass_cancel']

/**
 * A stream of records as RISK may hold them: prices in a narrow, slowly moving band, so that orders meet; targets
 * mostly among recent orders, open or not. How narrow, and how many orders stay open, varies with the seed.
 */
export function randomRecords(seed: number, count: number): RiskRecord[] {
  const random = randomFrom(seed)
  const below = (bound: number) => Math.floor(random() * bound)
  const pick = <T>(values: readonly T[]): T => values[below(values.length)] as T
  const chance = (probability: number) => random() < probability

  const bandTicks = pick([2, 6, 25, 600])
  /** How far buys aim below the middle and sells above: the wider, the deeper the books. */
  const apartTicks = pick([0, 1, bandTicks])
  const cancelShare = pick([0.08, 0.25, 0.4])
  const massCancelShare = pick([0.0005, 0.005])
  /** So few that orders of the same account meet. */
  const accounts = accountNames.slice(0, pick([2, 3, 5]))
  const stopShare = pick([0.05, 0.25])
  const middles = new Map(markets.map(({ definition, middleTicks }) => [definition.symbol, middleTicks]))
  const orders: NewRecord[] = []
  const byNumber = new Map<number, NewRecord>()
  let orderNumber = 0
  let heldBack: number | undefined
  let timeUs = 1_790_000_000_000_000

  const quantityLots = ({ quantityLotsMax }: Market) =>
    quantityLotsMax > 1e6 && chance(0.3) ? 1 + below(3) : 1 + below(quantityLotsMax)
  const priceTicks = ({ definition }: Market, side: Side = pick(sides)) => {
    const middle = middles.get(definition.symbol) ?? 0
    if (chance(0.02)) middles.set(definition.symbol, middle + pick([-1, 1]))
    const aim = chance(0.1) ? 0 : side === 'BUY' ? -apartTicks : apartTicks
    return middle + aim + below(2 * bandTicks + 1) - bandTicks
  }
  const recentOrder = () => orders[orders.length - 1 - below(Math.min(orders.length, pick([4, 40, 400])))]
  const target = () => {
    const number = recentOrder()?.srcSeq
    if (number === undefined || chance(0.03))
      return pick([orderNumber + 7, (number ?? 1) + 2 ** 17, Number.MAX_SAFE_INTEGER])
    return number
  }
  /** Mostly ascending: only the commands of one account must take effect in the order of ORDERS. */
  const nextNumber = () => {
    const late = heldBack
    if (late !== undefined && chance(0.5)) {
      heldBack = undefined
      return late
    }
    orderNumber += 1
    if (late === undefined && chance(0.02)) heldBack = orderNumber++
    return orderNumber
  }

  /** A stop price at or beyond the market, as a trade may reach it; sometimes on the other side, through at once. */
  const stopTicks = ({ definition }: Market, side: Side) => {
    const middle = middles.get(definition.symbol) ?? 0
    const away = below(2 * bandTicks + 1) - (chance(0.2) ? bandTicks : 0)
    return side === 'BUY' ? middle + away : middle - away
  }

  const stopOrder = (instrument: Market, order: Omit<NewRecord, 'ordType' | 'timeInForce'>): NewRecord => {
    const { side } = order
    const timeInForce = pick(['GTC', 'GTC', 'GTC', 'DAY', 'GTD', 'IOC', 'FOK'] as const)
    const expiry = timeInForce === 'DAY' || timeInForce === 'GTD' ? { expireUs: timeUs + 1e6 } : {}
    const common = { ...order, ...expiry, timeInForce, stopTicks: stopTicks(instrument, side) }
    switch (pick(['STOP', 'STOP_LIMIT', 'TRAILING_STOP'] as const)) {
      case 'STOP':
        return { ...common, ordType: 'STOP', protectionTicks: common.stopTicks }
      case 'STOP_LIMIT': {
        const priceTicks = common.stopTicks + pick([0, 0, 1, -1, bandTicks, -bandTicks])
        return { ...common, ordType: 'STOP_LIMIT', priceTicks }
      }
      case 'TRAILING_STOP':
        return {
          ...common,
          ordType: 'TRAILING_STOP',
          trailingTicks: 1 + below(pick([2, bandTicks, 2 * bandTicks])),
          protectionTicks: common.stopTicks,
        }
    }
  }

  /** What an order may ask for besides. */
  const instructions = (record: NewRecord): NewRecord => {
    const { ordType, timeInForce, quantityLots } = record
    const mayHide = (ordType === 'LIMIT' || ordType === 'STOP_LIMIT') && timeInForce !== 'IOC' && timeInForce !== 'FOK'
    // Few peaks: 9e15 lots one by one would take forever.
    const displayLots = Math.max(1, Math.floor(quantityLots / (1 + below(8))))
    return {
      ...record,
      ...(chance(0.3) ? { stpMode: pick(stpModes) } : {}),
      ...(chance(0.22) ? { reduceOnly: true } : {}),
      ...(mayHide && chance(0.25) ? { displayLots } : {}),
    }
  }

  const newOrder = (base: RecordBase): NewRecord => {
    const instrument = pick(markets)
    const common = {
      ...base,
      type: 'new',
      account: pick(accounts),
      symbol: instrument.definition.symbol,
      side: pick(sides),
      quantityLots: quantityLots(instrument),
    } as const
    if (chance(stopShare)) return instructions(stopOrder(instrument, common))
    if (chance(0.15)) {
      const opposite = common.side === 'BUY' ? 'SELL' : 'BUY'
      const timeInForce = pick(['GTC', 'IOC', 'FOK', 'DAY'] as const)
      const expiry = timeInForce === 'DAY' ? { expireUs: timeUs + 1e6 } : {}
      const protectionTicks = priceTicks(instrument, opposite)
      return instructions({ ...common, ordType: 'MARKET', timeInForce, protectionTicks, ...expiry })
    }
    const timeInForce = pick(['GTC', 'GTC', 'GTC', 'DAY', 'GTD', 'IOC', 'FOK'] as const)
    const limit = { ...common, ordType: 'LIMIT', timeInForce, priceTicks: priceTicks(instrument, common.side) } as const
    if (timeInForce === 'IOC' || timeInForce === 'FOK') return instructions(limit)
    const expiry = timeInForce === 'GTC' ? {} : { expireUs: timeUs + 1e6 }
    return instructions(chance(0.15) ? { ...limit, ...expiry, postOnly: true } : { ...limit, ...expiry })
  }

  const replace = (base: RecordBase): RiskRecord => {
    const number = target()
    const old = byNumber.get(number)
    const instrument = markets.find(({ definition }) => definition.symbol === old?.symbol) ?? pick(markets)
    const oldLots = old?.quantityLots ?? 1
    const quantity = {
      quantityLots: pick([
        quantityLots(instrument),
        1 + below(oldLots),
        1 + below(3),
        Math.min(9e15, oldLots + below(3)),
        Math.max(1, oldLots - 1 - below(2)),
      ]),
    }
    const hasPrice = old === undefined || old.ordType === 'LIMIT' || old.ordType === 'STOP_LIMIT'
    const price = hasPrice ? { priceTicks: priceTicks(instrument, old?.side) } : {}
    const hasStop = old?.ordType === 'STOP' || old?.ordType === 'STOP_LIMIT'
    const stop = hasStop && chance(0.5) ? { stopTicks: stopTicks(instrument, old.side) } : {}
    const change = pick([
      { ...quantity, ...stop },
      quantity,
      { ...price, ...stop },
      { ...quantity, ...price },
      { ...quantity, ...(old?.priceTicks === undefined ? {} : { priceTicks: old.priceTicks }) },
      { expireUs: timeUs + 1e6, ...stop },
    ])
    const orig = chance(0.5) && old?.clOrdId !== undefined ? { origClOrdId: old.clOrdId } : {}
    return { ...base, ...orig, ...change, type: 'replace', target: number }
  }

  const cancel = (base: RecordBase): RiskRecord => {
    const orig = chance(0.3) ? { origClOrdId: `c${below(1000)}` } : {}
    return { ...base, ...orig, type: 'cancel', target: target() }
  }

  const reject = (base: RecordBase): RiskRecord => {
    const kind = pick(kinds)
    const echo: CommandEcho = {
      ...(chance(0.5) ? { account: pick(accounts), symbol: pick(markets).definition.symbol } : {}),
      ...(kind === 'new' ? { side: 'BUY', ordType: 'LIMIT', timeInForce: 'GTC', quantity: '12.5', price: '99.5' } : {}),
      ...(kind === 'new' && chance(0.3) ? { refOrderId: `o-${target()}` } : {}),
      ...(kind === 'cancel' || kind === 'replace'
        ? chance(0.8)
          ? { orderId: chance(0.9) ? `o-${target()}` : pick(['', '17', 'o-', 'o-01', 'x-1']) }
          : { origClOrdId: `c${below(1000)}` }
        : {}),
    }
    return { ...base, type: 'reject', kind, reason: pick(gateReasons), text: 'quantity 12.5 > 10', echo }
  }

  const massCancel = (base: RecordBase): RiskRecord => ({
    ...base,
    srcSeq: chance(0.2) ? 0 : base.srcSeq,
    type: 'massCancel',
    ...(chance(0.95) ? { account: pick([...accounts, 'nobody']) } : {}),
    ...(chance(0.6) ? { symbol: pick([...markets.map(({ definition }) => definition.symbol), 'UNSEEN']) } : {}),
    ...(chance(0.4) ? { side: pick(sides) } : {}),
  })

  const expire = (base: RecordBase): RiskRecord => {
    const dated = orders.slice(-200).filter(({ expireUs }) => expireUs !== undefined)
    return { ...base, srcSeq: 0, type: 'expire', target: dated.length > 0 ? pick(dated).srcSeq : target() }
  }

  const limits = (base: RecordBase): RiskRecord => ({
    ...base,
    type: 'limits',
    revision: base.cmdSeq,
    key: 'account.bob',
    limits: null,
  })

  return Array.from({ length: count }, (_, index): RiskRecord => {
    timeUs += below(1_000)
    const base: RecordBase = {
      cmdSeq: index + 1,
      srcSeq: nextNumber(),
      timeUs,
      ...(chance(0.6) ? { clOrdId: `c${index}` } : {}),
      ...(chance(0.1) ? { traceparent: `00-${index}-01` } : {}),
    }
    let kind = random()
    const among = (share: number) => (kind -= share) < 0
    if (among(cancelShare)) return cancel(base)
    if (among(0.12)) return replace(base)
    if (among(0.02)) return reject(base)
    if (among(massCancelShare)) return massCancel(base)
    if (among(0.02)) return expire({ cmdSeq: base.cmdSeq, srcSeq: 0, timeUs })
    if (among(0.005)) return limits({ cmdSeq: base.cmdSeq, srcSeq: 0, timeUs })
    const record = newOrder(base)
    orders.push(record)
    byNumber.set(record.srcSeq, record)
    return record
  })
}

import { basename } from 'node:path'
import { OrderBook } from 'nodejs-order-book'
import { assert } from '../src/base/assert.ts'
import { parseUnit, type Unit, unitsFromText } from '../src/base/decimal.ts'
import { Matcher } from '../src/domain/matcher.ts'
import { readFlow, summarise } from '../src/cli/replay-file.ts'
import { type Command, definition, type PeerCall, peerCallOf, runMatcher, runPeer } from './matcher.ts'
import { ratioByRound, ratioOf, type Round, type Row, rowOf } from './rows.ts'

const unit = 'commandsPerSecond'

/**
 * The matcher on an order-flow file, beside nodejs-order-book on the same commands, in turn. Cancels of orders that
 * rested before the file begins are left out: neither book knows them.
 * @throws PipelineError FILE_INVALID @throws BugError when the two traded differently
 */
export async function matcherFileBench(options: {
  readonly file: string
  /** Of a round, which goes through the file as often as that takes: once is too short for a clock. */
  readonly commands: number
  readonly rounds: number
}): Promise<Row[]> {
  const { file, rounds } = options
  const commands = await commandsFrom(file)
  const workload = { opening: [], commands }
  const calls = commands.map(peerCallOf)
  const trades = checkTrades(commands, calls)
  const [own, others]: [Round[], Round[]] = [[], []]
  const passes = Math.ceil(options.commands / commands.length)
  for (let round = 0; round <= rounds; round += 1) {
    const speeds: { ours: number; peer: number }[] = []
    for (let pass = 0; pass < passes; pass += 1) {
      const [ours, peer] = [runMatcher(workload), runPeer([], calls)]
      assert(ours.tradedLots === peer.tradedLots, 'both trade the same quantity')
      speeds.push({ ours: ours.commandsPerSecond, peer: peer.commandsPerSecond })
    }
    // The first is for the compiler.
    if (round === 0) continue
    own.push({ [unit]: harmonicMean(speeds.map(({ ours }) => ours)), commands: commands.length, trades })
    others.push({ [unit]: harmonicMean(speeds.map(({ peer }) => peer)) })
  }
  const ratioToPeer = ratioOf(own, others, unit)
  const what = { scenario: 'matcher', load: `file ${basename(file)}`, ratioToPeer }
  return [rowOf(what, unit, ratioByRound(own, others, unit))]
}

/** Both fill the same orders at the same prices, command by command. @returns how many fills */
function checkTrades(commands: readonly Command[], calls: readonly PeerCall[]): number {
  const matcher = new Matcher()
  matcher.define(definition)
  const book = new OrderBook()
  let trades = 0
  for (const [index, command] of commands.entries()) {
    const ours: string[] = []
    for (const { liquidity, order, lastTicks } of matcher.apply(command))
      if (liquidity === 'MAKER') ours.push(`${order?.orderNumber} at ${lastTicks}`)
    const call = calls[index]
    if (call?.call === 'limit') {
      const { done, partial } = book.limit(call.options)
      const makers = [...done, ...(partial ? [partial] : [])].filter(({ id }) => id !== String(command.srcSeq))
      const theirs = makers.map((maker) => `${maker.id} at ${'price' in maker ? maker.price : ''}`)
      assert(ours.join() === theirs.join(), `both fill the same at command ${command.cmdSeq}: ${ours.join()}`)
    } else if (call?.call === 'cancel') book.cancel(call.orderId)
    trades += ours.length
  }
  return trades
}

/** The speed over passes of the same length. */
function harmonicMean(speeds: readonly number[]): number {
  return speeds.length / speeds.reduce((sum, speed) => sum + 1 / speed, 0)
}

async function commandsFrom(file: string): Promise<Command[]> {
  const summary = await summarise(file, { tick: undefined, lot: undefined })
  const [tick, lot] = [parseUnit(summary.tick), parseUnit(summary.lot)]
  const numbers = new Map<string, number>()
  const commands: Command[] = []
  for await (const { event, id, side, price, size, timeMs } of readFlow(file)) {
    const cmdSeq = commands.length + 1
    const base = { cmdSeq, srcSeq: cmdSeq, timeUs: timeMs * 1_000 }
    if (event === 'new' && side !== undefined) {
      numbers.set(id, cmdSeq)
      const terms = { type: 'new', ordType: 'LIMIT', timeInForce: 'GTC', account: `account-${cmdSeq % 2}` } as const
      const [priceTicks, quantityLots] = [units(price, tick), units(size, lot)]
      commands.push({ ...base, ...terms, symbol: 'BTCUSD', side, priceTicks, quantityLots })
    } else if (event === 'cancel') {
      const target = numbers.get(id)
      if (target !== undefined) commands.push({ ...base, type: 'cancel', target })
    }
  }
  return commands
}

function units(text: string, of: Unit): number {
  const count = unitsFromText(text, of)
  assert(typeof count === 'number', 'a summary gives units of which all are multiples')
  return count
}

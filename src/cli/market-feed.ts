import { utf8FromText } from '../base/json.ts'
import { AckedPublisher } from '../runtime/acks.ts'
import type { Nats } from '../runtime/nats.ts'
import { documentSubject, tickSubject } from '../subjects/names.ts'
import { seededRandom } from './order-flow.ts'

export interface FeedMessage {
  readonly subject: string
  readonly body: string
}

const venue = 'DEMO'
type Mid = readonly [symbol: string, mid: number, decimals: number]

const mids: readonly [Mid, ...Mid[]] = [
  ['BTCUSDT', 45_000, 2],
  ['ETHUSDT', 2_500, 2],
  ['SOLUSDT', 100, 2],
  ['AAPL', 230, 2],
  ['EURUSD', 1.1, 5],
]
const categories = ['news', 'filings', 'social'] as const

/**
 * Ticks of a foreign venue, and now and then a document: for the same seed the same, at the time that it is. Some say again
 * what one before has said, as feeds do, and some nobody can read.
 *
 * @param run makes the ids of this run different from those of others on the same streams
 */
export function* marketFeed(seed: number, run: string): Generator<FeedMessage, never> {
  const random = seededRandom(seed)
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T
  let last = tickOf(`${run}-0`, pick(mids), random)
  for (let number = 1; ; number += 1) {
    const what = random()
    if (what < 0.01) yield last
    else if (what < 0.02) yield { ...last, body: last.body.slice(0, -1) }
    else {
      const id = `${run}-${number}`
      last = what < 0.06 ? documentOf(id, pick(categories), pick(mids)) : tickOf(id, pick(mids), random)
      yield last
    }
  }
}

function tickOf(id: string, [symbol, mid, decimals]: Mid, random: () => number): FeedMessage {
  const price = (mid * (1 + (random() - 0.5) / 1_000)).toFixed(decimals)
  const side = random() < 0.5 ? 'buy' : 'sell'
  const size = (1 + random() * 9).toFixed(2)
  return {
    subject: tickSubject(venue, symbol),
    body: `{"event_ts":"${now()}","venue":"${venue}","symbol":"${symbol}","price":${price},"size":${size},"side":"${side}","trade_id":"${id}"}`,
  }
}

function documentOf(id: string, category: string, [symbol]: Mid): FeedMessage {
  const body = { event_ts: now(), source: 'demo', doc_id: id, title: `${symbol} moves`, symbols: [symbol] }
  return { subject: documentSubject(category), body: JSON.stringify(body) }
}

function now(): string {
  return new Date().toISOString()
}

/** Publishes a feed beside a load of orders, and knows what was not stored. */
export class FeedPlayer {
  readonly #publisher: AckedPublisher
  readonly #messages: Generator<FeedMessage, never>
  readonly #run: string
  #sent = 0
  #answered = 0
  #refused = 0

  constructor(nats: Nats, seed: number, run: string) {
    this.#publisher = new AckedPublisher(nats.connection)
    this.#messages = marketFeed(seed, run)
    this.#run = run
  }

  /** Publishes until `count` messages have been. */
  upTo(count: number): void {
    while (this.#sent < count) this.#publish(this.#messages.next().value)
  }

  /** Ends each stream with a message that everybody can read, and waits. @returns how many were not stored */
  async end(): Promise<number> {
    this.#publish(tickOf(`${this.#run}-end`, mids[0], () => 0.5))
    this.#publish(documentOf(`${this.#run}-end`, categories[0], mids[0]))
    while (this.#answered < this.#sent) await new Promise((resolve) => setTimeout(resolve, 5))
    this.#publisher.close()
    return this.#refused
  }

  #publish({ subject, body }: FeedMessage): void {
    this.#sent += 1
    this.#publisher.publish(subject, utf8FromText(body), '', ({ outcome }) => {
      this.#answered += 1
      if (outcome !== 'stored') this.#refused += 1
    })
  }
}

import { hash } from 'node:crypto'
import { symbolPattern, upperAscii } from './command.ts'
import { FeedFields, type InvalidFeedMessage } from './feed-fields.ts'

/** One trade or quote of a venue. What does not apply is undefined. */
export interface Tick {
  readonly eventTsUs: number
  /** When the feed took it in; the stream's time where the feed does not say. */
  readonly ingestTsUs: number
  readonly venue: string
  readonly symbol: string
  readonly price: number
  readonly size: number | undefined
  readonly side: 'buy' | 'sell' | undefined
  readonly tradeId: string | undefined
  /** Running number of the feed; a bigint beyond 2^53. */
  readonly sourceSeq: number | bigint | undefined
  /** First 16 hex digits of SHA-256 of `venue|symbol|event_ts|price|size|trade_id` (contract, section 3). */
  readonly hashId: string
}

const validSymbol = new RegExp(symbolPattern)
const longMax = 2n ** 63n - 1n

/** First 16 hex digits of SHA-256: the name of a tick or a document by what it says. */
export function hashIdOf(text: string): string {
  return hash('sha256', text, 'hex').slice(0, 16)
}

/**
 * Decodes a tick. Venue and symbol are the subject's, the symbol in capitals; a body that names others is invalid.
 *
 * @param subject `market.tick.<venue>.<symbol>`
 * @param timeUs when the stream stored it
 */
export function decodeTick(subject: string, data: Uint8Array, timeUs: number): Tick | InvalidFeedMessage {
  const fields = FeedFields.read(data)
  if (!(fields instanceof FeedFields)) return fields
  const [, , venue = '', symbolToken = ''] = subject.split('.')
  const symbol = upperAscii(symbolToken)
  if (!validSymbol.test(symbol)) fields.wrong('symbol', `of the subject must match ${symbolPattern}`)
  fields.named('venue', venue)
  fields.named('symbol', symbol)
  const eventTsUs = fields.eventTimeUs(timeUs)
  const ingestTsUs = fields.timeUs('ingest_ts', 'ingestTs') ?? timeUs
  const price = fields.decimal('price')
  if (price === undefined) fields.missing('price')
  const size = fields.decimal('size')
  if (size?.startsWith('-') === true) fields.wrong('size', 'must not be negative')
  const side = fields.value('side')
  const knownSide = typeof side === 'string' ? side.toLowerCase() : side
  if (knownSide !== undefined && knownSide !== 'buy' && knownSide !== 'sell')
    fields.wrong('side', 'must be buy or sell')
  const tradeId = fields.text('trade_id', 'tradeId')
  const sourceSeq = wholeNumber(fields, fields.decimal('source_seq', 'sourceSeq'))
  if (fields.invalid) return fields.invalid
  const hashId = hashIdOf(`${venue}|${symbol}|${eventTsUs}|${price}|${size ?? ''}|${tradeId ?? ''}`)
  return {
    eventTsUs,
    ingestTsUs,
    venue,
    symbol,
    price: Number(price),
    size: size === undefined ? undefined : Number(size),
    side: knownSide as Tick['side'],
    tradeId,
    sourceSeq,
    hashId,
  }
}

function wholeNumber(fields: FeedFields, text: string | undefined): number | bigint | undefined {
  if (text === undefined) return undefined
  const isWhole = !text.includes('.')
  const value = Number(text)
  if (isWhole && Number.isSafeInteger(value)) return value
  const exact = isWhole ? BigInt(text) : undefined
  if (exact !== undefined && exact <= longMax && exact >= -longMax) return exact
  fields.wrong('source_seq', 'must be a whole number of 64 bits')
  return undefined
}

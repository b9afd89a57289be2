import { FeedFields, type InvalidFeedMessage } from './feed-fields.ts'
import { hashIdOf } from './tick.ts'

/** One normalised document: news, a filing, a post. What does not apply is undefined. */
export interface FeedDocument {
  readonly eventTsUs: number
  /** When the feed took it in; the stream's time where the feed does not say. */
  readonly ingestTsUs: number
  readonly category: string
  readonly source: string | undefined
  readonly docId: string | undefined
  readonly title: string | undefined
  readonly body: string | undefined
  readonly url: string | undefined
  readonly symbols: readonly string[] | undefined
  readonly sentiment: number | undefined
  /** JSON, its numbers as they came. */
  readonly metadata: string | undefined
  /** First 16 hex digits of SHA-256 of `category|source|doc_id|event_ts` (contract, section 3). */
  readonly hashId: string
}

const categoryLengthMax = 64

/**
 * Decodes a document. The category is the subject's; a body that names another is invalid.
 *
 * @param subject `alt.norm.<category>`
 * @param timeUs when the stream stored it
 */
export function decodeDocument(subject: string, data: Uint8Array, timeUs: number): FeedDocument | InvalidFeedMessage {
  const fields = FeedFields.read(data)
  if (!(fields instanceof FeedFields)) return fields
  const [, , category = ''] = subject.split('.')
  if (category.length > categoryLengthMax)
    fields.wrong('category', `of the subject must have at most ${categoryLengthMax} characters`)
  fields.named('category', category)
  const eventTsUs = fields.eventTimeUs(timeUs)
  const ingestTsUs = fields.timeUs('ingest_ts', 'ingestTs') ?? timeUs
  const source = fields.text('source')
  const docId = fields.text('doc_id', 'docId')
  const title = fields.text('title')
  const body = fields.text('body')
  const url = fields.text('url')
  const symbols = fields.value('symbols')
  if (symbols !== undefined && !isTexts(symbols)) fields.wrong('symbols', 'must be a list of texts')
  const sentimentText = fields.decimal('sentiment')
  const sentiment = sentimentText === undefined ? undefined : Number(sentimentText)
  const metadata = fields.value('metadata')
  if (fields.invalid) return fields.invalid
  return {
    eventTsUs,
    ingestTsUs,
    category,
    source,
    docId,
    title,
    body,
    url,
    symbols: symbols as readonly string[] | undefined,
    sentiment,
    metadata: metadata === undefined ? undefined : JSON.stringify(metadata),
    hashId: hashIdOf(`${category}|${source ?? ''}|${docId ?? ''}|${eventTsUs}`),
  }
}

function isTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every((item) => typeof item === 'string' && item.isWellFormed())
}

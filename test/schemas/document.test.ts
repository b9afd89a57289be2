import { createHash } from 'node:crypto'
import t from 'tap'
import { decodeDocument } from '../../src/schemas/document.ts'

const nowUs = 1_795_379_583_836_273
const subject = 'alt.norm.news'
const decode = (body: string, from = subject) => decodeDocument(from, Buffer.from(body), nowUs)
const hashOf = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 16)

void t.test('P3.08 every field of a document', (t) => {
  const body = `{"eventTs":"2026-11-22T20:33:03.836273Z","ingest_ts":${nowUs},"category":"NEWS","source":"wire","docId":42,
    "title":"A title","body":"Text ü 😀","url":"https://example.org/1","symbols":["AAPL","BRK.B"],"sentiment":-0.25,
    "metadata":{"id":1234567890123456789,"weight":1.50,"big":1e400,"note":"1e5"},"unknown":[1]}`
  t.same(decode(body), {
    eventTsUs: nowUs,
    ingestTsUs: nowUs,
    category: 'news',
    source: 'wire',
    docId: '42',
    title: 'A title',
    body: 'Text ü 😀',
    url: 'https://example.org/1',
    symbols: ['AAPL', 'BRK.B'],
    sentiment: -0.25,
    metadata: '{"id":1234567890123456789,"weight":1.50,"big":1e400,"note":"1e5"}',
    hashId: hashOf(`news|wire|42|${nowUs}`),
  })
  t.end()
})

void t.test('P3.08 of a document only the time must be there', (t) => {
  t.same(decode(`{"event_ts":${nowUs},"symbols":null,"metadata":[]}`, 'alt.norm.filings'), {
    eventTsUs: nowUs,
    ingestTsUs: nowUs,
    category: 'filings',
    source: undefined,
    docId: undefined,
    title: undefined,
    body: undefined,
    url: undefined,
    symbols: undefined,
    sentiment: undefined,
    metadata: '[]',
    hashId: hashOf(`filings|||${nowUs}`),
  })
  t.end()
})

void t.test('P3.08 a document that is wrong names every field that is', (t) => {
  const rows: readonly (readonly [fields: string, problem: RegExp])[] = [
    ['"event_ts":1', /event_ts must be from 2000-01-01/],
    ['"title":"no time"', /^INVALID_FIELD: event_ts is missing$/],
    [
      `"event_ts":${nowUs},"category":"social","sentiment":"glad"`,
      /category must be news.*; sentiment must be a decimal/,
    ],
    [`"event_ts":${nowUs},"symbols":"AAPL"`, /symbols must be a list of texts/],
    [`"event_ts":${nowUs},"symbols":["AAPL",1]`, /symbols must be a list of texts/],
    [`"event_ts":${nowUs},"body":{"text":1}`, /body must be a text/],
    [`"event_ts":${nowUs},"title":"\\ud800"`, /title must be a text/],
    [`"event_ts":${nowUs},"metadata":{"a":{"b":{"c":{"d":{"e":{"f":{"g":{}}}}}}}}`, /nested deeper than 8/],
    ['"event_ts"', /^INVALID_MESSAGE: not JSON/],
  ]
  for (const [fields, problem] of rows) {
    const decoded = decode(`{${fields}}`)
    t.match('problem' in decoded && decoded.problem, problem, fields)
  }
  t.match(decode(`{"event_ts":${nowUs}}`, `alt.norm.${'x'.repeat(65)}`), { problem: /category of the subject/ })
  t.end()
})

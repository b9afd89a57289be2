/**
 * reads       ALT
 * writes      the table alt_docs; DLQ: what is no document, and categories beyond LAKE_SYMBOLS_MAX
 * state       hash_ids of the last documents, categories that have a partition
 * guarantees  every document once; of those with the same doc_id that say the same only the first
 * crash       goes on after the last sequence that the table has recorded
 */
import { dateFromUs } from '../base/clock.ts'
import type { TableDefinition } from '../lake/schema.ts'
import type { KnownNames } from '../runtime/known-names.ts'
import { type LastIds, RecentIds } from '../runtime/recent-ids.ts'
import type { SinkFold } from '../runtime/sink-fold.ts'
import { decodeDocument } from '../schemas/document.ts'

const recentDocuments = 50_000

export const altDocs = {
  name: 'alt_docs',
  description: 'News, filings and social posts',
  columns: [
    { name: 'stream_seq', type: 'long', nullable: true, comment: 'sequence in the stream ALT: the key' },
    { name: 'event_ts', type: 'timestamp', nullable: true, comment: 'when it was published, as the source says' },
    { name: 'ingest_ts', type: 'timestamp', nullable: true, comment: 'when the feed, else the stream, took it in' },
    { name: 'category', type: 'string', nullable: true, comment: 'news, filings, social, …' },
    { name: 'source', type: 'string', nullable: true, comment: 'who published it' },
    { name: 'doc_id', type: 'string', nullable: true, comment: 'the source’s name for it' },
    { name: 'title', type: 'string', nullable: true },
    { name: 'body', type: 'string', nullable: true },
    { name: 'url', type: 'string', nullable: true },
    {
      name: 'symbols',
      type: { type: 'array', elementType: 'string' },
      nullable: true,
      comment: 'which symbols it is about',
    },
    { name: 'sentiment', type: 'double', nullable: true, comment: 'as the feed says' },
    { name: 'metadata', type: 'string', nullable: true, comment: 'JSON, its numbers as they came' },
    {
      name: 'hash_id',
      type: 'string',
      nullable: true,
      comment: 'first 16 hex digits of SHA-256 of category|source|doc_id|event_ts, event_ts in µs',
    },
    { name: 'dt', type: 'date', nullable: true, comment: 'UTC date of event_ts' },
  ],
  partitionColumns: ['category', 'dt'],
  configuration: { 'delta.checkpointInterval': '100' },
} as const satisfies TableDefinition & { readonly name: string }

/** @param lastIds of the documents that the table got last */
export function createAltSink(categories: KnownNames, lastIds: LastIds): SinkFold {
  const recent = new RecentIds(recentDocuments, lastIds)
  return {
    table: altDocs.name,
    recover: async () => {
      await Promise.all([categories.recover(), recent.recover()])
    },
    beforeCommit: () => categories.save(),
    take: ({ subject, data, timeUs, sequence }, rows) => {
      const document = decodeDocument(subject, data, timeUs)
      if ('problem' in document) return document
      const { category } = document
      if (!categories.admits(category)) return { problem: categories.refusal(category) }
      if (document.docId !== undefined && recent.isRepeat(document.hashId, sequence)) return 'duplicate'
      const dt = dateFromUs(document.eventTsUs)
      const hasRoom = rows.add(`${category}/${dt}`, () => ({ category, dt }), [
        sequence,
        document.eventTsUs,
        document.ingestTsUs,
        document.source ?? null,
        document.docId ?? null,
        document.title ?? null,
        document.body ?? null,
        document.url ?? null,
        document.symbols ?? null,
        document.sentiment ?? null,
        document.metadata ?? null,
        document.hashId,
      ])
      return hasRoom ? 1 : 'full'
    },
  }
}

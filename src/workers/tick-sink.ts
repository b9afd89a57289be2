/**
 * reads       TICKS
 * writes      the table market_ticks; DLQ: what is no tick, and symbols beyond LAKE_SYMBOLS_MAX
 * state       hash_ids of the last ticks, symbols that have a partition
 * guarantees  every tick once; of ticks with the same trade_id that say the same only the first
 * crash       goes on after the last sequence that the table has recorded
 */
import { dateFromUs } from '../base/clock.ts'
import type { TableDefinition } from '../lake/schema.ts'
import type { KnownNames } from '../runtime/known-names.ts'
import { type LastIds, RecentIds } from '../runtime/recent-ids.ts'
import type { SinkFold } from '../runtime/sink-fold.ts'
import { decodeTick } from '../schemas/tick.ts'

const recentTicks = 100_000

export const marketTicks = {
  name: 'market_ticks',
  description: 'Ticks of all venues, own trades included (venue T2026)',
  columns: [
    { name: 'stream_seq', type: 'long', nullable: true, comment: 'sequence in the stream TICKS: the key' },
    { name: 'event_ts', type: 'timestamp', nullable: true, comment: 'when it happened, as the venue says' },
    { name: 'ingest_ts', type: 'timestamp', nullable: true, comment: 'when the feed, else the stream, took it in' },
    { name: 'venue', type: 'string', nullable: true, comment: 'where; T2026 for trades of our own' },
    { name: 'symbol', type: 'string', nullable: true, comment: 'what, in capitals' },
    { name: 'price', type: 'double', nullable: true, comment: 'in the quote currency' },
    { name: 'size', type: 'double', nullable: true, comment: 'in units of the symbol' },
    { name: 'side', type: 'string', nullable: true, comment: 'buy or sell: the side of the taker' },
    { name: 'trade_id', type: 'string', nullable: true, comment: 'the venue’s; of T2026 the execId of the taker' },
    { name: 'source_seq', type: 'long', nullable: true, comment: 'running number of the feed; of T2026 in EXECUTIONS' },
    {
      name: 'hash_id',
      type: 'string',
      nullable: true,
      comment: 'first 16 hex digits of SHA-256 of venue|symbol|event_ts|price|size|trade_id, event_ts in µs',
    },
    { name: 'dt', type: 'date', nullable: true, comment: 'UTC date of event_ts' },
  ],
  partitionColumns: ['symbol', 'dt'],
  configuration: { 'delta.checkpointInterval': '100' },
} as const satisfies TableDefinition & { readonly name: string }

/** @param lastIds of the ticks that the table got last */
export function createTickSink(symbols: KnownNames, lastIds: LastIds): SinkFold {
  const recent = new RecentIds(recentTicks, lastIds)
  return {
    table: marketTicks.name,
    recover: async () => {
      await Promise.all([symbols.recover(), recent.recover()])
    },
    beforeCommit: () => symbols.save(),
    take: ({ subject, data, timeUs, sequence }, rows) => {
      const tick = decodeTick(subject, data, timeUs)
      if ('problem' in tick) return tick
      const { symbol } = tick
      if (!symbols.admits(symbol)) return { problem: symbols.refusal(symbol) }
      if (tick.tradeId !== undefined && recent.isRepeat(tick.hashId, sequence)) return 'duplicate'
      const dt = dateFromUs(tick.eventTsUs)
      const hasRoom = rows.add(`${symbol}/${dt}`, () => ({ symbol, dt }), [
        sequence,
        tick.eventTsUs,
        tick.ingestTsUs,
        tick.venue,
        tick.price,
        tick.size ?? null,
        tick.side ?? null,
        tick.tradeId ?? null,
        tick.sourceSeq ?? null,
        tick.hashId,
      ])
      return hasRoom ? 1 : 'full'
    },
  }
}

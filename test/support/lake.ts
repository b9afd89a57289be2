import { parquetReadObjects } from 'hyparquet'
import { zstdDecompressSync } from 'node:zlib'
import type { Test } from 'tap'
import { readFiles } from '../../src/lake/active-files.ts'
import { readCommits } from '../../src/lake/log-files.ts'
import { openLocalStore } from '../../src/lake/local-store.ts'
import { decodedPath } from '../../src/lake/partition-path.ts'
import { loadSnapshot } from '../../src/lake/snapshot.ts'
import { type ObjectStore, storeBelow } from '../../src/lake/store.ts'
import type { AckedPublisher } from '../../src/runtime/acks.ts'
import { runCli } from './cli.ts'

export type Row = Readonly<Record<string, unknown>>

/** Version of a table and the sequences of its transactions, from the log alone; -1 without a table. */
export async function readVersion(
  lake: string | ObjectStore,
  name: string,
): Promise<{ version: number; txns: number[] }> {
  const store = storeBelow(typeof lake === 'string' ? openLocalStore(lake) : lake, `${name}/`)
  const snapshot = await loadSnapshot(store)
  if (!snapshot) return { version: -1, txns: [] }
  return { version: snapshot.version, txns: Array.from(snapshot.txns.values(), ({ version }) => Number(version)) }
}

/** What a table holds: the rows of its files, by stream_seq, with the values of their partitions, and its commits. */
export async function readTable(
  lake: string | ObjectStore,
  name: string,
): Promise<{ version: number; rows: Row[]; commits: Record<string, unknown>[]; columns: unknown; txns: number[] }> {
  const store = storeBelow(typeof lake === 'string' ? openLocalStore(lake) : lake, `${name}/`)
  const snapshot = await loadSnapshot(store)
  if (!snapshot) return { version: -1, rows: [], commits: [], columns: undefined, txns: [] }
  const rows: Row[] = []
  for await (const { path, partitionValues } of readFiles(store, snapshot)) {
    const data = await store.get(decodedPath(path))
    if (!data) throw new Error(`${path} is missing`)
    const file = new Uint8Array(data).buffer
    const read = await parquetReadObjects({ file, compressors: { ZSTD: (input) => zstdDecompressSync(input) } })
    for (const row of read) rows.push({ ...row, ...partitionValues })
  }
  const commits: Record<string, unknown>[] = []
  for await (const { actions } of readCommits(store, 0, snapshot.version))
    for (const action of actions ?? [])
      if ('commitInfo' in action && action.commitInfo['operation'] === 'WRITE') commits.push(action.commitInfo)
  const place = (row: Row) => Number(row['stream_seq']) * 1e6 + Number(row['report_index'] ?? 0)
  return {
    version: snapshot.version,
    rows: rows.sort((a, b) => place(a) - place(b)),
    commits,
    columns: JSON.parse(snapshot.metaData.schemaString) as unknown,
    txns: Array.from(snapshot.txns.values(), ({ version }) => Number(version)),
  }
}

/** Publishes to a stream, some at once, each until it is stored. */
export async function publishAll(
  publisher: AckedPublisher,
  messages: Iterable<readonly [subject: string, body: string | Uint8Array]>,
): Promise<void> {
  const left = messages[Symbol.iterator]()
  const publishSome = async () => {
    for (let next = left.next(); !next.done; next = left.next()) {
      const [subject, body] = next.value
      for (;;) {
        const { outcome } = await publisher.request(subject, body)
        if (outcome === 'stored') break
      }
    }
  }
  await Promise.all(Array.from({ length: 500 }, publishSome))
}

/** A tick as a feed publishes it; its trade_id is its number. */
export function tickMessage(number: number, symbols = 5): readonly [subject: string, body: string] {
  const symbol = `SYM${number % symbols}`
  const eventUs = 1_795_339_800_000_000 + number
  return [
    `market.tick.BINANCE.${symbol}`,
    `{"event_ts":${eventUs},"venue":"BINANCE","symbol":"${symbol}","price":${(100 + number / 100).toFixed(2)},"size":${1 + (number % 7)},"side":"buy","trade_id":"${number}","source_seq":${number}}`,
  ]
}

interface CheckAnswer {
  readonly ok: boolean
  readonly tables: readonly { table: string; version: number; rows: number; checks: readonly { ok: boolean }[] }[]
}

/**
 * `lake check` finds nothing wrong.
 * @param access LAKE_URI, and what else its store needs
 * @param rows that each table must have
 */
export async function checkLake(
  t: Test,
  access: Readonly<Record<string, string>>,
  rows: Readonly<Record<string, number>>,
): Promise<void> {
  const { code, stdout, stderr } = await runCli(['lake', 'check', '--json'], access)
  t.equal(code, 0, 'lake check ends with 0', { stderr })
  const { tables } = JSON.parse(stdout || '{"tables":[]}') as CheckAnswer
  const wrong = tables.flatMap(({ table, checks }) =>
    checks.filter(({ ok }) => !ok).map((check) => ({ table, ...check })),
  )
  t.same(wrong, [], 'lake check finds nothing')
  t.same(Object.fromEntries(tables.map((each) => [each.table, each.rows])), rows, 'rows of the tables')
}

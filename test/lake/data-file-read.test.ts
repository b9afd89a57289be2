import t from 'tap'
import { readLastFiles } from '../../src/lake/data-file-read.ts'
import { DeltaTable } from '../../src/lake/delta-table.ts'
import { openMemoryStore } from '../../src/lake/memory-store.ts'
import { addOf, definition, putCommit, rowsOf } from './log-tools.ts'

/** Files of pyarrow with a column `seq` that has 5. Nothing here reads LZ4. */
const gzipFile =
  'UEFSMRUAFRwVOiwVAhUAFQYVBhwAAAAfiwgAAAAAAAIDY2JgYGBiZGWAAABwd7trDgAAABUEGSw1ABgGc2NoZW1hFQIAFQQlAhgDc2VxABYCGRwZHCYAHBUEGSUGABkYA3NlcRUEFgIWQhZgJghJHBUAFQAVAgA8KQYZJgACAAAAFkIWAiYIFmAAKCBwYXJxdWV0LWNwcC1hcnJvdyB2ZXJzaW9uIDI2LjAuMRkcHAAAAH4AAABQQVIx'
const lz4File =
  'UEFSMRUAFRwVHiwVAhUAFQYVBhwAAADgAgAAAAIBBQAAAAAAAAAVBBksNQAYBnNjaGVtYRUCABUEJQIYA3NlcQAWAhkcGRwmABwVBBklBgAZGANzZXEVDhYCFkIWRCYISRwVABUAFQIAPCkGGSYAAgAAABZCFgImCBZEACggcGFycXVldC1jcHAtYXJyb3cgdmVyc2lvbiAyNi4wLjEZHBwAAAB+AAAAUEFSMQ=='

async function lastOf(store: ReturnType<typeof openMemoryStore>, version: number, names: readonly string[]) {
  const found: unknown[][] = []
  for await (const rows of readLastFiles(store, version, names)) found.push(rows.map((row) => Object.values(row)))
  return found
}

void t.test(
  'P3.10 the rows of the last commits are read newest first, whatever other writers left between',
  async (t) => {
    const store = openMemoryStore()
    const table = await DeltaTable.open(store, definition)
    await table.append(rowsOf(1, 2), { appId: 'a', version: 2, expected: undefined })
    await table.append(rowsOf(3, 4), { appId: 'a', version: 4, expected: 2 })
    store.objects.set('lz4.parquet', { data: Buffer.from(lz4File, 'base64'), modifiedMs: 0 })
    store.objects.set('gzip.parquet', { data: Buffer.from(gzipFile, 'base64'), modifiedMs: 0 })
    putCommit(store, 3, [addOf('gone.parquet'), addOf('lz4.parquet'), addOf('gzip.parquet'), addOf('moved', false)])

    t.same(await lastOf(store, 3, ['seq']), [[], [], [[5n]], [[3n], [4n]], [[1n], [2n]]])
    t.same(
      await lastOf(store, 3, ['seq', 'price']),
      [
        [],
        [],
        [],
        [
          [3n, 1.5],
          [4n, 2],
        ],
        [
          [1n, 0.5],
          [2n, 1],
        ],
      ],
      'a file that lacks a column has no such rows',
    )
  },
)

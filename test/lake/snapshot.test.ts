import t from 'tap'
import { utf8FromText } from '../../src/base/json.ts'
import type { Action } from '../../src/lake/actions.ts'
import { checkpointKey, commitKey, lastCheckpointKey, logFileOf } from '../../src/lake/log-files.ts'
import { openMemoryStore, type MemoryStore } from '../../src/lake/memory-store.ts'
import { loadSnapshot } from '../../src/lake/snapshot.ts'
import { addOf, metaData, pathsOf, protocol, putCommit, removeOf } from './log-tools.ts'

const txn = (appId: string, version: number): Action => ({ txn: { appId, version } })
const narrower: Action = { protocol: { minReaderVersion: 1, minWriterVersion: 1 } }

/** Versions 0 to 4. */
const log: readonly (readonly Action[])[] = [
  [{ commitInfo: {} }, protocol, metaData],
  [addOf('a'), addOf('b%20c'), txn('ours', 10)],
  [addOf('d'), txn('other', 7)],
  [removeOf('a'), removeOf('b c'), addOf('e', false), txn('ours', 20)],
  [narrower, addOf('a'), removeOf('d')],
]

function storeOf(versions: readonly number[] = [...log.keys()]): MemoryStore {
  const store = openMemoryStore()
  for (const version of versions) putCommit(store, version, log[version] ?? [])
  return store
}

function put(store: MemoryStore, key: string, text: string): void {
  store.objects.set(key, { data: utf8FromText(text), modifiedMs: 0 })
}

void t.test('P3.11 names of the log: what is not a commit or a checkpoint is left alone', (t) => {
  const names: readonly (readonly [string, unknown])[] = [
    ['00000000000000000042.json', { kind: 'commit', version: 42 }],
    ['00000000000000000042.checkpoint.parquet', { kind: 'checkpoint', version: 42, part: 1, parts: 1 }],
    [
      '00000000000000000042.checkpoint.0000000002.0000000003.parquet',
      { kind: 'checkpoint', version: 42, part: 2, parts: 3 },
    ],
    [
      '00000000000000000042.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json',
      { kind: 'v2Checkpoint', version: 42 },
    ],
    [
      '00000000000000000042.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.parquet',
      { kind: 'v2Checkpoint', version: 42 },
    ],
    ['00000000000000000042.crc', undefined],
    ['.00000000000000000042.json.crc', undefined],
    ['.00000000000000000042.json.tmp', undefined],
    ['00000000000000000042.json.tmp', undefined],
    ['_commit_80a083e8.json.tmp', undefined],
    ['00000000000000000004.00000000000000000042.compacted.json', undefined],
    ['_last_checkpoint', undefined],
    ['_staged_commits/00000000000000000042.80a083e8.json', undefined],
    ['42.json', undefined],
  ]
  for (const [name, expected] of names) t.same(logFileOf(`_delta_log/${name}`), expected, name)
  t.equal(logFileOf('00000000000000000042.json'), undefined, 'only there')
  t.end()
})

void t.test('P3.02 a snapshot is the newest protocol, metaData and txn of each application', async (t) => {
  t.equal(await loadSnapshot(openMemoryStore()), undefined)
  const store = storeOf()
  const snapshot = await loadSnapshot(store)
  t.match(snapshot, { version: 4, checkpoint: undefined, ...narrower, ...metaData, properties: { appendOnly: true } })
  t.same(Object.fromEntries(snapshot?.txns ?? []), {
    ours: { appId: 'ours', version: 20 },
    other: { appId: 'other', version: 7 },
  })
  t.match(await loadSnapshot(store, { version: 2 }), { version: 2, ...protocol })
  t.equal((await loadSnapshot(store, { version: 2 }))?.txns.get('ours')?.version, 10)
  t.equal((await loadSnapshot(store, { version: 0 }))?.txns.size, 0)
})

void t.test('P3.02 the files of every version, whatever their paths are written like', async (t) => {
  const expected = [
    { files: [], tombstones: [] },
    { files: ['a', 'b%20c'], tombstones: [] },
    { files: ['a', 'b%20c', 'd'], tombstones: [] },
    { files: ['d', 'e'], tombstones: ['a', 'b c'] },
    { files: ['a', 'e'], tombstones: ['b c', 'd'] },
  ]
  for (const [version, each] of expected.entries()) t.same(await pathsOf(storeOf(), version), each, String(version))

  const store = storeOf([0, 1])
  putCommit(store, 2, [addOf('a'), removeOf('a')])
  putCommit(store, 3, [removeOf('b%20c'), addOf('b%20c')])
  t.same(await pathsOf(store, 3), { files: ['a', 'b%20c'], tombstones: [] }, 'removed and added at once, in any order')
})

const broken: readonly {
  readonly what: string
  readonly break: (store: MemoryStore) => unknown
  readonly version?: number
  readonly error: { readonly code: string; readonly message: string | RegExp }
}[] = [
  {
    what: 'a commit in between is missing',
    break: (store) => store.objects.delete(commitKey(2)),
    error: { code: 'LAKE_LOG_UNREADABLE', message: 'the log of memory:: version 2 is missing' },
  },
  {
    what: 'the first commit is missing',
    break: (store) => store.objects.delete(commitKey(0)),
    error: { code: 'LAKE_LOG_UNREADABLE', message: 'the log of memory:: version 0 is missing' },
  },
  {
    what: 'nothing but a checkpoint of the second kind',
    break: (store) => {
      store.objects.delete(commitKey(0))
      put(store, '_delta_log/00000000000000000001.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.parquet', 'PAR1')
    },
    error: { code: 'LAKE_FEATURE_UNSUPPORTED', message: 'cannot read the log of memory:: v2Checkpoint' },
  },
  {
    what: 'nothing but a hint',
    break: (store) => {
      for (const version of log.keys()) store.objects.delete(commitKey(version))
      put(store, lastCheckpointKey, '{"version":2,"size":9}')
    },
    error: { code: 'LAKE_LOG_UNREADABLE', message: 'the log of memory:: version 0 is missing' },
  },
  {
    what: 'nothing but a checkpoint of the second kind, without commits',
    break: (store) => {
      for (const version of log.keys()) store.objects.delete(commitKey(version))
      put(store, '_delta_log/00000000000000000001.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json', '{}')
    },
    error: { code: 'LAKE_FEATURE_UNSUPPORTED', message: 'cannot read the log of memory:: v2Checkpoint' },
  },
  {
    what: 'a bad commit',
    break: (store) => putCommit(store, 3, '{"add":'),
    error: { code: 'LAKE_LOG_UNREADABLE', message: /^version 3 of the log of memory:, line 1: / },
  },
  {
    what: 'a commit that is not UTF-8',
    break: (store) => store.objects.set(commitKey(3), { data: Uint8Array.of(0x7b, 0xff), modifiedMs: 0 }),
    error: { code: 'LAKE_LOG_UNREADABLE', message: /^version 3 of the log of memory:: / },
  },
  {
    what: 'no protocol',
    break: (store) => putCommit(store, 0, [metaData]),
    version: 3,
    error: { code: 'LAKE_LOG_UNREADABLE', message: 'the log of memory:: it has no protocol or no metaData' },
  },
  {
    what: 'a version that is not there yet',
    break: () => undefined,
    version: 5,
    error: { code: 'LAKE_VERSION_MISSING', message: 'the log of memory: has no version 5: the newest is 4' },
  },
  {
    what: 'a version that is no longer there',
    break: (store) => [0, 1].map((version) => store.objects.delete(commitKey(version))),
    version: 1,
    error: { code: 'LAKE_VERSION_MISSING', message: 'the log of memory: has no version 1: it was cleaned up' },
  },
]

void t.test('P3.11 a log that lacks something or has garbage is an error by name', async (t) => {
  for (const { what, break: breakIt, version, error } of broken) {
    const store = storeOf()
    breakIt(store)
    await t.rejects(loadSnapshot(store, { version }), error, what)
  }
})

void t.test('P3.11 a hint that lies, and files of others, do no harm', async (t) => {
  const hints = [
    '',
    '{',
    '[]',
    'null',
    '{"version":2}',
    '{"version":99,"size":3}',
    '{"version":"2"}',
    '{"version":-1}',
    '{"version":1.5}',
  ]
  for (const hint of hints) {
    const store = storeOf()
    put(store, lastCheckpointKey, hint)
    t.match(await loadSnapshot(store), { version: 4, checkpoint: undefined }, hint)
  }
  const store = storeOf()
  for (const name of ['00000000000000000009.crc', '_tmp.json', '00000000000000000007.json.tmp', '_sidecars/x.parquet'])
    put(store, `_delta_log/${name}`, 'x')
  t.match(await loadSnapshot(store), { version: 4 })
})

void t.test('P3.11 a checkpoint that is truncated or wrong is passed over', async (t) => {
  const store = storeOf()
  for (const version of [2, 3, 4]) put(store, checkpointKey(version), version === 4 ? '' : 'PAR1 garbage PAR1')
  put(store, lastCheckpointKey, '{"version":4,"size":9}')
  t.match(await loadSnapshot(store), { version: 4, checkpoint: undefined })
  store.objects.delete(commitKey(0))
  await t.rejects(loadSnapshot(store), { code: 'LAKE_LOG_UNREADABLE', message: /checkpoint 2: / })
})

void t.test('P3.11 a listing that misses a file is made again', async (t) => {
  const store = storeOf()
  let lists = 0
  const unsteady = {
    ...store,
    async *list(prefix: string, startAfter?: string) {
      lists += 1
      for await (const info of store.list(prefix, startAfter)) if (lists > 1 || info.key !== commitKey(2)) yield info
    },
  }
  t.match(await loadSnapshot(unsteady), { version: 4 })
  t.equal(lists, 2)
})

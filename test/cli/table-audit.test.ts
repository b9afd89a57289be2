import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { auditTables } from '../../src/cli/table-audit.ts'
import { DeltaTable } from '../../src/lake/delta-table.ts'
import { openLocalStore } from '../../src/lake/local-store.ts'
import { AckedPublisher } from '../../src/runtime/acks.ts'
import { marketTicks } from '../../src/workers/tick-sink.ts'
import { publishAll, tickMessage } from '../support/lake.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

void t.test('P3.14 tables are compared with their streams, and what does not add up is told', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const lake = join(tempDir(t), 'lake')
  mkdirSync(lake)
  const workers = ['tick-sink', 'alt-sink', 'execution-sink'] as const
  const { ports } = await startTestWorkers(t, server.url, { workers, env: { LAKE_URI: lake } })
  const url = (worker: (typeof workers)[number]) => `http://127.0.0.1:${ports[worker]}`
  const urls = { 'tick-sink': url('tick-sink'), 'alt-sink': url('alt-sink'), 'execution-sink': url('execution-sink') }
  // A sink answers before it has its table, and of an empty stream there is nothing that a flush would wait for.
  for (const worker of workers)
    await until(`the table of ${worker}`, async () => {
      const { version } = (await (await fetch(`${url(worker)}/stats`)).json()) as { version: number }
      return version >= 0
    })
  const publisher = new AckedPublisher(nats.connection, 1_000)
  t.teardown(() => publisher.close())
  const [subject] = tickMessage(1)
  const document = '{"event_ts":"2026-11-22T09:30:00Z","source":"wire","doc_id":"n-1","title":"one"}'
  await publishAll(publisher, [tickMessage(0), tickMessage(0), [subject, '{'], ['alt.norm.news', document]])
  await publishAll(publisher, [tickMessage(2)])

  const audit = (reports: number) => auditTables(nats, lake, urls, reports)
  const problemsOf = async (reports: number) => (await audit(reports)).map(({ name, problems }) => [name, ...problems])
  t.match(await audit(0), [
    { name: 'market_ticks', rows: 2, messages: 4, duplicates: 1, deadLetters: 1, problems: [] },
    { name: 'alt_docs', rows: 1, messages: 1, problems: [] },
    { name: 'executions', rows: 0, messages: 0, problems: [] },
  ])
  t.same(await problemsOf(1), [['market_ticks'], ['alt_docs'], ['executions', 'has 0 rows instead of 1']])

  const store = openLocalStore(join(lake, 'market_ticks'))
  const table = await DeltaTable.open(store, marketTicks)
  const columns = marketTicks.columns
    .filter(({ name }) => name !== 'symbol' && name !== 'dt')
    .map(({ name }) => [name === 'stream_seq' ? 4 : null])
  const partitionValues = { symbol: 'SYM', dt: '2026-11-23' }
  await table.append([{ partitionValues, columns, rows: 1 }], { appId: 'another', version: 1, expected: undefined })
  rmSync(join(lake, 'alt_docs'), { recursive: true })
  t.same(await problemsOf(0), [
    ['market_ticks', 'has 3 rows, its commits say 2', 'has 3 rows instead of 2'],
    ['alt_docs', 'is not there'],
    ['executions'],
  ])
})

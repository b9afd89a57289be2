import t from 'tap'
import type { Action } from '../../src/lake/actions.ts'
import { DeltaTable } from '../../src/lake/delta-table.ts'
import { readCommits } from '../../src/lake/log-files.ts'
import { storeBelow, type ObjectStore } from '../../src/lake/store.ts'
import { openTestMinio, startTestMinio } from '../support/minio.ts'
import { startSwallowingProxy, type ProxyFault, type SeenRequest } from '../support/swallowing-proxy.ts'
import { definition, logProblems, rowsOf } from './log-tools.ts'

const batches = 40
const isCommit = ({ isConditional, path }: SeenRequest) => isConditional && path.includes('_delta_log')

/** The answer is lost, the request is lost, the server says that it failed and has or has not; and one that is stuck on its way. */
const faults: readonly ProxyFault[] = [
  'swallow',
  { delayMs: 6_500 },
  'cut',
  { status: 503, isLate: true },
  { status: 503 },
  'swallow',
  { status: 409 },
  { status: 500, isLate: true },
  'half',
  'swallow',
]

async function write(store: ObjectStore, appId: string): Promise<{ committed: number; superseded: number }> {
  const table = await DeltaTable.open(store, definition)
  const outcomes = { committed: 0, superseded: 0 }
  for (let watermark = table.transactionVersion(appId); (watermark ?? 0) < batches;) {
    const version = (watermark ?? 0) + 1
    const outcome = await table.append(rowsOf(version, version, [appId]), { appId, version, expected: watermark })
    outcomes[outcome.outcome] += 1
    watermark = outcome.outcome === 'committed' ? version : outcome.watermark
  }
  return outcomes
}

void t.test(
  'P3.05 P3.06 commits on MinIO behind a proxy that swallows answers: each batch once, none taken for lost',
  async (t) => {
    const server = await startTestMinio(t)
    const proxy = await startSwallowingProxy(t, server.access.AWS_ENDPOINT_URL)
    const direct = storeBelow(openTestMinio(t, server), 'ticks/')
    const proxied = storeBelow(openTestMinio(t, server, { endpoint: proxy.url }), 'ticks/')
    await DeltaTable.open(direct, definition)
    let commits = 0
    let injected = 0
    for (const [index, fault] of faults.entries())
      proxy.inject(fault, (request) => {
        if (!isCommit(request) || (commits += 1) <= 2 * index) return false
        injected += 1
        return true
      })

    // The only writer of its stream, another stream beside it, and two by mistake.
    const writers: readonly (readonly [ObjectStore, string])[] = [
      [proxied, 'alone'],
      [direct, 'other'],
      [proxied, 'twice'],
      [direct, 'twice'],
    ]
    const outcomes = await Promise.all(writers.map(([store, appId]) => write(store, appId)))
    t.match(
      outcomes[0],
      { committed: batches, superseded: 0 },
      'one that is alone never takes its own commit for a lost race',
    )
    t.equal((outcomes[2]?.committed ?? 0) + (outcomes[3]?.committed ?? 0), batches)

    const { version } = (await DeltaTable.openExisting(direct)) ?? { version: NaN }
    t.equal(version, 3 * batches, 'a version a batch')
    const log: (readonly Action[])[] = []
    for await (const { actions } of readCommits(direct, 0, version)) log.push(actions ?? [])
    const keys = new Set<string>()
    for await (const { key } of direct.list('')) keys.add(key)
    t.same(
      logProblems(log, (key) => keys.has(key), ['alone', 'other', 'twice'], batches),
      [],
    )
    t.equal(injected, faults.length)
  },
)

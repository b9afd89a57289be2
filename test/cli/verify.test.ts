import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import t from 'tap'
import { verifyAll, type VerifyReport } from '../../src/cli/verify.ts'
import { startNats } from '../../src/local/start-nats.ts'
import { connectNats } from '../../src/runtime/nats.ts'
import { runCli } from '../support/cli.ts'
import { startTestValkey } from '../support/health.ts'
import { publishAll, tickMessage } from '../support/lake.ts'
import { settled, startFlow } from '../support/processes.ts'
import { pythonPath } from '../support/python.ts'
import { readWhole, rewriteStream, type StoredMessage } from '../support/rewrite-stream.ts'
import { AckedPublisher } from '../../src/runtime/acks.ts'
import { startTestWorkers, until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

const names = [
  ...['orders-risk', 'risk-executions', 'executions-positions', 'executions-redis', 'conservation'],
  ...['executions-table', 'ticks-table', 'alt-table'],
]
const chain = ['risk-gate', 'oms-matcher', 'pnl-updater', 'tape'] as const

void t.test(
  'P4.07 verify: all agrees on a live system and on a data folder, and every tampering is found',
  async (t) => {
    const dataDir = tempDir(t)
    const server = await startNats({ dataDir, port: 0 })
    t.teardown(() => server.stop(2_000))
    const nats = await connectNats(server.url, 'test')
    t.teardown(() => nats.close())
    const valkey = await startTestValkey(t)
    const lake = join(dataDir, 'lake')
    mkdirSync(lake)
    const env = {
      LAKE_URI: lake,
      REDIS_URL: valkey.url,
      EXECUTION_FLUSH_MS: '300',
      TICK_FLUSH_MS: '300',
      ALT_FLUSH_MS: '300',
    }
    const workers = [...chain, 'tick-sink', 'alt-sink', 'execution-sink', 'janitor'] as const
    const running = await startTestWorkers(t, server.url, { workers, env })
    const verify = (options: object = {}): Promise<VerifyReport> =>
      verifyAll(nats, { redis: valkey.url, uri: lake, tables: true, ...options }, () => undefined)
    const firstOf = async (name: string, options: object = {}) => {
      const { ok, checks } = await verify(options)
      t.notOk(ok, `${name}: something differs`)
      return String(checks.find((check) => check.name === name)?.first)
    }

    const flow = startFlow(t, nats, { seed: 4, ratePerSecond: 200 })
    const publisher = new AckedPublisher(nats.connection, 1_000)
    t.teardown(() => publisher.close())
    const document = '{"event_ts":"2026-11-22T09:30:00Z","source":"wire","doc_id":"n-1","title":"one"}'
    await publishAll(publisher, [tickMessage(0), tickMessage(0), ['market.tick.X.Y', '{'], ['alt.norm.news', document]])
    await until('some answers', async () => (await nats.jsm.streams.info('EXECUTIONS')).state.last_seq > 300)
    for (const time of ['under load', 'a moment later']) {
      const { ok, checks } = await verify()
      t.ok(ok, `${time} everything agrees: ${JSON.stringify(checks.filter((check) => !check.ok))}`)
      t.same(
        checks.map(({ name }) => name),
        names,
      )
    }
    await flow.stop()
    await settled(nats)
    await until('the rows of everything', async () => {
      const { checks } = await verify()
      const { last_seq: last } = (await nats.jsm.streams.info('TICKS')).state
      return (checks.find(({ name }) => name === 'ticks-table')?.compared ?? 0) >= last - 2
    })
    await running.stop()
    const clean = await verify()
    t.ok(clean.ok, JSON.stringify(clean.checks.filter((check) => !check.ok)))
    for (const { name, compared } of clean.checks) t.ok(compared > 0, `${name}: ${compared} compared`)

    const redis = new Redis(valkey.url)
    t.teardown(() => redis.disconnect())
    const [hash = ''] = await redis.keys('position:*')
    const [symbol = '', json = ''] = Object.entries(await redis.hgetall(hash))[0] ?? []
    await redis.hset(hash, symbol, json.replace(/"fees":[^,]+/, '"fees":123456'))
    t.match(
      await firstOf('executions-redis'),
      new RegExp(`^${hash} ${symbol}: fees is 123456 as of EXECUTIONS \\d+, its fills say`),
    )
    await redis.hset(hash, symbol, json)
    const [order = ''] = await redis.keys('order:*')
    const { status = '' } = await redis.hgetall(order)
    await redis.hset(order, 'status', 'LOST')
    t.match(
      await firstOf('executions-redis'),
      new RegExp(`^${order}: status is LOST as of .*its reports say ${status}$`),
    )
    await redis.hset(order, 'status', status)
    await redis.del(hash)
    t.ok((await verify({ tables: false })).ok, 'a key that is missing is missing, not different')

    const position = `positions.${hash.slice('position:'.length)}.${symbol}`
    const stored = await nats.jsm.streams.getMessage('POSITIONS', { last_by_subj: position })
    const text = Buffer.from(stored?.data ?? []).toString()
    await nats.js.publish(`w.${position}`, text.replace(/"realizedPnl":[^,]+/, '"realizedPnl":-7'))
    t.match(await firstOf('executions-positions', { tables: false }), new RegExp(`^${position}: realizedPnl is -7 `))
    await nats.js.publish(`w.${position}`, text)

    const python = `import sys, deltalake
table = deltalake.DeltaTable(sys.argv[1])
print(table.update(predicate="venue = 'T2026' and stream_seq > 10", updates={"price": "price + 1"}))`
    const path = join(lake, 'market_ticks')
    const update = spawnSync('python3', ['-c', python, path], {
      env: { ...process.env, PYTHONPATH: await pythonPath() },
    })
    t.equal(update.status, 0, String(update.stderr))
    t.match(await firstOf('ticks-table'), /^market_ticks \d+: price is [\d.]+, the message says [\d.]+$/)

    const changedAt = (messages: readonly StoredMessage[], from: string, to: string) => {
      const at = messages.findLastIndex((message) => message.text.includes(from))
      return {
        at,
        messages: messages.map((message, index) =>
          index === at ? { ...message, text: message.text.replace(from, to) } : message,
        ),
      }
    }
    const executions = await readWhole(nats, 'EXECUTIONS')
    const changed = changedAt(executions, '"liquidity":"MAKER"', '"liquidity":"MAKEN"')
    await rewriteStream(nats, 'EXECUTIONS', changed.messages)
    t.match(
      await firstOf('risk-executions', { tables: false }),
      new RegExp(`^EXECUTIONS ${changed.at + 1} is not what oms-matcher makes of RISK`),
    )
    const headers = executions.map((message, index) =>
      index === changed.at
        ? {
            ...message,
            headers: message.headers.map(([name, value]) => [name, name === 'Src-Seq' ? '1' : value] as const),
          }
        : message,
    )
    await rewriteStream(nats, 'EXECUTIONS', headers)
    t.match(
      await firstOf('risk-executions', { tables: false }),
      new RegExp(`^EXECUTIONS ${changed.at + 1}: headers say`),
    )
    await rewriteStream(nats, 'EXECUTIONS', executions)
    t.ok((await verify({ tables: false })).ok, 'what is as it was agrees again')
    const { checks } = await verify()
    t.match(checks.find(({ name }) => name === 'executions-table')?.first, /was filled from another EXECUTIONS/)

    const risk = await readWhole(nats, 'RISK')
    const decided = changedAt(risk, '"quantityLots":', '"quantityLots":1')
    await rewriteStream(nats, 'RISK', decided.messages)
    t.match(
      await firstOf('orders-risk', { tables: false }),
      new RegExp(`^RISK ${decided.at + 1}, record \\d+ of ORDERS \\d+: recorded .*, decided again `),
    )
    await rewriteStream(nats, 'RISK', risk)
    t.ok((await verify({ tables: false })).ok)

    await nats.close()
    await server.stop(5_000)
    const options = ['--data-dir', dataDir, '--no-tables']
    const whole = await runCli(['verify', ...options, '--json'])
    t.match(JSON.parse(whole.stdout), {
      ok: true,
      checks: names.slice(0, 3).map((name) => ({ name, ok: true, differences: 0, first: null })),
    })
    t.equal(whole.code, 0)
    t.match(await runCli(['verify', '--data-dir', tempDir(t)]), {
      code: 64,
      stderr: /is no data folder of `trade2026 up`/,
    })
    t.match(await runCli(['verify', '--nats', 'nats://127.0.0.1:1']), { code: 69 })

    // Commands that are gone.
    const again = await startNats({ dataDir, port: 0 })
    t.teardown(() => again.stop(2_000))
    const later = await connectNats(again.url, 'test')
    const { subjects = {} } = (await later.jsm.streams.info('ORDERS', { subjects_filter: '>' })).state
    const [rarest = ''] = Object.entries(subjects).sort(([, a], [, b]) => a - b)[0] ?? []
    await later.jsm.streams.purge('ORDERS', { filter: rarest })
    await later.close()
    const gone = await runCli(['verify', '--nats', again.url, '--no-tables'])
    t.equal(gone.code, 1)
    t.match(
      gone.stdout,
      /orders-risk +differs[^]*orders-risk: ORDERS lacks \d+ messages between 1 and \d+[^]*not everything agrees\n$/,
    )
  },
)

import { cpSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { audit } from '../../src/cli/audit.ts'
import { orderFlow } from '../../src/cli/order-flow.ts'
import { startNats } from '../../src/local/start-nats.ts'
import { connectNats, type Nats } from '../../src/runtime/nats.ts'
import type { StreamName, WorkerName } from '../../src/subjects/contract.ts'
import { runCli } from '../support/cli.ts'
import { settled } from '../support/processes.ts'
import { readWhole, rewriteStream, type StoredMessage } from '../support/rewrite-stream.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

const chain = ['risk-gate', 'oms-matcher', 'pnl-updater'] as const
/** Messages that the restored stream lacks. */
const lacking = 15

/** Commands of the order flow, one after the other. */
function sender(nats: Nats) {
  const commands = orderFlow(9, 'restored')
  return async (count: number) => {
    for (let sent = 0; sent < count; sent += 1) {
      const next = commands.next()
      if (next.done) throw new Error('the flow ended')
      const { kind, account, body } = next.value
      await nats.js.publish(`orders.${kind}.${account}`, body)
    }
  }
}

/** A system with some history that is stopped. */
async function stopped(t: Test) {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const workers = await startTestWorkers(t, server.url, { workers: chain })
  const send = sender(nats)
  await send(100)
  await settled(nats)
  await workers.stop()
  const start = async (names: readonly WorkerName[]) => {
    const fatals: Error[] = []
    const onFatal = (error: Error) => fatals.push(error)
    const started = await startTestWorkers(t, server.url, { workers: names, instance: names.join(), onFatal })
    return { fatals, stop: () => started.stop() }
  }
  /** As a restore of an older back-up leaves it. */
  const cut = async (stream: StreamName) => {
    const messages = await readWhole(nats, stream)
    await rewriteStream(nats, stream, messages.slice(0, -lacking))
  }
  const verify = async () => {
    const { code, stdout } = await runCli(['verify', '--nats', server.url, '--no-tables', '--json'], { REDIS_URL: '' })
    return { code, stdout }
  }
  return { nats, send, start, cut, verify }
}

async function refusal(fatals: readonly Error[]): Promise<string> {
  return String(await until('the refusal', () => fatals[0]))
}

const lengthOf = async (nats: Nats, stream: StreamName) => (await nats.jsm.streams.info(stream)).state.last_seq

void t.test('P4.09 ORDERS restored from before: refused, also when it is as long again', async (t) => {
  const { nats, send, start, cut } = await stopped(t)
  await cut('ORDERS')
  const short = await start(chain)
  t.match(await refusal(short.fatals), /ORDERS ends at 85, but risk-gate has already answered 100/)
  await short.stop()
  await send(2 * lacking)
  const risk = await lengthOf(nats, 'RISK')
  const long = await start(chain)
  t.match(await refusal(long.fatals), /ORDERS 100 is of .*, and RISK \d+ had decided it before/)
  await long.stop()
  t.ok((await lengthOf(nats, 'RISK')) <= risk + 1, 'nothing was decided but who took over')
})

void t.test('P4.09 RISK restored from before: the gate refuses, whoever starts first', async (t) => {
  const { nats, start, cut } = await stopped(t)
  await cut('RISK')
  const risk = await lengthOf(nats, 'RISK')
  const gate = await start(['risk-gate'])
  t.match(await refusal(gate.fatals), /RISK ends at \d+, but EXECUTIONS \d+ has seen \d+.*Restore all streams/)
  await gate.stop()
  t.equal(await lengthOf(nats, 'RISK'), risk, 'nothing was written')
  const matcher = await start(['oms-matcher'])
  t.match(await refusal(matcher.fatals), /RISK ends at \d+, but oms-matcher has already answered/)
  await matcher.stop()
})

void t.test('P4.09 EXECUTIONS restored from before: the matcher refuses, whoever starts first', async (t) => {
  const { nats, send, start, cut } = await stopped(t)
  await cut('EXECUTIONS')
  await send(lacking)
  const executions = await lengthOf(nats, 'EXECUTIONS')
  const matcher = await start(['oms-matcher'])
  t.match(await refusal(matcher.fatals), /EXECUTIONS ends at \d+, but (POSITIONS|RISK) \d+ has seen \d+/)
  await matcher.stop()
  const others = await start(['risk-gate', 'pnl-updater'])
  t.match(await refusal(others.fatals), /EXECUTIONS ends at \d+, but/)
  await others.stop()
  t.equal(await lengthOf(nats, 'EXECUTIONS'), executions, 'nothing was written')
})

void t.test('P4.09 POSITIONS restored from before: no second effect', async (t) => {
  const { nats, send, start, verify } = await stopped(t)
  const latest = async (): Promise<StoredMessage[]> => {
    const { subjects = {} } = (await nats.jsm.streams.info('POSITIONS', { subjects_filter: '>' })).state
    const messages = await Promise.all(
      Object.keys(subjects).map(async (subject) => {
        const message = await nats.jsm.streams.getMessage('POSITIONS', { last_by_subj: subject })
        if (!message) throw new Error(`${subject} is gone`)
        const headers = ['In-Seq', 'In-Index'].map((name) => [name, message.header.get(name)] as const)
        return { seq: message.seq, subject, text: message.string(), headers }
      }),
    )
    return messages.sort((a, b) => a.seq - b.seq)
  }
  const before = await latest()
  const more = await start(chain)
  await send(50)
  await settled(nats)
  await more.stop()
  await rewriteStream(nats, 'POSITIONS', before)
  const again = await start(chain)
  await settled(nats)
  t.same(again.fatals, [])
  t.match(await audit(nats), { unanswered: 0, doubled: 0, outOfOrder: 0, ok: true })
  const { code, stdout } = await verify()
  t.equal(code, 0, stdout)
})

void t.test('P4.09 all streams restored but a later snapshot is left: refused until it is gone', async (t) => {
  const dataDir = tempDir(t)
  const folder = join(dataDir, 'jetstream', 'jetstream', '$G', 'streams')
  const backUp = join(tempDir(t), 'streams')
  /** One life of the server. */
  const live = async (work: (nats: Nats, url: string) => Promise<void>) => {
    const server = await startNats({ dataDir, port: 0 })
    t.teardown(() => server.stop(2_000))
    const nats = await connectNats(server.url, 'test')
    await work(nats, server.url)
    await nats.close()
    await server.stop(5_000)
  }
  const working = async (nats: Nats, url: string, work: () => Promise<void>) => {
    const workers = await startTestWorkers(t, url, { workers: chain })
    await work()
    await settled(nats)
    await workers.stop()
  }
  await live((nats, url) => working(nats, url, () => sender(nats)(100)))
  cpSync(folder, backUp, { recursive: true })
  await live(async (nats, url) => {
    await working(nats, url, () => sender(nats)(200))
    t.equal((await runCli(['snapshots', '--take', '--nats', url])).code, 0)
  })
  for (const name of readdirSync(backUp))
    if (name !== 'KV_SNAPSHOTS') {
      rmSync(join(folder, name), { recursive: true })
      cpSync(join(backUp, name), join(folder, name), { recursive: true })
    }
  await live(async (nats, url) => {
    const fatals: Error[] = []
    const onFatal = (error: Error) => fatals.push(error)
    const workers = await startTestWorkers(t, url, { workers: chain, onFatal })
    const text = await refusal(fatals)
    t.match(text, /ends at \d+, but the snapshot \S+ of \S+ has seen \d+/)
    t.match(text, /nats stream purge KV_SNAPSHOTS --subject '\$KV\.SNAPSHOTS\.\S+\.>'/)
    await workers.stop()
    await nats.jsm.streams.purge('KV_SNAPSHOTS')
    await working(nats, url, () => sender(nats)(50))
    t.match(await audit(nats), { unanswered: 0, doubled: 0, outOfOrder: 0, ok: true })
    const { code, stdout } = await runCli(['verify', '--nats', url, '--no-tables', '--json'], { REDIS_URL: '' })
    t.equal(code, 0, stdout)
  })
})

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { readInstruments } from '../../src/cli/config-folder.ts'
import { silentFold } from '../../src/cli/start-janitor.ts'
import { settingsFrom } from '../../src/runtime/config.ts'
import { createLog } from '../../src/runtime/log.ts'
import { sharedDecoder } from '../../src/runtime/shared-decoder.ts'
import { takeSnapshot } from '../../src/runtime/take-snapshot.ts'
import { decodeExecution } from '../../src/schemas/execution.ts'
import type { HealthBody } from '../../src/schemas/health.ts'
import { startClient } from '../support/client.ts'
import { startWorkerChild } from '../support/processes.ts'
import { connectTestNats, startTestNats, until } from '../support/stack.ts'

const poison = fileURLToPath(new URL('../support/poison.ts', import.meta.url))

void t.test('P4.11 a record that a handler throws on is answered after three tries, in order', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const env = { NODE_OPTIONS: `--import=${poison}` }
  const gate = await startWorkerChild(t, server.url, ['risk-gate'], { env })
  const matcher = await startWorkerChild(t, server.url, ['oms-matcher'], { env })
  const client = await startClient(t, nats)
  const order = (clOrdId: string, more: object = {}) =>
    client.send('orders.new.alice', {
      ...{ clOrdId, symbol: 'BTCUSDT', side: 'BUY', ordType: 'LIMIT', quantity: 0.001, price: 44_000 },
      ...more,
    })
  const reportsOf = async (sequence: number) => (await client.answerTo(sequence)).reports

  const before = await order('before')
  t.match(await reportsOf(before), [{ execType: 'New' }])
  for (const [where, child] of [
    ['matcher', matcher],
    ['gate', gate],
  ] as const) {
    const [poisoned, after] = [await order(`poison-${where}`), await order(`after-${where}`)]
    const reject = {
      execType: 'Rejected',
      ordRejReason: 'SYSTEM_COMMAND_FAULT',
      orderId: `o-${poisoned}`,
      account: 'alice',
    }
    t.match(await reportsOf(poisoned), [reject], `${where}: it is answered`)
    t.match(await reportsOf(after), [{ execType: 'New' }], `${where}: what follows goes on`)
    const [first, second] = [await client.answerTo(poisoned), await client.answerTo(after)]
    t.ok(first.sequence < second.sequence, `${where}: in order`)
    t.equal(child.restarts(), 3, `${where}: three tries`)
    const worker = where === 'gate' ? 'risk-gate' : 'oms-matcher'
    const health = await until('the word in health', async () => {
      const answer = await fetch(`http://127.0.0.1:${child.ports[worker]}/health`).catch(() => undefined)
      const body = (await answer?.json()) as HealthBody | undefined
      return body?.reasons.find((reason) => reason.includes('SYSTEM_COMMAND_FAULT'))
    })
    t.match(health, new RegExp(`^${where === 'gate' ? 'ORDERS' : 'RISK'} \\d+\\.\\d+ was given up after 3 attempts`))
    t.match(readFileSync(child.logFile, 'utf8'), new RegExp(`a bug in the ${where}`))
    // Its name is free again, and what it would have held is not held.
    const again = await order(`poison-${where}`, { symbol: 'off-tick', price: 0.001 })
    t.match(await reportsOf(again), [{ execType: 'Rejected', ordRejReason: /^(PRICE_OFF_TICK|INVALID_FIELD)$/ }])
  }
  t.same(new Set(client.answerCounts()), new Set([1]), 'every command has one answer')

  // Replay takes what was given up as it was answered: nothing differs.
  const settings = settingsFrom({})
  const decoder = sharedDecoder('EXECUTIONS', decodeExecution)
  const parts = { nats, settings, instruments: readInstruments(), decodeExecution: decoder }
  for (const worker of ['risk-gate', 'oms-matcher'] as const)
    t.ok(await takeSnapshot(nats, worker, () => silentFold(worker, parts), createLog('test', 'silent')), worker)
  await matcher.stop(5_000)
  await gate.stop(5_000)
})

import t from 'tap'
import { usPerDay } from '../../src/base/clock.ts'
import { readInstruments } from '../../src/cli/config-folder.ts'
import { Gate } from '../../src/domain/gate.ts'
import { readStream, type InputMessage } from '../../src/runtime/reader.ts'
import type { Nats } from '../../src/runtime/nats.ts'
import { decodeCommand } from '../../src/schemas/command.ts'
import { decodeExecution } from '../../src/schemas/execution.ts'
import { decodeRisk, type NewRecord, type RiskRecord } from '../../src/schemas/risk.ts'
import { parseOrdersSubject } from '../../src/subjects/names.ts'
import { runCli } from '../support/cli.ts'
import { untilHealth } from '../support/health.ts'
import { settled, startFlow, startWorkerChild } from '../support/processes.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'

const ratePerSecond = 400

interface HaltDocument {
  readonly cmdSeq: number
  readonly recordAfterMs: number
  readonly acceptedAfterCommand: number
  readonly lastAccepted: { readonly cmdSeq: number; readonly orderId: string; readonly afterMs: number } | null
  readonly canceledOrders: number
}

async function messagesOf(nats: Nats, stream: string): Promise<InputMessage[]> {
  const { last_seq: last } = (await nats.jsm.streams.info(stream)).state
  const messages: InputMessage[] = []
  for await (const message of readStream(nats, stream, 1, last)) messages.push(message)
  return messages
}

/** Whether an order opposes its account's position and, with what else works on its side, is not larger. */
function reduces(gate: Gate, { account, symbol, side, quantityLots }: NewRecord): boolean {
  const { positionLots = 0, buyLots = 0, sellLots = 0 } = gate.exposure(account, symbol) ?? {}
  const [position, sideLots] = [BigInt(positionLots), BigInt(side === 'BUY' ? buyLots : sellLots)]
  const room = side === 'BUY' ? -position : position
  return room > 0n && sideLots + BigInt(quantityLots) <= room
}

/**
 * Reads the two logs into one gate and takes every decision anew from ORDERS in another.
 * @param look sees the gate before each record
 */
async function replay(nats: Nats, look: (record: RiskRecord, gate: Gate) => void): Promise<{ differ: string[] }> {
  const options = { instruments: readInstruments(), dayEndUs: usPerDay }
  const [replayed, anew] = [new Gate(options), new Gate(options)]
  const orders = await messagesOf(nats, 'ORDERS')
  const executions = await messagesOf(nats, 'EXECUTIONS')
  const differ: string[] = []
  for (const stored of await messagesOf(nats, 'RISK')) {
    const { epoch, ...message } = decodeRisk(stored.data)
    if (epoch !== undefined) continue
    for (let next = replayed.executionsSeq; next < message.executionsSeq; next += 1) {
      const execution = executions[next]
      if (!execution) throw new Error(`EXECUTIONS ends before ${message.executionsSeq}`)
      for (const gate of [replayed, anew]) gate.feedback(next + 1, decodeExecution(execution.data))
    }
    replayed.replay({ ...message, records: [] })
    for (const record of message.records) {
      look(record, replayed)
      const one = { executionsSeq: message.executionsSeq, limitsRevision: message.limitsRevision, records: [record] }
      replayed.replay(one)
      const order = orders[record.srcSeq - 1]
      if (!order) {
        anew.replay(one)
        continue
      }
      const { kind, account } = parseOrdersSubject(order.subject)
      const decoded = decodeCommand(kind, order.data, account, order.traceparent)
      const again = anew.decide({ srcSeq: record.srcSeq, timeUs: order.timeUs, kind, decoded })
      if (JSON.stringify(again) !== JSON.stringify(record)) differ.push(JSON.stringify([record, again]))
    }
  }
  for (const gate of [replayed, anew]) gate.checkInvariants()
  if (replayed.stateHash() !== anew.stateHash()) differ.push('the state hashes')
  return { differ }
}

void t.test('P2.05 halts under load, over a gate that is killed', { timeout: 120_000 }, async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const gate = await startWorkerChild(t, server.url, ['risk-gate'])
  await startTestWorkers(t, server.url, { workers: ['oms-matcher', 'pnl-updater'] })
  const cli = (...args: string[]) => runCli(args, { NATS_URL: server.url })
  const halt = async (...args: string[]) => {
    const { code, stdout, stderr } = await cli('halt', ...args, '--json')
    if (code !== 0) throw new Error(stderr)
    return JSON.parse(stdout) as HaltDocument
  }
  const lastOf = async (stream: string) => (await nats.jsm.streams.info(stream)).state.last_seq
  const flow = startFlow(t, nats, { seed: 5, ratePerSecond })
  await until('orders to flow', async () => (await lastOf('EXECUTIONS')) > 800)

  const account = await halt('account', 'trader-03', '--cancel')
  t.ok(account.canceledOrders > 0, 'what rested is cancelled')
  const all = await halt('all')
  t.comment(
    `${ratePerSecond} commands a second: halt all in force ${all.recordAfterMs} ms after the command, ${all.acceptedAfterCommand} orders accepted meanwhile, the last ${all.lastAccepted?.afterMs ?? '-'} ms after it`,
  )
  t.ok(all.recordAfterMs < 5_000)
  if (all.lastAccepted) t.ok(all.lastAccepted.afterMs <= all.recordAfterMs && all.lastAccepted.cmdSeq < all.cmdSeq)

  const before = await lastOf('ORDERS')
  gate.kill('SIGKILL')
  await until('the gate to be started again', () => gate.restarts() === 1, 20_000)
  await until(
    'commands after the kill to be decided',
    async () => {
      const risk = await nats.jsm.streams.getMessage('RISK', { seq: await lastOf('RISK') })
      return Number(risk?.header.get('In-Seq')) > before + ratePerSecond
    },
    30_000,
  )
  const listed = await cli('halt')
  t.match(listed.stdout, /everything .*\n?/)
  const mass = await nats.js.publish('orders.mass_cancel', '{"allAccounts":true}')
  await until('the mass cancel', async () => {
    const found = await nats.jsm.streams.getMessage('EXECUTIONS', { last_by_subj: 'executions._all' }).catch(() => null)
    return (
      Number(found?.header.get('Src-Seq')) === mass.seq && found?.json<{ reports: unknown[] }>().reports !== undefined
    )
  })
  const { code, stdout } = await cli('resume', 'all', '--json')
  t.equal(code, 0)
  const resumed = JSON.parse(stdout) as { cmdSeq: number; stillHalted: object[] }
  t.match(resumed.stillHalted, [{ scope: 'account', name: 'trader-03' }])
  const atResume = await lastOf('ORDERS')
  await until('orders after it', async () => (await lastOf('ORDERS')) > atResume + ratePerSecond)
  await flow.stop()
  await settled(nats)

  const accepted = {
    haltedAdding: [] as string[],
    haltedReducing: 0,
    afterResume: 0,
    cancels: 0,
    ofHalted: [] as string[],
  }
  const { differ } = await replay(nats, (record, seen) => {
    const isHalted = record.cmdSeq > all.cmdSeq && record.cmdSeq < resumed.cmdSeq
    if (isHalted && record.type === 'cancel') accepted.cancels += 1
    if (record.type !== 'new') return
    if (isHalted && !reduces(seen, record)) accepted.haltedAdding.push(JSON.stringify(record))
    if (isHalted && reduces(seen, record)) accepted.haltedReducing += 1
    if (record.cmdSeq > account.cmdSeq && record.account === 'trader-03' && !reduces(seen, record))
      accepted.ofHalted.push(JSON.stringify(record))
    if (record.cmdSeq > resumed.cmdSeq) accepted.afterResume += 1
  })
  t.strictSame(accepted.haltedAdding, [], 'no order that adds risk after the halt')
  t.strictSame(accepted.ofHalted, [], 'nor of the halted account, over the resume of all')
  t.ok(accepted.haltedReducing > 0 && accepted.cancels > 0, 'reducing orders and cancels passed')
  t.ok(accepted.afterResume > 50, 'others go on after the resume')
  t.strictSame(differ, [], 'every decision comes out again, and the state too')
})

void t.test('P2.05 a change while nats-server was away, and entries that mean nothing', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const { ports } = await startTestWorkers(t, server.url, { workers: ['risk-gate', 'oms-matcher'] })
  const port = ports['risk-gate']
  const isHealthy = ({ body }: { body: { status: string } }) => body.status === 'healthy'
  await untilHealth('the gate to be healthy', port, isHealthy)
  await nats.js.publish('$KV.LIMITS.symbol.btcusdt', '{"maxPosition":1}')
  await nats.js.publish('$KV.LIMITS.account.a', '{"maxPosition":-1}')
  await untilHealth('both to be named', port, ({ body: { status, reasons } }) => {
    const named = (text: string) => reasons.some((reason) => reason.includes(text))
    return (
      status === 'degraded' &&
      named('KV LIMITS symbol.btcusdt means nothing') &&
      named('KV LIMITS account.a: /maxPosition')
    )
  })
  const bucket = await nats.kvm.open('LIMITS')
  await bucket.delete('symbol.btcusdt')
  await bucket.put('account.a', '{"maxPosition":1}')
  await untilHealth('the gate to be healthy again', port, isHealthy)

  const reconnected = new Promise<void>((resolve) => nats.onReconnect(resolve))
  server.kill('SIGKILL')
  await reconnected
  const ack = await runCli(['halt', 'account', 'a', '--json', '--timeout-ms', '15000'], { NATS_URL: server.url })
  t.match({ code: ack.code, ...JSON.parse(ack.stdout) }, { code: 0, halted: true, name: 'a' })
})

void t.test('P2.05 health says when KV LIMITS is not heard any more', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const { ports } = await startTestWorkers(t, server.url, { workers: ['risk-gate'] })
  const port = ports['risk-gate']
  await untilHealth('the gate to be healthy', port, ({ body }) => body.status === 'healthy')
  const { config } = await nats.jsm.streams.info('KV_LIMITS')
  await nats.jsm.streams.delete('KV_LIMITS')
  const saying = (reason: RegExp) =>
    untilHealth(String(reason), port, ({ body }) => body.status === 'degraded' && reason.test(body.reason ?? ''))
  await saying(/KV LIMITS is gone/)
  await nats.jsm.streams.add(config)
  await saying(/KV LIMITS was made anew/)
})

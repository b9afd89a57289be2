import { execFile, spawn } from 'node:child_process'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { messageOf } from '../../src/base/errors.ts'
import { natsCli } from '../../src/local/components.ts'
import { findServer } from '../../src/local/find.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

// Where it is not installed yet, it is built.
t.setTimeout(600_000)

const order = (side: string) =>
  `{"symbol":"BTCUSDT","side":"${side}","quantity":0.001,"price":45000,"order_type":"LIMIT"}`

/** The binary, or why there is none. In CI there must be one. */
async function findCli(): Promise<{ path: string } | { missing: string }> {
  try {
    return await findServer(natsCli)
  } catch (error) {
    if (process.env['TRADE2026_CI']) throw error
    return { missing: messageOf(error) }
  }
}

interface Cli {
  /** What it prints on both of its outputs. */
  run(...args: string[]): Promise<string>
  /** A command that goes on. @returns what it has printed so far */
  start(...args: string[]): () => string
}

/** The CLI with a home of its own, so that no context of the user's counts. */
function cliAt(t: Test, path: string, serverUrl: string): Cli {
  const env = { HOME: tempDir(t), PATH: process.env['PATH'] }
  return {
    run: async (...args) => {
      const { stdout, stderr } = await promisify(execFile)(path, ['--server', serverUrl, ...args], { env })
      return stdout + stderr
    },
    start: (...args) => {
      let printed = ''
      const child = spawn(path, ['--server', serverUrl, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
      for (const output of [child.stdout, child.stderr]) output.on('data', (data) => (printed += String(data)))
      t.teardown(() => child.kill('SIGKILL'))
      return () => printed
    },
  }
}

/** Messages that `nats sub` has printed: of each its headers and body as one text. */
function messagesOf(printed: string): string[] {
  return printed.split(/^\[#\d+\] /m).slice(1)
}

const cliFound = await findCli()
const skip = 'missing' in cliFound ? cliFound.missing : false

void t.test('P1.18 the examples of the README with the nats command line', { skip }, async (t) => {
  if ('missing' in cliFound) return
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  await startTestWorkers(t, server.url)
  const cli = cliAt(t, cliFound.path, server.url)
  const lastOf = async (stream: string) => (await nats.jsm.streams.info(stream)).state.last_seq
  await until('the matcher', async () => (await lastOf('EXECUTIONS').catch(() => 0)) > 0)

  const seen = cli.start('sub', 'executions.>')
  await until('the subscription', async () => {
    const answer = await fetch(`http://127.0.0.1:${server.monitorPort}/connz?subs=1`)
    const { connections } = (await answer.json()) as { connections: { subscriptions_list?: string[] }[] }
    return connections.some(({ subscriptions_list: subjects }) => subjects?.includes('executions.>'))
  })

  await t.test('P1.18 nats req prints the publish ack, and nats sub the report', async (t) => {
    t.match(await cli.run('req', 'orders.new', order('buy')), /^\{"stream":"ORDERS", ?"seq":1\}$/m)
    const [message] = await until('the report', () => {
      const messages = messagesOf(seen())
      return messages.length === 1 && messages
    })
    t.match(message, /^Received on "executions\.BTCUSDT"$/m)
    t.match(message, /^Nats-Sequence: 2$/m)
    t.match(message, /^Src-Seq: 1$/m)
    t.match(message, /"orderId":"o-1".*"execType":"New"/)
  })

  await t.test('P1.18 nats pub too', async (t) => {
    t.match(await cli.run('pub', 'orders.new', order('sell')), /Published \d+ bytes to "orders\.new"/)
    const [, message] = await until('the report', () => {
      const messages = messagesOf(seen())
      return messages.length === 2 && messages
    })
    t.match(message, /"orderId":"o-2".*"execType":"New".*"execType":"Trade","ordStatus":"Filled"/)
    t.match(message, /^Nats-Sequence: 3$/m)
  })

  await t.test('P1.18 what the fence refuses no subscriber sees', async (t) => {
    const forged = '{"forged":true}'
    const header = ['--header', 'Nats-Expected-Last-Sequence:1']
    t.match(await cli.run('req', ...header, 'w.executions.BTCUSDT', forged), /wrong last sequence: 3/)
    await cli.run('pub', ...header, 'w.executions.BTCUSDT', forged)
    t.equal(await lastOf('EXECUTIONS'), 3)
    await cli.run('req', 'orders.new', order('buy'))
    const messages = await until('the report of the next order', () => {
      const messages = messagesOf(seen())
      return messages.some((message) => message.includes('"orderId":"o-3"')) && messages
    })
    t.equal(messages.length, 3)
    t.notMatch(seen(), /forged/)
    t.notMatch(seen(), /w\.executions/)
  })

  await t.test('P1.18 what never was stored has no Nats-Sequence', async (t) => {
    await cli.run('pub', 'executions.BTCUSDT', '{"forged":true}')
    const message = await until('it', () => messagesOf(seen())[3])
    t.match(message, /forged/)
    t.notMatch(message, /Nats-Sequence/)
    t.equal(await lastOf('EXECUTIONS'), 4)
  })

  await t.test('P1.18 nats consumer info shows the durable consumer of a worker', async (t) => {
    const info = await cli.run('consumer', 'info', 'ORDERS', 'risk-gate')
    t.match(info, /Information for Consumer ORDERS > risk-gate/)
    for (const line of [/Name: risk-gate/, /Pull Mode: true/, /Ack Policy: All/, /Unprocessed Messages: 0/])
      t.match(info, line)
    const details = JSON.parse(await cli.run('consumer', 'info', 'ORDERS', 'risk-gate', '--json')) as unknown
    t.match(details, { config: { durable_name: 'risk-gate' }, delivered: { stream_seq: 3 } })
    for (const [stream, name] of [
      ['RISK', 'oms-matcher'],
      ['EXECUTIONS', 'pnl-updater'],
      ['EXECUTIONS', 'tape'],
    ] as const)
      t.match(await cli.run('consumer', 'info', stream, name), new RegExp(`Name: ${name}`))
  })

  await t.test('P1.18 nats stream ls shows the streams', async (t) => {
    const listed = await cli.run('stream', 'ls')
    for (const name of ['ORDERS', 'RISK', 'EXECUTIONS', 'POSITIONS', 'TICKS', 'ALT', 'DLQ'])
      t.match(listed, new RegExp(`│ ${name} +│`))
  })

  await t.test('P1.18 nats stream get shows a stored report', async (t) => {
    const stored = await cli.run('stream', 'get', 'EXECUTIONS', '--last-for', 'executions.BTCUSDT')
    t.match(stored, /Item: EXECUTIONS#4 .* on Subject executions\.BTCUSDT/)
    t.match(stored, /In-Seq: \d+/)
    t.match(stored, /"orderId":"o-3"/)
  })
})

import t from 'tap'
import { runCli } from '../support/cli.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'

interface Report {
  readonly execType: string
  readonly ordRejReason?: string
  readonly text?: string
}

void t.test('P2.05 `halt` and `resume`: what they refuse, let pass, list and print', async (t) => {
  const server = await startTestNats(t)
  await startTestWorkers(t, server.url)
  const nats = await connectTestNats(t, server.url)
  const env = { NATS_URL: server.url }
  const cli = (...args: string[]) => runCli(args, env)
  const order = async (account: string, symbol: string, side: string, more: object = {}): Promise<Report> => {
    const body = { symbol, side, type: 'limit', quantity: 2, price: 100, ...more }
    const { seq } = await nats.js.publish(`orders.new.${account}`, JSON.stringify(body))
    return reportOf(seq)
  }
  const reportOf = (seq: number) =>
    until(`the answer to ${seq}`, async () => {
      const shown = await nats.jsm.streams.getMessage('EXECUTIONS', { last_by_subj: 'executions.>' }).catch(() => null)
      if (Number(shown?.header.get('Src-Seq')) < seq) return undefined
      const last = (await nats.jsm.streams.info('EXECUTIONS')).state.last_seq
      for (let sequence = last; sequence > 0; sequence -= 1) {
        const message = await nats.jsm.streams.getMessage('EXECUTIONS', { seq: sequence })
        if (Number(message?.header.get('Src-Seq')) === seq) return message?.json<{ reports: Report[] }>().reports[0]
      }
      return undefined
    })

  t.match(await cli('halt'), { code: 0, stdout: 'nothing is halted\n' })
  t.match(await order('bob', 'AAPL', 'sell'), { execType: 'New' })
  t.match(await order('alice', 'AAPL', 'buy'), { execType: 'New' }, 'alice has 2')
  t.match(await order('alice', 'AAPL', 'buy', { price: 90 }), { execType: 'New' }, 'and a resting order')

  const halted = await cli('halt', 'account', 'alice', '--cancel', '--reason', 'a strange pattern', '--json')
  t.match(halted, { code: 0, stderr: '' })
  const document = JSON.parse(halted.stdout) as Record<string, number>
  t.match(document, { halted: true, scope: 'account', name: 'alice', canceledOrders: 1, acceptedAfterCommand: 0 })
  t.match(document, { lastAccepted: null })
  t.ok((document['recordAfterMs'] ?? 0) > 0 && (document['recordAfterMs'] ?? Infinity) < 2_000)
  t.ok((document['revision'] ?? 0) > 0 && (document['cmdSeq'] ?? 0) > 0)

  const more = await order('alice', 'AAPL', 'buy')
  t.match(more, { execType: 'Rejected', ordRejReason: 'RISK_HALTED', text: /account alice is halted/ })
  t.match(await order('bob', 'AAPL', 'buy', { price: 50 }), { execType: 'New' }, 'others go on')
  t.match(await order('alice', 'AAPL', 'sell', { price: 110 }), { execType: 'New' }, 'what reduces passes')
  t.match(await order('alice', 'AAPL', 'sell', { price: 111 }), { ordRejReason: 'RISK_HALTED' }, 'not beyond flat')

  const table = await cli('halt', 'symbol', 'aapl')
  t.equal(table.code, 0)
  t.match(table.stdout, /^symbol AAPL is halted: in force after [\d.]+ ms \(record \d+, revision \d+\)\n/)
  t.match(table.stdout, 'no order was accepted there after the command\n')
  t.match(await order('bob', 'AAPL', 'buy'), { text: /symbol AAPL is halted/ })
  t.match(await order('bob', 'MSFT', 'buy'), { execType: 'New' })

  const list = await cli('halt')
  const lines = list.stdout.trimEnd().split('\n')
  t.match(lines[0], /^halted +since +revision +reason$/)
  t.match(lines[1], /^account alice +\d{4}-\d\d-\d\dT[\d:.]+Z +\d+ +a strange pattern$/)
  t.match(lines[2], /^symbol AAPL +\S+ +\d+ +-$/)
  t.match(JSON.parse((await cli('halt', '--json')).stdout), {
    halts: [
      { scope: 'account', name: 'alice', reason: 'a strange pattern', sinceTime: /Z$/ },
      { scope: 'symbol', name: 'AAPL', reason: null },
    ],
  })

  const all = await cli('halt', 'all')
  t.match(all.stdout, /^everything is halted: /)
  t.match(await order('bob', 'MSFT', 'buy'), { text: /everything is halted/ })

  const resumed = await cli('resume', 'all')
  t.match(resumed, { code: 0, stdout: /^everything is resumed: in force after [\d.]+ ms/ })
  t.match(resumed.stderr, /still halted: account alice\n.*still halted: symbol AAPL\n/)
  t.match(await order('bob', 'MSFT', 'buy'), { execType: 'New' })
  t.match(await cli('resume', 'all'), {
    code: 1,
    stdout: '',
    stderr: /: not everything is halted, only account alice, symbol AAPL\n$/,
  })
  t.equal((await cli('resume', 'account', 'alice')).code, 0)
  t.match(await cli('resume', 'account', 'alice'), { code: 1, stderr: 'trade2026: account alice is not halted\n' })
  t.equal((await cli('resume', 'symbol', 'AAPL')).code, 0)
  t.match(await cli('resume', 'all'), { code: 1, stdout: '', stderr: 'trade2026: nothing is halted\n' })
  t.match(await order('alice', 'AAPL', 'buy', { price: 80 }), { execType: 'New' })

  const wrongCalls = [
    ['halt', 'everything'],
    ['halt', 'account'],
    ['halt', 'all', 'alice'],
    ['halt', 'account', '_venue'],
    ['halt', '--cancel'],
    ['halt', 'all', '--reason', 'x'.repeat(201)],
    ['halt', 'all', '--timeout-ms', '3000000000'],
    ['resume', 'symbol'],
  ]
  await Promise.all(
    wrongCalls.map(async (wrong) => {
      const { code, stderr, stdout } = await cli(...wrong)
      t.match({ code, stdout }, { code: 64, stdout: '' }, wrong.join(' '))
      t.ok(stderr.split('\n').length <= 3, `one line and a hint: ${stderr}`)
    }),
  )
  t.match(await cli('halt'), { stdout: 'nothing is halted\n' }, 'wrong calls change nothing')
})

void t.test('P2.05 without a gate a halt stands, says so, and is in force before the next order', async (t) => {
  const server = await startTestNats(t)
  const env = { NATS_URL: server.url }
  t.match(await runCli(['halt', 'all'], env), { code: 69, stderr: /COMPONENT_MISSING: .* no stream (RISK|EXECUTIONS)/ })
  const first = await startTestWorkers(t, server.url)
  await first.stop()
  const unseen = await runCli(['halt', 'account', 'alice', '--timeout-ms', '300'], env)
  t.match(unseen, { code: 69, stdout: '' })
  t.match(unseen.stderr, /COMPONENT_MISSING: halt\.account\.alice is written \(revision \d+ .* no risk-gate .* 300 ms/)
  const nats = await connectTestNats(t, server.url)
  const body = { symbol: 'AAPL', side: 'buy', type: 'limit', quantity: 1, price: 1 }
  await nats.js.publish('orders.new.alice', JSON.stringify(body))
  await startTestWorkers(t, server.url)
  await until('the refusal', async () => {
    const { last_seq: last } = (await nats.jsm.streams.info('EXECUTIONS')).state
    // The first workers may have been stopped before they wrote anything.
    if (last === 0) return false
    const message = await nats.jsm.streams.getMessage('EXECUTIONS', { seq: last })
    return message?.json<{ reports: Report[] }>().reports[0]?.ordRejReason === 'RISK_HALTED'
  })
  t.match((await runCli(['halt'], env)).stdout, /^halted .*\naccount alice /)
})

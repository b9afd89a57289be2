import t from 'tap'
import { runCli, startCli } from '../support/cli.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'

interface PositionsDocument {
  positions: { account: string; symbol: string; quantity: number }[]
  accounts: { account: string }[]
  executionsSeq: number
}

void t.test('P1.05 `positions` shows what POSITIONS holds', async (t) => {
  const server = await startTestNats(t)
  const env = { NATS_URL: server.url }
  const positions = (...args: string[]) => runCli(['positions', ...args], env)
  await startTestWorkers(t, server.url)
  const nats = await connectTestNats(t, server.url)
  const trade = async (maker: string, taker: string, symbol: string, quantity: string) => {
    const order = { symbol, type: 'limit', quantity, price: 100 }
    await nats.js.publish(`orders.new.${maker}`, JSON.stringify({ ...order, side: 'sell' }))
    await nats.js.publish(`orders.new.${taker}`, JSON.stringify({ ...order, side: 'buy' }))
  }

  const none = await positions('nobody')
  t.equal(none.code, 0)
  t.equal(none.stdout, 'account nobody has no positions\n')

  const watching = startCli(t, ['positions', 'alice', '--watch', '--json'], env)
  await trade('bob', 'alice', 'SOLUSDT', '0.00000002')
  await trade('bob', 'carol', 'AAPL', '3')
  await until('the second position', async () => {
    const found = await nats.jsm.streams.getMessage('POSITIONS', { last_by_subj: 'positions.carol' }).catch(() => null)
    return found !== null
  })

  const [document, table, one, wrong] = await Promise.all([
    positions('--json'),
    positions(),
    positions('carol', '--json'),
    positions('not an account'),
  ])
  const { positions: found, accounts, executionsSeq } = JSON.parse(document.stdout) as PositionsDocument
  t.same(
    found.map(({ account, symbol, quantity }) => [account, symbol, quantity]),
    [
      ['alice', 'SOLUSDT', 2e-8],
      ['bob', 'AAPL', -3],
      ['bob', 'SOLUSDT', -2e-8],
      ['carol', 'AAPL', 3],
    ],
  )
  t.match(document.stdout, '"quantity":0.00000002,', 'numbers as they are stored')
  t.same(accounts.map(({ account }) => account).toSorted(), ['_venue', 'alice', 'bob', 'carol'])
  t.ok(executionsSeq >= 4)
  t.match(JSON.parse(one.stdout), {
    positions: [{ account: 'carol', symbol: 'AAPL' }],
    accounts: [{ account: 'carol', openPositions: 1 }],
  })

  const lines = table.stdout.split('\n')
  t.match(lines[0], /^account +symbol +quantity +avgPx +realised +unrealised +fees +asOf$/)
  const bob = lines.filter((line) => line.startsWith('bob'))
  t.match(bob[0], /^bob +AAPL +-3 +100 +0 +0 +/)
  t.match(bob[1], /^bob +SOLUSDT +-0\.00000002 +100 /)
  const end = (line = '', cell: string) => line.indexOf(cell) + cell.length
  t.equal(end(bob[0], ' -3'), end(bob[1], '-0.00000002'), 'numbers are aligned to the right')
  t.match(bob[2], /^bob +2 +-?[\d.]+ /, 'the sums of the account')

  t.equal(wrong.code, 64)
  await until('a position in the watched documents', () => watching.lines.some((line) => line.includes('SOLUSDT')))
  for (const line of watching.lines) t.match(JSON.parse(line), { positions: Array, accounts: Array })
  t.equal(await watching.interrupt(), 130)
})

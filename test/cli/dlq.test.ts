import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { startClient } from '../support/client.ts'
import { runCli } from '../support/cli.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

void t.test('P4.12 dlq: letters are listed, shown, sent again as new commands, and dropped', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  await startTestWorkers(t, server.url, { workers: ['risk-gate', 'oms-matcher'] })
  const client = await startClient(t, nats)
  const dlq = (...args: readonly string[]) => runCli(['dlq', ...args, '--nats', server.url])

  t.match(await dlq('ls'), { code: 0, stdout: 'no letters\n' })
  const bodies = ['not JSON', '[1]', Buffer.from([0xff, 0xfe]), '{"account":']
  const sequences = []
  for (const body of bodies) sequences.push(await client.send('orders.new', body))
  for (const sequence of sequences) await client.answerTo(sequence)
  const [first = 0, second = 0, binary = 0] = sequences

  const groups = JSON.parse((await dlq('ls', '--json')).stdout) as { letters: Record<string, unknown>[] }
  t.match(groups.letters, [
    { worker: 'risk-gate', stream: 'ORDERS', count: 4, firstSeen: /Z$/, lastSeen: /Z$/, reason: /^INVALID_MESSAGE: / },
  ])
  const each = JSON.parse((await dlq('ls', '--each', '--json')).stdout) as { letters: { letter: string }[] }
  t.same(
    each.letters.map(({ letter }) => letter),
    sequences.map((sequence) => `risk-gate.ORDERS.${sequence}`),
  )
  t.match(await dlq('ls', '--stream', 'ticks'), { code: 0, stdout: 'no letters\n' })
  t.match(await dlq('ls'), { code: 0, stdout: /risk-gate +ORDERS +4 / })

  t.match((await dlq('show', `risk-gate.ORDERS.${first}`)).stdout, /reason +INVALID_MESSAGE: [^]*not JSON\n$/)
  const shown = JSON.parse((await dlq('show', `dlq.risk-gate.ORDERS.${binary}`, '--json')).stdout) as object
  t.match(shown, { subject: 'orders.new', sequence: binary, base64: '//4=', bytes: 2 })
  t.match(await dlq('show', 'risk-gate.ORDERS.999'), { code: 64, stderr: /there is no letter risk-gate\.ORDERS\.999/ })
  t.match(await dlq('show', 'nonsense'), { code: 64, stderr: /say <worker>\.<stream>\.<sequence>/ })

  const corrected = join(tempDir(t), 'order.json')
  writeFileSync(corrected, '{"account":"a","symbol":"BTCUSDT","side":"BUY","ordType":"LIMIT","quantity":1,"price":1}')
  const again = await dlq('replay', `risk-gate.ORDERS.${first}`, '--body', corrected, '--drop')
  t.match(again, { code: 0, stdout: /sent again as a new command, ORDERS 5 \(o-5\)/ })
  t.match((await client.answerTo(5)).reports, [{ execType: 'New', orderId: 'o-5' }], 'it is a new order')
  const asItWas = await dlq('replay', `risk-gate.ORDERS.${second}`, '--json')
  t.match(JSON.parse(asItWas.stdout), {
    replayed: [{ letter: `risk-gate.ORDERS.${second}`, sequence: 6, dropped: false }],
  })
  t.match((await client.answerTo(6)).reports, [{ execType: 'Rejected', ordRejReason: 'INVALID_MESSAGE' }])
  await until('its own letter', async () => (await nats.jsm.streams.info('DLQ')).state.messages === 4)

  t.match(
    await dlq('drop', `risk-gate.ORDERS.${second}`, 'risk-gate.ORDERS.999'),
    { code: 64 },
    'a wrong name drops nothing',
  )
  t.equal((await nats.jsm.streams.info('DLQ')).state.messages, 4)
  t.match(await dlq('drop', `risk-gate.ORDERS.${second}`), { code: 0, stdout: '1 letter dropped\n' })
  t.match(await dlq('drop'), { code: 64, stderr: /say which letters to drop, or --all/ })
  t.match(await dlq('drop', '--all', '--worker', 'tape'), { code: 1, stdout: '0 letters dropped\n' })
  t.match(await dlq('drop', '--all'), { code: 0, stdout: '3 letters dropped\n' })
  t.match(await dlq('ls'), { code: 0, stdout: 'no letters\n' })
})

import { readFileSync } from 'node:fs'
import t from 'tap'
import { startWorkerChild } from '../support/processes.ts'
import { startProxy } from '../support/proxy.ts'
import { startTestNats, until } from '../support/stack.ts'

void t.test('P1.04 a worker that NATS leaves without an answer as it starts says so by its code', async (t) => {
  const server = await startTestNats(t)
  const proxy = await startProxy(t, server.port)
  // The answer to the removal of the consumer comes; that to its making does not.
  const held = proxy.holdAfter('consumer not found"}}\r\n')
  const child = await startWorkerChild(t, proxy.url, ['tape'])
  await held
  const fatal = await until('its end', () => {
    const lines = readFileSync(child.logFile, 'utf8').split('\n')
    return lines.find((line) => line.includes('"level":60'))
  })
  t.match(JSON.parse(fatal), { code: 'NATS_UNREACHABLE', msg: /^NATS does not answer as it should: / })
  proxy.open()
  await until('it to be started again', async () => {
    const answer = await fetch(`http://127.0.0.1:${child.ports.tape}/health/ready`).catch(() => undefined)
    return answer?.status === 200
  })
})

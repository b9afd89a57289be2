import t from 'tap'
import { freePort, isPortTaken } from '../../src/local/ports.ts'

void t.test('a free port is given out once', async (t) => {
  const ports: number[] = []
  for (let count = 0; count < 200; count += 1) ports.push(await freePort())
  t.equal(new Set(ports).size, 200)
  t.notOk(await isPortTaken(ports[0] ?? 0))
})

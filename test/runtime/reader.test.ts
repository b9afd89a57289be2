import t from 'tap'
import { readLatest } from '../../src/runtime/reader.ts'
import { ensureStreams } from '../../src/runtime/streams.ts'
import { connectTestNats, startTestNats } from '../support/stack.ts'

void t.test('P1.12 the latest of every subject is read, also while they are stored again', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  await ensureStreams(nats, 256 * 2 ** 20)
  const subjects = Array.from({ length: 200 }, (_, n) => `positions.a${n}.S`)
  const store = (subject: string, body: number) => nats.js.publish(`w.${subject}`, String(body))
  for (const subject of subjects) await store(subject, 0)
  let isOver = false
  const storing = (async () => {
    for (let round = 1; !isOver; round += 1)
      await Promise.all(subjects.filter((_, n) => n % 7 === round % 7).map((subject) => store(subject, round)))
  })()
  const sizes = new Set<number>()
  for (let n = 0; n < 100; n += 1) sizes.add((await readLatest(nats, 'POSITIONS', 'positions.>')).size)
  isOver = true
  await storing
  t.same([...sizes], [subjects.length])
})

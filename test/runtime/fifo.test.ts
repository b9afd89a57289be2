import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { Fifo } from '../../src/runtime/fifo.ts'

void t.test('P2.13 a queue gives back what went in, in order, however much has been taken', (t) => {
  const fifo = new Fifo<number>()
  const taken: number[] = []
  let pushed = 0
  for (let round = 0; round < 400; round += 1) {
    for (let count = 0; count < 11; count += 1) fifo.push(pushed++)
    taken.push(...fifo.take(round % 21))
    if (fifo.length > 0) taken.push(fifo.shift())
    if (fifo.length !== pushed - taken.length) t.fail(`length ${fifo.length} after round ${round}`)
    if (fifo.length > 0 && (fifo.at(0) !== taken.length || fifo.at(-1) !== pushed - 1)) t.fail(`round ${round}`)
  }
  taken.push(...fifo.take(Infinity))
  t.same(taken, [...Array(4_400).keys()])
  t.same([fifo.length, fifo.at(0), fifo.at(-1)], [0, undefined, undefined])
  t.throws(() => fifo.shift(), { name: 'BugError' })
  t.end()
})

void t.test('P3.17 a queue that is kept short holds on to few of the messages that went through it', async (t) => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const fifo = new Fifo<object>()
  const seen = Array.from({ length: 1_000 }, () => {
    const item = {}
    fifo.push(item)
    fifo.shift()
    return new WeakRef(item)
  })
  // What a WeakRef was made for lives until the end of the turn.
  await new Promise(setImmediate)
  collect()
  const held = seen.filter((item) => item.deref() !== undefined).length
  t.ok(held <= 33, `${held} are held`)
  t.equal(fifo.length, 0)
})

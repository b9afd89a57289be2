import t from 'tap'
import { Fifo } from '../../src/runtime/fifo.ts'

void t.test('P2.13 a queue gives back what went in, in order, however much has been taken', (t) => {
  const fifo = new Fifo<number>()
  const taken: number[] = []
  let pushed = 0
  for (let round = 0; round < 400; round += 1) {
    for (let count = 0; count < 11; count += 1) fifo.push(pushed++)
    taken.push(...fifo.take(round % 21))
    if (fifo.length !== pushed - taken.length) t.fail(`length ${fifo.length} after round ${round}`)
    if (fifo.length > 0 && (fifo.at(0) !== taken.length || fifo.at(-1) !== pushed - 1)) t.fail(`round ${round}`)
  }
  taken.push(...fifo.take(Infinity))
  t.same(taken, [...Array(4_400).keys()])
  t.same([fifo.length, fifo.at(0), fifo.at(-1)], [0, undefined, undefined])
  t.end()
})

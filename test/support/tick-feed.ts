import type { Test } from 'tap'
import type { ObjectStore } from '../../src/lake/store.ts'
import { AckedPublisher } from '../../src/runtime/acks.ts'
import type { Nats } from '../../src/runtime/nats.ts'
import { checkLake, publishAll, readTable, readVersion, tickMessage } from './lake.ts'
import { until } from './stack.ts'

/** Ticks with running numbers, in the order of which nothing else is in the stream, and the table they go to. */
export interface TickFeed {
  /** So many were published. */
  readonly count: number
  publish(more: number): Promise<void>
  /** Publishes some now and again, until the end of the work. */
  during<T>(work: () => Promise<T>): Promise<T>
  /** Waits until the table has recorded all. */
  allThere(timeoutMs?: number): Promise<void>
  /** Every tick is one row, and `lake check` says that all is well. @param access as of `checkLake` */
  check(t: Test, access: Readonly<Record<string, string>>): Promise<void>
}

export function startTickFeed(t: Test, nats: Nats, lake: string | ObjectStore, symbols = 5): TickFeed {
  const publisher = new AckedPublisher(nats.connection, 1_000)
  t.teardown(() => publisher.close())
  let count = 0
  // One after the other, so that the numbers are in the order of the stream.
  const publish = async (more: number) => {
    const from = count
    count += more
    const messages = Array.from({ length: more }, (_, index) => tickMessage(from + index, symbols))
    await publishAll(publisher, messages)
  }
  return {
    get count() {
      return count
    },
    publish,
    during: async (work) => {
      let isOver = false
      const publishing = (async () => {
        while (!isOver) {
          await publish(20)
          await new Promise((resolve) => setTimeout(resolve, 20))
        }
      })()
      try {
        return await work()
      } finally {
        isOver = true
        await publishing
      }
    },
    allThere: async (timeoutMs = 60_000) => {
      await until('all ticks', async () => (await readVersion(lake, 'market_ticks')).txns[0] === count, timeoutMs)
    },
    check: async (t, access) => {
      const { rows } = await readTable(lake, 'market_ticks')
      const ids = rows.map((row) => [row['stream_seq'], row['trade_id']])
      const wrong = ids.filter(([seq, id], at) => seq !== BigInt(at + 1) || id !== String(at))
      t.same([rows.length, wrong], [count, []], 'every tick is a row')
      await checkLake(t, access, { market_ticks: count })
    },
  }
}

import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { isPipelineError } from '../../src/base/errors.ts'
import { DeltaTable } from '../../src/lake/delta-table.ts'
import { openMemoryStore, type MemoryStore } from '../../src/lake/memory-store.ts'
import { storeUnavailable, type CreateOutcome, type ObjectStore } from '../../src/lake/store.ts'
import { addOf, commitsOf, definition, logProblems, removeOf, rowsOf } from '../lake/log-tools.ts'
import { randomFrom } from './commands.ts'

const messagesPerStream = 30
const batchMax = 8

class Killed extends Error {}

/** A process: what it does ends, at its next call, when it is killed. */
interface Process {
  isKilled: boolean
}

/** An order of events that one seed decides. */
class Sea {
  readonly objects: MemoryStore['objects'] = new Map()
  readonly random: () => number
  readonly counts = new Map<string, number>()
  #waiting: (() => void)[] = []

  constructor(seed: number) {
    this.random = randomFrom(seed)
  }

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1)
  }

  chance(probability: number): boolean {
    return this.random() < probability
  }

  /** Until it is this caller's turn. */
  turn(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** Gives one after the other its turn. */
  async run(work: Promise<unknown>): Promise<void> {
    let isOver = false
    const end = () => (isOver = true)
    work.then(end, end)
    while (!isOver) {
      await nextTurn()
      const [next] = this.#waiting.splice(Math.floor(this.random() * this.#waiting.length), 1)
      next?.()
    }
    await work
  }

  /** The store as a process sees it, which may be killed before and after every call. */
  storeOf(process: Process): ObjectStore {
    const store = openMemoryStore(this.objects)
    const step = async <T>(perform: () => Promise<T>): Promise<T> => {
      await this.turn()
      this.#maybeKill(process)
      if (this.chance(0.02)) throw storeUnavailable(store.uri, 'a fault was injected')
      const result = await perform()
      await this.turn()
      this.#maybeKill(process)
      return result
    }
    return {
      ...store,
      get: (key, range) => step(() => store.get(key, range)),
      put: (key, data) => step(() => store.put(key, data)),
      delete: (keys) => step(() => store.delete(keys)),
      putIfAbsent: (key, data) =>
        step(async (): Promise<CreateOutcome> => {
          if (!this.chance(0.3)) return await store.putIfAbsent(key, data)
          // Now, later, or never.
          const when = this.random()
          this.count(when < 0.4 ? 'stored' : when < 0.7 ? 'late' : 'lost')
          if (when < 0.4) await store.putIfAbsent(key, data)
          else if (when < 0.7) void this.#turns(6).then(() => store.putIfAbsent(key, data))
          return 'unknown'
        }),
    }
  }

  #maybeKill(process: Process): void {
    if (this.chance(0.004)) process.isKilled = true
    if (process.isKilled) throw new Killed()
  }

  async #turns(max: number): Promise<void> {
    for (let left = 1 + Math.floor(this.random() * max); left > 0; left -= 1) await this.turn()
  }
}

/** Writes a stream to its end as a sink does, by as many processes as it takes. */
async function sink(sea: Sea, appId: string): Promise<void> {
  for (;;) {
    const process = { isKilled: false }
    try {
      const table = await DeltaTable.open(sea.storeOf(process), definition)
      let watermark = table.transactionVersion(appId)
      while ((watermark ?? 0) < messagesPerStream) {
        const from = (watermark ?? 0) + 1
        const to = Math.min(messagesPerStream, from + Math.floor(sea.random() * batchMax))
        try {
          const outcome = await table.append(rowsOf(from, to, [appId]), { appId, version: to, expected: watermark })
          sea.count(outcome.outcome)
          watermark = outcome.outcome === 'committed' ? to : outcome.watermark
        } catch (error) {
          if (!isPipelineError(error, 'LAKE_STORE_UNAVAILABLE')) throw error
          sea.count('unavailable')
          // Either a sink tries again as it is, or it looks at the table first.
          if (sea.chance(0.5)) watermark = (await table.refresh(), table.transactionVersion(appId))
        }
      }
      return
    } catch (error) {
      if (!(error instanceof Killed) && !isPipelineError(error, 'LAKE_STORE_UNAVAILABLE')) throw error
      sea.count('killed')
    }
  }
}

/** Commits that only rearrange, against which every append must hold. */
async function compactor(sea: Sea): Promise<void> {
  const process = { isKilled: false }
  try {
    const table = await DeltaTable.open(sea.storeOf(process), definition)
    for (let round = 0; round < 5; round += 1)
      await table.commit('compact', ({ version }) => ({
        info: { operation: 'OPTIMIZE', isBlindAppend: false },
        actions: [removeOf(`moved-${version}`), addOf(`moved-${version + 1}`, false)],
      }))
  } catch (error) {
    if (!(error instanceof Killed) && !isPipelineError(error, 'LAKE_STORE_UNAVAILABLE')) throw error
  }
}

const { SEED } = process.env
const first = SEED === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(SEED)
const limitMs = 12_000

void t.test(
  `P3.05 P3.06 however writers, answers and kills interleave, each batch is in the table once: seeds from ${first}`,
  async (t) => {
    const counts = new Map<string, number>()
    const start = performance.now()
    let runs = 0
    for (; SEED === undefined ? runs < 400 && performance.now() - start < limitMs : runs < 1; runs += 1) {
      const seed = first + runs
      const sea = new Sea(seed)
      // Two by mistake for the same stream, and one or none for another.
      const sinks = ['a', 'a', ...(sea.chance(0.5) ? ['b'] : []), ...(sea.chance(0.3) ? ['a'] : [])]
      const work = Promise.all([
        ...sinks.map((appId) => sink(sea, appId)),
        ...(sea.chance(0.5) ? [compactor(sea)] : []),
      ])
      const again = `again: SEED=${seed} npx tap test/property/lake-commits.test.ts`
      try {
        await sea.run(work)
      } catch (error) {
        t.comment(again)
        throw error
      }
      const log = openMemoryStore(sea.objects)
      const problems = logProblems(commitsOf(log), (key) => log.objects.has(key), new Set(sinks), messagesPerStream)
      if (problems.length > 0) t.fail(again, { problems })
      for (const [what, count] of sea.counts) counts.set(what, (counts.get(what) ?? 0) + count)
    }
    t.comment(`${runs} runs: ${[...counts].map(([what, count]) => `${count} ${what}`).join(', ')}`)
    if (SEED === undefined)
      for (const what of ['committed', 'superseded', 'stored', 'late', 'lost', 'unavailable', 'killed'])
        t.ok((counts.get(what) ?? 0) > runs / 10, `${what} happens`)
  },
)

import { isMainThread, Worker, workerData } from 'node:worker_threads'

interface Beat {
  readonly ticks: Int32Array<SharedArrayBuffer>
  readonly firstEpochMs: number
  readonly intervalMs: number
}

/** At higher rates a wake-up has more than one tick to do: each costs the machine some 40 µs. */
const intervalMinMs = 0.5

/** Node's timers count whole ms and come up to one late; a thread that sleeps is some 50 µs late. */
export class Metronome {
  readonly #ticks = new Int32Array(new SharedArrayBuffer(4))
  readonly #thread: Worker
  #seen = 0

  /** @param intervalMs ticks come no faster than every half ms */
  constructor(firstEpochMs: number, intervalMs: number) {
    const beat: Beat = { ticks: this.#ticks, firstEpochMs, intervalMs: Math.max(intervalMs, intervalMinMs) }
    this.#thread = new Worker(new URL(import.meta.url), { workerData: beat })
  }

  /** Resolves at the next tick, or at once when ticks were missed. */
  async tick(): Promise<void> {
    const wait = Atomics.waitAsync(this.#ticks, 0, this.#seen)
    if (wait.async) await wait.value
    this.#seen = Atomics.load(this.#ticks, 0)
  }

  async stop(): Promise<void> {
    await this.#thread.terminate()
  }
}

function epochMs(): number {
  return performance.timeOrigin + performance.now()
}

function beat({ ticks, firstEpochMs, intervalMs }: Beat): never {
  const never = new Int32Array(new SharedArrayBuffer(4))
  for (let next = firstEpochMs; ; next += intervalMs) {
    const leftMs = next - epochMs()
    if (leftMs > 0) Atomics.wait(never, 0, 0, leftMs)
    Atomics.add(ticks, 0, 1)
    Atomics.notify(ticks, 0)
  }
}

if (!isMainThread) beat(workerData as Beat)

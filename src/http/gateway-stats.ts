import type { OrderViewStatus } from '../domain/order-views.ts'

const windowSeconds = 60

/** Counts of a door since it started, and its pace. */
export class GatewayStats {
  readonly #startedMs = Date.now()
  readonly #byStatus = new Map<OrderViewStatus, number>()
  /** Commands answered in each of the last seconds. */
  readonly #perSecond = new Array<number>(windowSeconds).fill(0)
  #second = 0

  count(status: OrderViewStatus): void {
    this.#byStatus.set(status, (this.#byStatus.get(status) ?? 0) + 1)
    const at = this.#advance() % windowSeconds
    this.#perSecond[at] = (this.#perSecond[at] ?? 0) + 1
  }

  body(): Record<string, unknown> {
    const now = this.#advance()
    const last = (seconds: number) => {
      let sum = 0
      for (let back = 1; back <= seconds; back += 1)
        sum += this.#perSecond[(now - back + windowSeconds) % windowSeconds] ?? 0
      return Number((sum / seconds).toFixed(1))
    }
    return {
      uptime_seconds: Math.floor((Date.now() - this.#startedMs) / 1_000),
      orders: Object.fromEntries(this.#byStatus),
      orders_per_second: { last_10_s: last(10), last_59_s: last(windowSeconds - 1) },
    }
  }

  /** Empties the seconds that have begun since the last call. @returns seconds since the start */
  #advance(): number {
    const now = Math.floor((Date.now() - this.#startedMs) / 1_000)
    for (let second = Math.max(this.#second + 1, now - windowSeconds + 1); second <= now; second += 1)
      this.#perSecond[second % windowSeconds] = 0
    this.#second = now
    return now
  }
}

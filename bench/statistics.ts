import { build, type Histogram } from 'hdr-histogram-js'

/** The middle value; of an even count the mean of the two. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length / 2
  const upper = sorted[Math.floor(middle)] ?? 0
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2
}

/** One figure over all rounds. */
export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

export function spreadOf(values: readonly number[]): Spread {
  return { median: rounded(median(values)), min: rounded(Math.min(...values)), max: rounded(Math.max(...values)) }
}

/** Four significant digits, whole from a thousand on: the rest is noise. */
export function rounded(value: number): number {
  return Math.abs(value) >= 1_000 ? Math.round(value) : Number(value.toPrecision(4))
}

export interface Percentiles {
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly p999: number
  readonly max: number
}

export const percentileNames = ['p50', 'p90', 'p99', 'p999', 'max'] as const

const trackedMaxUs = 120_000_000

/** Times in a histogram of three significant digits. */
export class Latencies {
  readonly #histogram: Histogram = build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: trackedMaxUs,
    numberOfSignificantValueDigits: 3,
  })

  add(ms: number): void {
    this.#histogram.recordValue(Math.max(1, Math.min(trackedMaxUs, Math.round(ms * 1_000))))
  }

  percentilesMs(): Percentiles {
    const at = (percentile: number) => this.#histogram.getValueAtPercentile(percentile) / 1_000
    return { p50: at(50), p90: at(90), p99: at(99), p999: at(99.9), max: at(100) }
  }
}

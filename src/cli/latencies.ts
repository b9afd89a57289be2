import { build, type Histogram } from 'hdr-histogram-js'

export const percentileNames = ['p50', 'p90', 'p99', 'p999', 'max'] as const
export type Percentiles = Readonly<Record<(typeof percentileNames)[number], number>>

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

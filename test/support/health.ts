import type { Test } from 'tap'
import { startValkey } from '../../src/local/start-valkey.ts'
import type { LocalServer } from '../../src/local/start-server.ts'
import type { HealthBody, HealthStatus } from '../../src/schemas/health.ts'
import { until } from './stack.ts'
import { tempDir } from './temp-dir.ts'

export interface HealthAnswer {
  readonly code: number
  readonly body: HealthBody
}

/** @throws when the port does not answer within three seconds */
export async function healthAt(port: number | undefined, path = '/health'): Promise<HealthAnswer> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(3_000) })
  return { code: response.status, body: (await response.json()) as HealthBody }
}

/** Waits for an answer that fits. @returns how long it took, ms */
export async function untilHealth(
  what: string,
  port: number | undefined,
  fits: (answer: HealthAnswer) => boolean,
  timeoutMs = 30_000,
): Promise<number> {
  const startedMs = Date.now()
  let last: HealthAnswer | undefined
  try {
    await until(
      what,
      async () => fits((last = (await healthAt(port).catch(() => last)) ?? ({ code: 0 } as HealthAnswer))),
      timeoutMs,
    )
  } catch (error) {
    throw new Error(`${(error as Error).message}; last: ${last?.code} ${JSON.stringify(last?.body)}`, { cause: error })
  }
  return Date.now() - startedMs
}

const rank: Readonly<Record<HealthStatus, number>> = { healthy: 0, degraded: 1, unhealthy: 2 }

/** Asks a worker every 50 ms how it is, and keeps what changes. */
export function watchHealth(t: Test, port: number | undefined) {
  const statuses: HealthStatus[] = []
  const reasons = new Set<string>()
  let stopped = false
  const look = async () => {
    // Nobody answers while it is stopped or killed.
    const answer = await healthAt(port).catch(() => undefined)
    if (!answer) return
    if (statuses[statuses.length - 1] !== answer.body.status) statuses.push(answer.body.status)
    for (const reason of answer.body.reasons) reasons.add(reason)
  }
  const watching = (async () => {
    while (!stopped) {
      await look()
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  })()
  const stop = async () => {
    stopped = true
    await watching
  }
  t.teardown(stop)
  return {
    reasons,
    /** Ends the watch: the statuses so far, in order; they may get worse and then better, and that once. */
    async end(): Promise<HealthStatus[]> {
      await stop()
      await look()
      const ranks = statuses.map((status) => rank[status])
      const worst = ranks.indexOf(Math.max(...ranks))
      t.ok(
        ranks.every(
          (value, index) =>
            index === 0 || (index <= worst ? value > (ranks[index - 1] ?? 0) : value < (ranks[index - 1] ?? 3)),
        ),
        `no flapping: ${statuses.join(' → ')}`,
      )
      return statuses
    },
  }
}

/** A real valkey-server. */
export async function startTestValkey(
  t: Test,
  place: { dataDir?: string; port?: number } = {},
): Promise<LocalServer & { dataDir: string }> {
  const dataDir = place.dataDir ?? tempDir(t)
  const server = await startValkey({ dataDir, port: place.port ?? 0 })
  t.teardown(() => server.stop(2_000))
  return Object.assign(server, { dataDir })
}

import type { Test } from 'tap'
import { startWorkerProcess } from '../../src/cli/worker-process.ts'
import { withPorts } from '../../src/local/ports.ts'
import { startNats, type NatsServer } from '../../src/local/start-nats.ts'
import { settingsFrom } from '../../src/runtime/config.ts'
import { connectNats, type Nats } from '../../src/runtime/nats.ts'
import type { WorkerName } from '../../src/subjects/contract.ts'
import { tempDir } from './temp-dir.ts'

/** Room for the streams of a test: small, so that many tests fit on a disk. */
const streamsMaxBytes = 512 * 2 ** 20

/** A real nats-server on its own port and folder. */
export async function startTestNats(t: Test): Promise<NatsServer> {
  const server = await startNats({ dataDir: tempDir(t), port: 0 })
  t.teardown(() => server.stop(2_000))
  return server
}

export async function connectTestNats(t: Test, url: string): Promise<Nats> {
  const nats = await connectNats(url, 'test')
  t.teardown(() => nats.close())
  return nats
}

/** Workers in this process, on ports of their own. */
export async function startTestWorkers(
  t: Test,
  natsUrl: string,
  options: {
    workers?: readonly WorkerName[]
    env?: Record<string, string>
    instance?: string
    onFatal?: (error: Error) => void
  } = {},
): Promise<{ stop(): Promise<void>; ports: Partial<Record<WorkerName, number>> }> {
  const workers = options.workers ?? ['risk-gate', 'oms-matcher', 'pnl-updater', 'tape']
  let ports: Partial<Record<WorkerName, number>> = {}
  const started = await withPorts(
    workers.map(() => 0),
    '',
    (free) => {
      ports = Object.fromEntries(workers.map((worker, index) => [worker, free[index] ?? 0]))
      return startWorkerProcess({
        workers,
        settings: settingsFrom({
          NATS_URL: natsUrl,
          LOG_LEVEL: process.env['TEST_LOG_LEVEL'] ?? 'fatal',
          STREAMS_MAX_BYTES: String(streamsMaxBytes),
          ...options.env,
        }),
        instance: options.instance ?? 'test',
        ports,
        onFatal: options.onFatal ?? ((error) => t.fail(`fatal: ${error.message}`, { error })),
      })
    },
  )
  let stopped = false
  const stop = async () => {
    if (!stopped) await started.stop()
    stopped = true
  }
  t.teardown(stop)
  return { stop, ports }
}

/** Polls until `check` gives something; fails the test after `timeoutMs`. */
export async function until<T>(
  what: string,
  check: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 30_000,
): Promise<T> {
  const deadlineMs = Date.now() + timeoutMs
  for (;;) {
    const found = await check()
    if (found !== undefined && found !== false) return found
    if (Date.now() > deadlineMs) throw new Error(`timed out after ${timeoutMs} ms waiting for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

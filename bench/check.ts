import type { Layout } from '../src/cli/stack-layout.ts'
import { httpFigures, runHttpLoad } from './http.ts'
import { watchProcesses } from './processes.ts'
import { ratioOf, type Round, type Row, rowOf } from './rows.ts'
import type { Session } from './session.ts'
import { startPipeline } from './systems.ts'

const loads = [
  { connections: 1, unit: 'checkP50Ms' },
  { connections: 50, unit: 'requestsPerSecond' },
] as const

/**
 * `POST /check` of the risk gate of a stack, in turn with `GET /health/live` of the same process: what is left is the
 * check, the rest is HTTP.
 */
export async function checkBench(
  session: Session,
  { layouts, rounds, requests }: { layouts: readonly Layout[]; rounds: number; requests: number },
): Promise<Row[]> {
  const rows: Row[] = []
  for (const layout of layouts) {
    session.onProgress(`check ${layout}: start`)
    const stack = await startPipeline(session, layout)
    const run = async (what: 'check' | 'live', connections: number, seed: number): Promise<Round> => {
      const url = stack.urls.risk + (what === 'check' ? '/check' : '/health/live')
      const method = what === 'check' ? 'POST' : 'GET'
      const count = connections === 1 ? Math.ceil(requests / 5) : requests
      const watched = watchProcesses(stack.processes)
      const outcome = await runHttpLoad(session, { url, method, requests: count, connections, pace: 'closed', seed })
      const { cpuPercentTotal, rssMbTotal } = watched()
      return { ...httpFigures(outcome, what), cpuPercent: cpuPercentTotal, rssMb: rssMbTotal }
    }
    await run('check', 50, 1)
    await run('live', 50, 1)
    for (const { connections, unit } of loads) {
      const load = connections === 1 ? '1 connection' : `${connections} connections`
      const [checks, lives]: [Round[], Round[]] = [[], []]
      for (let round = 1; round <= rounds; round += 1) {
        session.onProgress(`check ${layout}, ${load}, round ${round} of ${rounds}`)
        checks.push(await run('check', connections, round + 1))
        lives.push(await run('live', connections, round + 1))
      }
      const ratioToPeer = ratioOf(checks, lives, 'requestsPerSecond')
      rows.push(
        rowOf({ scenario: 'check', layout, load, ratioToPeer, note: 'the peer is GET /health/live' }, unit, checks),
      )
    }
    await stack.stop()
  }
  return rows
}

import { readdirSync, readFileSync } from 'node:fs'
import { until } from './stack.ts'

/**
 * Stops a process until SIGCONT. The signal is taken by one thread, which has to wait for a core; on a busy machine the
 * others still work for a while, so this waits until all stand still.
 */
export async function pause(process: { readonly pid: number | undefined; kill(signal: 'SIGSTOP'): void }) {
  process.kill('SIGSTOP')
  const tasks = `/proc/${process.pid}/task`
  const stateOf = (id: string) => /^\d+ \(.*\) (\w)/s.exec(readFileSync(`${tasks}/${id}/stat`, 'utf8'))?.[1]
  await until('all threads to stand still', () => readdirSync(tasks).every((id) => stateOf(id) === 'T'))
}

import { spawn, type ChildProcess } from 'node:child_process'

/**
 * Reads the process groups that run, a line whenever they change, and ends those of the last line when its input ends:
 * that is when we are gone, however we went.
 */
const script = `
groups=
while read -r line; do groups=$line; done
[ -n "$groups" ] || exit 0
for group in $groups; do kill -TERM "-$group" 2>/dev/null; done
sleep 3
for group in $groups; do kill -KILL "-$group" 2>/dev/null; done`

let reaper: ChildProcess | undefined

/** Has these process groups ended when this process is, even by SIGKILL. */
export function reapAtEnd(groups: readonly number[]): void {
  if (!reaper && groups.length === 0) return
  if (!reaper) {
    // A session of its own: what ends us, a Ctrl-C or a kill of our group, must not end it.
    reaper = spawn('/bin/sh', ['-c', script], { detached: true, cwd: '/', stdio: ['pipe', 'ignore', 'ignore'] })
    reaper.on('error', () => undefined)
    reaper.stdin?.on('error', () => undefined)
    reaper.unref()
    if (reaper.stdin && 'unref' in reaper.stdin) (reaper.stdin as unknown as { unref(): void }).unref()
  }
  reaper.stdin?.write(`${groups.join(' ')}\n`)
}

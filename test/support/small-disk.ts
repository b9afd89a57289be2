import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { statfsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import { tempDir } from './temp-dir.ts'

export interface SmallDisk {
  readonly folder: string
  /** Fills it but for so many bytes. @returns frees what it has taken */
  fill(bytesLeft: number): Promise<() => Promise<void>>
}

/**
 * A file system of its own in memory. It is mounted where only this and its children see it, so that it goes with the
 * test however that ends; that takes root, or a kernel that lets everybody make user namespaces.
 */
export async function startSmallDisk(t: Test, bytes: number): Promise<SmallDisk> {
  const point = tempDir(t)
  const isRoot = process.getuid?.() === 0
  const script = 'mount -t tmpfs -o size="$1" tmpfs "$2" && echo mounted && cat'
  const namespaces = isRoot ? ['--mount'] : ['--mount', '--user', '--map-root-user']
  const holder = spawn('unshare', [...namespaces, 'sh', '-c', script, 'sh', String(bytes), point], {
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  let stderr = ''
  holder.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  holder.once('error', (error) => (stderr += error.message))
  t.teardown(() => holder.kill('SIGKILL'))
  const mounted = once(holder.stdout, 'data').then(() => true)
  const isMounted = await Promise.race([
    mounted,
    once(holder, 'close').then(
      () => false,
      () => false,
    ),
  ])
  if (!isMounted)
    throw new Error(
      `no file system of a few megabytes can be mounted: run this as root, or allow user namespaces. ${stderr}`,
    )
  const folder = `/proc/${holder.pid}/root${point}`
  return {
    folder,
    fill: async (bytesLeft) => {
      const ballast = join(folder, 'ballast')
      const empty = () => writeFile(ballast, '')
      for (;;) {
        const { bavail, bsize } = statfsSync(folder)
        try {
          await writeFile(ballast, Buffer.alloc(Math.max(0, bavail * bsize - bytesLeft)))
          return empty
        } catch (error) {
          // Somebody else wrote meanwhile.
          if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
          await empty()
        }
      }
    },
  }
}

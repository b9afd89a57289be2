import { randomBytes } from 'node:crypto'
import { link, mkdir, open, readdir, rename, stat, unlink } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import {
  assertKey,
  canBeThere,
  compareKeys,
  isKey,
  storeUnavailable,
  storeUnsuitable,
  type CreateOutcome,
  type ObjectInfo,
  type ObjectStore,
} from './store.ts'

/**
 * Objects as files below a folder, which `check` makes. Files come into being whole, under a temporary name in `.tmp`,
 * and then get their own name: by a rename, or by a hard link where they must not replace another. Names that begin
 * with `.` are not listed. Folders stay when their last object goes: a writer may just be about to use them.
 */
export function openLocalStore(folder: string): ObjectStore {
  return new LocalStore(resolve(folder))
}

/** A temporary file that is older was left by a process that was killed. */
const leftoverMs = 24 * 60 * 60 * 1_000
const statsAtOnce = 64
const deletesAtOnce = 16
/** How many folders are remembered as durable. */
const foldersMax = 10_000

class LocalStore implements ObjectStore {
  readonly uri: string
  readonly #temporaryFolder: string
  /** Those whose own entry, and those of all folders above up to the root, we know to be on disk. */
  readonly #durableFolders = new Set<string>()

  constructor(root: string) {
    this.uri = root
    this.#temporaryFolder = join(root, '.tmp')
  }

  check(): Promise<void> {
    return this.#explained('checking it', async () => {
      await makeDurably(this.uri)
      await this.#makeFolder(this.#temporaryFolder)
      await this.#removeLeftovers()
      const probe = await this.#writeTemporary(Buffer.from('probe'))
      const twin = `${probe}-link`
      try {
        await link(probe, twin)
      } catch (error) {
        if (!withoutLinks.has(codeOf(error))) throw error
        throw storeUnsuitable(
          this.uri,
          `its file system has no hard links (${codeOf(error)}), without which commits can be lost: name a folder on another one, such as ext4, xfs, btrfs or APFS, or an object store`,
          error,
        )
      } finally {
        await removeQuietly(probe)
        await removeQuietly(twin)
      }
    })
  }

  get(key: string, range?: { readonly start: number; readonly end: number }): Promise<Uint8Array | undefined> {
    return this.#explained(`reading ${key}`, async () => {
      if (!canBeThere(key)) return undefined
      const file = await this.#unlessMissing(() => open(this.#path(key), 'r'))
      if (!file) return undefined
      try {
        const info = await file.stat()
        if (!info.isFile()) return undefined
        const { start, end } = range ?? { start: 0, end: info.size }
        const data = Buffer.allocUnsafe(Math.max(0, Math.min(end, info.size) - start))
        let filled = 0
        while (filled < data.length) {
          const { bytesRead } = await file.read(data, filled, data.length - filled, start + filled)
          if (bytesRead === 0) break
          filled += bytesRead
        }
        return data.subarray(0, filled)
      } finally {
        await file.close()
      }
    })
  }

  async put(key: string, data: Uint8Array): Promise<void> {
    assertKey(key)
    await this.#explained(`writing ${key}`, () => this.#publish(key, data, rename))
  }

  async putIfAbsent(key: string, data: Uint8Array): Promise<CreateOutcome> {
    assertKey(key)
    return this.#explained(`writing ${key}`, () =>
      this.#publish<CreateOutcome>(key, data, async (temporary, path) => {
        try {
          await link(temporary, path)
        } catch (error) {
          if (codeOf(error) === 'EEXIST') return 'exists'
          // The disk does not say whether the name is there.
          if (codeOf(error) === 'EIO') return 'unknown'
          throw error
        }
        return 'created'
      }),
    )
  }

  /** @param giveName to the file, instead of the temporary name or beside it */
  async #publish<T>(key: string, data: Uint8Array, giveName: (temporary: string, path: string) => Promise<T>) {
    try {
      return await this.#publishBelow(this.#path(key), data, giveName)
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error
      // Somebody has removed a folder since we made it.
      this.#durableFolders.clear()
      return await this.#publishBelow(this.#path(key), data, giveName)
    }
  }

  async #publishBelow<T>(path: string, data: Uint8Array, giveName: (temporary: string, path: string) => Promise<T>) {
    await this.#makeFolder(this.#temporaryFolder)
    await this.#makeFolder(dirname(path))
    const temporary = await this.#writeTemporary(data)
    try {
      const outcome = await giveName(temporary, path)
      await syncFolder(dirname(path))
      return outcome
    } finally {
      await removeQuietly(temporary)
    }
  }

  async *list(prefix: string, startAfter = ''): AsyncIterable<ObjectInfo> {
    const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1)
    if (folder !== '' && !isKey(folder.slice(0, -1))) return
    yield* this.#listFolder(folder, prefix, startAfter)
  }

  /** @param folder key of the folder with `/` behind it, or nothing */
  async *#listFolder(folder: string, prefix: string, startAfter: string): AsyncIterable<ObjectInfo> {
    const explained = <T>(work: () => Promise<T>) => this.#explained(`listing ${folder}`, work)
    const entries = await explained(() =>
      this.#unlessMissing(() => readdir(this.#path(folder), { withFileTypes: true })),
    )
    const keys: string[] = []
    for (const entry of entries ?? []) {
      if (entry.name.startsWith('.')) continue
      const key = entry.isDirectory() ? `${folder}${entry.name}/` : folder + entry.name
      const isAfter = compareKeys(key, startAfter) > 0 || (entry.isDirectory() && startAfter.startsWith(key))
      if (isAfter && key.startsWith(prefix)) keys.push(key)
    }
    keys.sort(compareKeys)
    for (let at = 0; at < keys.length;) {
      const key = keys[at] ?? ''
      if (key.endsWith('/')) {
        yield* this.#listFolder(key, prefix, startAfter)
        at += 1
        continue
      }
      let end = at + 1
      while (end < keys.length && end - at < statsAtOnce && !keys[end]?.endsWith('/')) end += 1
      const files = keys.slice(at, end)
      const infos = await explained(() => Promise.all(files.map((file) => this.#info(file))))
      for (const info of infos) if (info) yield info
      at = end
    }
  }

  async #info(key: string): Promise<ObjectInfo | undefined> {
    const info = await this.#unlessMissing(() => stat(this.#path(key)))
    return info?.isFile() ? { key, bytes: info.size, modifiedMs: info.mtimeMs } : undefined
  }

  delete(keys: readonly string[]): Promise<void> {
    return this.#explained('deleting', async () => {
      const left = keys.filter(canBeThere).values()
      const some = async () => {
        for (const key of left) await this.#unlessMissing(() => unlink(this.#path(key)))
      }
      await Promise.all(Array.from({ length: deletesAtOnce }, some))
    })
  }

  close(): void {
    this.#durableFolders.clear()
  }

  #path(key: string): string {
    return join(this.uri, key)
  }

  async #writeTemporary(data: Uint8Array): Promise<string> {
    const path = join(this.#temporaryFolder, randomBytes(12).toString('hex'))
    try {
      const file = await open(path, 'wx')
      try {
        await file.writeFile(data)
        await file.sync()
      } finally {
        await file.close()
      }
    } catch (error) {
      await removeQuietly(path)
      throw error
    }
    return path
  }

  async #removeLeftovers(): Promise<void> {
    for (const name of await readdir(this.#temporaryFolder)) {
      const path = join(this.#temporaryFolder, name)
      const info = await this.#unlessMissing(() => stat(path))
      if (info && info.mtimeMs < Date.now() - leftoverMs) await removeQuietly(path)
    }
  }

  /** Makes a folder below the root, and its name durable, even if another process has made it. */
  async #makeFolder(folder: string): Promise<void> {
    if (folder === this.uri || this.#durableFolders.has(folder)) return
    await this.#makeFolder(dirname(folder))
    await makeIfAbsent(folder)
    await syncFolder(dirname(folder))
    if (this.#durableFolders.size === foldersMax) this.#durableFolders.clear()
    this.#durableFolders.add(folder)
  }

  /** @returns undefined when the file is not there; a root that is gone is an error, as a bucket would be */
  async #unlessMissing<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work()
    } catch (error) {
      if (!missing.has(codeOf(error))) throw error
      await stat(this.uri)
      return undefined
    }
  }

  async #explained<T>(what: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      const code = codeOf(error)
      if (code === undefined) throw error
      const problem = (await isMissing(this.uri)) ? 'there is no such folder' : (problems[code] ?? String(error))
      throw storeUnavailable(this.uri, `${problem} (${code} when ${what})`, error)
    }
  }
}

/** What FAT, exFAT and network shares say of a hard link, where a file has just been made. */
const withoutLinks: ReadonlySet<string | undefined> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'])

/** A folder is no object either. */
const missing: ReadonlySet<string | undefined> = new Set(['ENOENT', 'ENOTDIR', 'EISDIR'])

const problems: Readonly<Record<string, string>> = {
  ENOSPC: 'disk full',
  EDQUOT: 'disk full, by its quota',
  EACCES: 'access refused',
  EPERM: 'access refused',
  EROFS: 'read-only file system',
  EIO: 'the disk fails',
  EEXIST: 'a file stands where a folder must be',
  ENOTDIR: 'a file stands where a folder must be',
  ENAMETOOLONG: 'a name is too long for its file system',
  EMFILE: 'too many open files',
  ENFILE: 'too many open files',
  EXDEV: 'it lies on more than one file system',
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'syscall' in error ? (error as NodeJS.ErrnoException).code : undefined
}

async function isMissing(path: string): Promise<boolean> {
  return stat(path).then(
    () => false,
    (error: unknown) => codeOf(error) === 'ENOENT',
  )
}

async function makeIfAbsent(folder: string): Promise<void> {
  try {
    await mkdir(folder)
  } catch (error) {
    if (codeOf(error) !== 'EEXIST' || !(await stat(folder)).isDirectory()) throw error
  }
}

/** A folder with all above it. */
async function makeDurably(folder: string): Promise<void> {
  if (!(await isMissing(folder))) return makeIfAbsent(folder)
  await makeDurably(dirname(folder))
  await makeIfAbsent(folder)
  await syncFolder(dirname(folder))
}

/** A temporary file that stays is a leftover, as of a killed process. */
async function removeQuietly(temporary: string): Promise<void> {
  await unlink(temporary).catch(() => undefined)
}

/** Makes the names in a folder durable. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

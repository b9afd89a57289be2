import { logPrefix } from './log-files.ts'
import type { ObjectStore } from './store.ts'

/** Names of the tables that lie side by side in a store: folders with a log. */
export async function tableNames(lake: ObjectStore): Promise<string[]> {
  const names: string[] = []
  for (let after: string | undefined = ''; ;) {
    const folder: string | undefined = await folderAfter(lake, after)
    if (folder === undefined) return names
    if ((await firstOf(lake, `${folder}/${logPrefix}`)) !== undefined) names.push(folder)
    // Behind whatever the folder holds.
    after = `${folder}/\u{10ffff}`
  }
}

async function firstOf(store: ObjectStore, prefix: string, after?: string): Promise<string | undefined> {
  for await (const { key } of store.list(prefix, after)) return key
  return undefined
}

async function folderAfter(store: ObjectStore, after: string): Promise<string | undefined> {
  for (;;) {
    const key = await firstOf(store, '', after)
    if (key === undefined) return undefined
    const slash = key.indexOf('/')
    if (slash !== -1) return key.slice(0, slash)
    after = key
  }
}

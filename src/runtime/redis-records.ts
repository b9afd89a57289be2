import { messageOf, PipelineError } from '../base/errors.ts'
import { connectRedis } from './redis-client.ts'

const scanCount = 500

/** What the projection in Redis says. */
export interface RedisRecords {
  readonly positions: readonly {
    readonly key: string
    readonly account: string
    readonly symbol: string
    readonly json: string
  }[]
  readonly orders: readonly {
    readonly key: string
    readonly orderId: string
    readonly fields: Readonly<Record<string, string>>
  }[]
}

/** Reads the whole projection. @throws PipelineError COMPONENT_MISSING when Redis does not answer */
export async function readRedis(url: string): Promise<RedisRecords> {
  return withRedis(url, async (client) => {
    const positions: RedisRecords['positions'][number][] = []
    const orders: RedisRecords['orders'][number][] = []
    for await (const keys of client.scanStream({ match: 'position:*', type: 'hash', count: scanCount }))
      for (const key of new Set(keys as string[]))
        for (const [symbol, json] of Object.entries(await client.hgetall(key)))
          positions.push({ key, account: key.slice('position:'.length), symbol, json })
    for await (const keys of client.scanStream({ match: 'order:*', type: 'hash', count: scanCount })) {
      const all = [...new Set(keys as string[])]
      const hashes = await Promise.all(all.map((key) => client.hgetall(key)))
      hashes.forEach((fields, index) => {
        const key = all[index] ?? ''
        // It may have expired since it was listed.
        if (Object.keys(fields).length > 0) orders.push({ key, orderId: key.slice('order:'.length), fields })
      })
    }
    return { positions, orders }
  })
}

/** Removes everything that the projection has written, and nothing else. @returns how many keys */
export async function wipeProjection(url: string): Promise<number> {
  return withRedis(url, async (client) => {
    let removed = 0
    for (const match of ['position:*', 'order:*', 'account:*:orders'])
      for await (const keys of client.scanStream({ match, count: scanCount }))
        if ((keys as string[]).length > 0) removed += await client.unlink(...(keys as string[]))
    return removed
  })
}

export async function isRedisThere(url: string): Promise<boolean> {
  try {
    await withRedis(url, (client) => client.ping())
    return true
  } catch {
    return false
  }
}

async function withRedis<T>(url: string, run: (client: ReturnType<typeof connectRedis>) => Promise<T>): Promise<T> {
  const client = connectRedis(url)
  try {
    await new Promise<void>((resolve, reject) => {
      client.once('ready', resolve)
      client.once('error', reject)
    })
    return await run(client)
  } catch (error) {
    throw new PipelineError('COMPONENT_MISSING', `Redis at ${url} does not answer: ${messageOf(error)}`, {
      cause: error,
    })
  } finally {
    client.disconnect()
  }
}

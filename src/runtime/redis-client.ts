import { Redis } from 'ioredis'

/** Silence of a server that owes an answer, after which it counts as away. */
const silenceMaxMs = 1_000
const probeSeconds = 60

/**
 * Connects to Redis or Valkey, and again for ever. It holds nobody up: a command fails at once while the server is away,
 * and soon when it hangs.
 */
export function connectRedis(url: string): Redis {
  const client = new Redis(url, {
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    connectTimeout: 2_000,
    socketTimeout: silenceMaxMs,
    // Where a connection is no help: a command is not answered, while others are.
    commandTimeout: 2 * silenceMaxMs,
    retryStrategy: (times) => Math.min(1_000, 100 * times),
  })
  // Each failed attempt to connect is one; its user learns it from `close`, or from the next command.
  client.on('error', () => undefined)
  return client
}

/**
 * Writes what a worker's health asks of Redis: `health:<worker>`.
 * @returns whether the last probe was still there
 * @throws when Redis does not take a write
 */
export async function probeRedis(client: Redis, worker: string): Promise<boolean> {
  return (await client.set(`health:${worker}`, String(Date.now()), 'EX', probeSeconds, 'GET')) !== null
}

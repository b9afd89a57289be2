import { jetstream, jetstreamManager } from '@nats-io/jetstream'
import type { JetStreamClient, JetStreamManager } from '@nats-io/jetstream'
import { Kvm } from '@nats-io/kv'
import { connect } from '@nats-io/transport-node'
import type { NatsConnection } from '@nats-io/transport-node'
import { PipelineError, messageOf } from '../base/errors.ts'

const versionMin = [2, 14] as const

/** One connection of a process to NATS with its JetStream clients. */
export interface Nats {
  readonly connection: NatsConnection
  readonly js: JetStreamClient
  readonly jsm: JetStreamManager
  readonly kvm: Kvm
  /** False from a lost connection until it is back. */
  isConnected(): boolean
  /** Resolves when the connection is back (at once when it is there). */
  whenConnected(): Promise<void>
  /** Called after each lost connection, when it is back. @returns a function that ends it */
  onReconnect(callback: () => void): () => void
  close(): Promise<void>
  /** Called when the client has given up for good, e.g. because its password is refused. */
  onGivenUp(callback: (error: Error) => void): void
}

/** What stands in a URL for whom to connect as; the client takes it apart from the address only. */
function parseUrl(url: string): { servers: string; user?: string; pass?: string; token?: string } {
  const [, scheme = '', user, pass, host] = /^([a-z]+:\/\/)?([^:@/]+)(?::([^@/]*))?@(.+)$/.exec(url) ?? []
  if (user === undefined || host === undefined) return { servers: url }
  const servers = scheme + host
  if (pass === undefined) return { servers, token: decodeURIComponent(user) }
  return { servers, user: decodeURIComponent(user), pass: decodeURIComponent(pass) }
}

/**
 * Connects; afterwards reconnects for ever.
 * @param address `nats://host:port`, or with `user:password@` or `token@` before the host
 * @throws PipelineError NATS_UNREACHABLE, NATS_VERSION
 */
export async function connectNats(address: string, name: string): Promise<Nats> {
  const server = parseUrl(address)
  const url = server.servers
  let connection: NatsConnection
  try {
    connection = await connect({
      ...server,
      name,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 250,
      reconnectJitter: 100,
      timeout: 5_000,
      pingInterval: 5_000,
      maxPingOut: 2,
    })
  } catch (error) {
    throw new PipelineError('NATS_UNREACHABLE', `no NATS server answers at ${url}: ${messageOf(error)}`, {
      retriable: true,
      cause: error,
    })
  }
  const version = connection.info?.version ?? '0'
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (major < versionMin[0] || (major === versionMin[0] && minor < versionMin[1])) {
    await connection.close()
    throw new PipelineError(
      'NATS_VERSION',
      `nats-server ${versionMin.join('.')} or later is needed; ${url} runs ${version}`,
    )
  }
  let jsm: JetStreamManager
  try {
    jsm = await jetstreamManager(connection, { timeout: 5_000 })
  } catch (error) {
    await connection.close()
    throw new PipelineError('NATS_UNREACHABLE', `JetStream is not available at ${url}: ${messageOf(error)}`, {
      retriable: true,
      cause: error,
    })
  }
  const js = jetstream(connection, { timeout: 5_000 })
  let connected = true
  let waiting: (() => void)[] = []
  const reconnectCallbacks = new Set<() => void>()
  void (async () => {
    for await (const status of connection.status()) {
      if (status.type === 'disconnect' || status.type === 'staleConnection') connected = false
      if (status.type === 'reconnect') {
        connected = true
        for (const resolve of waiting) resolve()
        waiting = []
        for (const callback of reconnectCallbacks) callback()
      }
    }
  })()
  let isClosing = false
  return {
    connection,
    js,
    jsm,
    kvm: new Kvm(js),
    isConnected: () => connected && !connection.isClosed(),
    whenConnected: () => (connected ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve))),
    onReconnect: (callback) => {
      reconnectCallbacks.add(callback)
      return () => reconnectCallbacks.delete(callback)
    },
    close: async () => {
      isClosing = true
      if (!connection.isClosed()) await connection.close()
    },
    onGivenUp: (callback) => {
      void connection.closed().then((error) => {
        if (isClosing) return
        const why = error ? error.message : 'the connection is closed'
        callback(new PipelineError('NATS_UNREACHABLE', `the connection to NATS was given up: ${why}`))
      })
    },
  }
}

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { natsServer } from '../../src/local/components.ts'
import { withPorts } from '../../src/local/ports.ts'
import { renderNatsConfig } from '../../src/local/start-nats.ts'
import { ask, startServer } from '../../src/local/start-server.ts'
import { permissionsOf, workerSpecs, type WorkerName } from '../../src/subjects/contract.ts'
import { tempDir } from './temp-dir.ts'

const password = 'p@ss'

export type UserName = WorkerName | 'admin'

/** deploy/nats.conf with a user for each worker, who may do what the contract's table says, and one for everything. */
export function renderSecuredConfig(options: { port: number; monitorPort: number; storeDir: string }): string {
  const users = [
    { user: 'admin', password },
    ...workerSpecs.map((spec) => ({ user: spec.name, password, permissions: permissionsOf(spec) })),
  ]
  return `${renderNatsConfig(options)}\nauthorization: ${JSON.stringify({ users }, null, 2)}\n`
}

export interface SecuredNats {
  readonly url: (user: UserName) => string
  /** What the server has refused so far, as `user Publish subject`. */
  readonly violations: () => string[]
}

/** A real nats-server that knows its users. */
export async function startSecuredNats(t: Test): Promise<SecuredNats> {
  const dataDir = tempDir(t)
  const storeDir = join(dataDir, 'jetstream')
  const configFile = join(dataDir, 'nats.conf')
  mkdirSync(storeDir)
  return withPorts([0, 0], 'take others', async ([port = 0, monitorPort = 0]) => {
    writeFileSync(configFile, renderSecuredConfig({ port, monitorPort, storeDir }))
    const server = await startServer(natsServer, {
      dataDir,
      args: ['--config', configFile],
      isReady: async () => /"jetstream":true/.test(await ask(port, '', (answer) => answer.includes('\r\n'))),
    })
    t.teardown(() => server.stop(2_000))
    const log = join(dataDir, 'logs', `${natsServer.name}.log`)
    return {
      url: (user) => `nats://${user}:${encodeURIComponent(password)}@127.0.0.1:${port}`,
      violations: () =>
        readFileSync(log, 'utf8')
          .split('\n')
          .flatMap((line) => {
            const [, operation, subject] = /(\w+) Violation\b.* Subject "([^"]*)"/.exec(line) ?? []
            const [, user] = /(?:user:|User ")([^"]+)"/.exec(line) ?? []
            return operation === undefined ? [] : [`${user} ${operation} ${subject}`]
          }),
    }
  })
}

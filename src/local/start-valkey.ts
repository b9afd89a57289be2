import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { valkeyServer } from './components.ts'
import { withPorts } from './ports.ts'
import { ask, readDeployFile, renderConfig, startServer, type LocalServer, type StartOptions } from './start-server.ts'

/** deploy/valkey.conf for one machine: only the port and the path of the working folder differ. */
export function renderValkeyConfig(options: { port: number; dir: string }): string {
  return renderConfig(readDeployFile('valkey.conf'), [
    ['port 6379', `port ${options.port}`],
    ['dir /data', `dir ${JSON.stringify(options.dir)}`],
  ])
}

/**
 * Starts valkey-server (or redis-server) in a data folder, supervised; ready when it answers.
 * @throws PipelineError PORT_IN_USE, COMPONENT_START, COMPONENT_MISSING, COMPONENT_VERSION
 */
export async function startValkey(options: StartOptions): Promise<LocalServer> {
  const dataDir = resolve(options.dataDir)
  const dir = join(dataDir, 'valkey')
  const configFile = join(dataDir, 'valkey.conf')
  mkdirSync(dir, { recursive: true })
  const remedy = `${options.portRemedy ?? 'give another port'}, or set REDIS_URL to use a server that runs`
  return withPorts([options.port ?? 6379], remedy, async ([port = 0]) => {
    writeFileSync(configFile, renderValkeyConfig({ port, dir }))
    const server = await startServer(valkeyServer, {
      ...options,
      dataDir,
      args: [configFile],
      // The name of the configuration tells our server from somebody's who was quicker to take the port.
      isReady: async () => (await ask(port, 'INFO server\r\nQUIT\r\n')).includes(`\nconfig_file:${configFile}\r\n`),
    })
    return Object.assign(server, { url: `redis://127.0.0.1:${port}`, port })
  })
}

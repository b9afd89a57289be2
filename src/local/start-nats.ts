import { mkdirSync, statfsSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { natsServer } from './components.ts'
import { withPorts } from './ports.ts'
import { ask, readDeployFile, renderConfig, startServer, type LocalServer, type StartOptions } from './start-server.ts'

export interface NatsServer extends LocalServer {
  readonly monitorPort: number
}

/** deploy/nats.conf for one machine: only the ports and the path of the store differ. */
export function renderNatsConfig(options: { port: number; monitorPort: number; storeDir: string }): string {
  return renderConfig(readDeployFile('nats.conf'), [
    ['port: 4222', `port: ${options.port}`],
    ['http: "127.0.0.1:8222"', `http: "127.0.0.1:${options.monitorPort}"`],
    ['  store_dir: "/data/jetstream"', `  store_dir: ${JSON.stringify(options.storeDir)}`],
  ])
}

interface Info {
  server_id: string
  jetstream?: boolean
}

/**
 * Starts nats-server with JetStream in a data folder, supervised; ready when it answers.
 * @throws PipelineError PORT_IN_USE, COMPONENT_START, COMPONENT_MISSING, COMPONENT_VERSION
 */
export async function startNats(options: StartOptions): Promise<NatsServer> {
  const dataDir = resolve(options.dataDir)
  const storeDir = join(dataDir, 'jetstream')
  const configFile = join(dataDir, 'nats.conf')
  mkdirSync(dataDir, { recursive: true })
  const remedy = `${options.portRemedy ?? 'give another port'}, or set NATS_URL to use a server that runs`
  return withPorts([options.port ?? 4222, 0], remedy, async ([port = 0, monitorPort = 0]) => {
    writeFileSync(configFile, renderNatsConfig({ port, monitorPort, storeDir }))
    const server = await startServer(natsServer, {
      ...options,
      dataDir,
      args: ['--config', configFile],
      // Less garbage than Go's default lets pile up (docs/adr/0007-memory.md).
      env: { GOGC: '25' },
      isReady: () => isReady(port, monitorPort, storeDir),
    })
    const stopWatching = watchDisk(storeDir, () => {
      options.onProgress?.(
        'the disk of the streams was full; nats-server is started again, as it stores nothing until then',
      )
      server.kill('SIGTERM')
    })
    const stopServer = server.stop.bind(server)
    const stop = (graceMs: number) => {
      stopWatching()
      return stopServer(graceMs)
    }
    return Object.assign(server, { stop, url: `nats://127.0.0.1:${port}`, port, monitorPort })
  })
}

/** What nats-server needs to store a message. */
const diskFullBytes = 2 * 2 ** 20
const diskRoomBytes = 32 * 2 ** 20
const diskLookMs = 500

/** nats-server (2.15.1) that could not write stores nothing any more, whatever room there is then. */
function watchDisk(folder: string, onRoomAgain: () => void): () => void {
  let wasFull = false
  const timer = setInterval(() => {
    const bytesLeft = bytesLeftOn(folder)
    if (bytesLeft < diskFullBytes) wasFull = true
    if (!wasFull || bytesLeft < diskRoomBytes) return
    wasFull = false
    onRoomAgain()
  }, diskLookMs)
  timer.unref()
  return () => clearInterval(timer)
}

function bytesLeftOn(folder: string): number {
  try {
    const { bavail, bsize } = statfsSync(folder)
    return bavail * bsize
  } catch {
    // It is gone, or may not be looked at: that is not a full disk.
    return Infinity
  }
}

/** JetStream is up, and it is our server that answers, not somebody's who was quicker to take the port. */
async function isReady(port: number, monitorPort: number, storeDir: string): Promise<boolean> {
  const info = /^INFO (\{.*\})\s*\r\n/.exec(await ask(port, '', (answer) => answer.includes('\r\n')))?.[1]
  if (info === undefined) return false
  const { server_id: serverId, jetstream } = JSON.parse(info) as Info
  if (jetstream !== true) return false
  const [, body] = (await ask(monitorPort, 'GET /varz HTTP/1.0\r\n\r\n')).split('\r\n\r\n')
  if (!body) return false
  const varz = JSON.parse(body) as { server_id: string; jetstream?: { config?: { store_dir?: string } } }
  return varz.server_id === serverId && varz.jetstream?.config?.store_dir === join(storeDir, 'jetstream')
}

import { createServer, type AddressInfo } from 'node:net'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { jetstream, jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import t from 'tap'
import { endLeftovers, lockDataDir } from '../../src/local/data-dir.ts'
import { freePort, isPortTaken, portHolder, withPorts } from '../../src/local/ports.ts'
import { isRunning, processId } from '../../src/local/process.ts'
import { startMinio } from '../../src/local/start-minio.ts'
import { startNats } from '../../src/local/start-nats.ts'
import { openStore } from '../../src/lake/open-store.ts'
import { ask } from '../../src/local/start-server.ts'
import { startValkey } from '../../src/local/start-valkey.ts'
import { until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

void t.test('P1.16 nats-server, killed, comes back on its port and with its data', async (t) => {
  const dataDir = tempDir(t)
  const restarted: number[] = []
  const server = await startNats({ dataDir, port: 0, onRestarted: (pid) => restarted.push(pid) })
  t.teardown(() => server.stop(5_000))
  const connection = await connect({ servers: server.url, reconnectTimeWait: 20, maxReconnectAttempts: -1 })
  t.teardown(() => connection.close())
  const manager = await jetstreamManager(connection)
  await manager.streams.add({ name: 'S', subjects: ['s'] })
  t.equal((await jetstream(connection).publish('s', 'x')).seq, 1)

  const reconnected = (async () => {
    for await (const { type } of connection.status()) if (type === 'reconnect') return
  })()
  server.kill('SIGKILL')
  await reconnected
  t.equal((await manager.streams.info('S')).state.messages, 1)
  t.strictSame(restarted, [server.pid])
  t.match(readFileSync(join(dataDir, 'logs/nats-server.log'), 'utf8'), /Server is ready/)
  t.match(await (await fetch(`http://127.0.0.1:${server.monitorPort}/healthz`)).json(), { status: 'ok' })
})

void t.test('P1.03 valkey runs on the file of deploy/, in a folder with a blank in its name', async (t) => {
  const server = await startValkey({ dataDir: join(tempDir(t), 'data folder'), port: 0 })
  t.teardown(() => server.stop(5_000))
  const answer = await ask(server.port, 'CONFIG GET maxmemory*\r\nCONFIG GET tcp-*\r\nCONFIG GET save\r\nQUIT\r\n')
  for (const text of ['allkeys-lru', String(2 * 1024 ** 3), '511', '60']) t.match(answer, `\n${text}\r\n`)
  t.match(answer, 'save\r\n$0\r\n')
  await server.stop(5_000)
  t.notOk(await isPortTaken(server.port))
})

void t.test(
  'P3.13 MinIO, killed, comes back on its port with its data; the secret of its folder is kept',
  async (t) => {
    const dataDir = join(tempDir(t), 'data folder')
    let restarts = 0
    const options = { dataDir, port: 0, onRestarted: () => (restarts += 1) }
    const server = await startMinio(options)
    t.teardown(() => server.stop(5_000))
    const object = async () => {
      const store = await openStore(server.access.LAKE_URI, { ...server.access })
      t.teardown(() => store.close())
      return store
    }
    await (await object()).put('a/b', Buffer.from('x'))
    const secret = server.access.AWS_SECRET_ACCESS_KEY
    t.equal(statSync(join(dataDir, 'minio.env')).mode & 0o777, 0o600)
    for (const file of ['cmdline', 'environ'])
      t.notOk(readFileSync(`/proc/${server.pid}/${file}`, 'utf8').includes(secret), file)
    t.notOk(readFileSync(join(dataDir, 'logs/minio.log'), 'utf8').includes(secret))

    server.kill('SIGKILL')
    await until(
      'MinIO to come back',
      async () => restarts === 1 && (await (await object()).get('a/b').catch(() => undefined)),
    )
    await server.stop(5_000)

    const again = await startMinio(options)
    t.teardown(() => again.stop(5_000))
    t.equal(again.access.AWS_SECRET_ACCESS_KEY, secret)
    t.match(readFileSync(join(dataDir, 'minio.env'), 'utf8'), `\nAWS_ENDPOINT_URL=${again.url}\n`)
    const other = await startMinio({ dataDir: tempDir(t), port: 0 })
    t.teardown(() => other.stop(5_000))
    t.not(other.access.AWS_SECRET_ACCESS_KEY, secret)
  },
)

void t.test('P1.04 a taken port is refused, naming who holds it', async (t) => {
  const holder = createServer().listen(0, '127.0.0.1')
  await once(holder, 'listening')
  t.teardown(() => holder.close())
  const { port } = holder.address() as AddressInfo
  t.match(await portHolder(port), { pid: process.pid, command: /node/ })
  const refusal = {
    code: 'PORT_IN_USE',
    message: new RegExp(`port ${port} is in use by pid ${process.pid} \\(.*node.*\\): stop it, or`),
  }
  await t.rejects(startNats({ dataDir: tempDir(t), port }), refusal)
  await t.rejects(startValkey({ dataDir: tempDir(t), port }), refusal)
  t.equal(await portHolder(await freePort()), undefined)
})

void t.test('P1.04 a free port that somebody else was quicker to take is replaced by another', async (t) => {
  const attempts: number[] = []
  const port = await withPorts([0], '', async ([port = 0]) => {
    attempts.push(port)
    if (attempts.length > 1) return port
    const rival = createServer().listen(port, '127.0.0.1')
    await once(rival, 'listening')
    t.teardown(() => rival.close())
    throw new Error('could not bind')
  })
  t.equal(attempts.length, 2)
  t.equal(port, attempts[1])
  await t.rejects(
    withPorts([0], '', () => Promise.reject(new Error('something else'))),
    { message: 'something else' },
  )
})

void t.test('P1.03 a server that does not start is quoted', async (t) => {
  const dataDir = tempDir(t)
  const binary = join(dataDir, 'bad-server')
  writeFileSync(
    binary,
    '#!/bin/sh\n[ "$1" = --version ] && echo v2.15.0 && exit\necho "the disk is on fire" >&2; exit 3\n',
  )
  chmodSync(binary, 0o755)
  await t.rejects(startNats({ dataDir, port: 0, binary }), {
    code: 'COMPONENT_START',
    message: /nats-server .* did not start: it ended with exit code 3\nthe disk is on fire/,
  })
})

void t.test(
  'P1.04 after a kill -9 of its owner a data folder can be used again, its servers ended first',
  async (t) => {
    const dataDir = tempDir(t)
    const source = (file: string): string => JSON.stringify(new URL(`../../src/local/${file}`, import.meta.url).href)
    const owner = spawn(
      process.execPath,
      [
        '--input-type=module',
        '--eval',
        `import { lockDataDir } from ${source('data-dir.ts')}; import { startNats } from ${source('start-nats.ts')}
       lockDataDir(${JSON.stringify(dataDir)})
       const { pid, port } = await startNats({ dataDir: ${JSON.stringify(dataDir)}, port: 0 })
       console.log(JSON.stringify({ pid, port }))`,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    const [output] = (await once(owner.stdout.setEncoding('utf8'), 'data')) as [string]
    const { pid, port } = JSON.parse(output) as { pid: number; port: number }
    const left = processId(pid)
    // What would end the server at once is killed too, as by a kill of everything.
    const reapers = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,args='], { encoding: 'utf8' })
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter(([, parent, command]) => Number(parent) === owner.pid && command === '/bin/sh')
    t.equal(reapers.length, 1)
    for (const [reaper] of reapers) process.kill(Number(reaper), 'SIGKILL')
    owner.kill('SIGKILL')
    await once(owner, 'exit')
    t.ok(left && isRunning(left))

    const lock = lockDataDir(dataDir)
    t.strictSame(await endLeftovers(dataDir), [{ name: 'nats-server', pid }])
    const server = await startNats({ dataDir, port })
    t.match(await ask(port, '', (answer) => answer.includes('\r\n')), 'INFO')
    await server.stop(5_000)
    lock.release()
  },
)

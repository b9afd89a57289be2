import t from 'tap'
import { renderNatsConfig } from '../../src/local/start-nats.ts'
import { readDeployFile } from '../../src/local/start-server.ts'
import { renderValkeyConfig } from '../../src/local/start-valkey.ts'

function changes(name: string, rendered: string): string[][] {
  const original = readDeployFile(name).split('\n')
  const lines = rendered.split('\n')
  t.equal(lines.length, original.length)
  return original.flatMap((line, index) => (line === lines[index] ? [] : [[line, lines[index] ?? '']]))
}

void t.test('P1.03 of the configuration in deploy/, up replaces the ports and paths only', (t) => {
  t.strictSame(changes('nats.conf', renderNatsConfig({ port: 1, monitorPort: 2, storeDir: '/x "y"' })), [
    ['port: 4222', 'port: 1'],
    ['http: "127.0.0.1:8222"', 'http: "127.0.0.1:2"'],
    ['  store_dir: "/data/jetstream"', '  store_dir: "/x \\"y\\""'],
  ])
  t.strictSame(changes('valkey.conf', renderValkeyConfig({ port: 1, dir: '/x y' })), [
    ['port 6379', 'port 1'],
    ['dir /data', 'dir "/x y"'],
  ])
  t.end()
})

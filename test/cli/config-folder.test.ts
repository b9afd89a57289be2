import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { runCli } from '../support/cli.ts'
import { tempDir } from '../support/temp-dir.ts'

void t.test(
  'P1.20 a configuration that is missing, unreadable or wrong is named in one line, with exit code 64',
  async (t) => {
    const missing = tempDir(t)
    const folder = tempDir(t)
    mkdirSync(join(folder, 'instruments.json'))
    const wrong = tempDir(t)
    writeFileSync(join(wrong, 'instruments.json'), '{"default":{},"instruments":{}}')
    writeFileSync(join(wrong, 'limits.json'), '{"default":{"maxQuantity":-1},"accounts":{},"symbols":{}}')
    const rows: [string, RegExp][] = [
      [missing, /instruments\.json cannot be read: ENOENT/],
      [folder, /instruments\.json cannot be read: EISDIR/],
      [wrong, /limits\.json: \/default\/maxQuantity/],
    ]
    await Promise.all(
      rows.map(async ([dir, text]) => {
        const args = ['worker', 'risk-gate', '--port', '0', '--config-dir', dir]
        const { code, stdout, stderr } = await runCli(args, { NATS_URL: 'nats://127.0.0.1:1' })
        t.match({ code, stdout, stderr }, { code: 64, stdout: '', stderr: text })
        t.match(stderr, `trade2026: CONFIG_INVALID: ${dir}`)
        t.equal(stderr.trim().split('\n').length, 1)
      }),
    )
  },
)

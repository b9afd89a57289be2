import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { runCli } from '../support/cli.ts'
import { connectTestNats, startTestNats, startTestWorkers } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

void t.test('P2.05 `limits get`, `set` and `reload`', async (t) => {
  const server = await startTestNats(t)
  await startTestWorkers(t, server.url)
  const nats = await connectTestNats(t, server.url)
  const env = { NATS_URL: server.url }
  const limits = (...args: string[]) => runCli(['limits', ...args], env)
  const jsonOf = async (...args: string[]) => JSON.parse((await limits(...args, '--json')).stdout) as unknown

  const seeded = await limits('get')
  t.match(seeded, { code: 0, stderr: '' })
  t.match(
    seeded.stdout,
    /^key +maxQuantity +maxOrderValue +maxPosition +maxOpenOrders +maxGrossExposure +blocked +revision\ndefault +1000000 +1000000 +10000000 +10000 +1000000000 +- +\d+\n$/,
  )
  t.match((await limits('get', 'default')).stdout, /maxQuantity +1000000 +default\n.*blocked +false +built in\n/s)

  const set = await limits(
    'set',
    'account.alice',
    'maxPosition=500',
    'maxQuantity=0.123456789012345678',
    'blocked=false',
  )
  t.match(set, { code: 0, stderr: '' })
  t.match(set.stdout, /^key +limit +was +is\naccount\.alice +maxQuantity +- +0\.123456789012345678\n/)
  t.match(set.stdout, /\nin force after [\d.]+ ms \(record \d+, revision \d+\)\n$/)
  t.match(await jsonOf('get', 'account.alice'), {
    key: 'account.alice',
    limits: { maxPosition: 500, maxQuantity: '0.123456789012345678', blocked: false },
    effective: { maxPosition: 500, maxOrderValue: 1e6 },
  })
  t.match((await limits('get', 'account.alice')).stdout, /maxPosition +500 +account\.alice\n/)
  t.match((await limits('get', 'symbol.AAPL')).stdout, /maxPosition +- +no limit\n/)
  t.match(await jsonOf('set', 'account.alice', 'maxPosition=1e3', 'blocked='), {
    changed: [
      { key: 'account.alice', limit: 'maxPosition', was: 500, is: 1000 },
      { key: 'account.alice', limit: 'blocked', was: false, is: null },
    ],
    revision: Number,
    cmdSeq: Number,
    recordAfterMs: Number,
  })
  t.match(await limits('set', 'account.alice', 'maxPosition=1000.0'), { code: 0, stdout: 'nothing to change\n' })

  const refused = async (args: readonly string[], text: RegExp) => {
    const { code, stdout, stderr } = await limits(...args)
    t.match({ code, stdout, stderr }, { code: 64, stdout: '', stderr: text }, args.join(' '))
  }
  await Promise.all([
    refused(['set', 'default', 'maxPositon=1'], /maxPositon=1: say limit=value; there are maxQuantity /),
    refused(['set', 'default', 'maxPosition'], /maxPosition: say limit=value/),
    refused(['set', 'default', 'maxPosition=-1'], /maxPosition must be a number, 0 or more, not -1/),
    refused(['set', 'default', 'maxOpenOrders=1.5'], /maxOpenOrders must be a whole number/),
    refused(['set', 'default', 'blocked=yes'], /blocked must be true or false, not yes/),
    refused(['set', 'symbol.btcusdt', 'maxPosition=1'], /no limits under symbol\.btcusdt; .* capitals/),
    refused(['set', 'foo', 'maxPosition=1'], /no limits under foo/),
    refused(['set', 'halt.all', 'maxPosition=1'], /no limits under halt\.all/),
    refused(['get', 'foo'], /no limits under foo/),
    refused(['set', 'default'], /missing required argument/),
    refused(['reload', '/no/such/file.json'], /CONFIG_INVALID: \/no\/such\/file\.json cannot be read: ENOENT/),
  ])

  const file = join(tempDir(t), 'limits.json')
  writeFileSync(file, '{"default":{"maxQuantity":-1},"accounts":{},"symbols":{}}')
  await refused(['reload', file], /CONFIG_INVALID: .*limits\.json: \/default\/maxQuantity/)
  const config = { default: { maxQuantity: 5 }, accounts: {}, symbols: { AAPL: { maxPosition: '7.5' } } }
  writeFileSync(file, JSON.stringify(config))
  const { js } = nats
  await js.publish('$KV.LIMITS.foo', '{}')
  await js.publish('$KV.LIMITS.halt.account.bob', '{"halted":true}')
  const reloaded = await limits('reload', file)
  t.equal(reloaded.code, 0, reloaded.stderr)
  t.match(reloaded.stderr, 'KV LIMITS foo means nothing')
  for (const row of [
    /^foo is removed/m,
    /^default +maxQuantity +1000000 +5$/m,
    /^default +maxOrderValue +1000000 +-$/m,
    /^symbol\.AAPL +maxPosition +- +7\.5$/m,
    /^account\.alice +maxPosition +1000 +-$/m,
  ])
    t.match(reloaded.stdout, row)
  t.match(await jsonOf('get'), {
    entries: [
      { key: 'default', limits: { maxQuantity: 5 } },
      { key: 'symbol.AAPL', limits: { maxPosition: '7.5' } },
    ],
  })
  t.match(await limits('reload', file), { code: 0, stdout: 'nothing to change\n', stderr: '' })
  t.match((await runCli(['halt'], env)).stdout, /account bob/, 'a halt is not touched')
  t.match(await jsonOf('reload'), { changed: [{ key: 'default', limit: 'maxQuantity', was: 5, is: 1e6 }] })

  const kept = await limits('set', 'account.alice', 'maxPosition=')
  t.match(kept, { code: 0, stdout: 'nothing to change\n' })
})

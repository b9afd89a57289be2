import { createHash, createHmac, randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { minio } from './components.ts'
import { readIfThere } from './lock.ts'
import { withPorts } from './ports.ts'
import { startServer, type LocalServer, type StartOptions } from './start-server.ts'

/** What a process needs to use the bucket, by environment variable. */
export interface LakeAccess {
  readonly LAKE_URI: string
  readonly AWS_ENDPOINT_URL: string
  readonly AWS_REGION: string
  readonly AWS_ACCESS_KEY_ID: string
  readonly AWS_SECRET_ACCESS_KEY: string
}

export interface MinioServer extends LocalServer {
  readonly access: LakeAccess
}

const bucket = 'lake'
const region = 'us-east-1'

/**
 * Starts MinIO in a data folder, supervised, with a bucket for the lake; ready when that is there. The access key is made
 * with the folder and stands in its `minio.env`, for the owner's eyes only.
 * @throws PipelineError PORT_IN_USE, COMPONENT_START, COMPONENT_MISSING, COMPONENT_VERSION
 */
export async function startMinio(options: StartOptions): Promise<MinioServer> {
  const dataDir = resolve(options.dataDir)
  const objects = join(dataDir, 'minio')
  const envFile = join(dataDir, 'minio.env')
  mkdirSync(objects, { recursive: true })
  const remedy = options.portRemedy ?? 'give another port'
  return withPorts([options.port ?? 9000], remedy, async ([port = 0]) => {
    const access = lakeAccess(envFile, port)
    const server = await startServer(minio, {
      ...options,
      dataDir,
      args: [
        'server',
        '--quiet',
        '--address',
        `127.0.0.1:${port}`,
        '--certs-dir',
        join(dataDir, 'minio-certs'),
        objects,
      ],
      env: { MINIO_CONFIG_ENV_FILE: envFile, MINIO_BROWSER: 'off', MINIO_UPDATE: 'off' },
      isReady: () => hasBucket(access),
    })
    return Object.assign(server, { url: access.AWS_ENDPOINT_URL, port, access })
  })
}

/** Writes down the access to a server on this port, with the secret that the folder has or gets. */
function lakeAccess(envFile: string, port: number): LakeAccess {
  const secret = /^MINIO_ROOT_PASSWORD=(.+)$/m.exec(readIfThere(envFile) ?? '')?.[1] ?? randomBytes(20).toString('hex')
  const access = {
    LAKE_URI: `s3://${bucket}`,
    AWS_ENDPOINT_URL: `http://127.0.0.1:${port}`,
    AWS_REGION: region,
    AWS_ACCESS_KEY_ID: 'trade2026',
    AWS_SECRET_ACCESS_KEY: secret,
  }
  const lines = { MINIO_ROOT_USER: access.AWS_ACCESS_KEY_ID, MINIO_ROOT_PASSWORD: secret, ...access }
  const text = Object.entries(lines).map(([name, value]) => `${name}=${value}\n`)
  writeFileSync(envFile, text.join(''), { mode: 0o600 })
  return access
}

/** Makes the bucket. Only our own server takes the key, not somebody's who was quicker to take the port. */
async function hasBucket(access: LakeAccess): Promise<boolean> {
  const url = new URL(`/${bucket}`, access.AWS_ENDPOINT_URL)
  const request = { method: 'PUT', headers: signedHeaders('PUT', url, access), signal: AbortSignal.timeout(1_000) }
  const answer = await fetch(url, request).catch(() => undefined)
  await answer?.arrayBuffer().catch(() => undefined)
  const isThereAlready = answer?.status === 409
  return answer?.ok === true || isThereAlready
}

/** @see AWS Signature Version 4, "Authorization header"; for requests without a body and a query */
function signedHeaders(method: string, url: URL, access: LakeAccess): Record<string, string> {
  const time = new Date().toISOString().replace(/[-:]|\.\d+/g, '')
  const date = time.slice(0, 8)
  const scope = `${date}/${access.AWS_REGION}/s3/aws4_request`
  const headers = { 'x-amz-content-sha256': sha256(''), 'x-amz-date': time }
  const signed = { host: url.host, ...headers }
  const names = Object.keys(signed).join(';')
  const lines = Object.entries(signed).map(([name, value]) => `${name}:${value}\n`)
  const canonical = [method, url.pathname, '', lines.join(''), names, sha256('')].join('\n')
  const key = [date, access.AWS_REGION, 's3', 'aws4_request'].reduce<Buffer>(
    (key, part) => hmac(key, part),
    Buffer.from(`AWS4${access.AWS_SECRET_ACCESS_KEY}`),
  )
  const signature = hmac(key, ['AWS4-HMAC-SHA256', time, scope, sha256(canonical)].join('\n')).toString('hex')
  const credential = `${access.AWS_ACCESS_KEY_ID}/${scope}`
  return {
    ...headers,
    authorization: `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=${names}, Signature=${signature}`,
  }
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

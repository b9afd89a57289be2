import { fileURLToPath } from 'node:url'
import { PipelineError } from '../base/errors.ts'
import { openLocalStore } from './local-store.ts'
import type { ObjectStore } from './store.ts'

/**
 * Opens where a lake is.
 *
 * @param uri `s3://bucket/prefix`, or a folder: a path or `file://…`
 * @param env AWS_ENDPOINT_URL (for stores other than AWS), AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
 * AWS_SESSION_TOKEN; without a key, what the AWS SDK finds
 * @throws PipelineError CONFIG_INVALID for a URI of another kind, a bad endpoint, an access key without its secret
 */
export async function openStore(uri: string, env: Readonly<Record<string, string | undefined>>): Promise<ObjectStore> {
  const [, scheme, place = ''] = /^([a-z][a-z0-9]+):\/\/(.*)$/i.exec(uri) ?? []
  if (scheme === undefined) return openLocalStore(uri)
  if (scheme === 'file') return openLocalStore(fileURLToPath(uri))
  const [bucket = '', ...parts] = place.split('/').filter((part) => part !== '')
  if (scheme !== 's3' || bucket === '')
    throw new PipelineError('CONFIG_INVALID', `${uri} is no place for a lake: give s3://bucket/prefix or a folder`)
  const given = (name: string) => env[name] || undefined
  const options = {
    endpoint: given('AWS_ENDPOINT_URL'),
    region: given('AWS_REGION') ?? given('AWS_DEFAULT_REGION'),
    accessKeyId: given('AWS_ACCESS_KEY_ID'),
    secretAccessKey: given('AWS_SECRET_ACCESS_KEY'),
    sessionToken: given('AWS_SESSION_TOKEN'),
  }
  if (options.endpoint !== undefined && !/^https?:$/.test(URL.parse(options.endpoint)?.protocol ?? ''))
    throw new PipelineError('CONFIG_INVALID', 'AWS_ENDPOINT_URL must be a URL such as http://127.0.0.1:9000')
  if ((options.accessKeyId === undefined) !== (options.secretAccessKey === undefined))
    throw new PipelineError('CONFIG_INVALID', 'AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be given both or not')
  // The SDK takes time and memory, which a lake in a folder does without.
  const { openS3Store } = await import('./s3-store.ts')
  return openS3Store({ bucket, prefix: parts.join('/'), ...options })
}

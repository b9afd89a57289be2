import type { Test } from 'tap'
import { openS3Store, type S3Options } from '../../src/lake/s3-store.ts'
import type { ObjectStore } from '../../src/lake/store.ts'
import { startMinio, type MinioServer } from '../../src/local/start-minio.ts'
import { tempDir } from './temp-dir.ts'

/** A real MinIO on its own port and folder, with an empty bucket; ready in half a second. */
export async function startTestMinio(t: Test): Promise<MinioServer> {
  const server = await startMinio({ dataDir: tempDir(t), port: 0 })
  t.teardown(() => server.stop(2_000))
  return server
}

/** Its bucket, or what `options` change of that. */
export function openTestMinio(t: Test, { access }: MinioServer, options: Partial<S3Options> = {}): ObjectStore {
  const store = openS3Store({
    bucket: access.LAKE_URI.slice('s3://'.length),
    endpoint: access.AWS_ENDPOINT_URL,
    region: access.AWS_REGION,
    accessKeyId: access.AWS_ACCESS_KEY_ID,
    secretAccessKey: access.AWS_SECRET_ACCESS_KEY,
    ...options,
  })
  t.teardown(() => store.close())
  return store
}

import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { openStore } from '../../src/lake/open-store.ts'
import { tempDir } from '../support/temp-dir.ts'

void t.test('P3.13 a lake is in a folder or in a bucket', async (t) => {
  const folder = join(tempDir(t), 'a lake')
  for (const uri of [folder, pathToFileURL(folder).href]) t.equal((await openStore(uri, {})).uri, folder)
  t.equal((await openStore('data/lake', {})).uri, join(process.cwd(), 'data/lake'))

  const env = { AWS_ACCESS_KEY_ID: 'me', AWS_SECRET_ACCESS_KEY: 'secret', AWS_ENDPOINT_URL: 'http://127.0.0.1:1' }
  const uris = {
    's3://bucket': 's3://bucket',
    's3://bucket/': 's3://bucket',
    's3://b/some/place/': 's3://b/some/place',
  }
  for (const [uri, shown] of Object.entries(uris)) {
    const store = await openStore(uri, env)
    t.equal(store.uri, shown)
    store.close()
  }
  const invalid = (message: RegExp) => ({ code: 'CONFIG_INVALID', message })
  for (const uri of ['gs://bucket', 's3://', 'http://127.0.0.1/lake'])
    await t.rejects(openStore(uri, env), invalid(/is no place for a lake/), uri)
  await t.rejects(openStore('s3://b', { AWS_ACCESS_KEY_ID: 'me' }), invalid(/must be given both/))
  for (const endpoint of ['127.0.0.1:9000', 'nothing'])
    await t.rejects(openStore('s3://b', { ...env, AWS_ENDPOINT_URL: endpoint }), invalid(/AWS_ENDPOINT_URL/))
})

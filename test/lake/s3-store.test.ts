import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { isPipelineError } from '../../src/base/errors.ts'
import type { S3Options } from '../../src/lake/s3-store.ts'
import type { ObjectStore } from '../../src/lake/store.ts'
import { freePort } from '../../src/local/ports.ts'
import { openTestMinio, startTestMinio } from '../support/minio.ts'
import { until } from '../support/stack.ts'
import { type ProxyFault, type SeenRequest, startSwallowingProxy } from '../support/swallowing-proxy.ts'
import { bytes, keysOf, storeSuite, textOf } from './store-suite.ts'

const minio = await startTestMinio(t)

storeSuite(t, 'MinIO', async (t) => {
  const store = openTestMinio(t, minio, { prefix: randomUUID() })
  await store.check()
  t.same(await keysOf(store, ''), [], 'the check leaves nothing')
  return store
})

/** A store behind a proxy, one there that soon gives up waiting for an answer, and one that goes straight to MinIO. */
async function openProxied(t: Test) {
  const proxy = await startSwallowingProxy(t, minio.url)
  const prefix = randomUUID()
  const store = openTestMinio(t, minio, { prefix, endpoint: proxy.url })
  const hasty = openTestMinio(t, minio, { prefix, endpoint: proxy.url, timeoutMs: 1_000 })
  const direct = openTestMinio(t, minio, { prefix })
  return { proxy, store, hasty, direct }
}

const isConditionalPut = ({ method, isConditional }: SeenRequest) => method === 'PUT' && isConditional

void t.test('P3.05 of 20 racing connections one makes the object', async (t) => {
  const prefix = randomUUID()
  const stores = Array.from({ length: 20 }, () => openTestMinio(t, minio, { prefix }))
  for (const store of stores) t.equal(await store.get('warm'), undefined)
  for (let round = 0; round < 10; round += 1) {
    const key = `_delta_log/${round}.json`
    const outcomes = await Promise.all(stores.map((store, writer) => store.putIfAbsent(key, bytes(`${writer}`))))
    t.same(
      outcomes.filter((outcome) => outcome !== 'exists'),
      ['created'],
    )
    t.equal(await textOf(stores[0] as ObjectStore, key), String(outcomes.indexOf('created')))
  }
})

void t.test('P3.05 what became of a conditional PUT without an answer is unknown, and it is sent once', async (t) => {
  const { proxy, store, hasty, direct } = await openProxied(t)
  const late = Promise.withResolvers<undefined>()
  const faults: readonly (readonly [fault: ProxyFault, isThere: boolean])[] = [
    ['swallow', true],
    ['mute', true],
    ['cut', false],
    [{ status: 409 }, false],
    [{ status: 408 }, false],
    [{ status: 429 }, false],
    [{ status: 500 }, false],
    [{ status: 503 }, false],
    [{ status: 500, isLate: true }, true],
    [{ until: late.promise }, true],
  ]
  for (const [fault, isThere] of faults) {
    const name = JSON.stringify(fault)
    const key = `_delta_log/${randomUUID()}.json`
    const before = proxy.requests.length
    proxy.inject(fault, isConditionalPut)
    const isLate = typeof fault === 'object' && 'until' in fault
    const impatient = fault === 'mute' || isLate ? hasty : store
    t.equal(await impatient.putIfAbsent(key, bytes('mine')), 'unknown', name)
    const sent = proxy.requests.slice(before)
    t.same(
      sent.map(({ method }) => method),
      ['PUT'],
      `${name}: one request`,
    )
    if (isLate) {
      t.equal(await store.get(key), undefined)
      late.resolve(undefined)
    }
    if (isThere) await until('the request to come', () => sent[0]?.isForwarded)
    t.equal(await textOf(direct, key), isThere ? 'mine' : undefined, name)
    t.equal(await store.putIfAbsent(key, bytes('mine')), isThere ? 'exists' : 'created', `${name}: asked again`)
  }
})

void t.test('P3.05 everything else is tried again, three times at most', async (t) => {
  const { proxy, store, hasty, direct } = await openProxied(t)
  await direct.put('a', bytes('x'.repeat(100_000)))
  const calls: readonly (readonly [name: string, work: (by: ObjectStore) => Promise<unknown>])[] = [
    ['get', (by) => by.get('a')],
    ['put', (by) => by.put('b', bytes('y'))],
    ['list', (by) => keysOf(by, '')],
    ['delete', (by) => by.delete(['b'])],
  ]
  for (const [name, work] of calls) {
    const faults: readonly ProxyFault[] = ['swallow', 'cut', { status: 503 }]
    for (const fault of name === 'put' ? [...faults, 'mute' as const] : faults) {
      proxy.inject(fault, undefined, 2)
      await t.resolves(work(fault === 'mute' ? hasty : store), `${name} after two of ${JSON.stringify(fault)}`)
    }
    const before = proxy.requests.length
    proxy.inject('cut', undefined, 3)
    await t.rejects(
      work(store),
      { code: 'LAKE_STORE_UNAVAILABLE', retriable: true, message: /broke the connection/ },
      name,
    )
    t.equal(proxy.requests.length - before, 3)
  }
  proxy.inject('half', undefined, 2)
  t.equal((await hasty.get('a'))?.length, 100_000, 'half an answer is none')
})

void t.test('P3.13 a store that ignores If-None-Match is refused', async (t) => {
  const { proxy, store, direct } = await openProxied(t)
  proxy.inject({ status: 200 }, isConditionalPut)
  await t.rejects(store.check(), {
    code: 'LAKE_STORE_UNSUITABLE',
    retriable: false,
    message: /ignores If-None-Match, .*: use /,
  })
  proxy.inject({ status: 501, code: 'NotImplemented' }, isConditionalPut)
  await t.rejects(store.check(), { code: 'LAKE_STORE_UNSUITABLE', message: /does not know If-None-Match/ })
  proxy.inject({ status: 501 }, isConditionalPut, 3)
  await t.rejects(store.check(), { code: 'LAKE_STORE_UNAVAILABLE', message: /does not answer conditional writes/ })
  t.same(await keysOf(direct, ''), [], 'and the probe is gone')
  proxy.inject('swallow', isConditionalPut, 2)
  await t.resolves(store.check(), 'a lost answer says nothing about it')
})

void t.test('P3.13 why a store cannot be used is said in words, and never a secret', async (t) => {
  const secret = minio.access.AWS_SECRET_ACCESS_KEY
  const nobody = `http://127.0.0.1:${await freePort()}`
  const cases: readonly (readonly [options: Partial<S3Options>, why: RegExp])[] = [
    [{ endpoint: nobody }, /^s3:\/\/lake: no connection to the store: nothing listens there \(ECONNREFUSED when /],
    [{ bucket: 'nowhere' }, /^s3:\/\/nowhere: no such bucket \(NoSuchBucket 404 when /],
    [{ accessKeyId: 'somebody' }, /^s3:\/\/lake: access key refused: .* \(InvalidAccessKeyId 403 when /],
    [{ secretAccessKey: 'wrong-secret' }, /^s3:\/\/lake: the secret of the access key is wrong \(Signature/],
  ]
  for (const [options, why] of cases) {
    const store = openTestMinio(t, minio, options)
    const calls: (() => Promise<unknown>)[] = [
      () => store.check(),
      () => store.get('a'),
      () => store.get('a', { start: 0, end: 1 }),
      () => store.put('a', bytes('')),
      () => store.putIfAbsent('a', bytes('')),
      () => keysOf(store, 'a'),
      () => store.delete(['a']),
    ]
    for (const call of calls) {
      const error: unknown = await call().then(
        () => t.fail(`${call.toString()} was done`),
        (error: unknown) => error,
      )
      t.match(error, { code: 'LAKE_STORE_UNAVAILABLE', retriable: true, message: why })
      if (!isPipelineError(error)) continue
      const printed = `${error.stack} ${JSON.stringify(error)} ${String(error.cause)}`
      t.notOk(printed.includes(secret) || printed.includes('wrong-secret'))
    }
  }
})

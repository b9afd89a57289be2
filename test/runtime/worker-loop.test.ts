import t, { type Test } from 'tap'
import { assert } from '../../src/base/assert.ts'
import { AckedPublisher } from '../../src/runtime/acks.ts'
import { settingsFrom } from '../../src/runtime/config.ts'
import { createLog } from '../../src/runtime/log.ts'
import type { Nats } from '../../src/runtime/nats.ts'
import { ensureStreams } from '../../src/runtime/streams.ts'
import type { Fold } from '../../src/runtime/fold.ts'
import { WorkerLoop } from '../../src/runtime/worker-loop.ts'
import { workerSpec } from '../../src/subjects/contract.ts'
import { connectTestNats, startTestNats, until } from '../support/stack.ts'

async function startPnlLoop(t: Test, nats: Nats, fold: Fold): Promise<Error[]> {
  const publisher = new AckedPublisher(nats.connection)
  const fatals: Error[] = []
  const loop = new WorkerLoop({
    nats,
    spec: workerSpec('pnl-updater'),
    fold,
    settings: settingsFrom({ BATCH_MAX: '1' }),
    log: createLog('test', 'silent'),
    publisher,
    instance: 'test',
    lastSequenceOf: () => undefined,
    onFatal: (error) => fatals.push(error),
  })
  t.teardown(async () => {
    await loop.stop(0)
    publisher.close()
  })
  await loop.start()
  return fatals
}

void t.test('P1.08 a bug ends the worker wherever it shows, and never the connection it shares', async (t) => {
  for (const where of ['takeOutputs', 'takeOutputs of an answer', 'onStored'])
    await t.test(`P1.08 in ${where}`, async (t) => {
      const nats = await connectTestNats(t, (await startTestNats(t)).url)
      await ensureStreams(nats, 128 * 2 ** 20)
      let inSeq = 0
      let taken = 0
      const fold: Fold = {
        handle: (batch) => {
          inSeq = batch.at(-1)?.sequence ?? inSeq
          return { outputs: [] }
        },
        takeOutputs: () => {
          if (inSeq === taken) return []
          assert(where !== 'takeOutputs' && (where !== 'takeOutputs of an answer' || taken === 0), 'a bug')
          taken = inSeq
          return [{ subject: 'w.positions._watermark', body: '{}', position: { inSeq, inIndex: 0 } }]
        },
        onStored: () => assert(where !== 'onStored', 'a bug'),
      }
      const fatals = await startPnlLoop(t, nats, fold)
      for (let count = 0; count < 3; count += 1) nats.connection.publish('w.executions._', '{}')
      await until('the end', () => fatals.length > 0, 3_000)
      t.match(fatals[0], { name: 'BugError', message: /a bug/ })
      await nats.connection.flush()
      t.pass('the connection still reads')
    })
})

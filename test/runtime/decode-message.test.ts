import t from 'tap'
import { isPipelineError } from '../../src/base/errors.ts'
import { utf8FromText } from '../../src/base/json.ts'
import { decodeMessage } from '../../src/runtime/decode-message.ts'
import { sharedDecoder } from '../../src/runtime/shared-decoder.ts'
import { decodeExecution } from '../../src/schemas/execution.ts'
import { decodeRisk } from '../../src/schemas/risk.ts'

function refusalOf(decode: () => unknown): string {
  try {
    decode()
  } catch (error) {
    if (isPipelineError(error, 'STREAM_UNREADABLE')) return error.message
    throw error
  }
  return 'accepted'
}

void t.test('P1.20 a message that no worker wrote is named by stream and sequence', (t) => {
  const read = sharedDecoder('EXECUTIONS', decodeExecution)
  for (const body of [
    ...['', '{', 'null', '[]', '7', '{}', '{"cmdSeq":1}', '{"reports":[]}', '{"cmdSeq":"1","reports":[]}'],
    ...['{"cmdSeq":1,"reports":[null]}', '{"cmdSeq":1,"reports":[{"orderId":"o-1"}]}'],
  ]) {
    const message = { sequence: 12, data: utf8FromText(body) }
    const text = /^message 12 of EXECUTIONS was not written by a worker: /
    t.match(
      refusalOf(() => read(message)),
      text,
      body,
    )
  }
  t.equal(
    refusalOf(() => read({ sequence: 13, data: utf8FromText('{"epoch":4,"reports":[]}') })),
    'accepted',
  )
  for (const body of [
    ...['', '{', 'null', '[]', '7', '{}', '{"records":{}}', '{"records":[null]}', '{"records":[{"type":"new"}]}'],
    ...[
      '{"records":[{"cmdSeq":1}]}',
      '{"records":[{"cmdSeq":1,"type":"New"}]}',
      '{"records":[{"cmdSeq":0.5,"type":"new"}]}',
    ],
  ])
    t.match(
      refusalOf(() => decodeMessage('RISK', { sequence: 7, data: utf8FromText(body) }, decodeRisk)),
      /^message 7 of RISK was not written by a worker: /,
      body,
    )
  const notUtf8 = { sequence: 7, data: new Uint8Array([0xff]) }
  t.match(
    refusalOf(() => decodeMessage('RISK', notUtf8, decodeRisk)),
    /^message 7 of RISK/,
  )
  t.end()
})

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { parseUnit } from '../../src/base/decimal.ts'
import { type FlowRow, readFlow, summarise } from '../../src/cli/replay-file.ts'
import { tempDir } from '../support/temp-dir.ts'

const header = 'ts_ms,event,id,side,price,size'

void t.test('P2.02 order-flow files', async (t) => {
  const folder = tempDir(t)
  const write = (content: string | Uint8Array) => {
    const file = join(folder, 'flow.csv')
    writeFileSync(file, content)
    return file
  }
  const all = async (content: string | Uint8Array) => {
    const rows: FlowRow[] = []
    for await (const row of readFlow(write(content))) rows.push(row)
    return rows
  }
  const none = { tick: undefined, lot: undefined }

  await t.test('plain, gzipped, with other columns, quotes, Windows line ends and no end at the end', async (t) => {
    const plain = `${header}\n1000,new,a,buy,236.470,2.00000000\n1001,trade,7,,236.47,0.5\n1002,cancel,a,,,`
    const rows = await all(plain)
    t.same(rows, [
      { line: 2, timeMs: 1000, event: 'new', id: 'a', side: 'BUY', price: '236.47', size: '2' },
      { line: 3, timeMs: 1001, event: 'trade', id: '7', side: undefined, price: '236.47', size: '0.5' },
      { line: 4, timeMs: 1002, event: 'cancel', id: 'a', side: undefined, price: '', size: '' },
    ])
    t.same(await all(gzipSync(plain)), rows)
    t.same(await all(`\ufeff${plain.replaceAll('\n', '\r\n')}\r\n\r\n`), rows)
    const moved = await all('"size","x","ts_ms","id","side","price","event"\n"2",9,1000,"a","buy","236.47","new"\n')
    t.same(moved, rows.slice(0, 1))
  })

  await t.test('large ones come in many pieces', async (t) => {
    const lines = Array.from({ length: 20_000 }, (_, index) => `${index},new,o${index},sell,${index + 1},1`)
    const rows = await all(gzipSync(`${header}\n${lines.join('\n')}\n`))
    t.equal(rows.length, 20_000)
    t.ok(rows.every(({ line, timeMs, price }) => line === timeMs + 2 && price === String(timeMs + 1)))
  })

  const good = '1000,new,a,buy,1,1'
  const wrong: readonly (readonly [string, string | Uint8Array, RegExp])[] = [
    ['nothing', '', /flow\.csv, line 1: it is empty/],
    ['no header', `${good}\n`, /line 1, column ts_ms: not in the header/],
    ['a time', `${header}\n${good}\n12:30,new,b,buy,1,1`, /line 3, column ts_ms: .*not "12:30"/],
    ['an event', `${header}\n1000,modify,a,buy,1,1`, /line 2, column event: .*not "modify"/],
    ['no id', `${header}\n1000,new,,buy,1,1`, /line 2, column id: .*not empty/],
    ['a side', `${header}\n1000,new,a,hold,1,1`, /line 2, column side: .*not "hold"/],
    ['no side', `${header}\n1000,new,a,,1,1`, /line 2, column side: .*not empty/],
    ['a price', `${header}\n${good}\n\n1000,new,a,buy,NaN,1`, /line 4, column price: .*not "NaN"/],
    ['no price', `${header}\n1000,new,a,buy,0,1`, /line 2, column price: .*not "0"/],
    ['a missing cell', `${header}\n1000,trade,a,,1`, /line 2, column size: .*not empty/],
    ['no text', Buffer.alloc(100_000, 7), /line 1: a line has more than 4096/],
    ['half a file', gzipSync(`${header}\n${good}\n`).subarray(0, 30), /unexpected end of file/],
  ]
  for (const [what, content, message] of wrong)
    await t.test(`${what}: an error that names line and column`, (t) =>
      t.rejects(summarise(write(content), none), { code: 'FILE_INVALID', message }),
    )

  await t.test('what it holds, and in what it counts', async (t) => {
    const file = write(`${header}\n1000,new,a,buy,236.50,2.00100\n1500,cancel,a,buy,236.5,2\n1700,trade,1,,236.123,9`)
    t.same(await summarise(file, none), {
      counts: { new: 1, cancel: 1, trade: 1 },
      firstMs: 1000,
      lastMs: 1700,
      tick: '0.1',
      lot: '0.001',
    })
    t.match(await summarise(file, { tick: parseUnit('0.05'), lot: undefined }), { tick: '0.05', lot: '0.001' })
    const message = /line 2, column size: 2\.001 is not a multiple of the lot 0\.01/
    await t.rejects(summarise(file, { tick: undefined, lot: parseUnit('0.01') }), { code: 'FILE_INVALID', message })
    const message2 = /no row says `new`/
    await t.rejects(summarise(write(`${header}\n1,cancel,a,buy,1,1`), none), { message: message2 })
    await t.rejects(summarise(folder, none), { code: 'FILE_INVALID', message: /is not a file/ })
    await t.rejects(summarise(join(folder, 'none'), none), { code: 'FILE_INVALID', message: /cannot read .*none/ })
  })
})

import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { summaryOf } from '../../src/http/cpu-profile.ts'
import { root } from '../repo/imports.ts'

const frame = (functionName: string, url = '', lineNumber = -1) => ({
  functionName,
  scriptId: url === '' ? '0' : '1',
  url,
  lineNumber,
  columnNumber: 0,
})

void t.test('P2.08 where the time went: self and total, recursion once, idle apart', (t) => {
  const own = pathToFileURL(join(root, 'src/domain/matcher.ts')).href
  const profile = {
    startTime: 0,
    endTime: 10_000,
    nodes: [
      { id: 1, callFrame: frame('(root)'), children: [2, 3, 6] },
      { id: 2, callFrame: frame('(idle)') },
      { id: 3, callFrame: frame('apply', own, 41), children: [4] },
      { id: 4, callFrame: frame('apply', own, 41), children: [5] },
      { id: 5, callFrame: frame('', 'node:internal/timers', 9) },
      { id: 6, callFrame: frame('(garbage collector)') },
    ],
    samples: [2, 3, 4, 5, 6],
    timeDeltas: [0, 1_000, 2_000, 3_000, 2_000],
  }
  t.same(summaryOf(profile), {
    samples: 5,
    busyMs: 7,
    idleMs: 1,
    hottest: [
      { function: 'apply', file: 'src/domain/matcher.ts', line: 42, selfMs: 5, totalMs: 7, percent: 71.43 },
      { function: '(anonymous)', file: 'node:internal/timers', line: 10, selfMs: 2, totalMs: 2, percent: 28.57 },
    ],
  })
  t.same(summaryOf({ startTime: 0, endTime: 0, nodes: [] }), { samples: 0, busyMs: 0, idleMs: 0, hottest: [] })
  const nodes = Array.from({ length: 30 }, (_, id) => ({ id: id + 2, callFrame: frame(`f${id}`, 'x.js', id) }))
  const many = {
    startTime: 0,
    endTime: 1,
    nodes: [{ id: 1, callFrame: frame('(root)'), children: nodes.map(({ id }) => id) }, ...nodes],
    samples: [...nodes.map(({ id }) => id), 1],
    timeDeltas: Array.from({ length: 31 }, (_, at) => at),
  }
  t.same(
    summaryOf(many).hottest.map(({ function: name }) => name),
    Array.from({ length: 20 }, (_, at) => `f${29 - at}`),
    'the twenty hottest',
  )
  t.end()
})

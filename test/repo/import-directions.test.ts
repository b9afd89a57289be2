import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { importsOf, impuritiesOf, readSources, root, violationsOf } from './imports.ts'

void t.test('P1.22 src/ keeps the import directions; each third-party package has one importing folder', (t) => {
  const sources = readSources()
  t.ok(sources.has('src/workers/risk-gate.ts') && sources.has('src/cli/main.ts'), 'the sources are found')
  const { dependencies, devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<
    'dependencies' | 'devDependencies',
    Record<string, string>
  >
  t.same(violationsOf(sources, Object.keys(dependencies), Object.keys(devDependencies)), [])
  t.end()
})

void t.test('P1.22 every form of import is seen', (t) => {
  const forms = [
    "import './a.ts'",
    "import x from './a.ts'",
    "import type { X } from './a.ts'",
    "export { x } from './a.ts'",
    "export type { X } from './a.ts'",
    "export * from './a.ts'",
    "const x = await import('./a.ts')",
    'const x = await import(`./a.ts`)',
    "function f() { if (y) return () => import('./a.ts') }",
    "let x: import('./a.ts').X",
    "let x: typeof import('./a.ts')",
    "import x = require('./a.ts')",
    "const x = require('./a.ts')",
  ]
  for (const form of forms)
    t.same(
      importsOf('src/base/b.ts', form).map(({ specifier }) => specifier),
      ['./a.ts'],
      form,
    )
  t.same(importsOf('src/base/b.ts', '// import "./a.ts"\nconst x = "import \'./a.ts\'"'), [])
  t.same(importsOf('src/base/b.ts', 'await import(name)'), [
    { from: 'src/base/b.ts', specifier: undefined, typeOnly: false },
  ])
  t.end()
})

void t.test('P1.22 the checker finds every kind of violation', (t) => {
  const good: readonly (readonly [string, string])[] = [
    ['src/base/clock.ts', "import { assert } from './assert.ts'"],
    ['src/base/assert.ts', ''],
    [
      'src/schemas/order.ts',
      "import { Ajv } from 'ajv'; import type { J } from 'json-schema'; import { x } from '../base/clock.ts'",
    ],
    ['src/domain/book.ts', "import type { Order } from '../schemas/order.ts'"],
    ['src/runtime/loop.ts', "import { connect } from '@nats-io/transport-node'; import { Kvm } from '@nats-io/kv'"],
    ['src/workers/tape.ts', "import { run } from '../runtime/loop.ts'; import { join } from 'node:path'"],
    ['src/workers/gate.ts', "import { Book } from '../domain/book.ts'"],
    ['src/cli/main.ts', "import { tape } from '../workers/tape.ts'; import { find } from '../local/find.ts'"],
    ['src/local/find.ts', "import { clock } from '../base/clock.ts'"],
  ]
  const dependencies = ['@nats-io/transport-node', '@nats-io/kv', 'ajv']
  const violations = (sources: Iterable<readonly [string, string]>) =>
    violationsOf(new Map(sources), dependencies, ['json-schema'])
  t.same(violations(good), [])

  const bad: readonly (readonly [path: string, text: string, violation: string])[] = [
    ['src/base/x.ts', "import '../schemas/order.ts'", 'base may not import schemas'],
    ['src/schemas/x.ts', "import type { L } from '../runtime/loop.ts'", 'schemas may not import runtime'],
    ['src/domain/x.ts', "const l = await import('../runtime/loop.ts')", 'domain may not import runtime'],
    ['src/domain/x.ts', "let l: import('../runtime/loop.ts').Loop", 'domain may not import runtime'],
    ['src/domain/x.ts', "export * from '../subjects/x.ts'", 'imports src/subjects/x.ts, which is not there'],
    ['src/domain/x.ts', "import { readFileSync } from 'node:fs'", 'domain may not import node:fs'],
    ['src/subjects/x.ts', "import '../domain/book.ts'", 'subjects may not import domain'],
    ['src/runtime/x.ts', "import '../workers/tape.ts'", 'runtime may not import workers'],
    ['src/runtime/x.ts', "import '../domain/book.ts'", 'runtime may not import domain'],
    ['src/workers/x.ts', "import './tape.ts'", 'imports src/workers/tape.ts, another worker'],
    ['src/workers/x.ts', "import '../local/find.ts'", 'workers may not import local'],
    ['src/http/x.ts', "import '../workers/tape.ts'", 'http may not import workers'],
    ['src/local/x.ts', "import '../runtime/loop.ts'", 'local may not import runtime'],
    ['src/lake/x.ts', "import '../schemas/order.ts'", 'lake may not import schemas'],
    ['src/http/x.ts', "import '../cli/main.ts'", 'http may not import cli'],
    ['src/cli/x.ts', "import '../../test/support/stack.ts'", 'imports test/support/stack.ts, outside src/'],
    ['src/cli/x.ts', "import '../../bench/matcher.ts'", 'imports bench/matcher.ts, outside src/'],
    ['src/cli/x.ts', 'await import(name)', 'imports what only a run can tell'],
    ['src/http/x.ts', "import 'fs'", 'imports fs without node:'],
    ['src/http/x.ts', "import 'ajv-formats'", 'ajv-formats is not among the dependencies'],
    ['src/schemas/x.ts', "import { J } from 'json-schema'", 'json-schema is not among the dependencies'],
    ['src/utils/x.ts', "import '../base/clock.ts'", 'the layout has no such place'],
    ['src/x.ts', "import './base/clock.ts'", 'the layout has no such place'],
  ]
  for (const [path, text, violation] of bad)
    t.same(violations([...good, [path, text]]), [`${path}: ${violation}`], `${path}: ${text}`)
  t.same(violations([...good, ['src/http/x.ts', "import { Ajv } from 'ajv/dist/2020.js'"]]), [
    'ajv: imported by src/schemas and src/http',
  ])
  t.same(violations([...good, ['src/cli/x.ts', "import '@nats-io/kv'"]]), [
    '@nats-io/*: imported by src/runtime and src/cli',
  ])
  t.end()
})

void t.test('P1.22 src/domain has no clock, no I/O, no random and nothing asynchronous', (t) => {
  const sources = [...readSources()].filter(([path]) => path.startsWith('src/domain/'))
  t.ok(sources.length > 5, 'the sources are found')
  t.same(
    sources.flatMap(([path, text]) => impuritiesOf(path, text)),
    [],
  )
  const impure = [
    ['const x = Date.now()', 'Date'],
    ['const x = Math.random()', 'random'],
    ["import { randomUUID } from 'node:crypto'", 'randomUUID'],
    ['setTimeout(f, 1)', 'setTimeout'],
    ['const x = process.env', 'process'],
    ['const x = async () => 1', 'async'],
  ] as const
  for (const [text, name] of impure) t.same(impuritiesOf('src/domain/x.ts', text), [`src/domain/x.ts: ${name}`], text)
  t.same(impuritiesOf('src/domain/x.ts', '// Date\nconst text = "Date", dateUs = 1'), [])
  t.end()
})

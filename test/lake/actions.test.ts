import t from 'tap'
import { formatCommit, parseCommit, type Action } from '../../src/lake/actions.ts'

const add = '"path":"a","partitionValues":{"dt":null},"size":1,"modificationTime":2,"dataChange":true'

void t.test('P3.02 a commit is read and written without losing a digit or a field', (t) => {
  const lines = [
    '{"commitInfo":{"timestamp":1,"operation":"WRITE","big":9223372036854775807,"ratio":0.1}}',
    '{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":[],"writerFeatures":["appendOnly"]}}',
    '{"metaData":{"id":"x","format":{"provider":"parquet","options":{}},"schemaString":"{}","partitionColumns":["dt"],"configuration":{"a":"b"},"createdTime":1}}',
    '{"txn":{"appId":"other","version":9007199254740993,"lastUpdated":5}}',
    '{"txn":{"appId":"ours","version":9007199254740991}}',
    `{"add":{${add},"stats":"{\\"maxValues\\":{\\"seq\\":9223372036854775807}}","tags":{"t":null},"baseRowId":7}}`,
    '{"remove":{"path":"b","deletionTimestamp":3,"dataChange":false,"extendedFileMetadata":true,"partitionValues":{},"size":4}}',
  ]
  const actions = parseCommit(lines.join('\n'), 7)
  t.equal(formatCommit(actions), lines.map((line) => `${line}\n`).join(''))
  t.same(parseCommit(formatCommit(actions), 7), actions)
  t.same(actions[3], { txn: { appId: 'other', version: 9007199254740993n, lastUpdated: 5 } })
  t.end()
})

const readable: readonly { readonly what: string; readonly text: string; readonly kinds: readonly string[] }[] = [
  { what: 'no line feed at the end', text: `{"add":{${add}}}`, kinds: ['add'] },
  { what: 'empty lines and CRLF', text: `\r\n{"add":{${add}}}\r\n\n`, kinds: ['add'] },
  { what: 'kinds of a later protocol', text: `{"cdc":{"path":"c"}}\n{"news":1}\n{"add":{${add}}}`, kinds: ['add'] },
  { what: 'only such kinds', text: '{"domainMetadata":{"domain":"d"}}', kinds: [] },
  { what: 'other kinds as null', text: `{"add":{${add}},"remove":null}`, kinds: ['add'] },
  { what: 'optional fields as null', text: `{"add":{${add},"stats":null,"tags":null}}`, kinds: ['add'] },
  { what: 'a name of an object', text: `{"constructor":{},"__proto__":{}}`, kinds: [] },
]

void t.test('P3.02 kinds of actions that we do not know are left out', (t) => {
  for (const { what, text, kinds } of readable)
    t.same(
      parseCommit(text, 1).map((action: Action) => Object.keys(action)[0]),
      kinds,
      what,
    )
  t.end()
})

const broken: readonly { readonly text: string; readonly problem: RegExp }[] = [
  { text: '', problem: /version 42 of the log is empty/ },
  { text: ' \n', problem: /version 42 of the log is empty/ },
  { text: `{"add":{${add}}}\n{"add":{"path"`, problem: /version 42 of the log, line 2: .*JSON/ },
  { text: '{"commitInfo":{}}\n\ngarbage', problem: /line 3: .*JSON/ },
  { text: '[]', problem: /line 1: not an object/ },
  { text: '"add"', problem: /line 1: not an object/ },
  { text: '{"add":[]}', problem: /line 1: add is not an object/ },
  {
    text: '{"add":{"path":"a"}}',
    problem: /add has no or a wrong partitionValues, size, modificationTime, dataChange/,
  },
  { text: `{"add":{${add.replace('"size":1', '"size":9007199254740993')}}}`, problem: /wrong size/ },
  { text: `{"add":{${add.replace('null', '7')}}}`, problem: /wrong partitionValues/ },
  { text: '{"txn":{"appId":"a","version":1.5}}', problem: /txn has no or a wrong version/ },
  { text: '{"txn":{"appId":"a","version":"1"}}', problem: /txn has no or a wrong version/ },
  { text: '{"remove":{"path":"a"}}', problem: /remove has no or a wrong dataChange/ },
  { text: '{"protocol":{"minReaderVersion":1}}', problem: /protocol has no or a wrong minWriterVersion/ },
  {
    text: '{"metaData":{"id":"x"}}',
    problem: /metaData has no or a wrong format, schemaString, partitionColumns, configuration/,
  },
]

void t.test('P3.11 a bad JSON commit is an error with version and line, never skipped', (t) => {
  for (const { text, problem } of broken)
    t.throws(() => parseCommit(text, 42), { code: 'LAKE_LOG_UNREADABLE', message: problem }, text)
  t.end()
})

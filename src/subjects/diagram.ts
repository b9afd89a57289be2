/**
 * The data flow of contract.ts as Mermaid and as plain text, for ARCHITECTURE.md. Run as a script it rewrites the
 * diagram there: `npm run docs:diagram`.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { bucketSpecs, listenSubjects, type StreamSpec, streamSpecs, workerSpecs } from './contract.ts'

/** Between these lines ARCHITECTURE.md holds what `renderDiagram` gives. */
const markers = [
  '<!-- diagram: written by `npm run docs:diagram` from src/subjects/contract.ts -->',
  '<!-- end of diagram -->',
] as const

/** A Mermaid flowchart: streams are cylinders, workers boxes; a dotted arrow is read besides the input. */
function renderMermaid(): string {
  return [
    'flowchart LR',
    ...streamSpecs.map(({ name }) => `  ${name}[(${name})]`),
    ...workerSpecs.map(({ name }) => `  ${name}["${name}"]`),
    ...workerSpecs.flatMap(({ name, input, alsoReads, writes }) => [
      ...(input === undefined ? [] : [`  ${input} --> ${name}`]),
      ...alsoReads.map((stream) => `  ${stream} -.-> ${name}`),
      ...writes.map((stream) => `  ${name} --> ${stream}`),
    ]),
  ].join('\n')
}

function renderTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [header, ...rows]
  const widths = header.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)))
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

const list = (items: readonly string[]) => items.join(' ') || '-'

/** `orders.new[.*]` stands for `orders.new` and `orders.new.*`. */
function publishedAs(spec: StreamSpec): string[] {
  const subjects = listenSubjects(spec)
  return subjects
    .filter((subject) => !subjects.some((other) => subject === `${other}.*`))
    .map((subject) => (subjects.includes(`${subject}.*`) ? `${subject}[.*]` : subject))
}

function renderTables(): string {
  const writersOf = (stream: string) =>
    workerSpecs.filter(({ writes }) => writes.some((name) => name === stream)).map(({ name }) => name)
  const workers = workerSpecs.map(({ name, input, alsoReads, writes, httpPort, about }) => [
    name,
    input ?? '-',
    list(alsoReads),
    list(writes),
    String(httpPort),
    about,
  ])
  const streams = streamSpecs.map((spec) => [
    spec.name,
    list(writersOf(spec.name)),
    spec.epoch ? 'yes' : 'no',
    spec.discard === 'new' ? 'refuses' : 'drops the oldest',
    spec.about,
    list(publishedAs(spec)),
  ])
  const buckets = bucketSpecs.map(({ name, history, about }) => [name, String(history), about])
  return [
    renderTable(['worker', 'input', 'also reads', 'writes', 'port', 'what it does'], workers),
    renderTable(['stream', 'written by, of ours', 'fenced', 'when full', 'what it holds', 'published as'], streams),
    renderTable(['KV bucket', 'history', 'what it holds'], buckets),
  ].join('\n\n')
}

/** What ARCHITECTURE.md has between the markers, the markers included. */
export function renderDiagram(): string {
  const [start, end] = markers
  return `${start}\n\n\`\`\`mermaid\n${renderMermaid()}\n\`\`\`\n\n\`\`\`text\n${renderTables()}\n\`\`\`\n\n${end}`
}

/** @throws RangeError when the document has no markers */
export function withDiagram(document: string): string {
  const [start, end] = markers.map((marker) => document.indexOf(marker))
  if (start === undefined || end === undefined || start < 0 || end < start)
    throw new RangeError('no place for the diagram')
  return document.slice(0, start) + renderDiagram() + document.slice(end + markers[1].length)
}

if (import.meta.main) {
  const file = new URL('../../ARCHITECTURE.md', import.meta.url)
  writeFileSync(file, withDiagram(readFileSync(file, 'utf8')))
}

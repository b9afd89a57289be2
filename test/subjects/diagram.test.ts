import { readFileSync } from 'node:fs'
import t from 'tap'
import { streamSpecs, workerSpecs } from '../../src/subjects/contract.ts'
import { renderDiagram, withDiagram } from '../../src/subjects/diagram.ts'

const document = readFileSync(new URL('../../ARCHITECTURE.md', import.meta.url), 'utf8')

void t.test('P1.06 the diagram in ARCHITECTURE.md is what the contract says', (t) => {
  t.equal(document, withDiagram(document), 'it has drifted: run `npm run docs:diagram` and commit ARCHITECTURE.md')
  t.not(document.replace('ORDERS --> risk-gate', ''), withDiagram(document), 'a changed diagram is seen')
  t.throws(() => withDiagram('a document without markers'), RangeError)
  t.end()
})

void t.test('P1.06 every stream, worker and arrow of the contract is drawn', (t) => {
  const diagram = renderDiagram()
  for (const { name } of streamSpecs) t.match(diagram, `  ${name}[(${name})]\n`)
  for (const { name, input, alsoReads, writes } of workerSpecs) {
    t.match(diagram, `  ${name}["${name}"]\n`)
    if (input) t.match(diagram, `  ${input} --> ${name}\n`)
    for (const stream of alsoReads) t.match(diagram, `  ${stream} -.-> ${name}\n`)
    for (const stream of writes) t.match(diagram, `  ${name} --> ${stream}\n`)
  }
  t.equal(
    diagram.match(/ (-->|-\.->) \S/g)?.length,
    workerSpecs.reduce(
      (sum, { input, alsoReads, writes }) => sum + (input ? 1 : 0) + alsoReads.length + writes.length,
      0,
    ),
    'and no other',
  )
  t.end()
})

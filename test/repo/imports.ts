import { readdirSync, readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

/** Which folders of src/ a folder may import, besides itself (contract, section 7). */
const allowedFolders: Readonly<Record<string, readonly string[] | 'all'>> = {
  base: [],
  schemas: ['base'],
  subjects: ['base', 'schemas'],
  domain: ['base', 'schemas'],
  lake: ['base'],
  runtime: ['base', 'schemas', 'subjects'],
  workers: ['base', 'schemas', 'subjects', 'domain', 'lake', 'runtime'],
  http: ['base', 'schemas', 'subjects', 'domain', 'runtime'],
  local: ['base'],
  cli: 'all',
}

/** Folders without clock, I/O and random: no packages, and of Node only hashes. */
const pureFolders: ReadonlySet<string> = new Set(['base', 'domain'])
const pureModules: ReadonlySet<string> = new Set(['node:crypto'])
/** What src/domain may not name. */
const impureNames: ReadonlySet<string> = new Set([
  ...['Date', 'performance', 'process', 'fetch', 'console', 'random', 'randomUUID', 'randomBytes', 'randomInt'],
  ...['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask', 'Promise'],
])

/** Source text by path from the root of the repository, with `/`. */
export type Sources = ReadonlyMap<string, string>

interface Import {
  readonly from: string
  /** undefined where the text does not say what is imported. */
  readonly specifier: string | undefined
  /** Gone at run time. */
  readonly typeOnly: boolean
}

/** Everything a file imports or exports from: types, dynamic imports and `require` included. */
export function importsOf(path: string, text: string): Import[] {
  const imports: Import[] = []
  const add = (node: ts.Node | undefined, typeOnly = false) =>
    imports.push({ from: path, specifier: node && ts.isStringLiteralLike(node) ? node.text : undefined, typeOnly })
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node))
      add(node.moduleSpecifier, node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword)
    else if (ts.isExportDeclaration(node) && node.moduleSpecifier) add(node.moduleSpecifier, node.isTypeOnly)
    else if (ts.isExternalModuleReference(node)) add(node.expression)
    else if (ts.isImportTypeNode(node)) add(ts.isLiteralTypeNode(node.argument) ? node.argument.literal : undefined)
    else if (ts.isCallExpression(node) && isImportCall(node.expression)) add(node.arguments[0])
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true))
  return imports
}

function isImportCall(callee: ts.Expression): boolean {
  if (callee.kind === ts.SyntaxKind.ImportKeyword) return true
  return ts.isIdentifier(callee) && callee.text === 'require'
}

/** Names in a file of src/domain that stand for a clock, I/O, random or something asynchronous. */
export function impuritiesOf(path: string, text: string): string[] {
  const found = new Set<string>()
  const visit = (node: ts.Node): void => {
    if (ts.isIdentifier(node) && impureNames.has(node.text)) found.add(node.text)
    if (node.kind === ts.SyntaxKind.AsyncKeyword || ts.isAwaitExpression(node)) found.add('async')
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true))
  return [...found].map((name) => `${path}: ${name}`)
}

/** The package of a specifier; those of one scope are a family and count as one. */
function packageFamily(specifier: string): string {
  const [first = ''] = specifier.split('/')
  return first.startsWith('@') ? `${first}/*` : first
}

/**
 * What breaks the layout, one line each, in the order of the sources.
 * @param dependencies of package.json; what src/ imports must be among them
 * @param devDependencies of package.json; what src/ imports only types from may be among them
 */
export function violationsOf(
  sources: Sources,
  dependencies: readonly string[],
  devDependencies: readonly string[],
): string[] {
  const violations: string[] = []
  const importers = new Map<string, Set<string>>()
  for (const { from, specifier, typeOnly } of [...sources].flatMap(([path, text]) => importsOf(path, text))) {
    const [, folder = '', ...rest] = from.split('/')
    const allowed = rest.length === 0 ? undefined : allowedFolders[folder]
    if (allowed === undefined) violations.push(`${from}: the layout has no such place`)
    else if (specifier === undefined) violations.push(`${from}: imports what only a run can tell`)
    else if (specifier.startsWith('.')) {
      const target = posix.join(posix.dirname(from), specifier)
      const [top, targetFolder = ''] = target.split('/')
      // The command `bench` runs the scenarios; nothing else of src/ knows them.
      if (top === 'bench' && from === 'src/cli/bench.ts') continue
      if (top !== 'src') violations.push(`${from}: imports ${target}, outside src/`)
      else if (!sources.has(target)) violations.push(`${from}: imports ${target}, which is not there`)
      else if (folder === 'workers' && targetFolder === 'workers')
        violations.push(`${from}: imports ${target}, another worker`)
      else if (allowed !== 'all' && targetFolder !== folder && !allowed.includes(targetFolder))
        violations.push(`${from}: ${folder} may not import ${targetFolder}`)
    } else {
      if (pureFolders.has(folder) && !pureModules.has(specifier))
        violations.push(`${from}: ${folder} may not import ${specifier}`)
      if (isBuiltin(specifier)) {
        if (!specifier.startsWith('node:')) violations.push(`${from}: imports ${specifier} without node:`)
        continue
      }
      const installed = typeOnly ? [...dependencies, ...devDependencies] : dependencies
      if (!installed.some((name) => specifier === name || specifier.startsWith(`${name}/`)))
        violations.push(`${from}: ${specifier} is not among the dependencies`)
      const family = packageFamily(specifier)
      importers.set(family, (importers.get(family) ?? new Set()).add(folder))
    }
  }
  for (const [family, folders] of importers)
    if (folders.size > 1)
      violations.push(`${family}: imported by ${[...folders].map((name) => `src/${name}`).join(' and ')}`)
  return violations
}

export const root = fileURLToPath(new URL('../..', import.meta.url))

/** All TypeScript below src/. */
export function readSources(): Sources {
  const paths = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .map((path) => posix.join('src', path.replaceAll('\\', '/')))
    .filter((path) => path.endsWith('.ts'))
    .sort()
  return new Map(paths.map((path) => [path, readFileSync(join(root, path), 'utf8')]))
}

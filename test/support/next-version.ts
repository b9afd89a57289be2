import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { tempDir } from './temp-dir.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** In each of the three other rules, which show in what it writes. */
const changes = [
  ['workers/risk-gate.ts', 'riskGateLogicVersion = 1', 'riskGateLogicVersion = 2'],
  ['domain/named-orders.ts', 'has used clOrdId', 'has already used clOrdId'],
  ['workers/oms-matcher.ts', 'matcherLogicVersion = 1', 'matcherLogicVersion = 2'],
  ['domain/matcher.ts', '} is not open', '} is no longer open'],
  ['workers/pnl-updater.ts', 'pnlLogicVersion = 1', 'pnlLogicVersion = 2'],
  ['schemas/position.ts', '"fees":${decimalTextOf', '"rules":2,"fees":${decimalTextOf'],
] as const

/**
 * The program as its next version would be: gate, matcher and PnL each of logicVersion 2, the gate and the matcher with
 * other texts (`has already used`, `is no longer open`), positions with a field `rules`.
 * @returns its main file
 */
export function nextVersion(t: Test): string {
  const dir = tempDir(t)
  cpSync(join(root, 'src'), join(dir, 'src'), { recursive: true })
  for (const name of ['package.json', 'config', 'node_modules']) symlinkSync(join(root, name), join(dir, name))
  for (const [file, before, after] of changes) {
    const path = join(dir, 'src', file)
    const text = readFileSync(path, 'utf8')
    if (text.split(before).length !== 2) throw new Error(`${file} has not one place with ${before}`)
    writeFileSync(path, text.replace(before, after))
  }
  return join(dir, 'src/cli/main.ts')
}

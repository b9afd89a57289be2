import { execFileSync } from 'node:child_process'
import t from 'tap'
import { runCli } from '../support/cli.ts'

void t.test('P2.11 completion scripts know every command and option', async (t) => {
  const [help, orderHelp, bash, zsh, fish, other] = await Promise.all([
    runCli(['--help']),
    runCli(['order', 'new', '--help']),
    ...['bash', 'zsh', 'fish', 'tcsh'].map((shell) => runCli(['completion', shell])),
  ])
  t.equal(other?.code, 64)
  const names = Array.from(help.stdout.matchAll(/^ {2}([a-z]+) /gm), ([, name = '']) => name)
  const options = Array.from(orderHelp.stdout.matchAll(/^ {2}(?:-\w, )?--([a-z-]+)/gm), ([, name = '']) => name)
  t.ok(names.includes('replay') && options.includes('stop-price'), 'the help is understood')
  for (const script of [bash, zsh, fish]) {
    t.equal(script?.code, 0)
    for (const name of names) t.match(script?.stdout, name)
    for (const name of options) t.match(script?.stdout, new RegExp(`(--|-l )${name}\\b`))
  }

  /** What bash offers for the last of some words. */
  const offered = (...words: string[]) =>
    execFileSync('bash', [
      '-c',
      `${bash?.stdout}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _trade2026; echo "\${COMPREPLY[*]}"`,
      'bash',
      ...words,
    ])
      .toString()
      .trim()
  t.equal(offered('trade2026', 'orde'), 'order')
  t.equal(offered('./trade2026', 'order', 'mass'), 'mass-cancel')
  t.equal(offered('trade2026', 'order', 'new', 'BTCUSDT', 'buy', '1', '--stop'), '--stop-price')
  t.equal(offered('trade2026', 'up', '--layout', ''), 'compact separate')
  t.equal(offered('trade2026', 'completion', 'f'), 'fish')
  t.equal(offered('trade2026', 'order', 'new', '--price', ''), '', 'a value of one’s own')
})

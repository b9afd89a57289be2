import { Argument, type Command } from 'commander'
import { printLine } from './output.ts'

const shells = ['bash', 'zsh', 'fish'] as const
type Shell = (typeof shells)[number]

export function addCompletionCommand(program: Command): void {
  program
    .command('completion')
    .description('print a script that completes commands and options in your shell')
    .addArgument(new Argument('<shell>').choices(shells))
    .addHelpText(
      'after',
      `
Examples:
  source <(trade2026 completion bash)                                       in ~/.bashrc
  trade2026 completion zsh > "\${fpath[1]}/_trade2026"                       once, then a new shell
  trade2026 completion fish > ~/.config/fish/completions/trade2026.fish     once`,
    )
    .action((shell: Shell) => printLine(completionOf(program, shell)))
}

interface Word {
  readonly word: string
  readonly about: string
  /** What may follow: undefined for an option without a value, empty for any value. */
  readonly values?: readonly string[]
}

/** One command: what may come after the words that name it. */
interface Place {
  /** E.g. `order new`; empty for the program itself. */
  readonly path: string
  readonly commands: readonly Word[]
  readonly options: readonly Word[]
  /** Values of its arguments, as far as they are a fixed choice. */
  readonly values: readonly string[]
}

function placesOf(command: Command, path = ''): Place[] {
  const visible = command.commands.filter((below) => below.name() !== 'help')
  const options = command.options.map(({ long, description, required, optional, argChoices = [] }): Word => ({
    word: long ?? '',
    about: oneLine(description),
    ...(required || optional ? { values: argChoices } : {}),
  }))
  return [
    {
      path,
      commands: visible.map((below) => ({ word: below.name(), about: oneLine(below.description()) })),
      options: [...options, { word: '--help', about: 'display help for command' }],
      values: command.registeredArguments.flatMap(({ argChoices = [] }) => argChoices),
    },
    ...visible.flatMap((below) => placesOf(below, `${path} ${below.name()}`.trim())),
  ]
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ')
}

/** The script for a shell, made from the program's commands. */
function completionOf(program: Command, shell: Shell): string {
  const name = program.name()
  const places = placesOf(program)
  switch (shell) {
    case 'bash':
      return bash(name, places)
    case 'zsh':
      return zsh(name, places)
    case 'fish':
      return fish(name, places)
  }
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`
}

/** The shell code that is common to bash and zsh: sets `at` to the command that the words typed so far name. */
function pathLoop(places: readonly Place[], words: string, first: number, end: string): string {
  const paths = places.map(({ path }) => path).filter((path) => path !== '')
  return `for ((i = ${first}; i < ${end}; i++)); do
    next="\${at:+$at }\${${words}[i]}"
    case $next in
    ${paths.map((path) => quoted(path)).join(' | ')}) at=$next ;;
    esac
  done`
}

/** A branch for each option that takes a value. */
function valueCases(places: readonly Place[], complete: (values: readonly string[]) => string): string {
  const cases = places.flatMap(({ path, options }) =>
    options.flatMap(({ word, values }) => (values ? [`    ${quoted(`${path} ${word}`)}) ${complete(values)} ;;`] : [])),
  )
  return cases.join('\n')
}

function bash(name: string, places: readonly Place[]): string {
  const words = places.map(({ path, commands, options, values }) => {
    const all = [...commands.map(({ word }) => word), ...values, ...options.map(({ word }) => word)]
    return `    ${quoted(path)}) words=${quoted(all.join(' '))} ;;`
  })
  return `# ${name} completion for bash
_${name}() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} at= next words i
  ${pathLoop(places, 'COMP_WORDS', 1, 'COMP_CWORD')}
  case "$at $prev" in
${valueCases(places, (values) => `words=${quoted(values.join(' '))}`)}
    *)
      case $at in
${words.map((line) => `  ${line}`).join('\n')}
      esac
      ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _${name} ${name}`
}

function zsh(name: string, places: readonly Place[]): string {
  const described = (words: readonly Word[]) =>
    words.map(({ word, about }) => quoted(`${word}:${about.replaceAll(':', String.raw`\:`)}`)).join(' ')
  const cases = places.map(({ path, commands, options, values }) => {
    const all = [...commands, ...values.map((word) => ({ word, about: word })), ...options]
    return `      ${quoted(path)}) words_here=(${described(all)})${commands.length > 0 ? '' : ' more=_files'} ;;`
  })
  return `#compdef ${name}
_${name}() {
  local at= more= next i
  local -a words_here
  ${pathLoop(places, 'words', 2, 'CURRENT')}
  case "$at \${words[CURRENT - 1]}" in
${valueCases(places, (values) => (values.length > 0 ? `compadd -- ${values.map(quoted).join(' ')}` : '_files'))}
    *)
      case $at in
${cases.join('\n')}
      esac
      _describe ${quoted(name)} words_here
      [[ -z $more || $PREFIX == -* ]] || $more
      ;;
  esac
}
if [[ $funcstack[1] == _${name} ]]; then _${name}; else compdef _${name} ${name}; fi`
}

function fish(name: string, places: readonly Place[]): string {
  const lines = places.flatMap(({ path, commands, options, values }) => {
    const here = `complete -c ${name} -n ${quoted(`__${name}_at ${quoted(path)}`)}`
    return [
      ...(commands.length + values.length > 0 ? [`${here} -f`] : []),
      ...commands.map(({ word, about }) => `${here} -a ${word} -d ${quoted(about)}`),
      ...values.map((word) => `${here} -a ${quoted(word)}`),
      ...options.map(({ word, about, values: choices }) => {
        const takes = choices ? ` -r${choices.length > 0 ? ` -f -a ${quoted(choices.join(' '))}` : ''}` : ''
        return `${here} -l ${word.replace(/^--/, '')}${takes} -d ${quoted(about)}`
      }),
    ]
  })
  return `# ${name} completion for fish
function __${name}_at
  set -l at ''
  for word in (commandline -opc)[2..-1]
    set -l next (string trim "$at $word")
    if contains -- $next ${places.flatMap(({ path }) => (path === '' ? [] : [quoted(path)])).join(' ')}
      set at $next
    end
  end
  test "$at" = "$argv[1]"
end
${lines.join('\n')}`
}

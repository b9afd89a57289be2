import type { Command } from 'commander'
import { PipelineError } from '../base/errors.ts'
import { parseOwnJson, textFromUtf8 } from '../base/json.ts'
import type { Nats } from '../runtime/nats.ts'
import { query } from '../runtime/query.ts'
import { symbolPattern } from '../schemas/command.ts'
import { querySubjects } from '../subjects/names.ts'
import { jsonOption, type NatsOption, natsOption, withNats } from './connect.ts'
import { wholeNumber } from './options.ts'
import { exactJson, numberText, printJson, printLine, redraw } from './output.ts'
import { numeric, paint, renderTable } from './table.ts'
import { watch } from './watch.ts'

interface BookOptions extends NatsOption {
  readonly depth: number
  readonly watch: boolean
  readonly json: boolean
}

type Level = readonly [price: number | string, quantity: number | string]

/** A book as the matcher answers for it, best first. */
interface Book {
  readonly symbol: string
  /** cmdSeq of the last record of RISK that it reflects. */
  readonly seq: number
  readonly bids: readonly Level[]
  readonly asks: readonly Level[]
}

export function addBookCommand(program: Command): void {
  program
    .command('book')
    .description('the order book of a symbol, as the matcher has it')
    .argument('<symbol>', 'e.g. BTCUSDT')
    .addOption(natsOption())
    .option('--depth <n>', 'levels of each side, 1000 at most', wholeNumber, 10)
    .option('--watch', 'show it anew every second until Ctrl-C', false)
    .addOption(jsonOption('one JSON document on stdout; with --watch one a line'))
    .addHelpText(
      'after',
      `
Examples:
  trade2026 book BTCUSDT
  trade2026 book BTCUSDT --depth 20 --watch
  trade2026 book BTCUSDT --json | jq '.bids[0]'

Best prices stand at the top. Of iceberg orders the book has what is displayed.`,
    )
    .action(book)
}

async function book(name: string, options: BookOptions): Promise<void> {
  const symbol = name.toUpperCase()
  if (!new RegExp(symbolPattern).test(symbol)) throw new PipelineError('USAGE', `no symbol can be named ${name}`)
  await withNats(options, [], async (nats) => {
    const look = async (show: (text: string) => void) => {
      const reply = await ask(nats, symbol, options.depth)
      if (options.json) printJson(exactJson(reply))
      else show(render(parseOwnJson(textFromUtf8(reply)) as Book))
    }
    if (options.watch) await watch(nats, () => look(redraw))
    else await look(printLine)
  })
}

/** @throws PipelineError COMPONENT_MISSING */
async function ask(nats: Nats, symbol: string, depth: number): Promise<Uint8Array> {
  const reply = await query(nats, querySubjects.book(symbol), String(depth))
  if (reply) return reply
  throw new PipelineError(
    'COMPONENT_MISSING',
    'no active oms-matcher answers for its books; `trade2026 lag` says which workers run',
  )
}

function render({ symbol, seq, bids, asks }: Book): string {
  const title = `${symbol}  as of command ${seq}`
  if (bids.length === 0 && asks.length === 0) return `${title}\nthe book is empty`
  const rows = Array.from({ length: Math.max(bids.length, asks.length) }, (_, index) => {
    const [bid, bidQuantity] = bids[index] ?? []
    const [ask, askQuantity] = asks[index] ?? []
    return [
      cell(bidQuantity),
      bid === undefined ? '' : paint(numberText(bid), 'good'),
      ask === undefined ? '' : paint(numberText(ask), 'bad'),
      cell(askQuantity),
    ]
  })
  return `${title}\n${renderTable(['quantity', 'bid', 'ask', 'quantity'].map(numeric), rows)}`
}

function cell(value: number | string | undefined): string {
  return value === undefined ? '' : numberText(value)
}

import type { Command } from 'commander'
import { PipelineError } from '../base/errors.ts'
import type { Nats } from '../runtime/nats.ts'
import { storedMessage } from '../runtime/position.ts'
import { type InputMessage, readLatest } from '../runtime/reader.ts'
import { accountPattern } from '../schemas/command.ts'
import { decodeAccountPosition, decodePosition } from '../schemas/position.ts'
import { positionsWatermarkSubject, positionSubject } from '../subjects/names.ts'
import { jsonOption, type NatsOption, natsOption, withNats } from './connect.ts'
import { exactJson, numberText, printJson, printLine, redraw } from './output.ts'
import { numeric, renderTable } from './table.ts'
import { watch } from './watch.ts'

interface PositionsOptions extends NatsOption {
  readonly watch: boolean
  readonly json: boolean
}

export function addPositionsCommand(program: Command): void {
  program
    .command('positions')
    .description('show positions, profit and loss, and the sums of each account')
    .argument('[account]', 'unset: all')
    .addOption(natsOption())
    .option('--watch', 'show them anew every second until Ctrl-C', false)
    .addOption(jsonOption('one JSON document on stdout; with --watch one a line'))
    .addHelpText(
      'after',
      `
Examples:
  trade2026 positions                 everybody’s
  trade2026 positions alice --watch
  trade2026 positions --json | jq '.positions[] | select(.symbol == "BTCUSDT")'

asOf is the sequence in EXECUTIONS up to which a line is true. Fees are booked against the account _venue.`,
    )
    .action(positions)
}

async function positions(account: string | undefined, options: PositionsOptions): Promise<void> {
  if (account !== undefined && !new RegExp(`${accountPattern}|^_venue$`).test(account))
    throw new PipelineError('USAGE', `no account can be named ${account}`)
  await withNats(options, ['POSITIONS'], async (nats) => {
    const look = async (show: (text: string) => void) => {
      const found = await read(nats, account)
      if (options.json) printJson(documentOf(found))
      else show(render(found, account))
    }
    if (options.watch) await watch(nats, () => look(redraw))
    else await look(printLine)
  })
}

interface Found {
  readonly positions: readonly InputMessage[]
  readonly accounts: readonly InputMessage[]
  readonly watermark: Uint8Array | undefined
}

async function read(nats: Nats, account = '*'): Promise<Found> {
  const [positions, accounts, watermark] = await Promise.all([
    readLatest(nats, 'POSITIONS', positionSubject(account, '*')),
    readLatest(nats, 'POSITIONS', positionSubject(account)),
    storedMessage(nats.jsm, 'POSITIONS', { last_by_subj: positionsWatermarkSubject }),
  ])
  const inOrder = (found: ReadonlyMap<string, InputMessage>) =>
    [...found.values()].sort((a, b) => a.subject.localeCompare(b.subject))
  return {
    positions: inOrder(positions),
    accounts: inOrder(accounts).filter(({ subject }) => !/^positions\._(?!venue$)/.test(subject)),
    watermark: watermark?.data,
  }
}

function documentOf({ positions, accounts, watermark }: Found): object {
  return {
    positions: positions.map(({ data }) => exactJson(data)),
    accounts: accounts.map(({ data }) => exactJson(data)),
    ...(watermark ? (exactJson(watermark) as object) : { executionsSeq: 0 }),
  }
}

function render({ positions, accounts }: Found, account: string | undefined): string {
  if (positions.length === 0 && accounts.length === 0)
    return account === undefined ? 'there are no positions yet' : `account ${account} has no positions`
  const byPosition = renderTable(
    ['account', 'symbol', ...['quantity', 'avgPx', 'realised', 'unrealised', 'fees', 'asOf'].map(numeric)],
    positions.map(({ data }) => {
      const { account, symbol, quantity, avgPx, realizedPnl, unrealizedPnl, fees, asOf } = decodePosition(data)
      return [account, symbol, ...[quantity, avgPx, realizedPnl, unrealizedPnl, fees, asOf].map(numberText)]
    }),
  )
  const byAccount = renderTable(
    ['account', ...['positions', 'equity', 'realised', 'unrealised', 'fees', 'cash', 'drawdown', 'asOf'].map(numeric)],
    accounts.map(({ data }) => {
      const sums = decodeAccountPosition(data)
      const { openPositions, equity, realizedPnl, unrealizedPnl, fees, cash, drawdown, asOf } = sums
      const numbers = [openPositions, equity, realizedPnl, unrealizedPnl, fees, cash, drawdown, asOf]
      return [sums.account, ...numbers.map(numberText)]
    }),
  )
  return `${byPosition}\n\n${byAccount}`
}

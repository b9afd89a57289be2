import type { Command } from 'commander'
import { jsonOption, natsOption } from './connect.ts'
import { timeoutOption } from './options.ts'
import { type CommandBody, sendCommand, type SendOptions } from './order-send.ts'
import { listOrders, showOrder } from './order-show.ts'

export function addOrderCommand(program: Command): void {
  const order = program
    .command('order')
    .description('send orders, cancel and change them, and see what became of them')
    .addHelpText(
      'after',
      `
Examples:
  trade2026 order new BTCUSDT buy 0.1 --price 45000            limit, rests until cancelled
  trade2026 order new BTCUSDT sell 0.1                         no price: market
  trade2026 order new BTCUSDT sell 0.1 --stop-price 44000      stop; with --price stop-limit
  trade2026 order new BTCUSDT sell 0.1 --trailing-offset 250   stop that follows the price
  trade2026 order new BTCUSDT buy 5 --price 45000 --display-quantity 0.5
  trade2026 order new BTCUSDT sell 1 --price 46000 --post-only --stp-mode expire_taker
  trade2026 order replace o-12 --price 45100
  trade2026 order cancel o-12
  trade2026 order mass-cancel --account alice --symbol BTCUSDT
  trade2026 order show o-12                                    its state and all its reports
  trade2026 order list --account alice --watch                 open orders

Commands are published to ORDERS and answered from EXECUTIONS, whether a gateway runs or not.
Exit code: 0 accepted, 1 refused (the reason is on stderr), 64 wrong call (nothing was sent), 69 no server or no answer.`,
    )
  addNew(order)
  addChanges(order)
  addQueries(order)
}

function subcommand(order: Command, name: string, about: string): Command {
  return order
    .command(name)
    .description(about)
    .addOption(natsOption())
    .addOption(timeoutOption('how long to wait for the answer'))
    .addOption(jsonOption())
}

type Options = SendOptions & CommandBody

/** Options that are no fields of a command. */
const ownOptions: ReadonlySet<string> = new Set<keyof SendOptions | 'type' | 'tif'>([
  'nats',
  'json',
  'timeoutMs',
  'type',
  'tif',
])

function fieldsOf(options: Options): CommandBody {
  return Object.fromEntries(Object.entries(options).filter(([name]) => !ownOptions.has(name)))
}

function addNew(order: Command): void {
  subcommand(order, 'new', 'send an order')
    .argument('<symbol>', 'e.g. BTCUSDT')
    .argument('<side>', 'buy or sell')
    .argument('<quantity>')
    .option('--price <price>', 'limit price')
    .option('--account <account>', 'unset: default')
    .option('--type <type>', 'limit, market, stop, stop_limit, trailing_stop; unset: what the prices given say')
    .option('--tif <tif>', 'day, gtc, ioc, fok, gtd; unset: gtc, with --expire-at gtd')
    .option('--expire-at <time>', 'end of a gtd order: RFC 3339 or an epoch number')
    .option('--cl-ord-id <id>', 'your own id: an order sent twice with it is taken once')
    .option('--post-only', 'refused rather than taking')
    .option('--reduce-only', 'never more than closes the position')
    .option('--stop-price <price>', 'trigger of a stop order')
    .option('--trailing-offset <offset>', 'distance of a trailing stop')
    .option('--display-quantity <quantity>', 'shown part of an iceberg order')
    .option('--stp-mode <mode>', 'when own orders meet: none, expire_taker, expire_maker, expire_both')
    .action((symbol: string, side: string, quantity: string, options: Options) => {
      const { type: ordType = typeOf(options), tif, expireAt } = options
      const timeInForce = tif ?? (expireAt === undefined ? undefined : 'GTD')
      return sendCommand('new', { ...fieldsOf(options), symbol, side, quantity, ordType, timeInForce }, options)
    })
}

function typeOf({ price, stopPrice, trailingOffset }: CommandBody): string {
  if (trailingOffset !== undefined) return 'TRAILING_STOP'
  if (stopPrice !== undefined) return price === undefined ? 'STOP' : 'STOP_LIMIT'
  return price === undefined ? 'MARKET' : 'LIMIT'
}

function addChanges(order: Command): void {
  const change = (name: 'cancel' | 'replace', about: string) =>
    subcommand(order, name, about)
      .argument('[orderId]', 'e.g. o-12')
      .option('--orig-cl-ord-id <id>', 'name the order by its clOrdId, with --account')
      .option('--account <account>', 'whose order it is; unset: whoever’s orderId names it')
      .option('--cl-ord-id <id>', 'your own id of this command')
  const send = (kind: 'cancel' | 'replace') => (orderId: string | undefined, options: Options) =>
    sendCommand(kind, { ...fieldsOf(options), orderId }, options)
  change('cancel', 'cancel an order').action(send('cancel'))
  change('replace', 'change an order; what is not given stays')
    .option('--quantity <quantity>', 'total, what is filled included')
    .option('--price <price>')
    .option('--stop-price <price>')
    .option('--expire-at <time>')
    .action(send('replace'))
  subcommand(order, 'mass-cancel', 'cancel every open order that fits')
    .option('--account <account>')
    .option('--all-accounts', 'of everybody')
    .option('--symbol <symbol>')
    .option('--side <side>', 'buy or sell')
    .option('--cl-ord-id <id>', 'your own id of this command')
    .action((options: Options) => sendCommand('mass_cancel', fieldsOf(options), options))
}

function addQueries(order: Command): void {
  subcommand(order, 'show', 'the state of an order and all its reports')
    .argument('<orderId>', 'e.g. o-12')
    .action(showOrder)
  subcommand(order, 'list', 'open orders of an account, as the matcher has them')
    .option('--account <account>', 'whose', 'default')
    .option('--symbol <symbol>', 'only in this symbol')
    .option('--watch', 'show them anew every second until Ctrl-C', false)
    .action(listOrders)
}

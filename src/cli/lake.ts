import { type Command, InvalidArgumentError, Option } from 'commander'
import { jsonOption, natsOption } from './connect.ts'
import { adopt } from './lake-adopt.ts'
import { check } from './lake-check.ts'
import { dataDirOption, timestampOption, uriOption, versionOption } from './lake-place.ts'
import { query } from './lake-query.ts'
import { describe, history, list } from './lake-show.ts'
import { optimize, vacuum } from './lake-upkeep.ts'
import { wholeNumber, wholeNumberFrom0 } from './options.ts'

export function addLakeCommand(program: Command): void {
  const lake = program
    .command('lake')
    .description('look at the Delta tables of the sinks, query, check and maintain them')
    .addHelpText(
      'after',
      `
Examples:
  trade2026 lake ls                                            tables, their rows and sizes
  trade2026 lake describe market_ticks
  trade2026 lake history executions --limit 5                  what the last commits did
  trade2026 lake query "select symbol, count(*) from market_ticks where dt = current_date group by all"
  trade2026 lake query --csv --timestamp 2026-11-23T12:00:00Z "from executions" > executions.csv
  trade2026 lake check                                         files, rows, keys and sequences of all tables
  trade2026 lake optimize market_ticks                         small files into large ones
  trade2026 lake vacuum --dry-run                              files that no version needs any more
  trade2026 lake --help; trade2026 lake adopt --help

The sinks may go on meanwhile. For s3://… AWS_ENDPOINT_URL (for stores other than AWS), AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY and AWS_REGION say how.
Exit code: 0 ok, 1 a check failed, 64 wrong call, 69 no such lake.`,
    )
  const subcommand = (name: string, about: string) =>
    lake.command(name).description(about).addOption(uriOption()).addOption(dataDirOption()).addOption(jsonOption())

  subcommand('ls', 'tables, their versions, rows and sizes').action(list)
  subcommand('describe', 'columns, partitions, properties, protocol and transactions of a table')
    .argument('<table>')
    .addOption(versionOption())
    .addOption(timestampOption())
    .action(describe)
  subcommand('history', 'what the commits of a table did, newest first')
    .argument('<table>')
    .option('--limit <n>', 'so many commits at most', wholeNumber, 20)
    .action(history)
  subcommand('check', 'compare tables with their files, rows, keys and sequences; the first difference is printed')
    .argument('[tables...]', 'unset: all')
    .addOption(temporaryOption())
    .action(check)
  subcommand('query', 'run one SQL statement that reads, a view a table, through DuckDB')
    .argument('<sql>', 'e.g. "select * from market_ticks limit 5"')
    .addOption(versionOption())
    .addOption(timestampOption())
    .addOption(new Option('--csv', 'rows as CSV on stdout').default(false).conflicts('json'))
    .addOption(temporaryOption())
    .action(query)
  subcommand('optimize', 'write small files into large ones, in the order of the stream, while sinks go on')
    .argument('[tables...]', 'unset: all')
    .action(optimize)
  subcommand('vacuum', 'delete files that no version within the retention needs')
    .argument('[tables...]', 'unset: all')
    .option('--retention-hours <h>', 'unset: delta.deletedFileRetentionDuration of the table, else a week', hours)
    .option('--dry-run', 'list what would be deleted', false)
    .option('--force', 'take a retention that readers and writers do not reckon with', false)
    .action(vacuum)
  subcommand('adopt', 'let a table go on with a stream that was made anew, restored, or has lost messages')
    .argument('<table>')
    .addOption(
      new Option('--stream <stream>', 'unset: that of the table’s sink').choices(['TICKS', 'ALT', 'EXECUTIONS']),
    )
    .option('--sequence <n>', 'what the table counts as held up to here; the sink goes on behind it', wholeNumberFrom0)
    .addOption(
      new Option('--restored', 'the stream is a copy of the one before: the sink goes on behind what the table holds')
        .default(false)
        .conflicts('sequence'),
    )
    .option('--yes', 'do it without asking', false)
    .addOption(natsOption())
    .action(adopt)
}

function temporaryOption(): Option {
  return new Option('--temporary-bytes <n>', 'room for copies of files of S3, and for what does not fit the memory')
    .argParser(wholeNumber)
    .default(8 * 2 ** 30)
}

function hours(text: string): number {
  const value = Number(text)
  if (text === '' || !(value >= 0) || value > 1e6)
    throw new InvalidArgumentError('must be a number of hours, 0 or more')
  return value
}

import { type ChildProcess, fork } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { PipelineError } from '../base/errors.ts'

/**
 * A value of a row. Longs and wider integers are bigints; decimals, dates and times are text (RFC 3339 in UTC with
 * microseconds, without a zone where the column has none); anything else DuckDB has is its text.
 */
export type Cell = null | boolean | number | bigint | string | readonly Cell[] | { readonly [name: string]: Cell }

export type Row = readonly Cell[]

export interface ResultColumn {
  readonly name: string
  /** DuckDB's name of it, e.g. `DECIMAL(18,8)`. */
  readonly type: string
}

export interface DuckDbConfig {
  /** Where DuckDB keeps what does not fit its memory; goes with the process. */
  readonly folder: string
  /** For DuckDB's own buffers; the process takes some 90 MB and, when it sorts, up to half of this more. */
  readonly memoryBytes: number
  readonly spillBytesMax: number
}

export type Request = { readonly do: 'run' | 'query'; readonly sql: string } | { readonly do: 'fetch' }

export type Answer = { readonly value: unknown } | { readonly error: string; readonly isRefused: boolean }

const childFile = fileURLToPath(new URL('duckdb-child.ts', import.meta.url))
const lastWordsMax = 2_000

/**
 * DuckDB in a process of its own with one thread and bounded memory, so that what it needs is gone when it ends, and
 * nothing it does holds up the process that asks. Extensions are never loaded.
 */
export class DuckDb {
  readonly #child: ChildProcess
  readonly #ended: Promise<string>
  #turn: Promise<unknown> = Promise.resolve()

  private constructor(child: ChildProcess) {
    this.#child = child
    let lastWords = ''
    child.stderr?.on('data', (chunk: Buffer) => (lastWords = `${lastWords}${chunk.toString()}`.slice(-lastWordsMax)))
    this.#ended = new Promise((resolve) => {
      child.once('error', (error) => {
        // Also what a signal ends is told of so, before it has ended.
        if (child.pid === undefined) resolve(error.message)
      })
      child.once('close', (code, signal) =>
        resolve(`it ended with ${signal ?? code ?? 'nothing'}${lastWords && `: ${lastWords.trim()}`}`),
      )
    })
  }

  /** @param signal ends it */
  static async start(config: DuckDbConfig, signal?: AbortSignal): Promise<DuckDb> {
    await mkdir(config.folder, { recursive: true })
    return new DuckDb(
      fork(childFile, [JSON.stringify(config)], {
        serialization: 'advanced',
        stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
        execArgv: [],
        // With one arena, what a query has freed is there for the next.
        env: { ...process.env, MALLOC_ARENA_MAX: '1' },
        killSignal: 'SIGKILL',
        ...(signal ? { signal } : {}),
      }),
    )
  }

  /** Runs statements of our own; the rows of the last one, which must be few. @throws PipelineError LAKE_DUCKDB */
  async run(sql: string): Promise<Row[]> {
    return (await this.#ask({ do: 'run', sql })) as Row[]
  }

  /**
   * Runs one statement of somebody else that only reads; all its rows must be taken before the next request.
   * @throws PipelineError USAGE when it is something else or no SQL, LAKE_DUCKDB when it fails on the way
   */
  async query(sql: string): Promise<{ columns: ResultColumn[]; rows: AsyncIterable<Row[]> }> {
    const columns = (await this.#ask({ do: 'query', sql }, 'USAGE')) as ResultColumn[]
    return { columns, rows: this.#rows() }
  }

  async *#rows(): AsyncIterable<Row[]> {
    for (;;) {
      const rows = (await this.#ask({ do: 'fetch' })) as Row[] | undefined
      if (!rows) return
      yield rows
    }
  }

  /** Its folder is the caller's to remove. */
  async stop(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#ended
  }

  #ask(request: Request, code: 'USAGE' | 'LAKE_DUCKDB' = 'LAKE_DUCKDB'): Promise<unknown> {
    const asked = this.#turn.then(() => this.#exchange(request, code))
    this.#turn = asked.catch(() => undefined)
    return asked
  }

  async #exchange(request: Request, code: 'USAGE' | 'LAKE_DUCKDB'): Promise<unknown> {
    const child = this.#child
    const answered = new Promise<Answer>((resolve) => child.once('message', (message) => resolve(message as Answer)))
    // That it has ended is seen below.
    if (child.connected) child.send(request, () => undefined)
    const answer = await Promise.race([answered, this.#ended])
    if (typeof answer === 'string')
      throw new PipelineError('LAKE_DUCKDB', `DuckDB cannot go on: ${answer}`, { retriable: true })
    if ('value' in answer) return answer.value
    if (answer.isRefused) throw new PipelineError('USAGE', answer.error)
    throw new PipelineError(isRoom(answer.error) ? 'LAKE_DUCKDB' : code, `DuckDB: ${answer.error.trim()}`)
  }
}

/** Not the fault of the statement. */
function isRoom(error: string): boolean {
  return /^(Out of Memory|IO|FATAL|INTERNAL) Error/.test(error)
}

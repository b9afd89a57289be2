import { setTimeout as sleep } from 'node:timers/promises'
import { assert } from '../base/assert.ts'
import { planCrash } from '../local/crash-file.ts'
import { poll } from '../local/process.ts'
import type { TcpProxy } from '../local/tcp-proxy.ts'
import type { Fault } from './chaos-schedule.ts'
import type { StackPart } from './stack.ts'

/** A process that is to end at a point has come there after this long, or is left to do so whenever it does. */
const crashTimeoutMs = 8_000
const restartTimeoutMs = 20_000

/** Does to the parts of a stack what faults say. */
export class FaultInjector {
  readonly #parts: ReadonlyMap<string, StackPart>
  readonly #proxy: TcpProxy
  readonly #crashDir: string

  /** @param proxy between the workers and their server */
  constructor(parts: readonly StackPart[], proxy: TcpProxy, crashDir: string) {
    this.#parts = new Map(parts.map((part) => [part.label, part]))
    this.#proxy = proxy
    this.#crashDir = crashDir
  }

  /** Resolves when the fault is over and recovery may begin. @returns what came of it otherwise than said */
  async inject(fault: Fault): Promise<string | undefined> {
    const { kind, durationMs = 0 } = fault
    switch (kind) {
      case 'kill':
        return this.#signal(fault, 'SIGKILL')
      case 'terminate':
        return this.#signal(fault, 'SIGTERM')
      case 'pause': {
        const missed = await this.#signal(fault, 'SIGSTOP')
        await sleep(durationMs)
        this.#part(fault).process.kill('SIGCONT')
        return missed
      }
      case 'crash':
        return this.#crash(fault)
      case 'cut':
        this.#proxy.cut()
        await sleep(durationMs)
        this.#proxy.open()
        return undefined
      case 'lost-answers':
        this.#proxy.dropAnswers()
        await sleep(durationMs)
        // What comes after a gap in what the server says is no protocol.
        this.#proxy.cut()
        this.#proxy.open()
        return undefined
    }
  }

  #part({ target }: Fault): StackPart {
    const part = this.#parts.get(target)
    assert(part, `no part ${target}`)
    return part
  }

  async #signal(fault: Fault, signal: NodeJS.Signals): Promise<string | undefined> {
    const { process } = this.#part(fault)
    if (!(await poll(restartTimeoutMs, () => process.pid !== undefined))) return 'it was down already'
    process.kill(signal)
    return undefined
  }

  async #crash(fault: Fault): Promise<string | undefined> {
    const { process, instance } = this.#part(fault)
    const { point, occurrence = 1 } = fault
    assert(point, 'a crash has its point')
    planCrash(this.#crashDir, instance, { point, occurrence })
    const missed = await this.#signal(fault, 'SIGKILL')
    if (missed !== undefined) return missed
    const isAlive = () => process.pid !== undefined
    const ended = () => !isAlive()
    if (!(await poll(restartTimeoutMs, ended)) || !(await poll(restartTimeoutMs, isAlive))) return 'it did not restart'
    return (await poll(crashTimeoutMs, ended)) ? undefined : 'it did not come there yet'
  }
}

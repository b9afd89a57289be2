import { type ChildProcess, fork } from 'node:child_process'
import type { GeneratorEvent, GeneratorRequest, LoadOutcome, LoadSpec, Target } from './load-generator.ts'

/** The load generator, in a process of its own so that nobody else delays it. */
export interface Generator {
  /** Makes the commands of the load that `run` then puts on. */
  prepare(spec: LoadSpec): Promise<void>
  /** @throws Error when a command was refused, or not finished in time */
  run(spec: LoadSpec, onProgress?: (finished: number) => void): Promise<LoadOutcome>
  stop(): void
}

export async function startGenerator(target: Target): Promise<Generator> {
  const child = fork(new URL('./load-generator.ts', import.meta.url), { execArgv: ['--max-semi-space-size=16'] })
  let onProgress: (finished: number) => void = () => undefined
  const ask = (request: GeneratorRequest) => {
    const answer = eventOf(child, (finished) => onProgress(finished))
    child.send(request)
    return answer
  }
  await ask({ open: target })
  return {
    prepare: async (spec) => {
      await ask({ prepare: spec })
    },
    run: async (spec, listener = () => undefined) => {
      onProgress = listener
      const answer = await ask({ run: spec })
      if (answer.event !== 'done') throw new Error(`the load generator said ${answer.event}`)
      const { sent, refused, finished } = answer.outcome
      if (finished !== spec.count)
        throw new Error(`of ${spec.count} commands ${sent} were sent, ${refused} refused, ${finished} finished`)
      return answer.outcome
    },
    stop: () => child.kill('SIGKILL'),
  }
}

/** The next event that is no progress. @throws Error when the generator fails or ends */
function eventOf(child: ChildProcess, onProgress: (finished: number) => void): Promise<GeneratorEvent> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => {
      child.off('message', hear)
      child.off('exit', ended)
      act()
    }
    const hear = (event: GeneratorEvent) => {
      if (event.event === 'progress') onProgress(event.finished)
      else if (event.event === 'failed') settle(() => reject(new Error(`the load generator failed: ${event.message}`)))
      else settle(() => resolve(event))
    }
    const ended = (code: number | null, signal: string | null) =>
      settle(() => reject(new Error(`the load generator ended (${String(code ?? signal)})`)))
    child.on('message', hear)
    child.on('exit', ended)
  })
}

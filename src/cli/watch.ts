import { messageOf } from '../base/errors.ts'
import type { Nats } from '../runtime/nats.ts'
import { isUnavailable } from '../runtime/query.ts'
import { onInterrupt } from './interrupt.ts'
import { endWithReader, say } from './output.ts'

const intervalMs = 1_000

/** Does something once a second until Ctrl-C. While NATS is away it says so and goes on. */
export async function watch(nats: Nats, look: () => Promise<unknown>): Promise<never> {
  onInterrupt(() => nats.close())
  endWithReader()
  for (;;) {
    try {
      await look()
    } catch (error) {
      if (!isUnavailable(error)) throw error
      say(`NATS does not answer (${messageOf(error)}); trying again`)
    }
    await new Promise((resolve) => setTimeout(resolve, intervalMs))
  }
}

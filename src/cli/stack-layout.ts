import { isIPv6 } from 'node:net'
import { freePort, isPortTaken, portInUse } from '../local/ports.ts'
import { stackSpecs, type WorkerName } from '../subjects/contract.ts'
import type { StackOptions } from './stack.ts'

export const layouts = ['compact', 'separate'] as const
export type Layout = (typeof layouts)[number]

const chain: Place = { label: 'chain', workers: ['risk-gate', 'oms-matcher', 'pnl-updater', 'tape'] }

/** Which workers share a process. */
const workersOf: Readonly<Record<Layout, readonly Place[]>> = {
  compact: [
    chain,
    { label: 'gateway', workers: ['gateway'] },
    { label: 'sinks', workers: ['tick-sink', 'alt-sink', 'execution-sink'] },
    { label: 'janitor', workers: ['janitor'] },
  ],
  separate: stackSpecs.map(({ name }) => ({ label: name, workers: [name] })),
}

/** The stand-by of `chaos`. */
export const standByLabel = 'stand-by'

/** A process of workers. */
export interface Place {
  /** Names it in logs and among its peers. */
  readonly label: string
  readonly workers: readonly WorkerName[]
  /** Where a gateway tells of itself when it shares its port with others. */
  readonly healthPort?: number
  /** Unset: those of the stack. */
  readonly ports?: Readonly<Partial<Record<WorkerName, number>>>
}

/** Gateways that share their port have the ones after this for themselves. */
const healthPortBase = 8_120

export async function choosePorts(options: StackOptions): Promise<Readonly<Record<WorkerName, number>>> {
  const ports = {} as Record<WorkerName, number>
  for (const { name, httpPort } of stackSpecs) ports[name] = await choosePort(options, httpPort)
  return ports
}

async function choosePort({ ports, portRemedy = 'take free ones' }: StackOptions, documented: number): Promise<number> {
  if (ports === 'free') return freePort()
  if (await isPortTaken(documented)) throw await portInUse(documented, portRemedy)
  return documented
}

/** The processes of a layout, with as many gateways as there should be. */
export async function choosePlaces(options: StackOptions): Promise<Place[]> {
  const { WORKERS: gateways } = options.settings
  const places: Place[] = []
  for (const { label, workers } of workersOf[options.layout]) {
    if (!workers.includes('gateway') || gateways === 1) places.push({ label, workers })
    else
      for (let number = 1; number <= gateways; number += 1) {
        const healthPort = await choosePort(options, healthPortBase + number)
        places.push({ label: `${label}-${number}`, workers, healthPort })
      }
  }
  if (options.trouble) {
    const { workers } = chain
    const ports = Object.fromEntries(await Promise.all(workers.map(async (name) => [name, await freePort()] as const)))
    places.push({ label: standByLabel, workers, ports })
  }
  return places
}

/** Where a door that listens on `host` is reached from this machine. */
export function localUrl(host: string, port: number): string {
  const reached = { '0.0.0.0': '127.0.0.1', '::': '::1' }[host] ?? host
  return `http://${isIPv6(reached) ? `[${reached}]` : reached}:${port}`
}

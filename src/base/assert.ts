/** A broken invariant: a bug of ours, never an operational condition. Nobody catches it; the process exits and recovers. */
export class BugError extends Error {
  override name = 'BugError'
}

/** Checks an invariant in production too. @throws BugError */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new BugError(message)
}

/** Marks a branch that the types rule out. @throws BugError */
export function unreachable(value: never): never {
  throw new BugError(`unreachable: ${JSON.stringify(value)}`)
}

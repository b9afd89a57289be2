/** Brings what takes minutes to build or to fetch before the tests that need it run against the clock. */
import { messageOf } from '../../src/base/errors.ts'
import { minio } from '../../src/local/components.ts'
import { findServer } from '../../src/local/find.ts'
import { nginx, nginxMainline } from './nginx.ts'
import { pythonPath } from './python.ts'

const say = (message: string) => process.stderr.write(`${message}\n`)
const wanted = [
  ...[minio, nginx, nginxMainline].map((component) => findServer(component, { onProgress: say })),
  pythonPath(say),
]
// Without it the tests that need it say why.
await Promise.all(wanted.map((found: Promise<unknown>) => found.catch((error: unknown) => say(messageOf(error)))))

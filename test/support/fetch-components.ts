/** Brings what takes minutes to build before the tests that need it run against the clock. */
import { messageOf } from '../../src/base/errors.ts'
import { minio } from '../../src/local/components.ts'
import { findServer } from '../../src/local/find.ts'

const say = (message: string) => process.stderr.write(`${message}\n`)
// Without it the tests that need it say why.
await findServer(minio, { onProgress: say }).catch((error: unknown) => say(messageOf(error)))

/** Preloaded with `--import`: no file system has hard links, as FAT has none. */
import fsPromises from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'

fsPromises.link = (from) =>
  Promise.reject(Object.assign(new Error(`EPERM: link '${String(from)}'`), { code: 'EPERM', syscall: 'link' }))
syncBuiltinESMExports()

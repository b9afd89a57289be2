/** The health check of a container: `node deploy/is-healthy.ts PORT [PATH]` ends with 0 when that answers 2xx. */
const [port = '8099', path = '/health'] = process.argv.slice(2)
const response = await fetch(`http://127.0.0.1:${port}${path}`).catch(() => undefined)
process.exitCode = response?.ok === true ? 0 : 1

export {}

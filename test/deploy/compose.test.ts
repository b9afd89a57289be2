import { Ajv2020 } from 'ajv/dist/2020.js'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { parseSettings, settingsSchema } from '../../src/schemas/settings.ts'
import { type WorkerName, workerSpecs } from '../../src/subjects/contract.ts'
import { root } from '../repo/imports.ts'

interface Service {
  readonly image: string
  readonly build?: string
  readonly command?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly env_file?: unknown
  readonly healthcheck?: { readonly test: readonly string[] }
  readonly deploy?: unknown
  readonly ports?: readonly string[]
  readonly volumes?: readonly string[]
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>
  readonly container_name?: string
  readonly restart?: string
}
interface Compose {
  readonly services: Readonly<Record<string, Service>>
  readonly volumes: Readonly<Record<string, null>>
}

const text = readFileSync(join(root, 'deploy/compose.yml'), 'utf8')
const compose = parse(text, { merge: true }) as Compose
const services = Object.entries(compose.services)
const workers = services.filter(([, { build }]) => build !== undefined)
/** What the sinks' store reads besides the settings. */
const storeVariables = ['AWS_ENDPOINT_URL', 'AWS_REGION', 'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY']
const serviceOf = (worker: WorkerName) => (worker === 'gateway' ? 'oms' : worker)

void t.test('P3.19 deploy/compose.yml is valid by the compose specification', (t) => {
  const specification = JSON.parse(readFileSync(join(root, 'test/deploy/compose-spec.json'), 'utf8')) as object
  const validate = new Ajv2020({ strict: false, validateFormats: false, allErrors: true }).compile(specification)
  t.ok(validate(compose), JSON.stringify(validate.errors))
  const { oms } = compose.services
  for (const wrong of [
    { ...oms, heathcheck: {} },
    { ...oms, deploy: { resources: { limits: { memory: [] } } } },
  ])
    t.notOk(validate({ ...compose, services: { oms: wrong } }), 'and it tells right from wrong')
  t.end()
})

void t.test('P3.19 every worker has a service, with its port and the limits', (t) => {
  for (const { name, httpPort } of workerSpecs) {
    const service = compose.services[serviceOf(name)]
    t.same(service?.command, ['worker', name])
    t.same(service?.healthcheck?.test, ['CMD', 'node', 'deploy/is-healthy.ts', String(httpPort)], name)
  }
  t.same(workers.map(([name]) => name).sort(), workerSpecs.map(({ name }) => serviceOf(name)).sort())
  for (const [name, { deploy, restart, ports, container_name: containerName }] of workers) {
    const resources = { limits: { cpus: '2', memory: '512M' }, reservations: { cpus: '1', memory: '256M' } }
    t.same(deploy, { resources }, name)
    t.equal(restart, 'unless-stopped', `${name} is crash-only: somebody must start it again`)
    t.same([ports, containerName], [undefined, undefined], `${name} may run more than once`)
  }
  t.end()
})

void t.test('P3.19 every variable of compose.yml is a setting with a value that it takes', (t) => {
  const known = new Set([...Object.keys(settingsSchema.properties), ...storeVariables])
  const unknown = (names: readonly string[]) => names.filter((name) => !known.has(name))
  for (const [name, { environment = {} }] of workers) {
    t.same(unknown(Object.keys(environment)), [], name)
    t.notOk(Array.isArray(parseSettings(environment)), name)
    t.match(environment, { NATS_URL: 'nats://nats:4222', HTTP_HOST: '0.0.0.0' }, name)
    if (name.endsWith('-sink'))
      t.same(
        storeVariables.filter((variable) => !environment[variable]),
        [],
        name,
      )
    else
      t.same(
        storeVariables.filter((variable) => environment[variable]),
        [],
        `${name} has no key to the lake`,
      )
  }
  const interpolated = Array.from(text.matchAll(/\$\{(\w+)/g), ([, name = '']) => name)
  t.ok(interpolated.includes('AWS_SECRET_ACCESS_KEY'), 'they are found')
  t.same(unknown(interpolated), [])
  t.end()
})

void t.test('P3.19 images are pinned; services, volumes and files that are named are there', (t) => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  for (const [name, { image, build, depends_on: needed = {}, volumes = [], ports = [] }] of services) {
    if (build === undefined) t.match(image, /:(v?\d+\.\d+\.\d+(-alpine)?|RELEASE\.[\dTZ-]+)$/, name)
    else t.equal(image, `trade2026:${version}`, name)
    for (const [other, { condition }] of Object.entries(needed)) {
      const isOnce = compose.services[other]?.restart === undefined
      t.equal(condition, isOnce ? 'service_completed_successfully' : 'service_healthy', `${name}: ${other}`)
      t.ok(isOnce || compose.services[other]?.healthcheck, `${other} has a health check`)
    }
    for (const volume of volumes) {
      const [source = ''] = volume.split(':')
      if (source.startsWith('.')) t.ok(existsSync(join(root, 'deploy', source)), volume)
      else t.ok(source in compose.volumes, volume)
    }
    for (const port of ports) t.match(port, /^127\.0\.0\.1:(\d+):\1$/, `${name} is reached from this machine only`)
  }
  t.end()
})

interface ScrapeConfig {
  readonly static_configs?: readonly { readonly targets: readonly string[] }[]
  readonly dns_sd_configs?: readonly {
    readonly names: readonly string[]
    readonly type: string
    readonly port: number
  }[]
}

void t.test('P3.19 deploy/prometheus.yml scrapes every worker on its port, gateways by DNS', (t) => {
  const { scrape_configs: jobs } = parse(readFileSync(join(root, 'deploy/prometheus.yml'), 'utf8')) as {
    scrape_configs: readonly ScrapeConfig[]
  }
  const byName = jobs.flatMap(({ dns_sd_configs: configs = [] }) =>
    configs.flatMap(({ names, type, port }) => (type === 'A' ? names.map((name) => `${name}:${port}`) : [])),
  )
  const fixed = jobs.flatMap(({ static_configs: configs = [] }) => configs.flatMap(({ targets }) => targets))
  const targets = [...byName, ...fixed]
  for (const { name, httpPort } of workerSpecs) t.ok(targets.includes(`${serviceOf(name)}:${httpPort}`), name)
  t.ok(byName.includes('oms:8099'))
  t.same(targets.map((target) => target.split(':')[0]).sort(), workers.map(([name]) => name).sort(), 'each once')
  t.end()
})

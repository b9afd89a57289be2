import type { Test } from 'tap'
import { startTcpProxy, type TcpProxy } from '../../src/local/tcp-proxy.ts'

/** @param port of the server, on 127.0.0.1 */
export async function startProxy(t: Test, port: number): Promise<Omit<TcpProxy, 'port' | 'close'> & { url: string }> {
  const proxy = await startTcpProxy(port)
  t.teardown(() => proxy.close())
  return { ...proxy, url: `nats://127.0.0.1:${proxy.port}` }
}

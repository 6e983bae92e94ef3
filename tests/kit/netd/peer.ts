/**
 * The other end of what netd's tests send: a program that is started inside a network namespace, the world's or the
 * guest's, and serves at fixed ports until it is killed. Says `ready` when it listens.
 *
 *     GET /bytes/N     N bytes that follow from N          (TCP 8080; TCP 8081 of 127.0.0.1 only)
 *     PUT /            SHA-256 of what was sent
 *     GET /whoami      address of the client, as it is seen here
 *     TCP 7            everything back, but only after the client's end
 *     UDP 7            each datagram back                  (UDP 77 of 127.0.0.1 only)
 *     UDP, TCP 53      a name server (tests/kit/netd/dns.ts)
 *
 * @module
 */

import { RealClock } from "../../../devices/host/clock.ts";
import { LinuxSocket } from "../../../devices/host/linux_socket.ts";
import { Reactor } from "../../../devices/host/reactor.ts";
import { answerDns } from "./dns.ts";

/** Bytes that follow from their number. */
export function bytesOf(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let i = 0, x = length | 1; i < length; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) | 0;
    bytes[i] = x >>> 24;
  }
  return bytes;
}

async function answerHttp(request: Request, client: string): Promise<string | Uint8Array<ArrayBuffer>> {
  const { pathname } = new URL(request.url);
  if (request.method === "PUT") {
    return new Uint8Array(await crypto.subtle.digest("SHA-256", await request.arrayBuffer())).toHex();
  }
  return pathname === "/whoami" ? client : bytesOf(Number(pathname.slice("/bytes/".length)));
}

function serveHttp(hostname: string, port: number): void {
  Deno.serve(
    { port, hostname, onListen: () => {} },
    async (request, { remoteAddr }) => new Response(await answerHttp(request, remoteAddr.hostname)),
  );
}

/** Serves TCP connections, each by `work`; one that fails is its client's. */
async function serveTcp(port: number, work: (conn: Deno.TcpConn) => Promise<void>): Promise<void> {
  for await (const conn of Deno.listen({ port, hostname: "0.0.0.0" })) {
    work(conn).catch(() => {}).finally(() => conn.close());
  }
}

/** Where datagrams are served. */
interface UdpPlace {
  readonly addr: string;
  readonly port: number;
}

/** Answers each datagram with the result of `reply`. */
function serveUdp(reactor: Reactor, place: UdpPlace, reply: (bytes: Uint8Array) => Uint8Array): void {
  const socket = new LinuxSocket("udp", null);
  socket.bind(place.addr, place.port);
  socket.onMessage = ({ bytes, addr, port }) => void socket.sendTo(reply(bytes), addr, port);
  reactor.add(socket);
}

async function echo(conn: Deno.TcpConn): Promise<void> {
  const parts: Uint8Array[] = [];
  const room = new Uint8Array(65536);
  for (let count = await conn.read(room); count !== null; count = await conn.read(room)) {
    parts.push(room.slice(0, count));
  }
  for (const part of parts) await writeAll(conn, part);
}

async function answerTcpDns(conn: Deno.TcpConn): Promise<void> {
  const room = new Uint8Array(4096);
  let rest = new Uint8Array(0);
  for (let count = await conn.read(room); count !== null; count = await conn.read(room)) {
    rest = new Uint8Array([...rest, ...room.subarray(0, count)]);
    // Several questions may come at once, and one in pieces.
    while (rest.length >= 2 && rest.length >= 2 + (rest[0]! << 8 | rest[1]!)) {
      const end = 2 + (rest[0]! << 8 | rest[1]!);
      const answer = answerDns(rest.subarray(2, end), true);
      rest = rest.slice(end);
      await writeAll(conn, new Uint8Array([answer.length >> 8, answer.length & 255, ...answer]));
    }
  }
}

async function writeAll(conn: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
}

if (import.meta.main) {
  const reactor = new Reactor({ clock: new RealClock() });
  serveHttp("0.0.0.0", 8080);
  serveHttp("127.0.0.1", 8081);
  serveTcp(7, echo);
  serveTcp(53, answerTcpDns);
  serveUdp(reactor, { addr: "0.0.0.0", port: 7 }, (bytes) => bytes);
  serveUdp(reactor, { addr: "127.0.0.1", port: 77 }, (bytes) => bytes);
  serveUdp(reactor, { addr: "0.0.0.0", port: 53 }, (query) => answerDns(query, false));
  reactor.start();
  console.log("ready");
}

/**
 * Benchmarks of the machine's sockets on its loopback, as the socket uplink uses them: what Linux costs below it.
 *
 * Path: benches → socket_benches → linux_sockets.
 *
 * @module
 */

import { RealClock } from "../../devices/host/clock.ts";
import { pause } from "../../devices/host/pause.ts";
import { Reactor } from "../../devices/host/reactor.ts";
import { LinuxSockets } from "../../devices/host/sockets/linux_sockets.ts";
import {
  type DatagramOut,
  type HostStream,
  NOT_NOW,
  type SocketEnd,
  type SocketFailure,
} from "../../kernel/host_sockets.ts";
import { IPV4_LOOPBACK } from "../../kernel/wire/ip_addr.ts";
import { type Bench, measure, type Tell } from "./measure.ts";

const CHUNK = 65536;
const BATCH = 64;
/** Connections that are made side by side. */
const CALLS = 50;
const HERE = { version: 4, address: IPV4_LOOPBACK, port: 0 } as const;

/** All of the sockets', in the order in which they run. */
export const SOCKET_BENCHES: readonly Bench[] = [
  { name: "socket-stream", run: (tell) => withSockets(tell, streams) },
  { name: "socket-datagrams", run: (tell) => withSockets(tell, datagrams) },
  { name: "socket-calls", run: (tell) => withSockets(tell, calls) },
];

async function withSockets(tell: Tell, work: (tell: Tell, sockets: LinuxSockets) => Promise<void>): Promise<void> {
  const clock = new RealClock();
  const reactor = new Reactor({ clock });
  const sockets = new LinuxSockets({ reactor, clock });
  reactor.start();
  try {
    await work(tell, sockets);
  } finally {
    sockets.close();
    await reactor.stop();
  }
}

/** The socket, where a call may say why there is none. */
function opened<S extends object>(answer: S | SocketFailure): S {
  if (typeof answer === "string") throw new Error(`No socket: ${answer}`);
  return answer;
}

/** Connections to a listener of their own: the two ends of each. */
async function connect(sockets: LinuxSockets, count: number): Promise<[HostStream[], HostStream[]]> {
  const listener = opened(sockets.listen(HERE));
  const request = { to: listener.local, from: null, ttl: 0, tos: 0 };
  const clients = Array.from({ length: count }, () => opened(sockets.connect(request)));
  const servers: HostStream[] = [];
  while (servers.length < count) {
    const server = listener.accept();
    if (server === null || server === "shortage") await pause();
    else servers.push(server);
  }
  while (clients.some(({ state }) => state === "connecting")) await pause();
  listener.close();
  return [clients, servers];
}

async function streams(tell: Tell, sockets: LinuxSockets): Promise<void> {
  const [[client], [server]] = await connect(sockets, 1) as [[HostStream], [HostStream]];
  const into = new Uint8Array(CHUNK);
  for (const [count, size] of [[1, CHUNK], [44, 1460]] as const) {
    const parts = Array.from({ length: count }, () => new Uint8Array(size));
    tell(
      await measure(`socket write + read, ${count} x ${size} bytes`, 1, async () => {
        let left = client.write(parts, count);
        for (; left === NOT_NOW; left = client.write(parts, count)) await pause();
        while (left > 0) {
          const got = server.read(into);
          if (got > 0) left -= got;
          else await pause();
        }
      }),
    );
  }
  const message = [new Uint8Array(64)];
  tell(
    await measure("socket request + answer of 64 bytes by the loop", 100, () => {
      const done = Promise.withResolvers<void>();
      let left = 100;
      server.onReady = () => {
        while (server.read(into) > 0) server.write(message, 1);
      };
      client.onReady = () => {
        while (client.read(into) > 0) --left > 0 ? client.write(message, 1) : done.resolve();
      };
      client.write(message, 1);
      return done.promise;
    }),
  );
}

async function datagrams(tell: Tell, sockets: LinuxSockets): Promise<void> {
  const one = opened(sockets.datagrams(HERE));
  const other = opened(sockets.datagrams(HERE));
  const message = (to: SocketEnd, bytes: number, segmentSize: number): DatagramOut => ({
    to,
    from: null,
    parts: [new Uint8Array(bytes)],
    ttl: 64,
    tos: 0,
    dontFragment: false,
    segmentSize,
  });
  for (
    const { name, count, messages } of [
      ...[64, 1400].map((size) => ({
        name: `socket send + receive, 64 datagrams of ${size} bytes`,
        count: BATCH,
        messages: Array.from({ length: BATCH }, () => message(other.local, size, 0)),
      })),
      {
        name: "socket send + receive, a burst of 46 datagrams of 1400 bytes",
        count: 46,
        messages: [message(other.local, 46 * 1400, 1400)],
      },
    ]
  ) {
    tell(
      await measure(name, count, () => {
        one.send(messages, messages.length);
        other.receive(() => {}, BATCH + 1);
      }),
    );
  }
}

async function calls(tell: Tell, sockets: LinuxSockets): Promise<void> {
  tell(
    await measure("socket connect + accept + two closes", CALLS, async () => {
      const [clients, servers] = await connect(sockets, CALLS);
      for (const stream of [...clients, ...servers]) stream.reset();
    }),
  );
}

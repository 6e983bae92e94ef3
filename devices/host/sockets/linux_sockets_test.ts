/** Sockets of this machine, on its loopback, in both versions of IP: what each call answers, and when edges come. */

import { assert, assertEquals, fail } from "@std/assert";
import {
  FAILED,
  type HostDatagrams,
  type HostListener,
  type HostStream,
  NOT_NOW,
} from "../../../kernel/host_sockets.ts";
import { IpAddr, parseIpAddr } from "../../../kernel/wire/ip_addr.ts";
import { machineTest } from "../../../tests/kit/check/skip.ts";
import { RealClock } from "../clock.ts";
import { Reactor } from "../reactor.ts";
import { LinuxSockets, raiseDescriptorLimit } from "./linux_sockets.ts";

const VERSIONS = [
  { version: 4, loopback: parseIpAddr("127.0.0.1")!, other: parseIpAddr("127.0.0.2")!, foreign: "198.51.100.9" },
  { version: 6, loopback: parseIpAddr("::1")!, other: parseIpAddr("::1")!, foreign: "2001:db8::9" },
] as const;

/** A socket, not the name of an error. */
function opened<T>(got: T): Exclude<T, string> {
  assert(typeof got !== "string", `Refused: ${got}`);
  return got as Exclude<T, string>;
}

/** Runs `work` with sockets in a running loop; none may be left open. */
async function withSockets(work: (sockets: LinuxSockets, until: Until) => Promise<void>): Promise<void> {
  const clock = new RealClock();
  const reactor = new Reactor({ clock });
  reactor.start();
  const sockets = new LinuxSockets({ reactor, clock });
  try {
    await work(sockets, until);
    assertEquals(sockets.size, 0, "every socket is closed");
  } finally {
    sockets.close();
    await reactor.stop();
  }
}

type Until = (what: string, look: () => boolean) => Promise<void>;

async function until(what: string, look: () => boolean): Promise<void> {
  for (let i = 0; i < 2000; i++) {
    if (look()) return;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  fail(`No ${what} within 2 s`);
}

function listen(sockets: LinuxSockets, { version, loopback }: typeof VERSIONS[number]): HostListener {
  return opened(sockets.listen({ version, address: loopback, port: 0 }));
}

/** A connection of ours and its other end. */
async function pair(sockets: LinuxSockets, at: typeof VERSIONS[number]): Promise<[HostStream, HostStream]> {
  const listener = listen(sockets, at);
  const ours = opened(sockets.connect({ to: listener.local, from: null, ttl: 0, tos: 0 }));
  let theirs: HostStream | "shortage" | null = null;
  await until("call", () => (theirs ??= listener.accept()) !== null);
  await until("connection", () => ours.state === "connected");
  listener.close();
  return [ours, opened(theirs as unknown as HostStream)];
}

const TEXT = new TextEncoder().encode("hello");

for (const at of VERSIONS) {
  const name = `IPv${at.version}`;

  machineTest(`${name}: a connection carries bytes both ways, and each half ends by itself`, ["ffi"], async () => {
    await withSockets(async (sockets, until) => {
      const [ours, theirs] = await pair(sockets, at);
      assertEquals([ours.local, ours.remote], [theirs.remote, theirs.local]);
      const into = new Uint8Array(100);
      assertEquals(theirs.read(into), NOT_NOW);
      assertEquals(ours.write([TEXT, TEXT.subarray(0, 2)], 2), 7, "in two pieces");
      await until("text", () => theirs.read(into) === 7);
      assertEquals(new TextDecoder().decode(into.subarray(0, 7)), "hellohe");
      ours.shutdownWrite();
      await until("end", () => theirs.read(into) === 0);
      assertEquals(theirs.write([TEXT], 1), 5, "the other half goes on");
      await until("answer", () => ours.read(into) === 5);
      theirs.close();
      await until("end", () => ours.read(into) === 0);
      ours.close();
    });
  });

  machineTest(`${name}: a reset is an error, after the data before it`, ["ffi"], async () => {
    await withSockets(async (sockets, until) => {
      const [ours, theirs] = await pair(sockets, at);
      let edges = 0;
      ours.onReady = () => void edges++;
      theirs.write([TEXT], 1);
      theirs.reset();
      await until("edge", () => edges > 0);
      const into = new Uint8Array(100);
      await until("failure", () => {
        const count = ours.read(into);
        assert(count === FAILED || count === NOT_NOW || count === 5, `read ${count}`);
        return count === FAILED;
      });
      assertEquals(ours.failure, "ECONNRESET");
      assertEquals(ours.write([TEXT], 1), FAILED);
      ours.close();
    });
  });

  machineTest(
    `${name}: a refused port is ECONNREFUSED, and an address without a route fails at once`,
    ["ffi"],
    async () => {
      await withSockets(async (sockets, until) => {
        const listener = listen(sockets, at);
        const to = listener.local;
        listener.close();
        const ours = opened(sockets.connect({ to, from: null, ttl: 64, tos: 0xb8 }));
        await until("failure", () => ours.state === "failed");
        assertEquals(ours.failure, "ECONNREFUSED");
        ours.close();
        const from = parseIpAddr(at.foreign)!;
        assertEquals(sockets.connect({ to, from, ttl: 0, tos: 0 }), "EADDRNOTAVAIL");
      });
    },
  );

  machineTest(
    `${name}: a reader that pauses stops the writer, an edge lets it go on, and no byte is lost`,
    ["ffi"],
    async () => {
      await withSockets(async (sockets, until) => {
        const [ours, theirs] = await pair(sockets, at);
        const part = new Uint8Array(60_000);
        let sent = 0;
        const fill = () => {
          for (;;) {
            for (let i = 0; i < part.length; i++) part[i] = (sent + i) % 251;
            const count = sent < 8 << 20 ? ours.write([part], 1) : NOT_NOW;
            if (count <= 0) return;
            sent += count;
          }
        };
        fill();
        const stopped = sent;
        assert(stopped < 8 << 20, "the socket's buffer is full");
        ours.onReady = fill;
        const into = new Uint8Array(65_536);
        let got = 0;
        await until("all bytes", () => {
          const count = theirs.read(into);
          for (let i = 0; i < count; i++) assertEquals(into[i], (got + i) % 251);
          if (count > 0) got += count;
          return got === sent && sent >= 8 << 20;
        });
        ours.close();
        theirs.close();
      });
    },
  );

  machineTest(
    `${name}: datagrams of 0 to 65507 bytes carry TTL, TOS and source, and one port has many peers`,
    ["ffi"],
    async () => {
      await withSockets(async (sockets, until) => {
        const open = () => opened(sockets.datagrams({ version: at.version, address: null, port: 0 }));
        const [ours, first, second] = [open(), open(), open()];
        const seen: string[] = [];
        const look = (socket: HostDatagrams, name: string) =>
          socket.receive(({ from, to, payload, ttl, tos }) => {
            seen.push(`${name} ${payload.length} ${ttl} ${tos} ${from.address} ${from.port === ours.local.port} ${to}`);
          }, 10);
        const { loopback: address } = at;
        const message = (port: number, size: number) => ({
          to: { address, port },
          from: at.other,
          parts: [new Uint8Array(size)],
          ttl: 33,
          tos: 0xba,
          dontFragment: false,
          segmentSize: 0,
        });
        const messages = [
          message(first.local.port, 0),
          message(second.local.port, 65_507),
          message(first.local.port, 9),
        ];
        assertEquals(ours.send(messages, 3), 3);
        await until("datagrams", () => look(first, "first") + look(second, "second") >= 0 && seen.length === 3);
        const end = `33 186 ${at.other} true ${address}`;
        assertEquals(seen.sort(), [`first 0 ${end}`, `first 9 ${end}`, `second 65507 ${end}`]);
        for (const socket of [ours, first, second]) socket.close();
      });
    },
  );

  machineTest(`${name}: an error of one peer tells which, and never eats a datagram to another`, ["ffi"], async () => {
    await withSockets(async (sockets, until) => {
      const open = () => opened(sockets.datagrams({ version: at.version, address: null, port: 0 }));
      const [ours, dead, alive] = [open(), open(), open()];
      const { loopback: address } = at;
      const [deadPort, alivePort] = [dead.local.port, alive.local.port];
      dead.close();
      const message = (port: number) => ({
        to: { address, port },
        from: null,
        parts: [TEXT],
        ttl: 64,
        tos: 0,
        dontFragment: true,
        segmentSize: 0,
      });
      let edges = 0;
      ours.onReady = () => void edges++;
      assertEquals(ours.send([message(deadPort)], 1), 1);
      await until("edge", () => edges > 0);
      const all = [message(alivePort), message(deadPort), message(alivePort)];
      assertEquals(ours.send(all, 3), 3);
      let got = 0;
      await until("both datagrams", () => (got += alive.receive(() => {}, 10)) === 2);
      const report = ours.takeReport()!;
      assertEquals(
        { failure: report.failure, origin: report.origin, type: report.type, code: report.code, port: report.to.port },
        {
          failure: "ECONNREFUSED",
          origin: "icmp",
          type: at.version === 4 ? 3 : 1,
          code: at.version === 4 ? 3 : 4,
          port: deadPort,
        },
      );
      assertEquals([`${report.offender}`, `${report.to.address}`], [`${address}`, `${address}`]);
      assertEquals(report.payload, TEXT);
      ours.close();
      alive.close();
    });
  });

  machineTest(`${name}: an address of the machine is local, and no other is`, ["ffi"], async () => {
    await withSockets((sockets) => {
      assertEquals(sockets.isLocal(at.loopback), true);
      assertEquals(sockets.isLocal(parseIpAddr(at.foreign)!), false);
      return Promise.resolve();
    });
  });
}

machineTest("A listener of both versions shows callers of IPv4 as such", ["ffi"], async () => {
  await withSockets(async (sockets, until) => {
    const listener = opened(sockets.listen({ version: 6, address: null, port: 0, dualStack: true }));
    const { port } = listener.local;
    for (const { loopback } of VERSIONS) {
      const ours = opened(sockets.connect({ to: { address: loopback, port }, from: null, ttl: 0, tos: 0 }));
      let theirs: HostStream | "shortage" | null = null;
      await until("call", () => (theirs ??= listener.accept()) !== null);
      const call = opened(theirs as unknown as HostStream);
      assertEquals([`${call.remote.address}`, call.remote.port], [`${loopback}`, ours.local.port]);
      ours.close();
      call.close();
    }
    assertEquals(sockets.listen({ version: 4, address: IpAddr.v4(0x7f000001), port }), "EADDRINUSE");
    listener.close();
  });
});

machineTest("The limit of descriptors is raised as far as may be", ["ffi"], () => {
  assertEquals(raiseDescriptorLimit(), raiseDescriptorLimit());
});

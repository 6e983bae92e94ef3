/** The relay's sockets: a port for each question, shared at the limit; one connection for all questions over TCP. */

import { assert, assertEquals } from "@std/assert";
import { EventQueue } from "../../../kernel/fd_tap.ts";
import { SeededRandom } from "../../../kernel/random.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { ip, PEER } from "../../../tests/kit/ip/ip_fixture.ts";
import { meet } from "../../../tests/kit/ip/story.ts";
import type { DnsPlace, DnsRelay } from "./dns.ts";
import { DnsSockets, IDLE_MS, type NameSocket, UDP_PER_SERVER } from "./dns_sockets.ts";

/** What the relay hears of its sockets. */
class FakeRelay {
  readonly answers: { place: DnsPlace; message: Uint8Array }[] = [];
  readonly losses: { place: DnsPlace; hasAnswered: boolean }[] = [];

  answered(place: DnsPlace, message: Uint8Array): void {
    this.answers.push({ place, message });
    place.ids.delete((message[0]! << 8) | message[1]!);
  }

  lost(place: DnsPlace, _now: number, hasAnswered: boolean): void {
    this.losses.push({ place, hasAnswered });
  }
}

/** Sockets on a host beside another host, which may be the server. */
async function setUp() {
  const world = await meet();
  const { host } = world.user;
  const relay = new FakeRelay();
  const events = new EventQueue();
  const proc = host.spawn("names");
  const random = new SeededRandom(3);
  const sockets = new DnsSockets({
    proc,
    random,
    events,
    netDir: "/net",
    relay: relay as unknown as DnsRelay,
    farPeer: null,
  });
  /** Sends a question with `id`. */
  const ask = (server: IpAddr, id: number, byTcp = false): DnsPlace | null => {
    const place = sockets.send(server, Uint8Array.from([id >> 8, id & 255, 1]), byTcp);
    place?.ids.add(id);
    return place;
  };
  /** Lets everything happen that is due. */
  const settle = (now = 0) => {
    for (let turn = 0; turn < 8; turn++) {
      host.clock.jobs.run();
      for (let event = events.poll(); event !== null; event = events.poll()) {
        (event.data as NameSocket).onEvent(event.events, now);
      }
    }
  };
  return { world, relay, sockets, ask, settle };
}

Deno.test("Each question over UDP has its own port, until so many wait that they share (RFC 5452 9.2)", async () => {
  const { world, sockets, ask, settle } = await setUp();
  await using _ = world;
  world.peer.conv("udp", "headers", "announce 53");
  const places = Array.from({ length: UDP_PER_SERVER }, (_, id) => ask(ip(PEER), id));
  assertEquals({ places: new Set(places).size, size: sockets.size }, { places: UDP_PER_SERVER, size: UDP_PER_SERVER });
  settle();
  const shared = ask(ip(PEER), 999);
  assert(places.includes(shared));
  assertEquals(sockets.size, UDP_PER_SERVER);
  for (const place of places) place!.ids.clear();
  for (const place of places) sockets.released(place!);
  assertEquals(sockets.size, 0, "a socket is closed with its last question");
  sockets.close();
});

Deno.test("An answer over UDP reaches the relay from the socket that asked", async () => {
  const { world, relay, sockets, ask, settle } = await setUp();
  await using _ = world;
  const server = world.peer.conv("udp", "headers", "announce 53");
  const place = ask(ip(PEER), 0x1234);
  settle();
  const question = server.take();
  assertEquals([...question.slice(-3)], [0x12, 0x34, 1]);
  server.bwrite(question);
  settle();
  assertEquals(relay.answers.map(({ message, place }) => ({ bytes: [...message], place })), [
    { bytes: [0x12, 0x34, 1], place: place! },
  ]);
  sockets.close();
  assertEquals(sockets.size, 0);
});

Deno.test("Questions over TCP to one server share a connection, which is kept while it is of use", async () => {
  const { world, relay, sockets, ask, settle } = await setUp();
  await using _ = world;
  world.peer.conv("tcp", "announce 53");
  const first = ask(ip(PEER), 1, true);
  assertEquals(ask(ip(PEER), 2, true), first);
  settle();
  assertEquals({ size: sockets.size, lost: relay.losses.length }, { size: 1, lost: 0 });
  first!.ids.clear();
  sockets.released(first!);
  assertEquals({ left: sockets.sweep(1000), size: sockets.size }, { left: true, size: 1 });
  assertEquals(sockets.sweep(1000 + IDLE_MS - 1), true);
  assertEquals({ left: sockets.sweep(1000 + IDLE_MS), size: sockets.size }, { left: false, size: 0 });
});

Deno.test("A server that refuses the connection loses its questions; without a route there is no socket", async () => {
  const { world, relay, sockets, ask, settle } = await setUp();
  await using _ = world;
  const place = ask(ip(PEER), 1, true);
  settle();
  assertEquals(relay.losses, [{ place: place!, hasAnswered: false }]);
  assertEquals(sockets.size, 0);
  assertEquals(ask(ip("2001:db8::9"), 2), null);
  sockets.close();
});

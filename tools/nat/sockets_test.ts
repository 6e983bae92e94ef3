/** The host's ports by system calls: preserved, of the same parity, refused, given back. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { EventQueue } from "../../kernel/fd_tap.ts";
import { SeededRandom } from "../../kernel/random.ts";
import { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { tell } from "../../tests/kit/ip/story.ts";
import { newGuest, newMap } from "../../tests/kit/nat/guest_maps.ts";
import { MapProto, Realm } from "./map.ts";
import { NatSockets } from "./sockets.ts";

const guest = newGuest(IpAddr.v4(0x0a00020f));
const mapOf = (guestPort: number, proto: MapProto = MapProto.Udp, realm: Realm = Realm.World) =>
  newMap(guest, { proto, guestPort, realm });

Deno.test("A free port is preserved; of a taken or low one the parity is (RFC 4787 REQ-3, REQ-4)", async () => {
  await using story = await tell();
  const proc = story.host.spawn("nat");
  const sockets = new NatSockets({ proc, events: new EventQueue(), random: new SeededRandom(1) });
  const open = (port: number, proto?: MapProto) => {
    const map = mapOf(port, proto);
    assertEquals(sockets.open(map), "");
    return map;
  };
  assertEquals([open(4000).hostPort, open(1024).hostPort, open(77, MapProto.Icmp).hostPort], [4000, 1024, 77]);
  for (const port of [4000, 1024, 123, 80]) {
    const { hostPort } = open(port);
    assert(hostPort !== port && hostPort % 2 === port % 2 && hostPort >= 5000, `${port} became ${hostPort}`);
  }
  assert(open(77, MapProto.Icmp).hostPort !== 77);
  assert(open(0).hostPort > 0);
});

Deno.test("A map of the loopback is bound there, to a port that is not in use", async () => {
  await using story = await tell();
  story.user.conv("udp", "announce 4000");
  const sockets = new NatSockets({
    proc: story.host.spawn("nat"),
    events: new EventQueue(),
    random: new SeededRandom(1),
  });
  const map = mapOf(4000, MapProto.Udp, Realm.Host);
  map.bound = IpAddr.v4(0x7f000001);
  assertEquals([sockets.open(map), map.hostPort === 4000], ["", false]);
  assertMatch(story.user.text(`${sockets.dirOf(map)}/local`), /^127\.0\.0\.1!/);
});

Deno.test("What cannot be had is said, and leaves nothing open; close gives everything back, once", async () => {
  await using story = await tell();
  const proc = story.host.spawn("nat");
  const sockets = new NatSockets({ proc, events: new EventQueue(), random: new SeededRandom(1) });
  story.user.conv("udp", "announce 53");
  const forward = mapOf(53);
  forward.isStatic = true;
  forward.hostPort = 53;
  assertMatch(sockets.open(forward), /udp\/\d+ of eve has announced it/);
  assertEquals([sockets.openCount, proc.fds.size], [0, 0]);
  const range = mapOf(70);
  range.isStatic = true;
  range.hostPort = 8000;
  range.count = 10;
  assertEquals([sockets.open(range), story.user.text(`${sockets.dirOf(range)}/local`).trim()], ["", "::!8000-8009"]);
  sockets.close(range);
  sockets.close(range);
  assertEquals([sockets.openCount, proc.fds.size, range.fd], [0, 0, -1]);
  assertMatch(
    new NatSockets({ proc, events: new EventQueue(), random: new SeededRandom(1), netDir: "/no" }).open(mapOf(1)),
    /./,
  );
});

Deno.test("A port that its map no longer uses is reported, once, with its protocol and version", async () => {
  await using story = await tell();
  const gone: unknown[] = [];
  const doors = { released: (...port: unknown[]) => void gone.push(port) };
  const proc = story.host.spawn("nat");
  const sockets = new NatSockets({ proc, events: new EventQueue(), random: new SeededRandom(1), doors });
  const maps = [mapOf(4000), mapOf(4001, MapProto.Tcp), mapOf(77, MapProto.Icmp)];
  for (const map of maps) assertEquals(sockets.open(map), "");
  for (const map of maps) sockets.close(map);
  sockets.close(maps[0]!);
  assertEquals(gone, [[MapProto.Udp, 4, 4000], [MapProto.Tcp, 4, 4001], [MapProto.Icmp, 4, 77]]);
});

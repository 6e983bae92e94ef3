/** One map: TCP's states as packets pass, remotes that are let in, and the limits of both. */

import { assertEquals } from "@std/assert";
import { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from "../../kernel/wire/tcp.ts";
import { Guest } from "./guest.ts";
import { FLOWS_MAX, MAP_CLASS_NAMES, MapProto, NatMap, Realm, remoteKey } from "./map.ts";

const newMap = (proto: MapProto = MapProto.Tcp) =>
  new NatMap(new Guest(IpAddr.v4(0x0a00020f), null), proto, 4000, Realm.World, 0, 0);

/** The state after each of `steps`: `>` from the guest, `<` from the network, then letters of flags. */
function states(...steps: string[]): string[] {
  const map = newMap();
  const bits: Record<string, number> = { S: TCP_SYN, A: TCP_ACK, F: TCP_FIN, R: TCP_RST };
  return steps.map((step) => {
    const flags = [...step.slice(1)].reduce((sum, letter) => sum | bits[letter]!, 0);
    return MAP_CLASS_NAMES[map.track(7, flags, step[0] === ">")]!;
  });
}

Deno.test("A connection opens, closes by two FINs or an RST, and opens again", () => {
  assertEquals(states(">S", "<SA", ">A"), ["opening", "opening", "established"]);
  assertEquals(states("<S", ">SA", "<A"), ["opening", "opening", "established"]);
  assertEquals(states(">S", "<SA", ">A", ">FA", "<A", "<FA").slice(3), ["half-closed", "half-closed", "closing"]);
  assertEquals(states(">S", "<RA", ">S", "<SA", ">A"), ["opening", "closing", "opening", "opening", "established"]);
});

Deno.test("An RST may be forged: an ACK of the guest brings the connection back (RFC 7857 2.2)", () => {
  const open = [">S", "<SA", ">A"];
  assertEquals(states(...open, "<R", "<A", ">A").slice(3), ["closing", "closing", "established"]);
});

Deno.test("A connection that was there before the NAT is established once both sides are heard", () => {
  assertEquals(states(">A", "<A"), ["opening", "established"]);
});

Deno.test("A connection is half-closed by one FIN, whichever side sends it, and while data goes on", () => {
  assertEquals(states(">S", "<SA", ">A", "<FA", ">A", ">A", ">FA").slice(3), [
    ...["half-closed", "half-closed", "half-closed", "closing"],
  ]);
  assertEquals(states(">S", "<SA", ">A", ">FA", "<A", "<R").at(-1), "closing");
});

Deno.test("A map is established as long as one of its connections is", () => {
  const map = newMap();
  for (const key of [1, 2]) for (const fromGuest of [true, false]) map.track(key, TCP_ACK, fromGuest);
  assertEquals(MAP_CLASS_NAMES[map.track(1, TCP_RST, true)], "established");
  assertEquals(MAP_CLASS_NAMES[map.track(2, TCP_RST, true)], "closing");
});

Deno.test("Connections are limited: those that do not stand are forgotten", () => {
  const map = newMap();
  for (const fromGuest of [true, false]) map.track(0, TCP_ACK, fromGuest);
  for (let key = 1; key <= 3 * FLOWS_MAX; key++) map.track(key, TCP_SYN, true);
  assertEquals([map.sizes.flows, MAP_CLASS_NAMES[map.track(0, 0, true)]], [FLOWS_MAX, "established"]);
});

Deno.test("A filter knows its remotes by key, the first as well as the rest, until they are taken out", () => {
  const udp = newMap(MapProto.Udp);
  const remotes = [7, 8, 9].map((key) => udp.addRemote(key, key));
  const lets = () => [7, 8, 9].map((key) => udp.lets(key, 1008, 1000));
  assertEquals(lets(), [false, false, true]);
  udp.keepOpen(7, 9);
  udp.keepOpen(6, 9);
  assertEquals([lets(), udp.sizes.remotes], [[true, false, true], 3]);
  udp.removeRemote(remotes[0]!);
  udp.removeRemote(remotes[2]!);
  assertEquals([udp.remote(7), udp.remote(8), udp.remote(9)], [null, remotes[1]!, null]);
  const gone: number[] = [];
  udp.addRemote(5, 1);
  udp.clearRemotes(({ key }) => gone.push(key));
  assertEquals([gone, udp.sizes.remotes], [[5, 8], 0]);
});

Deno.test("A segment belongs to a connection unless it calls anew", () => {
  const map = newMap();
  map.track(7, TCP_SYN, true);
  const isConnected = () => [TCP_SYN, TCP_ACK, TCP_SYN | TCP_ACK].map((flags) => map.isConnected(7, flags));
  // A SYN while ours is on its way is half of a simultaneous open.
  assertEquals(isConnected(), [true, true, true]);
  for (const fromGuest of [true, false]) map.track(7, TCP_ACK, fromGuest);
  assertEquals([isConnected(), map.isConnected(8, TCP_ACK)], [[false, true, true], false]);
});

Deno.test("A remote's key is its address and its port", () => {
  assertEquals(remoteKey(-1, 65535), 2 ** 48 - 1);
  assertEquals(remoteKey(0x0a000001, 0), 0x0a000001 * 65536);
});

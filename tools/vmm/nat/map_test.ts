/** One map: TCP's states as packets pass, remotes that are let in, and the limits of both. */

import { assertEquals } from "@std/assert";
import { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from "../../../kernel/wire/tcp.ts";
import { Guest } from "./guest.ts";
import { FLOWS_MAX, MAP_CLASS_NAMES, MapProto, NatMap, PINHOLES_MAX, Realm, remoteKey } from "./map.ts";

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
  assertEquals(states(">S", "<SA", ">A", ">FA", "<A", "<FA").slice(3), ["established", "established", "closing"]);
  assertEquals(states(">S", "<RA", ">S", "<SA", ">A"), ["opening", "closing", "opening", "opening", "established"]);
});

Deno.test("An RST may be forged: an ACK of the guest brings the connection back (RFC 7857 2.2)", () => {
  const open = [">S", "<SA", ">A"];
  assertEquals(states(...open, "<R", "<A", ">A").slice(3), ["closing", "closing", "established"]);
});

Deno.test("A connection that was there before the NAT is established once both sides are heard", () => {
  assertEquals(states(">A", "<A"), ["opening", "established"]);
});

Deno.test("A map is established as long as one of its connections is", () => {
  const map = newMap();
  for (const key of [1, 2]) for (const fromGuest of [true, false]) map.track(key, TCP_ACK, fromGuest);
  assertEquals(MAP_CLASS_NAMES[map.track(1, TCP_RST, true)], "established");
  assertEquals(MAP_CLASS_NAMES[map.track(2, TCP_RST, true)], "closing");
});

Deno.test("Connections and remotes are limited: half open ones, and the least recently used, are forgotten", () => {
  const map = newMap();
  for (const fromGuest of [true, false]) map.track(0, TCP_ACK, fromGuest);
  for (let key = 1; key <= 3 * FLOWS_MAX; key++) map.track(key, TCP_SYN, true);
  assertEquals([map.sizes.flows, MAP_CLASS_NAMES[map.track(0, 0, true)]], [FLOWS_MAX, "established"]);
  const udp = newMap(MapProto.Udp);
  for (let key = 0; key <= PINHOLES_MAX; key++) {
    udp.open(key, key);
    udp.open(0, key);
  }
  assertEquals(udp.sizes.pinholes, PINHOLES_MAX);
  const lets = (key: number) => udp.lets(key, PINHOLES_MAX, 1000);
  assertEquals([lets(0), lets(1), lets(2), lets(PINHOLES_MAX)], [true, false, true, true]);
});

Deno.test("A remote's key is its address and its port", () => {
  assertEquals(remoteKey(-1, 65535), 2 ** 48 - 1);
  assertEquals(remoteKey(0x0a000001, 0), 0x0a000001 * 65536);
});

/** One map: TCP's states as packets pass, remotes that are let in, and the limits of both. */

import { assertEquals } from "@std/assert";
import { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from "../../kernel/wire/tcp.ts";
import { newGuest, newMap as mapOf } from "../../tests/kit/nat/guest_maps.ts";
import { AddrHash, endKey } from "./addr_hash.ts";
import { FLOWS_MAX, MAP_CLASS_NAMES, MapProto, type NatMap } from "./map.ts";

const newMap = (proto: MapProto = MapProto.Tcp) => mapOf(newGuest(IpAddr.v4(0x0a00020f)), { proto });

/** The remote with the number `n`, of IPv6 or not. All have one key, so that only the address tells them apart. */
const remoteAt = (n: number, is6 = true) => is6 ? new IpAddr(0x20010db8, 0, n, 1) : IpAddr.v4(n);
const KEY = 5;

function track(map: NatMap, n: number, flags: number, fromGuest: boolean) {
  return map.track(KEY, remoteAt(n), flags, fromGuest);
}

/** The state after each of `steps`: `>` from the guest, `<` from the network, then letters of flags. */
function states(...steps: string[]): string[] {
  const map = newMap();
  const bits: Record<string, number> = { S: TCP_SYN, A: TCP_ACK, F: TCP_FIN, R: TCP_RST };
  return steps.map((step) => {
    const flags = [...step.slice(1)].reduce((sum, letter) => sum | bits[letter]!, 0);
    return MAP_CLASS_NAMES[track(map, 7, flags, step[0] === ">")]!;
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
  for (const key of [1, 2]) for (const fromGuest of [true, false]) track(map, key, TCP_ACK, fromGuest);
  assertEquals(MAP_CLASS_NAMES[track(map, 1, TCP_RST, true)], "established");
  assertEquals(MAP_CLASS_NAMES[track(map, 2, TCP_RST, true)], "closing");
});

Deno.test("Connections are limited: those that do not stand are forgotten", () => {
  const map = newMap();
  for (const fromGuest of [true, false]) track(map, 0, TCP_ACK, fromGuest);
  for (let key = 1; key <= 3 * FLOWS_MAX; key++) track(map, key, TCP_SYN, true);
  assertEquals([map.sizes.flows, MAP_CLASS_NAMES[track(map, 0, 0, true)]], [FLOWS_MAX, "established"]);
});

for (const is6 of [false, true]) {
  Deno.test(`A filter knows its ${is6 ? "IPv6" : "IPv4"} remotes, all of them, until they are taken out`, () => {
    const udp = newMap(MapProto.Udp);
    const at = (n: number) => remoteAt(n, is6);
    const remotes = [7, 8, 9].map((n) => udp.addRemote(KEY, at(n), n));
    const lets = () => [7, 8, 9].map((n) => udp.lets(KEY, at(n), 8));
    assertEquals(lets(), [false, false, true]);
    udp.keepOpen(KEY, at(7), 9);
    udp.keepOpen(KEY, at(6), 9);
    udp.keepOpen(KEY + 1, at(8), 9);
    assertEquals([lets(), udp.sizes.remotes], [[true, false, true], 3]);
    udp.removeRemote(remotes[0]!);
    udp.removeRemote(remotes[2]!);
    assertEquals([7, 8, 9].map((n) => udp.remoteOf(KEY, at(n))), [null, remotes[1]!, null]);
    const gone: string[] = [];
    udp.addRemote(KEY, at(5), 1);
    udp.clearRemotes(({ addr }) => gone.push(`${addr}`));
    assertEquals([gone, udp.sizes.remotes], [[`${at(5)}`, `${at(8)}`], 0]);
  });
}

Deno.test("A segment belongs to a connection unless it is a new call", () => {
  const map = newMap();
  track(map, 7, TCP_SYN, true);
  const isConnected = () =>
    [TCP_SYN, TCP_ACK, TCP_SYN | TCP_ACK].map((flags) => map.isConnected(KEY, remoteAt(7), flags));
  // A SYN while ours is on its way is half of a simultaneous open.
  assertEquals(isConnected(), [true, true, true]);
  for (const fromGuest of [true, false]) track(map, 7, TCP_ACK, fromGuest);
  assertEquals([isConnected(), map.isConnected(KEY, remoteAt(8), TCP_ACK)], [[false, true, true], false]);
});

Deno.test("A remote's key is its address and its port", () => {
  const hash = new AddrHash(null);
  assertEquals(endKey(hash.of(IpAddr.v4(-1)), 65535), 2 ** 48 - 1);
  assertEquals(endKey(hash.of(IpAddr.v4(0x0a000001)), 0), 0x0a000001 * 65536);
});

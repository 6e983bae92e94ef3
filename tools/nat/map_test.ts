/** One map: TCP's states as packets pass, remotes that are let in, and the limits of both. */

import { assertEquals } from "@std/assert";
import { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from "../../kernel/wire/tcp.ts";
import { newGuest, newMap as mapOf } from "../../tests/kit/nat/guest_maps.ts";
import { FLOWS_MAX, MAP_CLASS_NAMES, MapProto, type NatMap } from "./map.ts";

const newMap = (proto: MapProto = MapProto.Tcp) => mapOf(newGuest(IpAddr.v4(0x0a00020f)), { proto });

/** The remote with the number `n`, of IPv6 or not. All have one hash, so that only the address tells them apart. */
const remoteAt = (n: number, is6 = true) => ({
  remote: is6 ? new IpAddr(0x20010db8, 0, n, 1) : IpAddr.v4(n),
  remoteHash: 5,
  remotePort: 80,
});
const PORT = 80;

function track(map: NatMap, n: number, flags: number, fromGuest: boolean) {
  return map.track(remoteAt(n), flags, fromGuest);
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
    const remotes = [7, 8, 9].map((n) => udp.addRemote(at(n), PORT, n));
    const lets = () => [7, 8, 9].map((n) => udp.lets(at(n), PORT, 8));
    assertEquals(lets(), [false, false, true]);
    udp.remoteOf(at(7), PORT)!.use(9);
    assertEquals([udp.remoteOf(at(6), PORT), udp.remoteOf(at(8), PORT + 1)], [null, null]);
    assertEquals([lets(), udp.sizes.remotes], [[true, false, true], 3]);
    udp.removeRemote(remotes[0]!);
    udp.removeRemote(remotes[2]!);
    assertEquals([7, 8, 9].map((n) => udp.remoteOf(at(n), PORT)), [null, remotes[1]!, null]);
    const gone: string[] = [];
    udp.addRemote(at(5), PORT, 1);
    udp.clearRemotes(({ addr }) => gone.push(`${addr}`));
    assertEquals([gone, udp.sizes.remotes], [[`${at(5).remote}`, `${at(8).remote}`], 0]);
  });
}

Deno.test("A segment belongs to a connection unless it is a new call", () => {
  const map = newMap();
  track(map, 7, TCP_SYN, true);
  const isConnected = () => [TCP_SYN, TCP_ACK, TCP_SYN | TCP_ACK].map((flags) => map.isConnected(remoteAt(7), flags));
  // A SYN while ours is on its way is half of a simultaneous open.
  assertEquals(isConnected(), [true, true, true]);
  for (const fromGuest of [true, false]) track(map, 7, TCP_ACK, fromGuest);
  assertEquals([isConnected(), map.isConnected(remoteAt(8), TCP_ACK)], [[false, true, true], false]);
});

Deno.test("A connection is known by its remote's address and port", () => {
  const map = newMap();
  const end = remoteAt(7);
  for (const remotePort of [1, 2, 65535]) map.track({ ...end, remotePort }, TCP_SYN, true);
  const knows = (remotePort: number) => map.isConnected({ ...end, remotePort }, TCP_ACK);
  assertEquals([1, 2, 65535, 0, 3].map(knows), [true, true, true, false, false]);
});

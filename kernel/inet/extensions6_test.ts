/** Faults in IPv6 extension headers: options that are not known, routing headers that would send a packet on. */

import { assertEquals } from "@std/assert";
import { concatBytes } from "../wire/bytes.ts";
import { IPV6_HEADER_LEN } from "../wire/ipv6.ts";
import { ip6Packet } from "../../tests/kit/ip/packets.ts";
import { extensionFault } from "./extensions6.ts";

const HOPS = 0;
const UDP = 17;
const ROUTING = 43;
const DESTINATION = 60;
/** An option of four bytes that is only padding. */
const PADDING = [1, 4, 0, 0, 0, 0];

/** An extension header of eight bytes. */
function extension(next: number, bytes: readonly number[]): Uint8Array {
  return Uint8Array.of(next, 0, ...bytes, ...new Array(6 - bytes.length).fill(0));
}

function faultOf(
  first: number,
  parts: readonly Uint8Array[],
  options: { isMulticast?: boolean; hopsOnly?: boolean } = {},
) {
  const packet = ip6Packet({ nextHeader: first, payload: concatBytes([...parts]) });
  return extensionFault(packet, 0, packet.length, { isMulticast: false, ...options });
}

Deno.test("extensionFault() finds nothing in padding, a router alert, and options that may be skipped", () => {
  for (const bytes of [PADDING, [0, 0, 0, 0, 0, 0], [5, 2, 0, 0, 1, 0], [0x1e, 4, 1, 2, 3, 4]]) {
    assertEquals(faultOf(HOPS, [extension(UDP, bytes)]), null, `${bytes}`);
    assertEquals(faultOf(DESTINATION, [extension(UDP, bytes)]), null, `${bytes}`);
  }
});

Deno.test("extensionFault() does with an unknown option what its two highest bits say (RFC 8200 4.2)", () => {
  const at = IPV6_HEADER_LEN + 2;
  const cases = [
    { kind: 0x5e, isMulticast: false, what: "silent" },
    { kind: 0x9e, isMulticast: false, what: "option" },
    { kind: 0x9e, isMulticast: true, what: "option" },
    { kind: 0xde, isMulticast: false, what: "option" },
    { kind: 0xde, isMulticast: true, what: "silent" },
  ] as const;
  for (const { kind, isMulticast, what } of cases) {
    const fault = faultOf(DESTINATION, [extension(UDP, [kind, 4, 0, 0, 0, 0])], { isMulticast });
    assertEquals(fault, { what, at }, `${kind} ${isMulticast}`);
  }
});

Deno.test("extensionFault() finds an option that runs out of its header, at the option", () => {
  assertEquals(faultOf(HOPS, [extension(UDP, [1, 0, 1, 3, 0, 0])]), { what: "header", at: IPV6_HEADER_LEN + 4 });
  assertEquals(faultOf(HOPS, [extension(UDP, [1, 3, 0, 0, 0, 1])]), { what: "header", at: IPV6_HEADER_LEN + 7 });
});

Deno.test("extensionFault() refuses a routing header of any type with segments left, at its type (RFC 5095)", () => {
  for (const type of [0, 2, 4, 253]) {
    const at = IPV6_HEADER_LEN + 8 + 2;
    const parts = (left: number) => [extension(ROUTING, PADDING), extension(UDP, [type, left])];
    assertEquals(faultOf(HOPS, parts(1)), { what: "header", at }, `${type}`);
    assertEquals(faultOf(HOPS, parts(0)), null, `${type}`);
  }
});

Deno.test("extensionFault() of a router looks at hop-by-hop options alone", () => {
  const bad = [0x9e, 4, 0, 0, 0, 0];
  const hopsOnly = { hopsOnly: true };
  assertEquals(faultOf(HOPS, [extension(DESTINATION, PADDING), extension(UDP, bad)], hopsOnly), null);
  assertEquals(faultOf(ROUTING, [extension(UDP, [0, 1])], hopsOnly), null);
  const at = IPV6_HEADER_LEN + 2;
  assertEquals(faultOf(HOPS, [extension(DESTINATION, bad), extension(UDP, PADDING)], hopsOnly), { what: "option", at });
});

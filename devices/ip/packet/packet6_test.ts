/** The facts of an IPv6 packet: where its transport header is, and of which protocol. */

import { assertEquals } from "@std/assert";
import { Block } from "../../../kernel/block.ts";
import { concatBytes } from "../../../kernel/wire/bytes.ts";
import { TestHost } from "../../../tests/kit/ip/link.ts";
import { ip6Packet, pattern } from "../../../tests/kit/ip/packets.ts";
import { packet6Of } from "./packet6.ts";

const HOPS = Uint8Array.of(60, 0, 1, 4, 0, 0, 0, 0);
const DESTINATION = Uint8Array.of(17, 0, 1, 4, 0, 0, 0, 0);

function factsOf(bytes: Uint8Array) {
  const { ifc } = new TestHost().ether6Ifc();
  const { version, headerLen, protocol, src, dst, cast } = packet6Of(Block.from(bytes), ifc, "unicast");
  return { version, headerLen, protocol, cast, ends: `${src} ${dst}` };
}

Deno.test("packet6Of() finds the transport header behind the extension headers", () => {
  const common = { version: 6, cast: "unicast", ends: "2001:db8::2 2001:db8::1" } as const;
  assertEquals(factsOf(ip6Packet()), { ...common, headerLen: 40, protocol: 17 });
  const extended = ip6Packet({ nextHeader: 0, payload: concatBytes([HOPS, DESTINATION, pattern(8)]) });
  assertEquals(factsOf(extended), { ...common, headerLen: 56, protocol: 17 });
});

Deno.test("packet6Of() takes the fixed header alone where the chain does not fit", () => {
  const { headerLen, protocol } = factsOf(ip6Packet({ nextHeader: 0, payload: HOPS.subarray(0, 4) }));
  assertEquals({ headerLen, protocol }, { headerLen: 40, protocol: 0 });
});

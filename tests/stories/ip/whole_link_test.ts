/** A link that carries every packet whole: what is behind it fragments. */

import { assertEquals } from "@std/assert";
import { Block } from "../../../kernel/block.ts";
import type { PacketPort } from "../../../kernel/host.ts";
import { Mount } from "../../../kernel/namespace.ts";
import { concatBytes } from "../../../kernel/wire/bytes.ts";
import { IPV6_HEADER_LEN, ipv6NextHeader } from "../../../kernel/wire/ipv6.ts";
import { boot } from "../../../tools/boot/boot.ts";
import { ip6Packet } from "../../kit/ip/packets.ts";
import { udp6Packet } from "../../kit/ip/story6.ts";

Deno.test("IPv6 that came in fragments leaves whole by a link of 65,535 bytes only", async () => {
  for (
    const { mtu, wanted } of [{ mtu: 65_535, wanted: [[17, 4048]] }, {
      mtu: 9000,
      wanted: [[44, 1400], [44, 1400], [44, 1352]],
    }]
  ) {
    const seen: number[][] = [];
    const port: PacketPort = {
      ...{ kind: "packet", name: "link0", mtu, mbps: 10_000, link: true, receive: null },
      offloads: { checksum: true, tcpSegment: true, udpSegment: true },
      transmit(block) {
        seen.push([ipv6NextHeader(block.buf, block.rp), block.length]);
        return true;
      },
      close() {},
    };
    const options = { wire: "none", port, address: null, address6: "fd00:a::2/64", gateway6: "fd00:a::1" } as const;
    await using host = await boot(options);
    const program = host.spawn("program");
    program.sys.nbind("#ip", "/net", Mount.Before);
    const conv = await program.bypass("udp!*!4000");
    seen.length = 0;
    const ends = { src: "fd00:a::2", dst: "2001:db8::1" };
    const datagram = udp6Packet({ ...ends, srcPort: 4000, payload: new Uint8Array(4000) }).subarray(IPV6_HEADER_LEN);
    // The fragment header of a whole packet (RFC 6946), by which a writer says that it may be cut.
    const payload = concatBytes([Uint8Array.of(17, 0, 0, 0, 0, 0, 0, 9), datagram]);
    const block = Block.from(ip6Packet({ ...ends, nextHeader: 44, payload }));
    block.fragmentMax = 1400;
    await program.blockwrite(conv.data, block);
    assertEquals(seen, wanted);
  }
});

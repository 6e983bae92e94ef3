/** What the uplink does with packets that have no socket. */

import { assertEquals } from "@std/assert";
import { Block } from "../../kernel/block.ts";
import { udpPacket } from "../../tests/kit/ip/ip_fixture.ts";
import { udp6Packet } from "../../tests/kit/ip/story6.ts";
import { TCP_LINKS, tcpWorld } from "../../tests/kit/uplink/tcp_world.ts";
import { Uplink } from "./uplink.ts";

/** IP protocol of GRE, and where a header says the protocol. */
const GRE = 47;
const PROTOCOL_AT = { 4: 9, 6: 6 } as const;

for (const { name, version, near, remote, peer } of TCP_LINKS) {
  Deno.test(`${name}: a protocol without sockets is administratively prohibited`, async () => {
    await using at = await tcpWorld();
    assertEquals(at.uplink instanceof Uplink, true);
    const make = version === 4 ? udpPacket : udp6Packet;
    const packet = make({ src: near, dst: remote, srcPort: 1, dstPort: 2 });
    packet[PROTOCOL_AT[version]] = GRE;
    at.host.port!.transmit(Block.from(packet));
    await at.pass(1);
    assertEquals(at.uplink.counters.otherProtocols, 1);
    assertEquals(at.errors, [{ from: peer, what: version === 4 ? "3/13" : "1/1" }]);
  });
}

Deno.test("Bytes that are no packet are counted and dropped", async () => {
  await using at = await tcpWorld();
  for (const bytes of [[], [0x12, 0x34], [0x4f, 0, 0, 9]]) at.host.port!.transmit(Block.from(new Uint8Array(bytes)));
  await at.pass(1);
  assertEquals({ bad: at.uplink.counters.badPackets, errors: at.errors }, { bad: 3, errors: [] });
});

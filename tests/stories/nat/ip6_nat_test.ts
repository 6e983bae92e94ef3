/**
 * The NAT on a host that has IPv6: packets of it really arrive at ports that the NAT holds.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { pattern, udpPacket } from "../../kit/ip/ip_fixture.ts";
import { advance } from "../../kit/ip/story.ts";
import { dataOf } from "../../kit/ip/packet_parts.ts";
import { addIpv6, PEER6, US6 } from "../../kit/ip/story6.ts";
import { call, stateOf } from "../../kit/tcp/story.ts";
import { GUEST, HOST, REMOTE, tellNat } from "../../kit/nat/nat.ts";

Deno.test("Defect 17: IPv6 that arrives at a NATed port of any protocol ends nothing, and IPv4 goes on", async () => {
  await using story = await tellNat({ forwards: ["udp:8053:53", "tcp:8080:80"] });
  const { there, host, user, guest } = story;
  addIpv6(user, US6);
  addIpv6(there, PEER6);
  // A map of the guest's own, too.
  const server = there.conv("udp", "headers", "announce 7");
  const asked = guest.ask(udpPacket({ src: GUEST, dst: REMOTE, srcPort: 4000, dstPort: 7, payload: pattern(5) }));
  assertEquals(asked, []);
  const record = server.read()!;
  const mapped = (record[48]! << 8) | record[49]!;
  for (const port of [8053, mapped]) {
    const conv = there.conv("udp", `connect ${US6}!${port}`);
    conv.bwrite(pattern(9));
    conv.bwrite(pattern(3000));
  }
  const opening = call(there, `${US6}!8080`);
  advance(host, 50);
  assert(["Syn_sent", "Closed"].includes(stateOf(opening)));
  assertEquals(guest.packets(), []);
  there.conv("udp", `connect ${HOST}!8053`).bwrite(pattern(3));
  server.bwrite(record);
  advance(host, 20);
  assertEquals(guest.packets().map(dataOf).sort((a, b) => a.length - b.length), [pattern(3), pattern(5)]);
});

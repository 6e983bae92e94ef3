/** What is reported of our groups, and when. */

import { assertEquals } from "@std/assert";
import { icmp6ChecksumOk } from "../../../kernel/wire/icmp6.ts";
import { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { parseIpv6 } from "../../../kernel/wire/ipv6.ts";
import { icmp6Packet } from "../../../tests/kit/ip/packets.ts";
import { TestHost } from "../../../tests/kit/ip/link.ts";
import { MLD_AGAIN_MS } from "./mld.ts";

const AT = 48;

/** Reports that were sent: from whom, kind, groups. */
function reports(at: TestHost): string[] {
  return at.take6().flatMap((packet) => {
    if (packet[6] !== 0 || packet[AT] !== 143) return [];
    const { src, dst, hopLimit } = parseIpv6(packet, 0, packet.length)!;
    assertEquals([`${dst}`, hopLimit, packet[42], packet[43]], ["ff02::16", 1, 5, 2]);
    assertEquals(icmp6ChecksumOk(packet, AT, packet.length, { src, dst }), true);
    const groups = Array.from({ length: packet[AT + 7]! }, (_, i) => IpAddr.at(packet, AT + 12 + 20 * i));
    return [`${src} ${packet[AT + 8]} ${groups.join(",")}`];
  });
}

function query(at: TestHost, delayMs: number, hopLimit = 1): void {
  const message = new Uint8Array(28);
  message.set([130, 0, 0, 0, delayMs >> 8, delayMs]);
  at.receive6(icmp6Packet(message, { src: "fe80::9", dst: "ff02::1", hopLimit }));
}

Deno.test("mld tells of each group at once, and of all again within a second; of ff02::1 never", () => {
  const at = new TestHost();
  const { ctl } = at.ifc("bind ether /net/ether0", "add fe80::1 /64");
  at.run();
  assertEquals(reports(at), ["fe80::1 4 ff02::1:ff00:1"]);
  at.clock.advance(MLD_AGAIN_MS);
  assertEquals(reports(at), ["fe80::1 2 ff02::1:ff00:1"]);
  ctl("joinmulti ff02::fb");
  ctl("joinmulti 224.0.0.251");
  at.run();
  assertEquals(reports(at), ["fe80::1 4 ff02::fb"]);
  ctl("leavemulti ff02::fb");
  at.run();
  assertEquals(reports(at), ["fe80::1 3 ff02::fb"]);
  at.clock.advance(MLD_AGAIN_MS);
  assertEquals([reports(at), at.clock.timerCount], [["fe80::1 2 ff02::1:ff00:1"], 0]);
});

Deno.test("mld speaks from no address while the link-local one is only tried (RFC 3590)", () => {
  const at = new TestHost();
  at.ifc("bind ether /net/ether0", "try fe80::1 /64");
  at.run();
  assertEquals(reports(at), [":: 4 ff02::1:ff00:1"]);
});

Deno.test("mld answers a router's query within the time it allows, and no other's", () => {
  const at = new TestHost();
  const { ctl } = at.ether6Ifc();
  query(at, 500);
  at.clock.advance(500);
  assertEquals(reports(at), ["fe80::1 2 ff02::1:ff00:1"]);
  query(at, 500, 2);
  at.clock.advance(500);
  assertEquals(reports(at), []);
  query(at, 10_000);
  ctl("unbind");
  at.run();
  assertEquals(at.clock.timerCount, 0);
});

/** An echo request becomes its reply, in place. */

import { assertEquals } from "@std/assert";
import { Block } from "../../../kernel/block.ts";
import { parseIpv4 } from "../../../kernel/wire/ipv4.ts";
import { echoPacket, pattern } from "../../../tests/kit/ip/ip_fixture.ts";
import { header6 } from "../../../tests/kit/ip/story6.ts";
import { FAMILIES } from "../../../tests/kit/nat/families.ts";
import { assertSound, echo6, endsOf } from "../../../tests/kit/nat/packets.ts";
import { FAMILY4 } from "../family4.ts";
import { FAMILY6 } from "../family6.ts";
import { NatPacket } from "../packet.ts";
import { replyEcho } from "./echo.ts";

function reply(packet: Uint8Array, is6: boolean): { isSound: boolean; bytes: Uint8Array } {
  const read = new NatPacket(is6 ? FAMILY6 : FAMILY4);
  read.read(Block.from(packet));
  const isSound = replyEcho(read);
  return { isSound, bytes: read.block.bytes() };
}

Deno.test("replyEcho keeps identifier, sequence, data, TOS and options", () => {
  const options = new Uint8Array([1, 1, 1, 0]);
  const fields = { src: "10.0.2.15", dst: "10.0.2.2", id: 7, seq: 8, data: pattern(99), tos: 0xb8, options, ttl: 1 };
  const { isSound, bytes } = reply(echoPacket(fields), false);
  assertEquals(isSound, true);
  assertSound(bytes);
  assertEquals(endsOf(bytes), "10.0.2.2:7 > 10.0.2.15:7");
  const { ttl, tos } = parseIpv4(bytes, 0, bytes.length)!;
  assertEquals([ttl, tos, bytes[24], bytes.slice(32)], [64, 0xb8, 0, pattern(99)]);
});

Deno.test("replyEcho keeps identifier, sequence, data, traffic class and flow label", () => {
  const fields = {
    dst: "fd00:0:0:2::2",
    id: 7,
    seq: 8,
    data: pattern(99),
    trafficClass: 0xb8,
    flowLabel: 9,
    hopLimit: 1,
  };
  const { isSound, bytes } = reply(echo6(fields), true);
  assertEquals(isSound, true);
  assertSound(bytes);
  assertEquals(endsOf(bytes), "[fd00:0:0:2::2]:7 > [fd00:0:0:2::15]:7");
  const { hopLimit, trafficClass, flowLabel } = header6(bytes);
  assertEquals({ hopLimit, trafficClass, flowLabel }, { hopLimit: 64, trafficClass: 0xb8, flowLabel: 9 });
  assertEquals([bytes[40], bytes.slice(48)], [129, pattern(99)]);
});

for (const { name, is6, echo } of FAMILIES) {
  Deno.test(`${name}: a damaged echo request is not answered`, () => {
    const packet = echo({ payload: pattern(9) });
    packet[packet.length - 1]! ^= 1;
    assertEquals(reply(packet, is6).isSound, false);
  });
}

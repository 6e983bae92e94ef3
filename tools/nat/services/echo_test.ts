/** An echo request becomes its reply, in place. */

import { assertEquals } from "@std/assert";
import { parseIpv4 } from "../../../kernel/wire/ipv4.ts";
import { echoPacket, pattern } from "../../../tests/kit/ip/ip_fixture.ts";
import { assertSound, endsOf } from "../../../tests/kit/nat/steps.ts";
import { replyEcho } from "./echo.ts";

Deno.test("replyEcho keeps identifier, sequence, data, TOS and options", () => {
  const options = new Uint8Array([1, 1, 1, 0]);
  const fields = { src: "10.0.2.15", dst: "10.0.2.2", id: 7, seq: 8, data: pattern(99), tos: 0xb8, options, ttl: 1 };
  const packet = echoPacket(fields);
  replyEcho(packet, 0);
  assertSound(packet);
  assertEquals(endsOf(packet), "10.0.2.2:7 > 10.0.2.15:7");
  const { ttl, tos } = parseIpv4(packet, 0, packet.length)!;
  assertEquals([ttl, tos, packet[24], packet.slice(32)], [64, 0xb8, 0, pattern(99)]);
});

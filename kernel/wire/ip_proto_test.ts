import { assertEquals } from "@std/assert";
import { formatIpProto, IP_PROTO_ICMP6, IP_PROTO_TCP, IP_PROTO_UDP } from "./ip_proto.ts";

Deno.test("formatIpProto() prints known names and other numbers", () => {
  assertEquals([IP_PROTO_TCP, IP_PROTO_UDP, IP_PROTO_ICMP6].map(formatIpProto), ["tcp", "udp", "icmp6"]);
  assertEquals(formatIpProto(89), "proto 89");
});

import { assertEquals } from "@std/assert";
import { formatMask, parseIpMask } from "../../../kernel/wire/ip_addr.ts";
import { defaultMask, Iplifc } from "./iplifc.ts";
import { ip } from "../../../tests/kit/ip/packets.ts";

function lifc(local: string, maskText: string, remote = local): Iplifc {
  const addr = ip(local);
  return new Iplifc({ local: addr, mask: parseIpMask(maskText, addr.isV4)!, remote: ip(remote), proxy: false });
}

function claims(one: Iplifc): string {
  return one.claims().map(([addr, cast]) => `${addr} ${cast}`).join(", ");
}

Deno.test("Iplifc.claims() are the address and the net's broadcasts, and none of the address class", () => {
  assertEquals(
    claims(lifc("10.1.2.3", "/24")),
    "10.1.2.3 unicast, 255.255.255.255 broadcast, 10.1.2.255 broadcast, 10.1.2.0 broadcast",
  );
  assertEquals(claims(lifc("10.1.2.3", "/31")), "10.1.2.3 unicast, 255.255.255.255 broadcast");
  assertEquals(claims(lifc("0.0.0.0", "/0")), "255.255.255.255 broadcast");
  assertEquals(claims(lifc("fe80::1", "/64")), "fe80::1 unicast, ff02::1:ff00:1 multicast, ff02::1 multicast");
});

Deno.test("Iplifc.reaches() is its net, or its other end", () => {
  assertEquals(lifc("10.1.2.3", "/24").reaches(ip("10.1.2.9")), true);
  assertEquals(lifc("10.1.2.3", "/24").reaches(ip("10.1.3.9")), false);
  assertEquals(lifc("10.1.2.3", "/32", "10.9.9.9").reaches(ip("10.9.9.9")), true);
  assertEquals(lifc("0.0.0.0", "/0").reaches(ip("10.9.9.9")), false);
  assertEquals(lifc("fe80::1", "/0").reaches(ip("10.9.9.9")), false);
});

Deno.test("defaultMask() goes by class (RFC 791), and is /64 for IPv6", () => {
  const mask = (text: string) => formatMask(defaultMask(ip(text)), ip(text).isV4);
  assertEquals(["10.0.0.1", "172.16.0.1", "192.168.1.1", "250.0.0.1", "fe80::1"].map(mask), [
    "/8",
    "/16",
    "/24",
    "/32",
    "/64",
  ]);
});

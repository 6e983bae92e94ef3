import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { hex, macAddrs } from "../../tests/kit/ip/wire.ts";
import { parseIpAddr } from "./ip_addr.ts";
import { MAC_BROADCAST, MAC_ZERO, MacAddr, multicastMacV4, multicastMacV6, parseMacAddr } from "./mac_addr.ts";

Deno.test("MacAddr reads, writes and prints six bytes", () => {
  const mac = MacAddr.at(hex("00 52 54 00 ff 34 56"), 1);
  assertEquals(`${mac}`, "52:54:00:ff:34:56");
  assertEquals(mac.toHex(), "525400ff3456");
  assertEquals(mac.key, 0x525400ff3456);
  const buf = new Uint8Array(8);
  mac.put(buf, 1);
  assertEquals(buf, hex("00 52 54 00 ff 34 56 00"));
});

Deno.test("parseMacAddr() takes pairs with colons and twelve digits, and nothing else", () => {
  const mac = new MacAddr(0x00ab, 0xcdef0123 | 0);
  assertEquals(parseMacAddr("00:ab:cd:ef:01:23"), mac);
  assertEquals(parseMacAddr("00ABCDEF0123"), mac);
  for (const text of ["", "00:ab:cd:ef:01", "00abcdef012", "00:ab:cdef:01:23", "00-ab-cd-ef-01-23", "00abcdef01234"]) {
    assertEquals(parseMacAddr(text), null, text);
  }
});

Deno.test("MacAddr distinguishes groups, broadcast and zero", () => {
  assert(MAC_BROADCAST.isBroadcast && MAC_BROADCAST.isGroup && !MAC_BROADCAST.isZero);
  assert(MAC_ZERO.isZero && !MAC_ZERO.isGroup);
  const group = parseMacAddr("01:00:5e:00:00:01")!;
  assert(group.isGroup && !group.isBroadcast);
  assert(!parseMacAddr("02:00:00:00:00:01")!.isGroup);
});

Deno.test("multicastMacV4() keeps 23 bits of the group (RFC 1112 6.4)", () => {
  assertEquals(`${multicastMacV4(parseIpAddr("224.0.0.251")!)}`, "01:00:5e:00:00:fb");
  assertEquals(`${multicastMacV4(parseIpAddr("239.255.255.250")!)}`, "01:00:5e:7f:ff:fa");
});

Deno.test("multicastMacV6() keeps 32 bits of the group (RFC 2464 7)", () => {
  assertEquals(`${multicastMacV6(parseIpAddr("ff02::1:ff28:9c5a")!)}`, "33:33:ff:28:9c:5a");
});

Deno.test("MacAddr survives its bytes, both of its texts, and its key", () => {
  fc.assert(
    fc.property(macAddrs, macAddrs, (mac, other) => {
      const buf = new Uint8Array(6);
      mac.put(buf, 0);
      assertEquals(MacAddr.at(buf, 0), mac);
      assertEquals(parseMacAddr(mac.toString()), mac);
      assertEquals(parseMacAddr(mac.toHex()), mac);
      assert(Number.isSafeInteger(mac.key));
      assertEquals(mac.equals(other), mac.key === other.key);
      assert(mac.equals(MacAddr.at(buf, 0)));
    }),
    fuzz(200),
  );
});

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { assertRoundTrip, assertSafe, hex, ipv6Addrs, macAddrs, u16, u32, u8 } from "../../tests/kit/ip/wire.ts";
import {
  ICMP6_NEIGHBOR_ADVERT,
  ICMP6_NEIGHBOR_SOLICIT,
  ICMP6_ROUTER_ADVERT,
  ICMP6_ROUTER_SOLICIT,
  icmp6ChecksumOk,
  setIcmp6Checksum,
} from "./icmp6.ts";
import { parseIpAddr } from "./ip_addr.ts";
import { parseMacAddr } from "./mac_addr.ts";
import { emitNd, formatNd, ndLen, type NdMessage, parseNd, type RouterAdvert } from "./nd.ts";

const SOLICIT = hex(`
  87 00 72 20        # neighbor solicitation
  00 00 00 00
  fe 80 00 00 00 00 00 00 00 00 00 00 00 00 00 02  # target fe80::2
  01 01 52 54 00 12 34 56                          # source link address
`);

const ADVERT = hex(`
  86 00 00 00        # router advertisement, no checksum yet
  40 40 07 08        # hop limit 64, other config, 1800 s
  00 00 75 30        # reachable 30 s
  00 00 03 e8        # retransmit 1 s
  01 01 52 55 0a 00 02 02                          # source link address
  05 01 00 00 00 00 05 dc                          # MTU 1500
  03 04 40 c0 00 01 51 80 00 00 38 40 00 00 00 00  # /64, on link, autonomous, 86400 s, 14400 s
  fe c0 00 00 00 00 00 00 00 00 00 00 00 00 00 00
  19 03 00 00 00 00 07 08                          # one DNS server, 1800 s
  fe c0 00 00 00 00 00 00 00 00 00 00 00 00 00 03
`);

const ROUTER: RouterAdvert = {
  type: ICMP6_ROUTER_ADVERT,
  hopLimit: 64,
  managed: false,
  otherConfig: true,
  lifetimeS: 1800,
  reachableMs: 30000,
  retransMs: 1000,
  sourceMac: parseMacAddr("52:55:0a:00:02:02"),
  mtu: 1500,
  prefixes: [{
    prefix: parseIpAddr("fec0::")!,
    length: 64,
    onLink: true,
    autonomous: true,
    validS: 86400,
    preferredS: 14400,
  }],
  dnsServers: [parseIpAddr("fec0::3")!],
  dnsLifetimeS: 1800,
};

Deno.test("parseNd() reads a neighbor solicitation, and emitNd() writes it back", () => {
  const message = parseNd(SOLICIT, 0, SOLICIT.length)!;
  assertEquals(message, {
    type: ICMP6_NEIGHBOR_SOLICIT,
    target: parseIpAddr("fe80::2")!,
    sourceMac: parseMacAddr("52:54:00:12:34:56"),
  });
  const buf = new Uint8Array(SOLICIT.length);
  const src = parseIpAddr("fe80::5054:ff:fe12:3456")!;
  const group = parseIpAddr("ff02::1:ff00:2")!;
  assert(icmp6ChecksumOk(SOLICIT, 0, SOLICIT.length, { src, dst: group }));
  assertEquals(emitNd(message, buf, 0), SOLICIT.length);
  setIcmp6Checksum(buf, 0, buf.length, { src, dst: group });
  assertEquals(buf, SOLICIT);
});

Deno.test("parseNd() reads a router advertisement with all its options, and emitNd() writes it back", () => {
  assertEquals(parseNd(ADVERT, 0, ADVERT.length), ROUTER);
  const buf = new Uint8Array(ADVERT.length);
  assertEquals(emitNd(ROUTER, buf, 0), ADVERT.length);
  assertEquals(buf, ADVERT);
});

Deno.test("parseNd() skips options that it does not know", () => {
  const message = new Uint8Array([
    ...SOLICIT.subarray(0, 24),
    ...hex("0e 01 00 00 00 00 00 00"),
    ...SOLICIT.subarray(24),
  ]);
  assertEquals(parseNd(message, 0, message.length), parseNd(SOLICIT, 0, SOLICIT.length));
});

Deno.test("parseNd() refuses options without a length and options that lead out (RFC 4861 4.6)", () => {
  for (const length of [0, 2, 0xff]) {
    const message = SOLICIT.slice();
    message[25] = length;
    assertEquals(parseNd(message, 0, message.length), null, `length ${length}`);
  }
  assertEquals(parseNd(SOLICIT, 0, 25), null, "half an option");
});

Deno.test("parseNd() refuses a code other than 0, a multicast target and other types (RFC 4861 7.1)", () => {
  for (const [at, value] of [[1, 1], [8, 0xff], [0, 128], [0, 137]] as const) {
    const message = SOLICIT.slice();
    message[at] = value;
    assertEquals(parseNd(message, 0, message.length), null, `byte ${at}`);
  }
  assertEquals(parseNd(SOLICIT, 0, 23), null);
  assertEquals(parseNd(ADVERT, 0, 15), null);
});

Deno.test("formatNd() is one line", () => {
  const target = parseIpAddr("fe80::2")!;
  const mac = parseMacAddr("52:54:00:12:34:56");
  const lines: [NdMessage, string][] = [
    [{ type: ICMP6_ROUTER_SOLICIT, sourceMac: null }, "nd routers?"],
    [{ type: ICMP6_NEIGHBOR_SOLICIT, target, sourceMac: mac }, "nd who-has fe80::2 (52:54:00:12:34:56)"],
    [
      { type: ICMP6_NEIGHBOR_ADVERT, target, isRouter: false, solicited: true, override: true, targetMac: mac },
      "nd fe80::2 is-at (52:54:00:12:34:56) solicited override",
    ],
    [ROUTER, "nd router for 1800 s (52:55:0a:00:02:02) mtu 1500 prefix fec0::/64 dns fec0::3"],
  ];
  for (const [message, line] of lines) assertEquals(formatNd(message), line);
});

Deno.test("messages of neighbour discovery are read back as they were emitted, and as long as ndLen() returns", () => {
  const mac = fc.option(macAddrs);
  const target = ipv6Addrs.filter((addr) => !addr.isMulticast);
  const prefix = fc.record({
    prefix: ipv6Addrs,
    length: fc.nat(128),
    onLink: fc.boolean(),
    autonomous: fc.boolean(),
    validS: u32,
    preferredS: u32,
  });
  const advert = fc.record({
    type: fc.constant(ICMP6_ROUTER_ADVERT),
    hopLimit: u8,
    managed: fc.boolean(),
    otherConfig: fc.boolean(),
    lifetimeS: u16,
    reachableMs: u32,
    retransMs: u32,
    sourceMac: mac,
    mtu: u32,
    prefixes: fc.array(prefix, { maxLength: 5 }),
    dnsServers: fc.array(ipv6Addrs, { minLength: 1, maxLength: 5 }),
    dnsLifetimeS: u32,
  });
  const messages: fc.Arbitrary<NdMessage> = fc.oneof(
    fc.record({ type: fc.constant(ICMP6_ROUTER_SOLICIT), sourceMac: mac }),
    advert,
    fc.record({ type: fc.constant(ICMP6_NEIGHBOR_SOLICIT), target, sourceMac: mac }),
    fc.record({
      type: fc.constant(ICMP6_NEIGHBOR_ADVERT),
      target,
      isRouter: fc.boolean(),
      solicited: fc.boolean(),
      override: fc.boolean(),
      targetMac: mac,
    }),
  );
  assertRoundTrip<NdMessage>(messages, {
    parse: parseNd,
    emit(message, buf, at) {
      const length = emitNd(message, buf, at);
      assertEquals(length, ndLen(message));
      return length;
    },
  });
});

Deno.test("parseNd() survives any bytes", () => assertSafe(parseNd, [SOLICIT, ADVERT]));

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { assertRoundTrip, assertSafe, hex, ipv4Addrs, macAddrs, u16, u32, u8 } from "../../tests/kit/ip/wire.ts";
import * as dhcp from "./dhcp.ts";
import { IPV4_UNSPECIFIED, parseIpAddr } from "./ip_addr.ts";
import { parseMacAddr } from "./mac_addr.ts";

/** A message with `options` in the options field and, if given, in the two others. */
function message(options: string, file = "", sname = ""): Uint8Array {
  const field = hex(options);
  const bytes = new Uint8Array(240 + field.length);
  bytes.set(hex("01 01 06 00 39 03 f3 26 00 05 80 00")); // request, Ethernet, xid, 5 s, broadcast
  bytes.set(hex("52 54 00 12 34 56"), 28);
  bytes.set(hex(sname), 44);
  bytes.set(hex(file), 108);
  bytes.set(hex("63 82 53 63"), 236);
  bytes.set(field, 240);
  return bytes;
}

const DISCOVER = message(`
  35 01 01           # discover
  3d 07 01 52 54 00 12 34 56  # client id
  32 04 0a 00 02 0f  # wants 10.0.2.15
  0c 05 67 75 65 73 74        # host name
  37 04 01 03 06 1a  # asks for mask, routers, DNS servers, MTU
  00 00              # padding
  ff
`);

Deno.test("parseDhcp() reads a discover", () => {
  const parsed = dhcp.parseDhcp(DISCOVER, 0, DISCOVER.length)!;
  assertEquals([parsed.op, parsed.xid, parsed.secs, parsed.broadcast], [dhcp.DHCP_BOOT_REQUEST, 0x3903f326, 5, true]);
  assertEquals(parsed.chaddr, parseMacAddr("52:54:00:12:34:56"));
  assertEquals(parsed.ciaddr, IPV4_UNSPECIFIED);
  assertEquals(dhcp.dhcpType(parsed), dhcp.DHCP_DISCOVER);
  assertEquals(dhcp.dhcpAddrs(parsed.options, dhcp.DHCP_OPTION_REQUESTED_ADDR), [parseIpAddr("10.0.2.15")!]);
  assertEquals(dhcp.dhcpText(parsed.options, dhcp.DHCP_OPTION_HOST_NAME), "guest");
  assertEquals(parsed.options.get(dhcp.DHCP_OPTION_PARAMETERS), hex("01 03 06 1a"));
  assertEquals(dhcp.formatDhcp(parsed), "dhcp discover xid 3903f326 52:54:00:12:34:56 wants 10.0.2.15");
});

Deno.test("parseDhcp() takes BOOTP without the cookie in its 300 bytes, without options (RFC 951)", () => {
  const bootp = new Uint8Array(dhcp.DHCP_LEN_MIN);
  bootp.set(DISCOVER.subarray(0, 236));
  const parsed = dhcp.parseDhcp(bootp, 0, bootp.length)!;
  assertEquals([parsed.op, parsed.options.size, dhcp.dhcpType(parsed)], [1, 0, 0]);
  assertEquals(dhcp.parseDhcp(bootp, 0, bootp.length - 1), null);
});

Deno.test("parseDhcp() refuses less than BOOTP without the cookie, other hardware and options that lead out", () => {
  for (const [what, at, value] of [["cookie", 236, 0], ["hardware", 1, 6], ["length", 2, 8]] as const) {
    const other = DISCOVER.slice();
    other[at] = value;
    assertEquals(dhcp.parseDhcp(other, 0, other.length), null, what);
  }
  assertEquals(dhcp.parseDhcp(DISCOVER, 0, 239), null);
  for (const options of ["35", "35 02 01", "35 01 01 3d ff 00"]) {
    const bytes = message(options);
    assertEquals(dhcp.parseDhcp(bytes, 0, bytes.length), null, options);
  }
});

Deno.test("parseDhcp() forgives a missing end option", () => {
  const bytes = message("35 01 03");
  assertEquals(dhcp.dhcpType(dhcp.parseDhcp(bytes, 0, bytes.length)!), dhcp.DHCP_REQUEST);
});

Deno.test("parseDhcp() reads names from their fields, and options where option 52 says they are (RFC 2131 4.1)", () => {
  const names = message("35 01 02 ff", "70 78 65 00", "73 72 76");
  const plain = dhcp.parseDhcp(names, 0, names.length)!;
  assertEquals([plain.file, plain.sname], ["pxe", "srv"]);
  const overloaded = message("34 01 03 35 01 02 ff", "33 04 00 00 0e 10 ff", "06 04 0a 00 02 03 ff");
  const parsed = dhcp.parseDhcp(overloaded, 0, overloaded.length)!;
  assertEquals([parsed.file, parsed.sname], ["", ""]);
  assertEquals(dhcp.dhcpNumber(parsed.options, dhcp.DHCP_OPTION_LEASE_TIME), 3600);
  assertEquals(dhcp.dhcpAddrs(parsed.options, dhcp.DHCP_OPTION_DNS_SERVERS), [parseIpAddr("10.0.2.3")!]);
  assert(!parsed.options.has(52));
  const fileOnly = message("34 01 01 35 01 02 ff", "33 04 00 00 0e 10 ff", "73 72 76");
  assertEquals(dhcp.parseDhcp(fileOnly, 0, fileOnly.length)?.sname, "srv");
});

Deno.test("parseDhcp() joins the pieces of an option, options before file before sname (RFC 3396 5)", () => {
  const bytes = message("34 01 03 0c 02 61 62 0c 01 63 ff", "0c 01 64 ff", "0c 01 65 ff");
  assertEquals(dhcp.dhcpText(dhcp.parseDhcp(bytes, 0, bytes.length)!.options, dhcp.DHCP_OPTION_HOST_NAME), "abcde");
});

Deno.test("emitDhcp() writes the type first, the end last, and pads to 300 bytes (RFC 1542 2.1)", () => {
  const offer: dhcp.DhcpMessage = {
    ...dhcp.parseDhcp(DISCOVER, 0, DISCOVER.length)!,
    op: dhcp.DHCP_BOOT_REPLY,
    yiaddr: parseIpAddr("10.0.2.15")!,
    options: new Map([
      [dhcp.DHCP_OPTION_SUBNET_MASK, dhcp.encodeDhcpAddrs([parseIpAddr("255.255.255.0")!])],
      [dhcp.DHCP_OPTION_MTU, dhcp.encodeDhcpNumber(1500, 2)],
      [dhcp.DHCP_OPTION_TYPE, dhcp.encodeDhcpNumber(dhcp.DHCP_OFFER, 1)],
      [dhcp.DHCP_OPTION_LEASE_TIME, dhcp.encodeDhcpNumber(0xffffffff, 4)],
      [52, dhcp.encodeDhcpNumber(3, 1)],
    ]),
  };
  const buf = new Uint8Array(400).fill(0xee);
  assertEquals(dhcp.emitDhcp(offer, buf, 0), dhcp.DHCP_LEN_MIN);
  const options = hex("35 01 02 01 04 ff ff ff 00 1a 02 05 dc 33 04 ff ff ff ff ff");
  assertEquals(buf.subarray(240, 240 + options.length), options);
  assertEquals(buf.subarray(240 + options.length, 300), new Uint8Array(60 - options.length));
  assertEquals(dhcp.formatDhcp(offer), "dhcp offer xid 3903f326 52:54:00:12:34:56 yours 10.0.2.15");
});

Deno.test("emitDhcp() cuts an option of more than 255 bytes into pieces", () => {
  const long = new Uint8Array(600).map((_, i) => i);
  const sent = { ...dhcp.parseDhcp(DISCOVER, 0, DISCOVER.length)!, options: new Map([[119, long]]) };
  const buf = new Uint8Array(1000);
  const length = dhcp.emitDhcp(sent, buf, 0);
  assertEquals(length, 240 + 600 + 3 * 2 + 1);
  assertEquals([buf[240], buf[241], buf[497], buf[498]], [119, 255, 119, 255]);
  assertEquals(dhcp.parseDhcp(buf, 0, length)?.options.get(119), long);
});

Deno.test("dhcpNumber(), dhcpAddrs() and dhcpText() of what is missing or odd are nothing", () => {
  const options = new Map([[1, hex("00 00 00")], [2, hex("00 07")], [3, hex("68 69 00 78")]]);
  assertEquals([dhcp.dhcpNumber(options, 9), dhcp.dhcpNumber(options, 1), dhcp.dhcpNumber(options, 2)], [
    null,
    null,
    7,
  ]);
  assertEquals([dhcp.dhcpAddrs(options, 9), dhcp.dhcpAddrs(options, 1)], [[], []]);
  assertEquals([dhcp.dhcpText(options, 9), dhcp.dhcpText(options, 3)], [null, "hi"]);
  assertEquals(dhcp.encodeDhcpText("hi"), hex("68 69"));
});

Deno.test("formatDhcp() prints a type that it does not know", () => {
  const parsed = dhcp.parseDhcp(DISCOVER, 0, DISCOVER.length)!;
  const odd = { ...parsed, ciaddr: parseIpAddr("10.0.2.15")!, options: new Map([[53, hex("63")]]) };
  assertEquals(dhcp.formatDhcp(odd), "dhcp type 99 xid 3903f326 52:54:00:12:34:56 client 10.0.2.15");
});

Deno.test("DHCP messages are read back as they were emitted, and as long as dhcpLen() returns", () => {
  const latin1 = fc.integer({ min: 1, max: 255 }).map((code) => String.fromCharCode(code));
  const code = fc.integer({ min: 1, max: 254 }).filter((one) => one !== 52);
  const messages: fc.Arbitrary<dhcp.DhcpMessage> = fc.record({
    op: u8,
    hops: u8,
    xid: u32,
    secs: u16,
    broadcast: fc.boolean(),
    ciaddr: ipv4Addrs,
    yiaddr: ipv4Addrs,
    siaddr: ipv4Addrs,
    giaddr: ipv4Addrs,
    chaddr: macAddrs,
    sname: fc.string({ unit: latin1, maxLength: 64 }),
    file: fc.string({ unit: latin1, maxLength: 128 }),
    options: fc.array(fc.tuple(code, fc.uint8Array({ maxLength: 300, size: "max" })), { maxLength: 6 })
      .map((entries) => new Map(entries)),
  });
  assertRoundTrip<dhcp.DhcpMessage>(messages, {
    parse: dhcp.parseDhcp,
    emit(record, buf, at) {
      const length = dhcp.emitDhcp(record, buf, at);
      assertEquals(length, dhcp.dhcpLen(record));
      return length;
    },
  });
});

Deno.test("parseDhcp() survives any bytes", () => {
  assertSafe(dhcp.parseDhcp, [
    DISCOVER,
    message("34 01 03 35 01 02 ff", "33 04 00 00 0e 10 ff", "06 04 0a 00 02 03 ff"),
  ]);
});

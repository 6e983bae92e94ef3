import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { damaged, hex, u32 } from "../../tests/kit/ip/wire.ts";
import { concatBytes } from "./bytes.ts";
import * as pcapng from "./pcapng.ts";

const SECTION = hex(`
  0a 0d 0d 0a 2c 00 00 00  # section header, 44 bytes
  4d 3c 2b 1a 01 00 00 00  # little endian, version 1.0
  ff ff ff ff ff ff ff ff  # length not said
  04 00 07 00 61 6b 61 72 69 6e 6f 00  # shb_userappl akarino
  00 00 00 00
  2c 00 00 00
`);

const INTERFACE = hex(`
  01 00 00 00 2c 00 00 00  # interface description, 44 bytes
  01 00 00 00 00 00 00 00  # Ethernet, no limit
  02 00 06 00 65 74 68 65 72 30 00 00  # if_name ether0
  09 00 01 00 09 00 00 00  # if_tsresol: nanoseconds
  00 00 00 00
  2c 00 00 00
`);

const PACKET = hex(`
  06 00 00 00 3c 00 00 00  # enhanced packet, 60 bytes
  00 00 00 00              # interface 0
  15 cd 5b 07 d2 02 96 49  # time, upper and lower half
  05 00 00 00 3c 00 00 00  # 5 of 60 bytes
  01 02 03 04 05 00 00 00
  01 00 04 00 6c 6f 73 74  # opt_comment lost
  02 00 04 00 01 00 00 00  # epb_flags: inbound
  00 00 00 00
  3c 00 00 00
`);

const TIME_NS = (0x075bcd15n << 32n) | 0x499602d2n;

Deno.test("emitPcapngSection(), emitPcapngInterface() and emitPcapngPacket() write blocks byte for byte", () => {
  assertEquals(pcapng.emitPcapngSection("akarino"), SECTION);
  assertEquals(pcapng.emitPcapngInterface({ name: "ether0", linkType: pcapng.LINKTYPE_ETHERNET }), INTERFACE);
  const packet = pcapng.emitPcapngPacket({
    interfaceId: 0,
    timestampNs: TIME_NS,
    data: hex("01 02 03 04 05"),
    originalLen: 60,
    direction: pcapng.PCAPNG_INBOUND,
    comment: "lost",
  });
  assertEquals(packet, PACKET);
});

Deno.test("parsePcapng() reads a capture", () => {
  const bytes = concatBytes([SECTION, INTERFACE, PACKET]);
  const file = pcapng.parsePcapng(bytes)!;
  const ether0 = { name: "ether0", description: "", linkType: 1, snapLen: 0 };
  assertEquals(file.interfaces, [ether0]);
  assertEquals(file.packets, [{
    interfaceId: 0,
    interface: ether0,
    timestampNs: TIME_NS,
    data: hex("01 02 03 04 05"),
    originalLen: 60,
    direction: pcapng.PCAPNG_INBOUND,
    comment: "lost",
  }]);
  assertEquals(file.end, bytes.length);
});

Deno.test("parsePcapng() keeps what was whole of a capture that was cut off", () => {
  const bytes = concatBytes([SECTION, INTERFACE, PACKET, PACKET]);
  const file = pcapng.parsePcapng(bytes.subarray(0, bytes.length - 1))!;
  assertEquals([file.packets.length, file.end], [1, bytes.length - PACKET.length]);
});

Deno.test("parsePcapng() skips unknown blocks and numbers interfaces from 0 in each section", () => {
  const unknown = hex("05 00 00 00 10 00 00 00 ab cd ef 00 10 00 00 00");
  const bytes = concatBytes([SECTION, INTERFACE, unknown, SECTION, INTERFACE, PACKET]);
  const file = pcapng.parsePcapng(bytes)!;
  assertEquals([file.interfaces.length, file.packets.length, file.end], [2, 1, bytes.length]);
  assert(file.packets[0]!.interface === file.interfaces[1]);
  const orphan = concatBytes([SECTION, INTERFACE, SECTION, PACKET]);
  assertEquals(pcapng.parsePcapng(orphan)?.end, orphan.length - PACKET.length);
});

Deno.test("parsePcapng() refuses what does not begin with a little-endian section", () => {
  assertEquals(pcapng.parsePcapng(new Uint8Array(0)), null);
  assertEquals(pcapng.parsePcapng(PACKET), null);
  const big = SECTION.slice();
  big.set(hex("1a 2b 3c 4d"), 8);
  assertEquals(pcapng.parsePcapng(big), null);
});

Deno.test("parsePcapng() converts times of other resolutions, and adds an offset", () => {
  const described = (options: string) => {
    const list = hex(options);
    const bytes = new Uint8Array(20 + list.length);
    bytes.set([1, 0, 0, 0, bytes.length], 0);
    bytes[8] = 1;
    bytes.set(list, 16);
    bytes[bytes.length - 4] = bytes.length;
    return bytes;
  };
  const ticks = pcapng.emitPcapngPacket({ interfaceId: 0, timestampNs: 3n, data: new Uint8Array(0) });
  const cases: [string, bigint][] = [
    ["", 3000n], // without if_tsresol: microseconds
    ["09 00 01 00 03 00 00 00", 3_000_000n],
    ["09 00 01 00 81 00 00 00", 1_500_000_000n],
    ["09 00 01 00 09 00 00 00 0e 00 08 00 02 00 00 00 00 00 00 00", 2_000_000_003n],
    ["09 00 01 00 09 00 00 00 0e 00 08 00 ff ff ff ff ff ff ff ff", -999_999_997n],
  ];
  for (const [options, expected] of cases) {
    const file = pcapng.parsePcapng(concatBytes([SECTION, described(options), ticks]))!;
    assertEquals(file.packets[0]?.timestampNs, expected, options);
  }
});

Deno.test("parsePcapng() reads simple packets, cut to the interface's limit, with time 0", () => {
  const simple = hex("03 00 00 00 14 00 00 00 3c 00 00 00 01 02 03 04 14 00 00 00");
  const limited = pcapng.emitPcapngInterface({ name: "", linkType: pcapng.LINKTYPE_RAW, snapLen: 4 });
  const packet = pcapng.parsePcapng(concatBytes([SECTION, limited, simple]))!.packets[0]!;
  assertEquals([packet.data, packet.originalLen, packet.timestampNs], [hex("01 02 03 04"), 60, 0n]);
});

Deno.test("pcapngTimestamp() keeps the fraction of a millisecond", () => {
  assertEquals(pcapng.pcapngTimestamp(0), 0n);
  assertEquals(pcapng.pcapngTimestamp(1.000001), 1_000_001n);
  assertEquals(pcapng.pcapngTimestamp(1_700_000_000_123.5), 1_700_000_000_123_500_000n);
  assertEquals(pcapng.pcapngTimestamp(0.9999999), 1_000_000n);
});

Deno.test("formatPcapngPacket() is one line", () => {
  const packet = pcapng.parsePcapng(concatBytes([SECTION, INTERFACE, PACKET]))!.packets[0]!;
  assertEquals(pcapng.formatPcapngPacket(packet), 'ether0 in 530242872.458740434 len 60 "lost"');
  const plain = { ...packet, timestampNs: 1n, direction: 0, comment: "" };
  assertEquals(pcapng.formatPcapngPacket(plain), "ether0 0.000000001 len 60");
});

Deno.test("captures are read back as they were written", () => {
  const interfaces = fc.record({
    name: fc.string({ unit: "grapheme" }),
    description: fc.string(),
    linkType: fc.constantFrom(pcapng.LINKTYPE_ETHERNET, pcapng.LINKTYPE_RAW),
    snapLen: u32,
  });
  const packets = fc.record({
    interfaceId: fc.nat(1),
    timestampNs: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    data: fc.uint8Array({ maxLength: 100 }),
    originalLen: u32,
    direction: fc.constantFrom(pcapng.PCAPNG_UNKNOWN, pcapng.PCAPNG_INBOUND, pcapng.PCAPNG_OUTBOUND),
    comment: fc.string({ unit: "grapheme" }),
  });
  fc.assert(
    fc.property(fc.tuple(interfaces, interfaces), fc.array(packets, { maxLength: 5 }), (described, sent) => {
      const blocks = [...described.map(pcapng.emitPcapngInterface), ...sent.map(pcapng.emitPcapngPacket)];
      const bytes = concatBytes([pcapng.emitPcapngSection(), ...blocks]);
      const file = pcapng.parsePcapng(bytes)!;
      assertEquals(file.end, bytes.length);
      assertEquals(file.interfaces, described);
      assertEquals(file.packets, sent.map((packet) => ({ ...packet, interface: described[packet.interfaceId]! })));
    }),
    fuzz(100),
  );
});

Deno.test("parsePcapng() survives any bytes", () => {
  const samples = [concatBytes([SECTION, INTERFACE, PACKET]), concatBytes([SECTION, PACKET])];
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array(), ...samples.map(damaged)), (bytes) => {
      const file = pcapng.parsePcapng(bytes);
      if (file === null) return;
      assert(file.end <= bytes.length);
      for (const { data } of file.packets) assert(data.byteOffset - bytes.byteOffset + data.length <= file.end);
    }),
    fuzz(500),
  );
});

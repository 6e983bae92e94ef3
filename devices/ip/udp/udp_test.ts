/** UDP through the stack: connected, announced, headers mode, errors. */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { KernelError } from "../../../kernel/error.ts";
import { TapEvent } from "../../../kernel/fd_tap.ts";
import { put16 } from "../../../kernel/wire/bytes.ts";
import {
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
  ICMP_UNREACHABLE_PORT,
  ICMP_UNREACHABLE_TOO_BIG,
  parseIcmpQuote,
} from "../../../kernel/wire/icmp.ts";
import { parseIpv4 } from "../../../kernel/wire/ipv4.ts";
import { parseUdp, udpChecksumOk } from "../../../kernel/wire/udp.ts";
import { refusal, refusalCode, writeText } from "../../../tests/kit/host/dev.ts";
import { fuzzSteps, sequences } from "../../../tests/kit/check/fuzz.ts";
import {
  icmpErrorPacket,
  ip as addr,
  ipFixture,
  ipPacket,
  pattern,
  PEER,
  udpPacket,
  US,
} from "../../../tests/kit/ip/ip_fixture.ts";
import { MESSAGE_MEMORY_MAX } from "../ip_stack.ts";
import { UDP_PAYLOAD_MAX, UDP_QUEUE_LIMIT } from "./udp.ts";
import { getRecord, HeaderMode, putRecord } from "./udp_headers.ts";

const error = (code: number, packet: Uint8Array) => icmpErrorPacket({ type: ICMP_UNREACHABLE, code, packet });

Deno.test("A connected conversation sends and receives datagrams, one a message, also empty ones", () => {
  const ip = ipFixture();
  const udp = ip.conv("udp", `connect ${PEER}!9 7`, "ttl 3", "tos 8");
  for (const size of [0, 1, 1000]) {
    assertEquals(udp.send(pattern(size)), size);
    const [packet] = ip.sent();
    const header = parseIpv4(packet!, 0, packet!.length)!;
    assertEquals([`${header.src}`, `${header.dst}`, header.ttl, header.tos], [US, PEER, 3, 8]);
    const { srcPort, dstPort, payloadLen, checksum } = parseUdp(packet!, 20, packet!.length)!;
    assertEquals([srcPort, dstPort, payloadLen], [7, 9, size]);
    assert(checksum !== 0 && udpChecksumOk(packet!, 20, addr(US), addr(PEER)));
    assertEquals(packet!.subarray(28), pattern(size));
    ip.inject(udpPacket({ srcPort: 9, dstPort: 7, payload: pattern(size) }));
    assertEquals(udp.read(), pattern(size));
  }
  assertEquals([ip.stat("udp", "InDatagrams"), ip.stat("udp", "OutDatagrams")], [3, 3]);
});

Deno.test("A connected conversation gets packets of its peer alone", () => {
  const ip = ipFixture();
  const udp = ip.conv("udp", `connect ${PEER}!9 7`);
  ip.inject(udpPacket({ srcPort: 10, dstPort: 7 }));
  ip.inject(udpPacket({ src: "10.0.0.3", srcPort: 9, dstPort: 7 }));
  assertEquals([udp.read(), ip.stat("udp", "NoPorts")], [null, 2]);
});

Deno.test("A checksum that comes out as 0 is sent as 0xffff, and 0 is accepted as none", () => {
  const ip = ipFixture();
  const udp = ip.conv("udp", `connect ${PEER}!9 7`);
  // The first word is what is missing to a sum of 0xffff.
  udp.send(Uint8Array.of(0, 0));
  const check = parseUdp(ip.sent()[0]!, 20, 30)!.checksum;
  udp.send(Uint8Array.of(check >>> 8, check & 0xff));
  assertEquals(parseUdp(ip.sent()[0]!, 20, 30)!.checksum, 0xffff);
  ip.inject(udpPacket({ srcPort: 9, dstPort: 7, payload: pattern(3), checksum: 0 }));
  assertEquals(udp.read(), pattern(3));
});

Deno.test("Defect 12: a length field below 8 or beyond the packet is dropped and counted; it crashed Akaros", () => {
  const ip = ipFixture();
  const udp = ip.conv("udp", `connect ${PEER}!9 7`);
  for (const length of [0, 7, 100]) {
    const packet = udpPacket({ srcPort: 9, dstPort: 7, payload: pattern(4), checksum: 0 });
    put16(packet, 24, length);
    ip.inject(packet);
  }
  ip.inject(ipPacket({ protocol: 17, payload: pattern(7) }));
  ip.inject(ipPacket({ protocol: 17 }));
  assertEquals([udp.read(), ip.stat("udp", "LenErrs"), ip.stat("udp", "InErrors")], [null, 5, 5]);
});

Deno.test("Bytes between the UDP length and the IP total length are not the reader's", () => {
  const ip = ipFixture();
  const udp = ip.conv("udp", `connect ${PEER}!9 7`);
  const packet = udpPacket({ srcPort: 9, dstPort: 7, payload: pattern(6), checksum: 0 });
  put16(packet, 24, 12);
  ip.inject(packet);
  assertEquals(udp.read(), pattern(4));
});

Deno.test("A datagram for no port is answered with port unreachable; one to a broadcast is not", () => {
  const ip = ipFixture();
  const packet = udpPacket({ dstPort: 99, payload: pattern(30) });
  ip.inject(packet);
  const [answer] = ip.sent();
  const quote = parseIcmpQuote(answer!, 20, answer!.length)!;
  assertEquals([answer![20], answer![21]], [ICMP_UNREACHABLE, ICMP_UNREACHABLE_PORT]);
  assertEquals(answer!.subarray(quote.ipAt), packet);
  ip.inject(udpPacket({ dst: "10.0.0.255", dstPort: 99 }));
  ip.inject(udpPacket({ dst: "255.255.255.255", dstPort: 99 }));
  assertEquals([ip.sent(), ip.stat("udp", "NoPorts")], [[], 3]);
});

Deno.test("In headers mode an announced conversation reads and writes the ends before the payload", () => {
  const ip = ipFixture();
  const udp = ip.conv("udp", "headers", "announce 7");
  ip.inject(udpPacket({ srcPort: 9, dstPort: 7, payload: pattern(5) }));
  const message = udp.read()!;
  const ends = getRecord(HeaderMode.Headers, message, 0);
  assertEquals([`${ends.raddr}`, `${ends.laddr}`, `${ends.ifcAddr}`, ends.rport, ends.lport], [PEER, US, US, 9, 7]);
  assertEquals(message.subarray(52), pattern(5));
  assertEquals(udp.send(message), 57);
  const [packet] = ip.sent();
  assertEquals(packet!.subarray(28), pattern(5));
  assertEquals(parseUdp(packet!, 20, packet!.length)!.dstPort, 9);
  assertEquals(refusalCode(() => udp.send(pattern(51))), "EINVAL");
});

Deno.test("In headers mode a broadcast differs from a unicast by its local address", () => {
  const ip = ipFixture();
  const udp = ip.conv("udp", "oldheaders", "announce 7");
  ip.inject(udpPacket({ dst: "10.0.0.255", dstPort: 7 }));
  const ends = getRecord(HeaderMode.OldHeaders, udp.read()!, 0);
  assertEquals(`${ends.laddr}`, "10.0.0.255");
});

Deno.test("In headers mode a local address that is not ours is replaced", () => {
  const ip = ipFixture({ defaultRoute: false });
  const udp = ip.conv("udp", "headers");
  const message = new Uint8Array(55);
  putRecord(
    HeaderMode.Headers,
    {
      raddr: addr(PEER),
      laddr: addr("9.9.9.9"),
      ifcAddr: addr("9.9.9.9"),
      rport: 9,
      lport: 1,
    },
    message,
    0,
  );
  udp.send(message);
  const [packet] = ip.sent();
  assertEquals(`${parseIpv4(packet!, 0, packet!.length)!.src}`, US);
  // The first write bound a port.
  assertEquals(parseUdp(packet!, 20, packet!.length)!.srcPort, udp.port());
  assert(udp.port() >= 5000);
  addr("9.9.9.9").put(message, 0);
  assertEquals(refusalCode(() => udp.send(message)), "EHOSTUNREACH");
});

Deno.test("Each new peer of an announced conversation without headers becomes a call", () => {
  const ip = ipFixture();
  const udp = ip.conv("udp", "announce 7");
  ip.inject(udpPacket({ srcPort: 100, dstPort: 7, payload: pattern(1) }));
  ip.inject(udpPacket({ srcPort: 101, dstPort: 7, payload: pattern(2) }));
  ip.inject(udpPacket({ srcPort: 100, dstPort: 7, payload: pattern(3) }));
  assertEquals(udp.conv.calls.map((call) => [call.rport, call.rq.blocks]), [[100, 2], [101, 1]]);
});

Deno.test("A backlog of 500 calls is full: more are dropped and counted", () => {
  const ip = ipFixture();
  const udp = ip.conv("udp", "announce 7");
  for (let i = 0; i < 510; i++) ip.inject(udpPacket({ srcPort: 1000 + i, dstPort: 7 }));
  assertEquals([udp.conv.calls.length, ip.stat("udp", "CallsDropped")], [500, 10]);
});

Deno.test("What does not fit the reader's 128 KiB is dropped and counted", () => {
  const ip = ipFixture();
  const udp = ip.conv("udp", `connect ${PEER}!9 7`);
  for (let i = 0; i < 140; i++) ip.inject(udpPacket({ srcPort: 9, dstPort: 7, payload: pattern(1000) }));
  const { rq } = udp.conv;
  assert(rq.length <= UDP_QUEUE_LIMIT + 1000);
  assertEquals(rq.blocks + ip.stat("udp", "QueueFull"), 140);
});

Deno.test("Port unreachable hangs a connected conversation up, unless it ignores advice, and reaches err", () => {
  const ip = ipFixture();
  for (const ignores of [false, true]) {
    const udp = ip.conv("udp", ...(ignores ? ["ignoreadvice"] : []), `connect ${PEER}!9 7`);
    const tap = udp.tap(TapEvent.Hangup);
    udp.send(pattern(3));
    ip.inject(error(ICMP_UNREACHABLE_PORT, ip.sent()[0]!));
    assertEquals(udp.conv.eq.blocks, 1);
    assertEquals(tap.take(), ignores ? [] : [TapEvent.Hangup]);
    if (!ignores) {
      assertEquals(refusal(() => udp.read()), "EPIPE: Connection refused: port unreachable");
      assertEquals(refusalCode(() => udp.send(pattern(1))), "EPIPE");
    }
    udp.close();
  }
});

Deno.test("Errors about one packet, or quoting what we did not send, hang up no conversation", () => {
  const ip = ipFixture();
  const udp = ip.conv("udp", `connect ${PEER}!9 7`);
  const ours = udpPacket({ src: US, dst: PEER, srcPort: 7, dstPort: 9 });
  ip.inject(error(ICMP_UNREACHABLE_TOO_BIG, ours));
  ip.inject(icmpErrorPacket({ type: ICMP_TIME_EXCEEDED, code: 0, packet: ours }));
  ip.inject(error(ICMP_UNREACHABLE_PORT, udpPacket({ src: US, dst: PEER, srcPort: 7, dstPort: 10 })));
  ip.inject(error(ICMP_UNREACHABLE_PORT, udpPacket({ src: "10.0.0.9", dst: PEER, srcPort: 7, dstPort: 9 })));
  assertEquals([udp.conv.rq.closed, udp.conv.eq.blocks], [false, 2]);
});

Deno.test("A datagram above 65507 bytes is EMSGSIZE, one of 65507 is sent in fragments", () => {
  const ip = ipFixture();
  const udp = ip.conv("udp", `connect ${PEER}!9 7`);
  assertEquals(refusalCode(() => udp.send(pattern(UDP_PAYLOAD_MAX + 1))), "EMSGSIZE");
  assertEquals(udp.send(pattern(UDP_PAYLOAD_MAX)), 65507);
  const lengths = ip.sent().map((packet) => packet.length - 20);
  assertEquals(lengths.reduce((a, b) => a + b), 65515);
});

Deno.test("A conversation without a peer cannot be written to", () => {
  const udp = ipFixture().conv("udp", "announce 7");
  assertEquals(refusalCode(() => udp.send(pattern(1))), "ENOTCONN");
});

Deno.test("A datagram to a multicast group reaches the conversations that announced its port and joined", () => {
  const ip = ipFixture();
  const udp = ip.conv("udp", "headers", "announce 7");
  const packet = udpPacket({ dst: "224.1.2.3", dstPort: 7 });
  const other = ip.conv("udp", "headers", "announce 8", `addmulti ${US} 224.1.2.3`);
  ip.inject(packet);
  assertEquals([udp.read(), ip.stat("udp", "NotMember")], [null, 1]);
  udp.command(`addmulti ${US} 224.1.2.3`);
  ip.inject(packet);
  assertEquals(udp.read()?.length, 52);
  other.close();
  udp.command(`remmulti ${US} 224.1.2.3`);
  ip.inject(packet);
  assertEquals([udp.read(), ip.stack.self.cast(addr("224.1.2.3"))], [null, null]);
});

Deno.test("A host without an address asks for one from 0.0.0.0, and hears the answer to whatever address", () => {
  const ip = ipFixture({ defaultRoute: false });
  writeText(ip.ifcCtl, `remove ${US} 255.255.255.0`);
  writeText(ip.ifcCtl, "add 0.0.0.0 0.0.0.0");
  const udp = ip.conv("udp", "headers", "announce 68");
  const message = new Uint8Array(60);
  addr("255.255.255.255").put(message, 0);
  put16(message, 48, 67);
  udp.send(message);
  const [packet] = ip.sent();
  const header = parseIpv4(packet!, 0, packet!.length)!;
  assertEquals([`${header.src}`, `${header.dst}`], ["0.0.0.0", "255.255.255.255"]);
  assert(udpChecksumOk(packet!, 20, header.src, header.dst));
  ip.inject(udpPacket({ dst: "10.0.0.77", srcPort: 67, dstPort: 68, payload: pattern(4) }));
  assertEquals(udp.read()?.length, 56);
});

Deno.test("A datagram from 0.0.0.0 makes no call", () => {
  const ip = ipFixture();
  const udp = ip.conv("udp", "announce 67");
  ip.inject(udpPacket({ src: "0.0.0.0", dst: "255.255.255.255", srcPort: 68, dstPort: 67 }));
  assertEquals([udp.conv.calls.length, ip.stat("udp", "CallsDropped")], [0, 1]);
});

Deno.test("Random bytes as UDP never throw and never leave a queue above its limit", () => {
  const sample = udpPacket({ dstPort: 7, payload: pattern(20) });
  const damaged = fc.array(fc.tuple(fc.nat(sample.length - 1), fc.nat(255)), { maxLength: 4 }).map((changes) => {
    const bytes = sample.slice();
    for (const [at, value] of changes) bytes[at] = value;
    return bytes;
  });
  const random = fc.uint8Array({ maxLength: 60 }).map((payload) => ipPacket({ protocol: 17, payload }));
  fc.assert(
    fc.property(sequences(fc.oneof(damaged, random)), (steps) => {
      const ip = ipFixture();
      const udp = ip.conv("udp", "headers", "announce 7");
      for (const packet of steps) {
        ip.inject(packet);
        assert(udp.conv.rq.length <= UDP_QUEUE_LIMIT + 65536);
        udp.read();
        ip.sent();
      }
    }),
    fuzzSteps(300),
  );
});

Deno.test("Random bytes from a writer in headers mode throw nothing but KernelError", () => {
  fc.assert(
    fc.property(sequences(fc.tuple(fc.uint8Array({ maxLength: 80 }), fc.boolean())), (steps) => {
      const ip = ipFixture();
      const udp = ip.conv("udp", "headers", "announce 7");
      for (const [bytes, toPeer] of steps) {
        if (toPeer && bytes.length >= 16) addr(PEER).put(bytes, 0);
        try {
          udp.send(bytes);
        } catch (error) {
          assert(error instanceof KernelError);
        }
        ip.sent();
      }
    }),
    fuzzSteps(200),
  );
});

Deno.test("Datagrams that are not read take no more than the memory of the stack, and leave some for others", () => {
  const ip = ipFixture();
  const flooded = [1000, 1001, 1002].map((port) => ip.conv("udp", "headers", `announce ${port}`));
  const other = ip.conv("udp", `connect ${PEER}!9 7`);
  const { memory } = other.conv.space;
  const elsewhere = memory.shared - 1_000_000;
  memory.bytes += elsewhere;
  for (const dstPort of [1000, 1001, 1002]) {
    for (let i = 0; i < 2000; i++) ip.inject(udpPacket({ srcPort: 9, dstPort, payload: pattern(1) }));
  }
  const held = ip.stat("udp", "Memory");
  assert(held <= MESSAGE_MEMORY_MAX && held >= memory.shared, `${held}`);
  assert(ip.stat("udp", "QueueFull") > 0);
  ip.inject(udpPacket({ srcPort: 9, dstPort: 7, payload: pattern(5) }));
  assertEquals(other.read(), pattern(5));
  for (const udp of [...flooded, other]) udp.close();
  assertEquals(memory.bytes, elsewhere);
});

Deno.test("ICMP errors that are not read are 32 at most, and the last close frees them", () => {
  const ip = ipFixture();
  const udp = ip.conv("udp", "ignoreadvice on", `connect ${PEER}!9 7`);
  udp.send(pattern(10));
  const [packet] = ip.sent();
  for (let i = 0; i < 100; i++) ip.inject(error(ICMP_UNREACHABLE_PORT, packet!));
  assertEquals(udp.conv.eq.blocks, 32);
  assert(ip.stat("udp", "Memory") >= 32 * 256);
  udp.close();
  assertEquals(ip.stat("udp", "Memory"), 0);
});

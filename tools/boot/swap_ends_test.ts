import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { Block } from "../../kernel/block.ts";
import {
  IP_PROTO_AH,
  IP_PROTO_DEST_OPTIONS,
  IP_PROTO_FRAGMENT,
  IP_PROTO_HOP_BY_HOP,
  IP_PROTO_ICMP,
  IP_PROTO_ICMP6,
  IP_PROTO_ROUTING,
  IP_PROTO_TCP,
  IP_PROTO_UDP,
} from "../../kernel/wire/ip_proto.ts";
import { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { emitIpv4 } from "../../kernel/wire/ipv4.ts";
import {
  emitIpv6,
  emitIpv6Fragment,
  IPV6_FRAGMENT_LEN,
  IPV6_HEADER_LEN,
  ipv6Dst,
  ipv6Src,
} from "../../kernel/wire/ipv6.ts";
import { emitUdp, setUdpChecksum, UDP_HEADER_LEN, udpChecksumOk } from "../../kernel/wire/udp.ts";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { swapEnds } from "./swap_ends.ts";

/** Bytes before the packet in its block: an offset that is not zero finds code that forgets it. */
const HEADROOM = 10;

/** A packet's upper layer, and the extension headers before it, in order. */
interface Made {
  readonly extensions: readonly { readonly kind: number; readonly units: number }[];
  /** 8-byte units of fragment offset; null: no fragment header. */
  readonly fragOffset: number | null;
  readonly protocol: number;
  readonly src: IpAddr;
  readonly dst: IpAddr;
  readonly payload: Uint8Array;
}

const word = fc.integer({ min: -0x80000000, max: 0x7fffffff });
const addr6 = fc.tuple(word, word, word, word).map((words) => new IpAddr(...words));
const kinds = fc.constantFrom(IP_PROTO_DEST_OPTIONS, IP_PROTO_ROUTING, IP_PROTO_AH);
const packets6: fc.Arbitrary<Made> = fc.record({
  extensions: fc.tuple(
    fc.constantFrom([], [{ kind: IP_PROTO_HOP_BY_HOP, units: 0 }], [{ kind: IP_PROTO_HOP_BY_HOP, units: 2 }]),
    fc.array(fc.record({ kind: kinds, units: fc.constantFrom(0, 2, 4) }), { maxLength: 4 }),
  ).map(([first, others]) => [...first, ...others]),
  fragOffset: fc.constantFrom(null, 0, 1, 185),
  protocol: fc.constantFrom(IP_PROTO_UDP, IP_PROTO_TCP, IP_PROTO_ICMP6),
  src: addr6,
  dst: addr6,
  payload: fc.uint8Array({ minLength: 8, maxLength: 64 }),
});

/** Bytes of an extension header that counts `units`. */
function lengthOf(kind: number, units: number): number {
  return kind === IP_PROTO_AH ? (units + 2) * 4 : (units + 1) * 8;
}

/** The packet, and where its upper layer starts. */
function packet6(made: Made): { bytes: Uint8Array; upper: number } {
  const parts = [...made.extensions.map(({ kind, units }) => ({ kind, units, length: lengthOf(kind, units) }))];
  if (made.fragOffset !== null) parts.push({ kind: IP_PROTO_FRAGMENT, units: 0, length: IPV6_FRAGMENT_LEN });
  const extensionBytes = parts.reduce((sum, { length }) => sum + length, 0);
  const payloadLen = extensionBytes + made.payload.length;
  const bytes = new Uint8Array(IPV6_HEADER_LEN + payloadLen);
  const nextHeader = parts[0]?.kind ?? made.protocol;
  let at = emitIpv6({ src: made.src, dst: made.dst, nextHeader, payloadLen }, bytes, 0);
  parts.forEach(({ kind, units, length }, i) => {
    const next = parts[i + 1]?.kind ?? made.protocol;
    if (kind === IP_PROTO_FRAGMENT) {
      const fragOffset = made.fragOffset! * 8;
      emitIpv6Fragment({ nextHeader: next, fragOffset, moreFragments: true, id: 7 }, bytes, at);
    } else {
      bytes[at] = next;
      bytes[at + 1] = units;
    }
    at += length;
  });
  bytes.set(made.payload, at);
  return { bytes, upper: at };
}

/** `bytes` in a block that does not start at 0. */
function blockOf(bytes: Uint8Array): Block {
  const block = Block.from(new Uint8Array(HEADROOM + bytes.length));
  block.pull(HEADROOM);
  block.bytes().set(bytes);
  return block;
}

Deno.test("swapEnds() exchanges addresses and ports behind any IPv6 extension headers, and nothing else", () => {
  fc.assert(
    fc.property(packets6, (made) => {
      const { bytes, upper } = packet6(made);
      const block = swapEnds(blockOf(bytes));
      const swapped = block.bytes();
      assertEquals({ src: `${ipv6Src(swapped, 0)}`, dst: `${ipv6Dst(swapped, 0)}` }, {
        src: `${made.dst}`,
        dst: `${made.src}`,
      });
      const hasPorts = made.protocol !== IP_PROTO_ICMP6 && (made.fragOffset ?? 0) === 0;
      const wanted = bytes.slice();
      wanted.set(bytes.subarray(8, 24), 24);
      wanted.set(bytes.subarray(24, 40), 8);
      if (hasPorts) {
        wanted.set(bytes.subarray(upper, upper + 2), upper + 2);
        wanted.set(bytes.subarray(upper + 2, upper + 4), upper);
      }
      assertEquals(swapped, wanted);
      assertEquals(swapEnds(block).bytes(), bytes, "twice is the packet as it was");
    }),
    fuzz(500),
  );
});

Deno.test("swapEnds() keeps the checksum of a datagram behind extension headers right", () => {
  const [src, dst] = [new IpAddr(0x20010db8, 0, 0, 1), new IpAddr(0x20010db8, 0, 0, 2)];
  const datagram = new Uint8Array(UDP_HEADER_LEN + 5).fill(9);
  emitUdp({ srcPort: 5000, dstPort: 7, payloadLen: 5, checksum: 0 }, datagram, 0);
  setUdpChecksum(datagram, 0, src, dst);
  const extensions = [{ kind: IP_PROTO_HOP_BY_HOP, units: 0 }];
  const { bytes, upper } = packet6({
    extensions,
    fragOffset: null,
    protocol: IP_PROTO_UDP,
    src,
    dst,
    payload: datagram,
  });
  const swapped = swapEnds(blockOf(bytes)).bytes();
  const ports = {
    src: (swapped[upper]! << 8) | swapped[upper + 1]!,
    dst: (swapped[upper + 2]! << 8) | swapped[upper + 3]!,
  };
  assertEquals(ports, { src: 7, dst: 5000 });
  assertEquals(udpChecksumOk(swapped, upper, dst, src), true);
});

Deno.test("swapEnds() leaves the bytes of an IPv4 fragment but the first, and of ICMP, as they are", () => {
  const payload = Uint8Array.from({ length: 16 }, (_, i) => i);
  const cases = [
    { protocol: IP_PROTO_UDP, fragOffset: 0, first: 2 },
    { protocol: IP_PROTO_UDP, fragOffset: 8, first: 0 },
    { protocol: IP_PROTO_ICMP, fragOffset: 0, first: 0 },
  ];
  for (const { protocol, fragOffset, first } of cases) {
    const bytes = new Uint8Array(20 + payload.length);
    const fields = { src: IpAddr.v4(1), dst: IpAddr.v4(2), protocol, fragOffset, payloadLen: payload.length };
    bytes.set(payload, emitIpv4(fields, bytes, 0));
    const swapped = swapEnds(blockOf(bytes)).bytes();
    assertEquals({ protocol, src: swapped[15], dst: swapped[19], first: swapped[20] }, {
      protocol,
      src: 2,
      dst: 1,
      first,
    });
  }
});

Deno.test("swapEnds() of a packet that is cut off reads and writes nothing behind its end", () => {
  const made = { extensions: [], fragOffset: null, protocol: IP_PROTO_UDP, src: new IpAddr(1, 2, 3, 4) };
  const { bytes } = packet6({ ...made, dst: new IpAddr(5, 6, 7, 8), payload: new Uint8Array([1, 2, 3]) });
  const whole = new Uint8Array(HEADROOM + bytes.length + 8).fill(0xee);
  whole.set(bytes, HEADROOM);
  const block = Block.from(whole);
  block.pull(HEADROOM);
  block.wp -= 8;
  assertEquals([...swapEnds(block).bytes().subarray(IPV6_HEADER_LEN)], [1, 2, 3]);
  assertEquals(whole.subarray(-8), new Uint8Array(8).fill(0xee));
});

/** What the property tests of a whole host share: packets that lead everywhere, damage, and what must hold. */

import { assertEquals, fail } from "@std/assert";
import fc from "fast-check";
import { KernelError } from "../../../kernel/error.ts";
import { ARP_LEN, ARP_REPLY, ARP_REQUEST, emitArp } from "../../../kernel/wire/arp.ts";
import { emitEthernet, ETHER_HEADER_LEN } from "../../../kernel/wire/ethernet.ts";
import { echoPacket, icmpErrorPacket, ip, ipPacket, pattern, PEER, udpPacket, US } from "./ip_fixture.ts";
import { HOST_MAC, type Story, type UserConv, WIRE_MAC } from "./story.ts";
import { fragmentsOf } from "./packet_parts.ts";
import { damaged } from "./wire.ts";
import { overLimits } from "../host/limits.ts";

/** Cases between two looks at all limits: often enough to name the culprit, seldom enough to cost little. */
export const LIMITS_EVERY = 32;

/** Packets that each lead to another part of the stack. */
export const PACKETS: readonly Uint8Array[] = [
  ...[7, 8, 9, 1500, 9999].map((dstPort) => udpPacket({ dstPort, payload: pattern(30) })),
  udpPacket({ dstPort: 9, checksum: 0, options: new Uint8Array([0x94, 4, 0, 0]) }),
  udpPacket({ dstPort: 8, dst: "10.0.0.255" }),
  udpPacket({ dstPort: 5353, dst: "224.0.0.251" }),
  udpPacket({ dst: "10.9.0.7", dstPort: 9, ttl: 2, payload: pattern(30) }),
  udpPacket({ dst: "10.9.0.7", dstPort: 9, payload: pattern(600) }),
  udpPacket({ dst: "10.9.0.7", dstPort: 9, payload: pattern(600), dontFragment: true }),
  udpPacket({ dst: "192.0.2.7", dstPort: 9 }),
  udpPacket({ dst: "10.0.0.77", dstPort: 9 }),
  ...fragmentsOf(udpPacket({ dstPort: 9, payload: pattern(90) }), 48, 77),
  ...fragmentsOf(udpPacket({ dstPort: 8, payload: pattern(90) }), 24, 78),
  echoPacket({ id: 1 }),
  echoPacket({ id: 77 }),
  echoPacket({ id: 78, reply: true }),
  ...[[3, 3], [3, 4], [11, 0], [12, 0]].map(([type, code]) => {
    const packet = udpPacket({ src: US, dst: PEER, srcPort: 9, dstPort: 5 });
    return icmpErrorPacket({ type: type!, code: code!, packet });
  }),
  ipPacket({ protocol: 47, payload: pattern(20) }),
  ipPacket({ protocol: 99, payload: pattern(20) }),
];

/** A frame from the wire to the host with `payload`. */
function frameOf(payload: Uint8Array, etherType = 0x800): Uint8Array {
  const frame = new Uint8Array(ETHER_HEADER_LEN + payload.length);
  emitEthernet({ dst: HOST_MAC, src: WIRE_MAC, etherType }, frame, 0);
  frame.set(payload, ETHER_HEADER_LEN);
  return frame;
}

function arpFrame(op: number, sender: string, target: string): Uint8Array {
  const packet = new Uint8Array(ARP_LEN);
  emitArp({ op, senderMac: WIRE_MAC, senderIp: ip(sender), targetMac: HOST_MAC, targetIp: ip(target) }, packet, 0);
  return frameOf(packet, 0x806);
}

export const FRAMES: readonly Uint8Array[] = [
  ...PACKETS.map((packet) => frameOf(packet)),
  arpFrame(ARP_REQUEST, PEER, US),
  arpFrame(ARP_REQUEST, "10.0.0.9", US),
  arpFrame(ARP_REPLY, "10.0.0.77", US),
  arpFrame(ARP_REPLY, US, US),
];

const someBytes = fc.uint8Array({ maxLength: 120 });

/** One of `samples`, damaged or as it is, or bytes without sense, of which `start` comes first. */
export function near(samples: readonly Uint8Array[], ...start: number[]): fc.Arbitrary<Uint8Array> {
  return fc.oneof(
    start.length === 0 ? someBytes : someBytes.map((bytes) => Uint8Array.of(...start, ...bytes)),
    ...samples.map((sample) => fc.oneof({ weight: 3, arbitrary: damaged(sample) }, fc.constant(sample))),
  );
}

/** What may come out of a system call: an answer, or a KernelError. Anything else fails, with `where` it came from. */
export function mayRefuse(where: string, work: () => unknown): void {
  try {
    work();
  } catch (error) {
    if (error instanceof KernelError) return;
    const text = error instanceof Error ? error.stack ?? error.message : String(error);
    fail(`${where} threw what is no KernelError: ${text}`);
  }
}

/** No queue or table of the host is above its limit, `where` says after what. */
export function assertWithinLimits(story: Story, where: string): void {
  const over = overLimits(story.host);
  assertEquals(over, [], `${where} left something above its limit`);
}

/** A conversation of every kind that a packet may be for; 10.9.0.0/24 is forwarded to a user's interface. */
export function everyConv(story: Story): UserConv[] {
  const { user } = story;
  user.command("/net/ipifc/1/ctl", "iprouting on");
  user.conv("ipifc", "bind pkt", "mtu 200", "add 10.9.0.1 /24");
  const convs: [string, ...string[]][] = [
    ["udp", "announce 7"],
    ["udp", "headers", "announce 8"],
    ["udp", "bypass 9"],
    ["udp", "bypass 1000-1999", "offload on"],
    ["udp", `connect ${PEER}!5 ${US}!10`],
    ["udp", "oldheaders", "announce 5353", `addmulti ${US} 224.0.0.251`],
    ["icmp", "bypass 77"],
    ["icmp", `connect ${PEER}!1 78`],
    ["icmp", "bypass 79", "bypass-echo replies"],
    ["raw", "bypass 47"],
  ];
  return convs.map(([proto, ...commands]) => user.conv(proto, ...commands));
}

/**
 * Kit for stories about tcp conversations, beside story.ts: whole TCP packets, made and read, and conversations that
 * call and are called.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { ipv4ChecksumOk } from "../../../kernel/wire/ipv4.ts";
import {
  emitTcp,
  parseTcp,
  setTcpChecksum,
  TCP_SYN,
  tcpChecksumOk,
  tcpEmitLen,
  type TcpFields,
  type TcpHeader,
} from "../../../kernel/wire/tcp.ts";
import { ip, ipPacket, type PacketOptions, PEER, US } from "../ip/ip_fixture.ts";
import { errnoOf, type User, UserConv } from "../ip/story.ts";
import { headerOf } from "../ip/packets.ts";
import { payloadOf } from "../ip/packet_parts.ts";

/** The port that {@link tcpPacket} goes to. */
export const PORT = 4000;

/** Header fields of a packet, its payload, and a checksum to be taken as it is. */
export type TcpParts = Partial<TcpFields> & { data?: Uint8Array };

/** A whole TCP packet with right checksums; by default a SYN from port 9 of PEER to PORT of US. */
export function tcpPacket(parts: TcpParts = {}, options: PacketOptions = {}): Uint8Array {
  const { data = new Uint8Array(0), checksum, ...rest } = parts;
  const fields = { srcPort: 9, dstPort: PORT, seq: 1, ack: 0, flags: TCP_SYN, window: 1000, ...rest };
  const { src = PEER, dst = US } = options;
  const segment = new Uint8Array(tcpEmitLen(fields) + data.length);
  segment.set(data, emitTcp({ ...fields, checksum: checksum ?? 0 }, segment, 0));
  if (checksum === undefined) setTcpChecksum(segment, 0, segment.length, { src: ip(src), dst: ip(dst) });
  return ipPacket({ src, dst, protocol: 6, payload: segment, ...options });
}

/** The same from PORT of US to port 9 of PEER. */
export function tcpAnswer(parts: TcpParts = {}, options: PacketOptions = {}): Uint8Array {
  return tcpPacket({ srcPort: PORT, dstPort: 9, ...parts }, { src: US, dst: PEER, ...options });
}

/** The TCP header of a packet, whose checksums must be right. */
export function segmentOf(packet: Uint8Array): TcpHeader {
  const { src, dst, protocol } = headerOf(packet);
  const payload = payloadOf(packet);
  assertEquals(protocol, 6);
  assert(ipv4ChecksumOk(packet, 0) && tcpChecksumOk(payload, 0, payload.length, { src, dst }), "a checksum is wrong");
  return parseTcp(payload, 0, payload.length)!;
}

/** The payload of a TCP packet, as text. */
export function textOf(packet: Uint8Array): string {
  return new TextDecoder().decode(payloadOf(packet).subarray(segmentOf(packet).headerLen));
}

/** A conversation that calls `ends` (`addr!port [local]`), after the commands of `setup`; it does not wait. */
export function call(user: User, ends: string, ...setup: string[]): UserConv {
  const conv = user.conv("tcp", ...setup);
  assertEquals(errnoOf(() => conv.command(`connect ${ends}`)), "EINPROGRESS");
  // A call that is refused runs no jobs, although its SYN is in flight.
  user.host.clock.jobs.run();
  return conv;
}

/** The next call at `listener`. */
export function accept(listener: UserConv): UserConv {
  const { user, dir } = listener;
  const ctl = user.open(`${dir}/listen`);
  const taken = `/net/tcp/${user.readText(ctl)}`;
  return new UserConv(user, taken, ctl, user.open(`${taken}/data`));
}

/** The state of a conversation: the first word of its status. */
export function stateOf(conv: UserConv): string {
  return conv.text("status").split(" ")[0]!;
}

/** Writes a text; all of it must be taken. */
export function say(conv: UserConv, text: string): void {
  assertEquals(conv.user.write(conv.data, text), text.length);
}

/** One read, as a text; null if it would sleep. */
export function hear(conv: UserConv): string | null {
  const bytes = conv.read();
  return bytes === null ? null : new TextDecoder().decode(bytes);
}

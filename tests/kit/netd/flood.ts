/**
 * Sends a hostile guest's packets as fast as Linux takes them: a program that is started inside the guest's namespace.
 * It ends by itself, and prints how many packets it has sent.
 *
 *     deno run … tests/kit/netd/flood.ts KIND SOURCE TARGET COUNT
 *
 * Kinds: `tcp` and `udp` go to one port of TARGET after the other, each from a port of its own; `dns` asks TARGET for
 * one name after the other; `fragments` are first fragments of datagrams that never end; `small` is UDP of 64 bytes in
 * all to addresses and ports all over TARGET's network of 2^16. A second number after COUNT is a pace, in packets a
 * second.
 *
 * @module
 */

import { HostError, libc } from "../../../devices/host/libc.ts";
import { openSocket, SOCK_RAW, sockaddr } from "../../../devices/host/socket_fd.ts";
import { emitIpv4, IPV4_HEADER_LEN } from "../../../kernel/wire/ipv4.ts";
import { dnsLen, dnsQuery, emitDns } from "../../../kernel/wire/dns.ts";
import { DNS_CLASS_IN, DNS_TYPE_A } from "../../../kernel/wire/dns_record.ts";
import { IpAddr, parseIpAddr } from "../../../kernel/wire/ip_addr.ts";
import { emitTcp, setTcpChecksum, TCP_SYN } from "../../../kernel/wire/tcp.ts";
import { emitUdp, setUdpChecksum, UDP_HEADER_LEN } from "../../../kernel/wire/udp.ts";

/** Raw sockets of this protocol take whole IP packets (raw(7)). */
const IPPROTO_RAW = 255;
const TCP = 6;
const UDP = 17;
/** Packets after which a paced flood looks at the clock. */
const PACE_EVERY = 32;
const FIRST_PORT = 1024;
const SMALL_LEN = 64;
const FRAGMENT_LEN = 800;

/** One packet of a flood: its bytes in `buf`, the IP header among them; answers their number. */
type Emit = (buf: Uint8Array, i: number) => number;

/** The kinds of flood, from `src` to `dst`. */
const KINDS: Readonly<Record<string, (src: IpAddr, dst: IpAddr) => Emit>> = {
  tcp: (src, dst) => (buf, i) => {
    const ports = { srcPort: portOf(i), dstPort: 1 + i % 65535 };
    const length = emitTcp({ ...ports, seq: i, ack: 0, flags: TCP_SYN, window: 64240 }, buf, IPV4_HEADER_LEN);
    const end = IPV4_HEADER_LEN + length;
    setTcpChecksum(buf, IPV4_HEADER_LEN, end, { src, dst });
    emitIpv4({ protocol: TCP, src, dst, payloadLen: length, id: i & 0xffff }, buf, 0);
    return end;
  },
  udp: (src, dst) => (buf, i) => putUdp(buf, { src, dst, id: i, dstPort: 1 + i % 65535, length: SMALL_LEN }),
  small: (src, net) => (buf, i) => {
    const hash = Math.imul(i + 1, 0x9e3779b1) >>> 0;
    const dst = IpAddr.v4(((net.w3 & 0xffff0000) | (hash & 0xffff)) >>> 0);
    return putUdp(buf, { src, dst, id: i, dstPort: 1 + (hash >>> 16) % 65535, length: SMALL_LEN });
  },
  dns: (src, dst) => (buf, i) => {
    const question = { name: `host${i}.example`, type: DNS_TYPE_A, class: DNS_CLASS_IN };
    const query = dnsQuery(i & 0xffff, question);
    const length = IPV4_HEADER_LEN + UDP_HEADER_LEN + dnsLen(query);
    emitDns(query, buf, IPV4_HEADER_LEN + UDP_HEADER_LEN);
    return putUdp(buf, { src, dst, id: i, dstPort: 53, length });
  },
  fragments: (src, dst) => (buf, i) => {
    emitUdp({ srcPort: portOf(i), dstPort: 9, payloadLen: 2 * FRAGMENT_LEN }, buf, IPV4_HEADER_LEN);
    emitIpv4({ protocol: UDP, src, dst, payloadLen: FRAGMENT_LEN, id: i & 0xffff, moreFragments: true }, buf, 0);
    return IPV4_HEADER_LEN + FRAGMENT_LEN;
  },
};

function portOf(i: number): number {
  return FIRST_PORT + i % (65536 - FIRST_PORT);
}

interface Datagram {
  readonly src: IpAddr;
  readonly dst: IpAddr;
  readonly id: number;
  readonly dstPort: number;
  /** Bytes in all. */
  readonly length: number;
}

function putUdp(buf: Uint8Array, { src, dst, id, dstPort, length }: Datagram): number {
  emitUdp(
    { srcPort: portOf(id), dstPort, payloadLen: length - IPV4_HEADER_LEN - UDP_HEADER_LEN },
    buf,
    IPV4_HEADER_LEN,
  );
  setUdpChecksum(buf, IPV4_HEADER_LEN, src, dst);
  emitIpv4({ protocol: UDP, src, dst, payloadLen: length - IPV4_HEADER_LEN, id: id & 0xffff }, buf, 0);
  return length;
}

/** Sends `count` packets; answers how many Linux took. */
async function flood(emit: Emit, to: string, count: number, pace: number): Promise<number> {
  const fd = openSocket({ what: "a flood", type: SOCK_RAW, protocol: IPPROTO_RAW }, null);
  const name = sockaddr(to, 0);
  const buf = new Uint8Array(2048);
  const began = performance.now();
  let sent = 0;
  for (let i = 0; i < count; i++) {
    const length = emit(buf, i);
    // Safe because both lengths are those of the buffers. A refusal (no room) is a packet that is not sent.
    if (libc().sendto(fd, buf, BigInt(length), 0, name, name.length) >= 0) sent++;
    if (i % PACE_EVERY !== 0) continue;
    const ahead = pace === 0 ? 0 : i / pace * 1000 - (performance.now() - began);
    if (ahead > 1) await new Promise((resolve) => setTimeout(resolve, ahead));
  }
  return sent;
}

if (import.meta.main) {
  const [kind = "", from = "", to = "", count = "0", pace = "0"] = Deno.args;
  const [src, dst] = [parseIpAddr(from), parseIpAddr(to)];
  const make = KINDS[kind];
  if (make === undefined || src === null || dst === null) throw new HostError(`Cannot flood "${kind}"`, 22);
  console.log(`sent ${await flood(make(src, dst), to, Number(count), Number(pace))}`);
}

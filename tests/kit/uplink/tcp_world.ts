/**
 * A world for stories about TCP of the uplink: a real host kernel, the link, the uplink, and {@link FakeStreams} behind
 * it, all in virtual time.
 *
 *     await using at = await tcpWorld();
 *     at.fake.serve("192.0.2.9!80", (conn) => conn.send(TEXT));
 *     const conn = await at.host.connect({ hostname: "192.0.2.9", port: 80 });
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { Checksum } from "../../../kernel/block.ts";
import type { HostSockets } from "../../../kernel/host_sockets.ts";
import { IP_HEADERS } from "../../../kernel/inet/ip_header.ts";
import { wholeBytes } from "../../../kernel/inet/segment.ts";
import { type IpAddr, parseIpAddr } from "../../../kernel/wire/ip_addr.ts";
import { boot, type Host } from "../../../tools/boot/boot.ts";
import type { PortObserver } from "../../../tools/boot/observe_port.ts";
import type { LinkEnds } from "../../../tools/uplink/context.ts";
import type { UplinkPolicy } from "../../../tools/uplink/policy.ts";
import { PacketLink } from "../../../tools/uplink/packet_link.ts";
import { Uplink } from "../../../tools/uplink/uplink.ts";
import { FakeStreams } from "./fake_streams.ts";

/** One version of IP, as a story of TCP sees it. */
export interface TcpLink {
  readonly name: "IPv4" | "IPv6";
  readonly version: 4 | 6;
  readonly near: string;
  readonly peer: string;
  /** A host of the world, one that is dead, a router, and a caller. */
  readonly remote: string;
  readonly dead: string;
  readonly router: string;
  readonly caller: string;
  /** An address of the machine, and its loopback. */
  readonly own: string;
  readonly loopback: string;
}

/** Both versions. */
export const TCP_LINKS: readonly TcpLink[] = [
  {
    name: "IPv4",
    version: 4,
    near: "192.0.0.2",
    peer: "192.0.0.1",
    remote: "192.0.2.9",
    dead: "192.0.2.77",
    router: "203.0.113.1",
    caller: "203.0.113.7",
    own: "198.51.100.1",
    loopback: "127.0.0.1",
  },
  {
    name: "IPv6",
    version: 6,
    near: "fd00:a::2",
    peer: "fd00:a::1",
    remote: "2001:db8:9::9",
    dead: "2001:db8:9::77",
    router: "2001:db8:aa::1",
    caller: "2001:db8:cc::7",
    own: "2001:db8:5::1",
    loopback: "::1",
  },
];

/** An ICMP error as the host kernel got it. */
export interface SeenError {
  readonly from: string;
  /** `type/code`. */
  readonly what: string;
}

/** See above. */
export interface TcpWorld extends AsyncDisposable {
  readonly host: Host;
  readonly fake: FakeStreams;
  readonly uplink: Uplink;
  /** ICMP errors from the link, oldest first. */
  readonly errors: SeenError[];
  /** TCP segments from the link that are resets. */
  resets: number;
  /** Sends a reset of the call whose SYN was the last; or that segment with other flags. */
  resetCall(): void;
  sendAgain(flags: number): void;
  /** Lets `ms` of virtual time pass. */
  pass(ms: number): Promise<void>;
}

const TCP = 6;
const RST = 4;
const SYN = 2;

/** The ends of the link in each version. */
export const [ENDS4, ENDS6] = TCP_LINKS.map(({ near, peer }): LinkEnds => ({
  near: parseIpAddr(near)!,
  peer: parseIpAddr(peer)!,
})) as [LinkEnds, LinkEnds];

/** A host kernel in virtual time whose wire is a link, and that link. */
export async function nearHost(observe: PortObserver = () => {}): Promise<{ host: Host; link: PacketLink }> {
  let link!: PacketLink;
  const host = await boot({
    wire: "none",
    port: (world) => (link = new PacketLink(world.clock.jobs)).near,
    address: `${ENDS4.near}/29`,
    address6: `${ENDS6.near}/64`,
    gateway: `${ENDS4.peer}`,
    gateway6: `${ENDS6.peer}`,
    observe,
  });
  host.ip.packetPorts.set(link.far.name, link.far);
  return { host, link };
}

/** Makes a world. At its end no socket may be open. */
export async function tcpWorld(
  policy: UplinkPolicy = { hostLoopback: true },
  hidesCallers = false,
): Promise<TcpWorld> {
  const errors: SeenError[] = [];
  const seen = { resets: 0, syn: new Uint8Array() };
  const { host, link } = await nearHost((direction, block) => {
    const bytes = wholeBytes(block);
    const header = IP_HEADERS[bytes[0]! >> 4]!;
    const at = header.headerLen(bytes, 0, bytes.length);
    const protocol = header.protocol(bytes, 0, bytes.length);
    if (direction !== "in") {
      if (protocol === TCP && bytes[at + 13] === SYN) seen.syn = bytes.slice();
      return;
    }
    if (protocol === TCP && (bytes[at + 13]! & RST) !== 0) seen.resets++;
    if (protocol !== header.icmp) return;
    errors.push({ from: `${header.src(bytes, 0)}`, what: `${bytes[at]}/${bytes[at + 1]}` });
  });
  const fake = new FakeStreams(host.clock);
  const own = new Set(TCP_LINKS.map((one) => one.own));
  const sockets: HostSockets = {
    connect: (request) => fake.connect(request),
    listen: (request) => fake.listen(request),
    datagrams: () => "EMFILE",
    echo: () => "EACCES",
    isLocal: (address: IpAddr) => address.isLoopback || own.has(`${address}`),
  };
  const uplink = new Uplink({ proc: host.spawn("uplink"), link, sockets, v4: ENDS4, v6: ENDS6, policy, hidesCallers });
  const pass = (ms: number) => new Promise<void>((resolve) => host.clock.timer(resolve).arm(ms));
  const again = (flags: number) => {
    const block = host.kernel.blocks.alloc(seen.syn.length);
    block.buf.set(seen.syn, block.rp);
    block.wp = block.rp + seen.syn.length;
    const at = block.rp + IP_HEADERS[seen.syn[0]! >> 4]!.headerLen(seen.syn, 0, seen.syn.length);
    block.buf[at + 13] = flags;
    block.checksum = Checksum.Verified;
    link.near.transmit(block);
  };
  return {
    host,
    fake,
    uplink,
    errors,
    get resets() {
      return seen.resets;
    },
    resetCall: () => again(RST),
    sendAgain: again,
    pass,
    async [Symbol.asyncDispose]() {
      uplink.close();
      assertEquals(fake.open.size, 0, "every socket is closed");
      await host.world.close();
    },
  };
}

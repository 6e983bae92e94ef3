/**
 * A stack under test: `#ip.0` in virtual time with one interface of medium `pkt`, whose wire is the test itself; and
 * the packets to put on it.
 *
 *     const ip = ipFixture();
 *     const udp = ip.conv("udp", "announce 7", "headers");
 *     ip.inject(udpPacket({ dstPort: 7, payload: bytes }));
 *     ip.sent(); // what the stack put on the wire
 *
 * @module
 */

import type { Conv } from "../../../devices/ip/conv/conv.ts";
import { IpDev } from "../../../devices/ip/files/dev_ip.ts";
import type { IpStack } from "../../../devices/ip/ip_stack.ts";
import type { Block } from "../../../kernel/block.ts";
import type { Chan } from "../../../kernel/chan.ts";
import { EVE, Open } from "../../../kernel/qid.ts";
import { Rendez } from "../../../kernel/rendez.ts";
import { emitIcmpEcho, emitIcmpError, type IcmpError, icmpErrorLen } from "../../../kernel/wire/icmp.ts";
import { type IpAddr, parseIpAddr } from "../../../kernel/wire/ip_addr.ts";
import { emitIpv4, type Ipv4Fields } from "../../../kernel/wire/ipv4.ts";
import { emitUdp, setUdpChecksum, UDP_HEADER_LEN } from "../../../kernel/wire/udp.ts";
import { now, openAt, readText, testEnv, type Watch, watch, writeText } from "../host/dev.ts";

/** The address of the stack under test, and of its only neighbour. */
export const US = "10.0.0.1";
export const PEER = "10.0.0.2";

/** The address that `text` spells. */
export function ip(text: string): IpAddr {
  const addr = parseIpAddr(text);
  if (addr === null) throw new Error(`"${text}" is no address`);
  return addr;
}

/** Fields of a packet; by default it goes from PEER to US. */
export interface PacketOptions extends Partial<Omit<Ipv4Fields, "src" | "dst" | "payloadLen">> {
  src?: string;
  dst?: string;
  /** Everything behind the IP header. */
  payload?: Uint8Array;
}

/** A whole IPv4 packet. */
export function ipPacket(options: PacketOptions): Uint8Array {
  const { src = PEER, dst = US, payload = new Uint8Array(0), protocol = 17, ...fields } = options;
  const buf = new Uint8Array(60 + payload.length);
  const from = ip(src);
  const to = ip(dst);
  const headerLen = emitIpv4({ ...fields, protocol, src: from, dst: to, payloadLen: payload.length }, buf, 0);
  buf.set(payload, headerLen);
  return buf.subarray(0, headerLen + payload.length);
}

/** A whole UDP packet over IPv4 with a right checksum (or `checksum`, as it is). */
export function udpPacket(
  options: PacketOptions & { srcPort?: number; dstPort?: number; checksum?: number } = {},
): Uint8Array {
  const { srcPort = 9, dstPort = 7, checksum, payload = new Uint8Array(0), src = PEER, dst = US } = options;
  const datagram = new Uint8Array(UDP_HEADER_LEN + payload.length);
  emitUdp({ srcPort, dstPort, payloadLen: payload.length, checksum: checksum ?? 0 }, datagram, 0);
  datagram.set(payload, UDP_HEADER_LEN);
  if (checksum === undefined) setUdpChecksum(datagram, 0, ip(src), ip(dst));
  return ipPacket({ ...options, protocol: 17, payload: datagram });
}

/** A whole ICMP echo packet over IPv4. */
export function echoPacket(
  options: PacketOptions & { reply?: boolean; id?: number; seq?: number; data?: Uint8Array } = {},
): Uint8Array {
  const { reply = false, id = 1, seq = 1, data = new Uint8Array(8) } = options;
  const message = new Uint8Array(8 + data.length);
  emitIcmpEcho({ reply, id, seq, data }, message, 0);
  return ipPacket({ ...options, protocol: 1, payload: message });
}

/** A whole ICMP error packet that quotes `packet`. */
export function icmpErrorPacket(error: IcmpError, options: PacketOptions = {}): Uint8Array {
  const message = new Uint8Array(icmpErrorLen(error));
  emitIcmpError(error, message, 0);
  return ipPacket({ ...options, protocol: 1, payload: message });
}

/** `count` bytes that differ. */
export function pattern(count: number, start = 0): Uint8Array {
  return Uint8Array.from({ length: count }, (_, i) => (start + i * 7) & 0xff);
}

/** A stack under test. */
export interface IpFixture {
  readonly env: ReturnType<typeof testEnv>;
  readonly dev: IpDev;
  readonly root: Chan;
  readonly stack: IpStack;
  /** The ctl and the data file of the interface. */
  readonly ifcCtl: Chan;
  readonly wire: Chan;
  /** Opens a file of the stack. */
  open(path: string, flags?: number, user?: string): Chan;
  /** Opens a conversation and writes `commands` to its ctl. */
  conv(proto: string, ...commands: string[]): ConvFixture;
  /** As {@link conv}, as `user`. */
  convOf(user: string, proto: string, ...commands: string[]): ConvFixture;
  /** Lets a packet arrive on the interface, and everything that follows from it happen. */
  inject(packet: Uint8Array): void;
  /** Takes what the stack put on the wire since last asked. */
  sent(): Uint8Array[];
  /** The value of a line of a stats file. */
  stat(proto: string, name: string): number;
}

/** A conversation with its ctl and data file open. */
export interface ConvFixture {
  readonly conv: Conv;
  readonly dir: string;
  readonly ctl: Chan;
  readonly data: Chan;
  command(text: string): void;
  /** The local port. */
  port(): number;
  /** Text of one of its files. */
  text(file: string): string;
  /** Writes one message. */
  send(bytes: Uint8Array): number;
  /** Reads one message with a large buffer; null if there is none. */
  read(): Uint8Array | null;
  /** Reads one block; null if there is none. */
  bread(): Block | null;
  /** Opens its err file. */
  err(): Chan;
  tap(filter: number): Watch;
  close(): void;
}

/** Makes a stack whose interface has US and by default a route by PEER. */
export function ipFixture(options: { defaultRoute?: boolean; mtu?: number } = {}): IpFixture {
  const env = testEnv();
  const dev = new IpDev(env);
  const root = dev.attach("", EVE);
  const ifcCtl = openAt(root, "ipifc/clone");
  writeText(ifcCtl, "bind pkt");
  if (options.mtu !== undefined) writeText(ifcCtl, `mtu ${options.mtu}`);
  writeText(ifcCtl, `add ${US} 255.255.255.0`);
  const wire = openAt(root, "ipifc/0/data");
  const routes = openAt(root, "iproute");
  if (options.defaultRoute !== false) writeText(routes, `add 0.0.0.0 0.0.0.0 ${PEER}`);
  dev.close(routes);
  const fixture: IpFixture = {
    env,
    dev,
    root,
    stack: dev.stack(0),
    ifcCtl,
    wire,
    open: (path, flags = Open.ReadWrite, user = EVE) => openAt(root, path, flags, user),
    conv: (proto, ...commands) => openConv(fixture, EVE, proto, commands),
    convOf: (user, proto, ...commands) => openConv(fixture, user, proto, commands),
    inject(packet) {
      dev.write(wire, packet, 0);
      env.clock.jobs.run();
    },
    sent() {
      env.clock.jobs.run();
      const packets: Uint8Array[] = [];
      for (let packet = takeMessage(wire); packet !== null; packet = takeMessage(wire)) packets.push(packet);
      return packets;
    },
    stat(proto, name) {
      const chan = openAt(root, `${proto}/stats`, Open.Read);
      const line = readText(chan).split("\n").find((line) => line.startsWith(`${name}: `));
      dev.close(chan);
      return Number(line?.split(" ")[1]);
    },
  };
  return fixture;
}

function openConv(fixture: IpFixture, user: string, proto: string, commands: readonly string[]): ConvFixture {
  const { dev, root, env } = fixture;
  const ctl = openAt(root, `${proto}/clone`, Open.ReadWrite, user);
  const dir = `${proto}/${readText(ctl)}`;
  for (const command of commands) writeText(ctl, command);
  const data = openAt(root, `${dir}/data`, Open.ReadWrite, user);
  const text = (file: string) => {
    const chan = openAt(root, `${dir}/${file}`, Open.Read, user);
    const content = readText(chan);
    dev.close(chan);
    return content;
  };
  return {
    conv: (ctl.aux as { conv: Conv }).conv,
    dir,
    ctl,
    data,
    command: (command) => void writeText(ctl, command),
    port: () => parseInt(text("local").split("!")[1]!, 10),
    text,
    send(bytes) {
      const count = now(dev.write(data, bytes, 0));
      env.clock.jobs.run();
      return count;
    },
    read: () => takeMessage(data),
    bread() {
      const block = dev.bread(data, 1 << 17);
      return block instanceof Rendez ? null : block;
    },
    err: () => openAt(root, `${dir}/err`, Open.Read, user),
    tap: (filter) => watch(data, filter),
    close() {
      dev.close(data);
      dev.close(ctl);
    },
  };
}

/** One message of a file, or null if it would wait. */
export function takeMessage(chan: Chan): Uint8Array | null {
  const buf = new Uint8Array(1 << 17);
  const count = chan.dev.read(chan, buf, 0);
  return count instanceof Rendez ? null : buf.slice(0, count);
}

/** A host and a conversation of UDP that has bypassed port 7, after `commands`. */
export function bypassed(...commands: string[]): { ip: IpFixture; conv: ConvFixture } {
  const ip = ipFixture();
  return { ip, conv: ip.conv("udp", "bypass 7", ...commands) };
}

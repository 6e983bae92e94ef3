/**
 * Kit for the NAT's stories: a host with the NAT on it, a second kernel as the remote, and a guest that is the test:
 * its frames are made by hand, and frames to it are examined as bytes.
 *
 *     await using story = await tellNat();
 *     story.guest.send(udpPacket({ src: GUEST, dst: REMOTE, dstPort: 7 }));
 *     story.guest.packets(); // what came back
 */

import { assertEquals, fail } from "@std/assert";
import { Block } from "../../../kernel/block.ts";
import { Open } from "../../../kernel/qid.ts";
import { SeededRandom } from "../../../kernel/random.ts";
import {
  DHCP_OPTION_REQUESTED_ADDR,
  DHCP_OPTION_TYPE,
  dhcpLen,
  type DhcpMessage,
  dhcpType,
  emitDhcp,
  encodeDhcpAddrs,
  encodeDhcpNumber,
  parseDhcp,
} from "../../../kernel/wire/dhcp.ts";
import {
  emitEthernet,
  ETHER_HEADER_LEN,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  etherTypeAt,
} from "../../../kernel/wire/ethernet.ts";
import { IPV4_UNSPECIFIED } from "../../../kernel/wire/ip_addr.ts";
import { IP_PROTO_ICMP6 } from "../../../kernel/wire/ip_proto.ts";
import { ipv4TotalLen } from "../../../kernel/wire/ipv4.ts";
import { ipv6PayloadLen } from "../../../kernel/wire/ipv6.ts";
import { MAC_BROADCAST, MacAddr } from "../../../kernel/wire/mac_addr.ts";
import { boot, type BootOptions, type Host } from "../../../tools/boot/boot.ts";
import type { NatOptions } from "../../../tools/nat/nat.ts";
import { GUEST_MACS, HOST_MAC } from "../../../tools/nat/config.ts";
import { NatProgram } from "../../../tools/nat/program.ts";
import { ip, udpPacket } from "../ip/ip_fixture.ts";
import { advance, User } from "../ip/story.ts";
import { addIpv6, echo6Packet, PEER6, US6 } from "../ip/story6.ts";
import { GUEST6, ROUTER6 } from "./packets.ts";

export const HOST = "10.0.0.1";
export const REMOTE = "10.0.0.2";
export const GUEST = "10.0.2.15";
export const ROUTER = "10.0.2.2";
export const DNS = "10.0.2.3";
/** Until addresses of IPv6 have been tried (RFC 4862). */
const ADDRESS_MS = 4000;
/** Long enough for a packet to go round, ARP included. */
const ROUND_MS = 20;

/** A guest: frames in, frames out. */
export class FakeGuest {
  #frames: Uint8Array[] = [];

  constructor(
    readonly story: { readonly program: NatProgram; readonly host: Host },
    readonly mac: MacAddr = GUEST_MACS.qemu,
  ) {}

  /** For the program. */
  receive(frame: Block): void {
    this.#frames.push(frame.bytes().slice());
    frame.free();
  }

  /** Sends a frame and lets everything follow that follows. */
  sendFrame(frame: Uint8Array): void {
    this.story.program.fromGuest(Block.from(frame));
    this.story.host.clock.jobs.run();
  }

  /** Sends an IP packet to the router, or in a frame for all. */
  send(packet: Uint8Array, options: { broadcast?: boolean } = {}): void {
    const frame = new Uint8Array(ETHER_HEADER_LEN + packet.length);
    const dst = options.broadcast === true ? MAC_BROADCAST : HOST_MAC;
    const etherType = packet[0]! >>> 4 === 6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4;
    emitEthernet({ dst, src: this.mac, etherType }, frame, 0);
    frame.set(packet, ETHER_HEADER_LEN);
    this.sendFrame(frame);
  }

  /** Sends an IP packet, waits for a round trip, and takes what came. */
  ask(packet: Uint8Array): Uint8Array[] {
    this.send(packet);
    advance(this.story.host, ROUND_MS);
    return this.packets();
  }

  /** The only packet that came of sending `packet`. */
  askOne(packet: Uint8Array): Uint8Array {
    const packets = this.ask(packet);
    assertEquals(packets.length, 1);
    return packets[0]!;
  }

  /** Takes the frames that came since last asked. */
  frames(): Uint8Array[] {
    this.story.host.clock.jobs.run();
    return this.#frames.splice(0);
  }

  /** Takes the IP packets that came since last asked, neighbour discovery left out. */
  packets(): Uint8Array[] {
    return this.frames().flatMap((frame) => {
      const packet = frame.subarray(ETHER_HEADER_LEN);
      const type = etherTypeAt(frame, 0);
      if (type === ETHERTYPE_IPV4) return [packet.slice(0, ipv4TotalLen(packet, 0))];
      return type === ETHERTYPE_IPV6 && !isNd(packet) ? [packet.slice(0, 40 + ipv6PayloadLen(packet, 0))] : [];
    });
  }
}

/** A host with a NAT and a remote. */
export interface NatStory extends AsyncDisposable {
  readonly host: Host;
  readonly remote: Host;
  readonly program: NatProgram;
  readonly guest: FakeGuest;
  /** Another guest on the same link; the first one gets frames without a certain receiver. */
  addGuest(mac: MacAddr): FakeGuest;
  /** eve at the host, and at the remote. */
  readonly user: User;
  readonly there: User;
  /** A command on the control channel, by `#srv`; its answer. */
  command(text: string): string;
  /** Number behind a counter. */
  stat(counter: string): number;
  /** Lines that the program printed. */
  readonly said: string[];
}

function isNd(packet: Uint8Array): boolean {
  return packet[6] === IP_PROTO_ICMP6 && packet[40]! >= 133 && packet[40]! <= 137;
}

/** How a story may differ from the usual. */
export interface NatStoryOptions {
  readonly nat?: Partial<NatOptions>;
  readonly forwards?: readonly string[];
  readonly boot?: BootOptions;
  /** Whether host, remote and guest have IPv6, too; then the guest has been heard of at {@link GUEST6}. */
  readonly is6?: boolean;
}

/** Boots it. */
export async function tellNat(options: NatStoryOptions = {}): Promise<NatStory> {
  const host = await boot({ ...options.boot });
  const remote = await host.neighbor({ address: `${REMOTE}/24`, gateway: HOST, mtu: options.boot?.mtu ?? 1500 });
  const user = new User(host);
  const there = new User(remote);
  const v6 = options.is6 === true ? { v6: { hostAddr: `${US6}/64` } } : {};
  if (options.is6 === true) {
    addIpv6(user, US6);
    addIpv6(there, PEER6);
    advance(host, ADDRESS_MS);
  }
  const guests: FakeGuest[] = [];
  const said: string[] = [];
  const addGuest = (mac?: MacAddr) => {
    const guest = new FakeGuest({ program, host }, mac);
    guests.push(guest);
    return guest;
  };
  const program = new NatProgram({
    proc: host.spawn("nat"),
    clock: host.clock,
    random: new SeededRandom(1),
    toGuest: (frame) => {
      const dst = MacAddr.at(frame.buf, frame.rp);
      const one = guests.find(({ mac }) => mac.equals(dst)) ?? guests[0]!;
      for (const other of guests) if (dst.isGroup && other !== one) other.receive(frame.clone());
      one.receive(frame);
    },
    nat: { hostAddr: `${HOST}/24`, nameServers: [REMOTE], ...v6, ...options.nat },
    forwards: options.forwards ?? [],
    say: (line) => void said.push(line),
  });
  const guest = addGuest();
  if (options.is6 === true) {
    guest.ask(echo6Packet({ src: GUEST6, dst: ROUTER6 }));
  }
  return {
    host,
    remote,
    program,
    guest,
    addGuest,
    user,
    there,
    command: (text) => commanded(user, text),
    stat: (counter) => counted(user, counter),
    said,
    async [Symbol.asyncDispose]() {
      program.close();
      await host.world.close();
    },
  };
}

/** The answer to a command on the control channel. */
function commanded(user: User, text: string): string {
  const fd = user.open("#srv/nat", Open.ReadWrite);
  user.write(fd, text);
  const answer = user.readText(fd);
  user.proc.sys.close(fd);
  return answer;
}

function counted(user: User, counter: string): number {
  const stats = JSON.parse(commanded(user, "json stats")) as { stats: { counter: string; count: number }[] };
  return stats.stats.find((one) => one.counter === counter)?.count ?? 0;
}

/** Fields of a guest's DHCP message besides its type. */
export interface DhcpAsk {
  readonly chaddr?: MacAddr;
  readonly ciaddr?: string;
  readonly requested?: string;
  readonly options?: [number, Uint8Array][];
}

/** Broadcasts a DHCP message and takes the answer; null: none came. */
export function askDhcp(
  guest: FakeGuest,
  type: number,
  ask: DhcpAsk = {},
): { type: number; message: DhcpMessage; packet: Uint8Array } | null {
  const { chaddr = guest.mac, ciaddr, requested, options = [] } = ask;
  const nobody = IPV4_UNSPECIFIED;
  const addrs = { ciaddr: ciaddr === undefined ? nobody : ip(ciaddr), yiaddr: nobody, siaddr: nobody, giaddr: nobody };
  const all = new Map([[DHCP_OPTION_TYPE, encodeDhcpNumber(type, 1)], ...options]);
  if (requested !== undefined) all.set(DHCP_OPTION_REQUESTED_ADDR, encodeDhcpAddrs([ip(requested)]));
  const message: DhcpMessage = {
    op: 1,
    hops: 0,
    xid: 0x1234,
    secs: 0,
    broadcast: false,
    ...addrs,
    chaddr,
    sname: "",
    file: "",
    options: all,
  };
  const payload = new Uint8Array(dhcpLen(message));
  emitDhcp(message, payload, 0);
  const dst = { src: ciaddr ?? "0.0.0.0", dst: "255.255.255.255", srcPort: 68, dstPort: 67 };
  guest.send(udpPacket({ ...dst, payload }), { broadcast: true });
  const packet = guest.packets().at(-1);
  if (packet === undefined) return null;
  const answer = must(parseDhcp(packet, 28, packet.length));
  return { type: dhcpType(answer), message: answer, packet };
}

/** The counters named, of a story. */
export function countersOf(story: NatStory, ...names: string[]): number[] {
  return names.map((name) => story.stat(name));
}

/** What `value` is; an error if there is none. */
export function must<T>(value: T | null | undefined): T {
  return value ?? fail("Nothing there");
}

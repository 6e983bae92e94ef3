/**
 * The far side of a socket uplink: what leaves the near stack becomes connections, datagrams and pings of the machine's
 * own sockets, and their answers become packets.
 *
 * Path: socket_uplink → uplink → packet_link, link_pieces, policy, tcp_relay, datagram_relay, echo_relay, forwards,
 * icmp_maker.
 *
 * ```
 *   near stack ─ link ─┬─ TCP ─ held calls ─ far stack ─ splice ─ TCP sockets
 *                      ├─ UDP ─ one socket for each source port
 *                      ├─ echo ─ one ping socket for each identifier
 *                      └─ all else ─ ICMP "administratively prohibited"
 * ```
 *
 * It is pure but for {@link HostSockets}. The packets are whole: near has put the guest's fragments together, and what
 * it has cut again is joined here.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import type { HostSockets } from "../../kernel/host_sockets.ts";
import type { Proc } from "../../kernel/proc.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { IP_PROTO_TCP, IP_PROTO_UDP } from "../../kernel/wire/ip_proto.ts";
import type { LinkEnds, UplinkContext } from "./context.ts";
import { UplinkCounters } from "./counters.ts";
import { DatagramRelay } from "./datagram_relay.ts";
import { EchoRelay } from "./echo_relay.ts";
import { UplinkForwards } from "./forwards.ts";
import { IcmpMaker } from "./icmp_maker.ts";
import { LinkPieces } from "./link_pieces.ts";
import { versionOfPacket } from "./link_version.ts";
import type { PacketLink } from "./packet_link.ts";
import { destinationPolicy, type UplinkPolicy } from "./policy.ts";
import { TcpRelay } from "./tcp_relay.ts";

/** How it is made. */
interface UplinkOptions {
  /** A process of the near stack's kernel: the far stack is another stack of it. */
  readonly proc: Proc;
  /** Number of the far stack, `#ip.N`. Default 1. */
  readonly stack?: number;
  /** The link; the kernel's `#ip` knows its far end by its name. */
  readonly link: PacketLink;
  readonly sockets: HostSockets;
  readonly v4: LinkEnds;
  readonly v6: LinkEnds;
  readonly policy: UplinkPolicy;
  /** Source address of what goes to the world; left out or null: the route's. */
  readonly outbound4?: IpAddr | null;
  readonly outbound6?: IpAddr | null;
  /** Near has another way to the world: callers of forwards are shown as the link's peer. Default false. */
  readonly hidesCallers?: boolean;
}

/** See above. */
export class Uplink {
  readonly counters = new UplinkCounters();
  readonly forwards: UplinkForwards;
  readonly #context: UplinkContext;
  readonly #link: PacketLink;
  readonly #pieces: LinkPieces;
  readonly #icmp: IcmpMaker;
  readonly #tcp: TcpRelay;
  readonly #udp: DatagramRelay;
  readonly #echo: EchoRelay;

  /** Starts it. Throws KernelError. */
  constructor(options: UplinkOptions) {
    const { proc, stack = 1, link, sockets, v4, v6, policy } = options;
    const { outbound4 = null, outbound6 = null, hidesCallers = false } = options;
    const { clock, blocks } = proc.kernel;
    this.#link = link;
    this.#pieces = new LinkPieces(blocks);
    const outbound = (version: 4 | 6) => version === 4 ? outbound4 : outbound6;
    const context: UplinkContext = {
      clock,
      blocks,
      sockets,
      counters: this.counters,
      v4,
      v6,
      outbound,
      hidesCallers,
      toNear: (block) => link.toNear(block),
    };
    this.#context = context;
    const icmp = this.#icmp = new IcmpMaker(context);
    const parts = { policy: destinationPolicy(policy, { v4, v6 }, sockets), icmp };
    this.#udp = new DatagramRelay(context, parts);
    this.#echo = new EchoRelay(context, { ...parts, relieve: () => this.#makeRoom() });
    this.#tcp = new TcpRelay({
      ...parts,
      context,
      link,
      outbound,
      makeRoom: () => this.#makeRoom(),
      far: { proc, stack, port: link.far.name, v4, v6 },
    });
    this.forwards = new UplinkForwards(context, this.#tcp, this.#udp);
    link.onPacket = (block) => this.#take(block);
  }

  /** Connections, UDP ports and ping identifiers that are there. */
  get sizes(): { readonly tcp: number; readonly udp: number; readonly echo: number } {
    return { tcp: this.#tcp.size, udp: this.#udp.sockets, echo: this.#echo.sockets };
  }

  /** Whether the machine lets guests ping by a version of IP. */
  pings(version: 4 | 6): boolean {
    return this.#echo.echoAvailable(version);
  }

  /**
   * Near no longer uses a port, or an identifier, as the NAT's map has ended: what it had here closes. Not so TCP,
   * where a port may have many connections: near resets the next keepalive of each that is left.
   */
  release(protocol: "udp" | "echo", version: 4 | 6, port: number): void {
    if (protocol === "udp") this.#udp.release(version, port);
    else this.#echo.release(version, port);
  }

  /** A packet of the near stack, or a piece of one. */
  #take(block: Block): void {
    const isV6 = block.buf[block.rp]! >>> 4 === 6;
    const at = isV6 ? LinkPieces.at(block) : -1;
    const whole = at < 0 ? block : this.#pieces.take(block, at);
    if (whole !== null) this.#takeWhole(whole);
  }

  #takeWhole(block: Block): void {
    const version = versionOfPacket(block.buf[block.rp]!);
    const { buf, rp, wp } = block;
    const length = version?.header.headerLen(buf, rp, wp) ?? -1;
    if (version === null || length < 0) {
      this.counters.badPackets++;
      return block.free();
    }
    const protocol = version.header.protocol(buf, rp, wp);
    if (protocol === IP_PROTO_TCP) return this.#tcp.take(block, version, rp + length);
    if (protocol === IP_PROTO_UDP) return this.#udp.input(block);
    if (protocol === version.header.icmp) return this.#echo.input(block);
    this.counters.otherProtocols++;
    this.#icmp.makeProhibited(block);
    block.free();
  }

  /** Closes what is idle, for want of descriptors: UDP, then the oldest attempt to connect. */
  #makeRoom(): boolean {
    return this.#udp.evict() > 0 || this.#tcp.makeRoom();
  }

  /** Ends it: every socket is closed. */
  close(): void {
    this.forwards.close();
    this.#tcp.close();
    this.#udp.close();
    this.#echo.close();
    this.#pieces.clear();
    this.#link.close();
  }
}

/**
 * The uplink of the machine's sockets: the link that the host kernel boots with, what stands behind it, and forwards as
 * ports of the machine.
 *
 * Path: netd/uplink → socket_uplink → tools/uplink/uplink, forward_sockets, linux_sockets, rtnetlink.
 *
 * @module
 */

import { HostError } from "../../devices/host/libc.ts";
import { hostInterfaces } from "../../devices/host/rtnetlink.ts";
import type { Netns } from "../../devices/host/netns.ts";
import { LinuxSockets, raiseDescriptorLimit } from "../../devices/host/sockets/linux_sockets.ts";
import type { PacketPort } from "../../kernel/host.ts";
import { type IpAddr, parseIpAddr } from "../../kernel/wire/ip_addr.ts";
import type { Host, World } from "../boot/boot.ts";
import type { ForwardDoors, ForwardSpec } from "../nat/forward.ts";
import { MapProto } from "../nat/map.ts";
import type { LinkEnds } from "../uplink/context.ts";
import { PacketLink } from "../uplink/packet_link.ts";
import { Uplink } from "../uplink/uplink.ts";
import { ForwardSockets } from "./forward_sockets.ts";
import { SOCKET_ENDS, SOCKET_ENDS6, type SocketUplink, type UplinkEnds } from "./uplink_options.ts";

const ENXIO = 6;
const ENODEV = 19;
const PING_SYSCTL = "net.ipv4.ping_group_range";

/** How guests reach the machine, and where its sockets are. */
interface SocketPlace {
  /** Whether guests reach its loopback, by the link's peer. */
  readonly hostLoopback: boolean;
  /** Default: the namespace of this program. */
  readonly netns?: Netns | null;
}

/** See above. */
export class SocketUplinkPort implements ForwardDoors {
  readonly #choice: SocketUplink;
  readonly #place: SocketPlace;
  readonly #outbound: { readonly 4: IpAddr | null; readonly 6: IpAddr | null };
  #link: PacketLink | null = null;
  #sockets: LinuxSockets | null = null;
  #uplink: Uplink | null = null;
  #forwards: ForwardSockets | null = null;

  /** Throws HostError for a source address, or an interface, that the machine does not have. */
  constructor(choice: SocketUplink, place: SocketPlace) {
    this.#choice = choice;
    this.#place = place;
    this.#outbound = {
      4: outboundOf(4, choice.outbound),
      6: outboundOf(6, choice.outbound6),
    };
  }

  /** Makes the link; its near end is the port that the host kernel boots with. */
  makePort(world: World): PacketPort {
    this.#link = new PacketLink(world.clock.jobs);
    return this.#link.near;
  }

  /** Starts what is behind the link. Throws HostError, KernelError. */
  start(host: Host): void {
    const link = this.#link!;
    raiseDescriptorLimit();
    host.ip.packetPorts.set(link.far.name, link.far);
    const { hostLoopback, netns = null } = this.#place;
    const where = netns === null ? {} : { netns };
    this.#sockets = new LinuxSockets({ reactor: host.reactor!, clock: host.clock, ...where });
    this.#uplink = new Uplink({
      proc: host.spawn("uplink"),
      link,
      sockets: this.#sockets,
      v4: endsOf(SOCKET_ENDS),
      v6: endsOf(SOCKET_ENDS6),
      policy: { hostLoopback },
      outbound4: this.#outbound[4],
      outbound6: this.#outbound[6],
    });
    this.#forwards = new ForwardSockets(this.#uplink.forwards);
  }

  /** Why guests cannot ping by a version of IP; null: they can. */
  noPings(version: 4 | 6): string | null {
    if (this.#uplink!.pings(version)) return null;
    return `the group of this process is not in ${PING_SYSCTL} (sysctl -w ${PING_SYSCTL}="0 2147483647")`;
  }

  /** What guests will miss on this machine, a line each. */
  warnings(): string[] {
    const versions = this.#choice.v6 === null ? [4 as const] : [4 as const, 6 as const];
    return versions.flatMap((version) => {
      const why = this.noPings(version);
      return why === null ? [] : [`guests cannot ping by IPv${version}: ${why}`];
    });
  }

  /** Opens the machine's ports of a forward. Throws KernelError: address, port and reason. */
  open(spec: ForwardSpec, port: number): void {
    this.#forwards!.open(spec, port);
  }

  /** Closes them. */
  close(spec: ForwardSpec): void {
    this.#forwards?.close(spec);
  }

  /** Closes what a port had here that the NAT no longer uses. */
  released(proto: MapProto, version: 4 | 6, port: number): void {
    if (proto !== MapProto.Tcp) this.#uplink?.release(proto === MapProto.Udp ? "udp" : "echo", version, port);
  }

  /** Its counters, and what is open now. */
  counters(): Record<string, number> {
    const { counters, sizes } = this.#uplink!;
    // As the NAT's: words with dashes.
    const words = Object.entries(counters).map(([name, count]) =>
      [name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`), count as number] as const
    );
    const { tcp, udp, echo } = sizes;
    const open = { "connections": tcp, "udp-ports": udp, "ping-ids": echo, "sockets": this.#sockets!.size };
    return { ...Object.fromEntries(words), ...open, "link-drops": this.#link!.drops };
  }

  /** Ends everything behind the link. */
  end(): void {
    this.#uplink?.close();
    this.#sockets?.close();
    this.#uplink = this.#sockets = this.#forwards = null;
  }
}

function endsOf({ address, gateway }: UplinkEnds): LinkEnds {
  return { near: parseIpAddr(address.split("/")[0]!)!, peer: parseIpAddr(gateway)! };
}

/** The address that `--outbound-addr` names: itself, or the first that an interface has of that version. */
function outboundOf(version: 4 | 6, text: string | null): IpAddr | null {
  if (text === null) return null;
  const option = version === 4 ? "--outbound-addr" : "--outbound-addr6";
  const interfaces = hostInterfaces();
  const isOf = (addr: IpAddr) => addr.isV4 === (version === 4);
  const addr = parseIpAddr(text);
  if (addr !== null) {
    const isOurs = interfaces.some(({ addresses }) => addresses.some((one) => one.addr.equals(addr)));
    if (isOf(addr) && isOurs) return addr;
    const reason = isOf(addr) ? "no interface of this machine has it" : `it is no IPv${version} address`;
    throw new HostError(`Cannot send from ${text} of ${option}`, ENXIO, { reason });
  }
  const device = interfaces.find(({ name }) => name === text);
  const found = device?.addresses.find((one) => isOf(one.addr) && !one.addr.isLinkLocal);
  if (found !== undefined) return found.addr;
  const reason = device === undefined ? "there is no such interface" : `it has no IPv${version} address`;
  throw new HostError(`Cannot send from "${text}" of ${option}`, ENODEV, { reason });
}

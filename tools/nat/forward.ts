/**
 * Forwards: ports of the host that stand for ports of a guest until they are removed.
 *
 * Path: nat, netd/options, scenario/options → nat/forward → forward_group, map, kernel/ctl, error.
 *
 * Two ways to write one, and one for IPv6, where the guest's address is named:
 *
 *     tcp:[addr:]hostport[-hostport]:guestport             ours; a range goes to as many ports from guestport on
 *     [hostfwd=][tcp]:[hostaddr]:hostport-[guestaddr]:guestport        QEMU's `-netdev user,hostfwd=`
 *     tcp:[2001:db8::2]:8080-[fd00:0:0:2::f]:80                        the same in IPv6, with these brackets
 *
 * The host's port 0, or `*`, is one that is free (Akaros' option file).
 *
 * Whom a guest's port answers is remembered for each remote: several forwards may lead to one guest port, clients on
 * the host itself all look like the router to the guest, and the host may have several addresses.
 *
 * Limits: {@link FORWARDS_MAX} forwards, {@link FORWARD_PORTS_MAX} ports in all, and the remotes of forward_group.
 *
 * @module
 */

import { shown } from "../../kernel/ctl.ts";
import { KernelError } from "../../kernel/error.ts";
import { type IpAddr, parseIpAddr } from "../../kernel/wire/ip_addr.ts";
import { ForwardGroup } from "./forward_group.ts";
import { type Guest, MapProto, type NatMap } from "./map.ts";

/** Most forwards: a page of them. */
export const FORWARDS_MAX = 256;
/** Most forwarded ports: a table entry each. */
export const FORWARD_PORTS_MAX = 16384;
const PORT_MAX = 65535;

/** What a forward says. */
export interface ForwardSpec {
  readonly proto: MapProto;
  /** Address of the host; null: all. */
  readonly bound: IpAddr | null;
  /** 0: any that is free. */
  readonly hostPort: number;
  readonly count: number;
  /** Null: the guest, whatever its address is by then. */
  readonly guestAddr: IpAddr | null;
  readonly guestPort: number;
}

/** One forward that is in force. */
export interface Forward {
  readonly spec: ForwardSpec;
  readonly map: NatMap;
}

/** The ends of a link between the host kernel and the machine's listening sockets. */
export interface DoorLink {
  /** The host kernel's address. */
  readonly near: IpAddr;
  /** Stands for every caller; guests know it by the router's address. */
  readonly peer: IpAddr;
}

/** Where the host kernel's ports of a forward are. */
export interface DoorPlace {
  /** Its address; null: all. */
  readonly bound: IpAddr | null;
  /** Callers name the machine's port, so any other of the host kernel serves where the same is in use. */
  readonly anyPort: boolean;
}

/**
 * Opens the ports of forwards beyond the host kernel: listening sockets of the machine behind its uplink. A forward's
 * address and ports are then the machine's, and lead to ports of the host kernel.
 */
export interface ForwardDoors {
  /** The link of their own by which callers come, in each version of IP; left out: they come by the uplink. */
  readonly link?: { readonly 4: DoorLink; readonly 6: DoorLink };
  /**
   * Called before the host kernel's ports of `spec` are claimed: where they are to be. Left out: any port, of all
   * addresses. Throws KernelError.
   */
  place?(spec: ForwardSpec): DoorPlace;
  /**
   * Opens those of `spec`, which lead to the host kernel's from `port` on. Throws KernelError that names the refusal.
   */
  open(spec: ForwardSpec, port: number): void;
  /** Closes what was opened for `spec`. */
  close(spec: ForwardSpec): void;
  /** How `spec`, which is open, is reached, such as "at 192.0.2.1!80"; null, or left out: as it says. */
  reachedAt?(spec: ForwardSpec): string | null;
  /** A map has ended, and with it the NAT's use of a port of the host kernel, or of an identifier. */
  released?(proto: MapProto, version: 4 | 6, port: number): void;
  /** What it counts, by name: a part of the NAT's `stats`. */
  counters?(): Readonly<Record<string, number>>;
}

/** The forwards of one NAT. */
export class ForwardTable {
  readonly #forwards: Forward[] = [];
  #ports = 0;

  get list(): readonly Forward[] {
    return this.#forwards;
  }

  /** The forward's map that has `port` of the host's address `addr`, or null. */
  find(proto: MapProto, addr: IpAddr, port: number): NatMap | null {
    for (const { map } of this.#forwards) {
      const isAt = map.bound === null ? map.is6 !== addr.isV4 : map.bound.equals(addr);
      if (map.proto === proto && isAt && map.holds(port)) return map;
    }
    return null;
  }

  /** EADDRINUSE names the forward that has one of the host's ports already; ENOSPC: too many. */
  requireFree(spec: ForwardSpec): void {
    const text = formatForward(spec);
    for (const { spec: other } of this.#forwards) {
      const apart = spec.proto !== other.proto || spec.hostPort + spec.count <= other.hostPort ||
        other.hostPort + other.count <= spec.hostPort;
      const elsewhere = spec.bound !== null && other.bound !== null && !spec.bound.equals(other.bound);
      if (apart || elsewhere) continue;
      throw new KernelError("EADDRINUSE", `Cannot forward ${text}: the forward ${formatForward(other)} has the port`);
    }
    if (this.#forwards.length < FORWARDS_MAX && this.#ports + spec.count <= FORWARD_PORTS_MAX) return;
    throw new KernelError(
      "ENOSPC",
      `Cannot forward ${text}: the limits are ${FORWARDS_MAX} forwards and ${FORWARD_PORTS_MAX} ports`,
    );
  }

  /** Adds a forward whose map has its host ports. */
  add(forward: Forward): void {
    const { spec, map } = forward;
    this.#forwards.push(forward);
    this.#ports += spec.count;
    this.#enter(map);
  }

  /** Leads the forwards to `from` that name no guest to `to`. */
  follow(from: Guest, to: Guest): void {
    for (const { spec, map } of this.#forwards) {
      if (spec.guestAddr !== null || map.guest !== from) continue;
      this.#leave(map);
      map.guest = to;
      this.#enter(map);
    }
  }

  #enter(map: NatMap): void {
    for (let i = 0; i < map.count; i++) groupFor(map.guest, map.proto << 16 | (map.guestPort + i)).maps.push(map);
  }

  #leave(map: NatMap): void {
    for (let i = 0; i < map.count; i++) {
      const key = map.proto << 16 | (map.guestPort + i);
      const group = map.guest.forwards.get(key)!;
      group.remove(map);
      if (group.maps.length === 0) map.guest.forwards.delete(key);
    }
  }

  /** Takes out the forward that `spec` names by its host ports; ENOENT if there is none. */
  remove(spec: Pick<ForwardSpec, "proto" | "bound" | "hostPort" | "count">): Forward {
    const at = this.#forwards.findIndex(({ spec: one }) =>
      one.proto === spec.proto && one.hostPort === spec.hostPort && one.count === spec.count &&
      (one.bound === null ? spec.bound === null : spec.bound !== null && one.bound.equals(spec.bound))
    );
    if (at < 0) throw new KernelError("ENOENT", `No forward of ${PROTO_WORDS[spec.proto]} port ${spec.hostPort}`);
    const forward = this.#forwards.splice(at, 1)[0]!;
    this.#ports -= forward.spec.count;
    this.#leave(forward.map);
    return forward;
  }
}

const PROTO_WORDS = ["udp", "tcp", "icmp"] as const;

/** QEMU's form: the part behind the dash begins with nothing or an address. */
const QEMU_FORM = /^(tcp|udp)?:([^:]*):(\d{1,5}|\*)-([\d.]*):(\d{1,5})$/;
const OUR_FORM = /^(tcp|udp):(?:([^:]*):)?(\d{1,5}|\*)(?:-(\d{1,5}))?:(\d{1,5})$/;

/** Of IPv6: the guest's address stands in brackets, and the host's if there is one. */
const FORM6 = /^(tcp|udp)?:(?:\[([^\]]*)\])?:(\d{1,5}|\*)-\[([^\]]*)\]:(\d{1,5})$/;

/** Reads a forward in any form; EINVAL says what it should look like. */
export function parseForward(text: string): ForwardSpec {
  const plain = text.replace(/^hostfwd=/, "");
  const six = FORM6.exec(plain);
  if (six !== null) {
    const [, proto = "tcp", bound, hostPort, guest, guestPort] = six;
    const spec = {
      ...ends({ proto, bound: "", hostPort: hostPort!, guestPort: guestPort! }, text),
      count: 1,
      guestAddr: addr6Of(guest!, text),
    };
    return checked({ ...spec, bound: bound === undefined || bound === "::" ? null : addr6Of(bound, text) }, text);
  }
  const qemu = QEMU_FORM.exec(plain);
  const guestText = qemu?.[4] ?? "";
  if (qemu !== null && (guestText === "" || guestText.includes("."))) {
    const [, proto = "tcp", bound, hostPort, , guestPort] = qemu;
    const guestAddr = guestText === "" ? null : addrOf(guestText, text);
    return checked({
      ...ends({ proto, bound: bound!, hostPort: hostPort!, guestPort: guestPort! }, text),
      count: 1,
      guestAddr,
    }, text);
  }
  const ours = OUR_FORM.exec(plain);
  if (ours === null) throw bad(text, "want proto:[addr:]hostport[-hostport]:guestport");
  const [, proto, bound = "", first, last = first, guestPort] = ours;
  const count = portOf(last!) - portOf(first!) + 1;
  return checked({
    ...ends({ proto: proto!, bound, hostPort: first!, guestPort: guestPort! }, text),
    count,
    guestAddr: null,
  }, text);
}

function portOf(text: string): number {
  return text === "*" ? 0 : Number(text);
}

/** The words of a forward that both forms have. */
interface Words {
  readonly proto: string;
  readonly bound: string;
  readonly hostPort: string;
  readonly guestPort: string;
}

function ends({ proto, bound, hostPort, guestPort }: Words, text: string) {
  const isAll = bound === "" || bound === "*" || bound === "0.0.0.0";
  return {
    proto: proto === "tcp" ? MapProto.Tcp : MapProto.Udp,
    bound: isAll ? null : addrOf(bound, text),
    hostPort: portOf(hostPort),
    guestPort: Number(guestPort),
  };
}

function checked(spec: ForwardSpec, text: string): ForwardSpec {
  const { hostPort, guestPort, count } = spec;
  if (count < 1) throw bad(text, "the range ends before it begins");
  if (guestPort < 1 || hostPort + count - 1 > PORT_MAX || guestPort + count - 1 > PORT_MAX) {
    throw bad(text, "ports are 1 to 65535");
  }
  if (hostPort === 0 && count > 1) throw bad(text, "a range has a first port");
  return spec;
}

function addrOf(text: string, whole: string): IpAddr {
  const addr = parseIpAddr(text);
  if (addr === null || !addr.isV4) throw bad(whole, `"${text}" is no IPv4 address`);
  return addr;
}

function addr6Of(text: string, whole: string): IpAddr {
  const addr = parseIpAddr(text);
  if (addr === null || addr.isV4) throw bad(whole, `"${text}" is no IPv6 address`);
  return addr;
}

function bad(text: string, why: string): KernelError {
  return new KernelError("EINVAL", `Cannot read the forward ${shown(text)}: ${why}`);
}

/** A forward in our form, which {@link parseForward} reads (but for a guest's address). */
export function formatForward(spec: ForwardSpec): string {
  const { hostPort, count, guestAddr } = spec;
  if (guestAddr !== null && !guestAddr.isV4) {
    const at = spec.bound === null ? "" : `[${spec.bound}]`;
    return `${PROTO_WORDS[spec.proto]}:${at}:${hostPort}-[${guestAddr}]:${spec.guestPort}`;
  }
  const bound = spec.bound === null ? "" : `${spec.bound}:`;
  if (spec.guestAddr !== null && count === 1) {
    return `${PROTO_WORDS[spec.proto]}:${spec.bound ?? ""}:${hostPort}-${spec.guestAddr}:${spec.guestPort}`;
  }
  const range = count === 1 ? `${hostPort}` : `${hostPort}-${hostPort + count - 1}`;
  return `${PROTO_WORDS[spec.proto]}:${bound}${range}:${spec.guestPort}`;
}

function groupFor(guest: Guest, key: number): ForwardGroup<NatMap> {
  let group = guest.forwards.get(key);
  if (group === undefined) guest.forwards.set(key, group = new ForwardGroup());
  return group;
}

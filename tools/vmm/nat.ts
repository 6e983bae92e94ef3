/**
 * Nat: the guest's network behind the host's, by rewriting packets: RFC 4787 (UDP), RFC 5382 (TCP), RFC 5508 (ICMP),
 * RFC 7857 (updates to them).
 *
 * Path: guest → nat_program → nat (translateOutbound) → conversations of #ip → nat (translateInbound) → guest.
 *
 * # Theory of operation
 *
 * Nothing here ends a connection: a packet goes in and the same packet comes out with other ends. What the other side
 * sees of a guest is its own sequence numbers, options, TTL less one, TOS and ECN, half-closes and resets. What the
 * guest sees of the other side is its real address.
 *
 * ```
 *   guest 10.0.2.15:40000 ─frame─▶ outbound ─▶ policy ─▶ way ─▶ map ─▶ rewritten packet ─▶ host 10.0.0.1:40000 ─▶ world
 *                         ◀─frame─ link ◀────── inbound ◀─ filter ◀─ map ◀────────────────  bypassed conversation
 * ```
 *
 * **A map** ({@link NatMap}) is one port of a guest behind one port of the host, for all remotes
 * (endpoint-independent, RFC 4787 REQ-1), or for one remote where mapping is told to depend on it. The host's port is
 * a bypassed conversation, opened by the {@link NatDoor}; its lifetime depends on protocol and state (see map). **The
 * filter** says which remotes get in: by default those whose address the guest has sent to (address-dependent, RFC
 * 4787 REQ-8).
 *
 * **Realms** keep apart what must not be mixed up: the world; the host's loopback, which the guest calls the router
 * (10.0.2.2 means 127.0.0.1, bound there so that nobody outside can reach it; with `farLoopback` that of the machine
 * behind the uplink, and nobody but 127/8 is let in); and the host's name servers, which the guest calls 10.0.2.3. Each
 * has maps of its own.
 *
 * **Forwards** ({@link ForwardTable}) are maps that stay, and let everybody in. They remember how each remote came.
 *
 * **A hairpin**, from one guest to a map or forward by the host's address, goes out and in again without leaving here.
 *
 * **Whose address it is**: what DHCP has leased to, or keeps for, one station no other sends from. Addresses without a
 * lease are for who uses them.
 *
 * **ICMP errors** are translated with the packet that they quote, both ways, so path MTU discovery, traceroute and port
 * unreachable work. Our own errors (TTL, policy, too big, no route) are limited in rate.
 *
 * **Fragments** of guests are put together (see fragments). What is larger than the guest's MTU is cut, or refused with
 * the MTU if it must not be.
 *
 * Everything is bounded: guests, maps by guest and protocol, remotes by map, forwards, fragments. What is refused is
 * counted with its reason, and nothing that comes from a guest or from the network throws.
 *
 * Time is a parameter, system calls are the door's: this and all of nat/ is pure.
 *
 * **IPv6** stands beside this, not in it: nat6/ (its theory of operation is in nat6/nat6.ts). Guests, maps, limits,
 * counters and fragments are in the same tables. Off, its frames are counted and dropped.
 *
 * Limits: TCP, UDP, ICMP queries and errors only.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import { KernelError } from "../../kernel/error.ts";
import { TokenBucket } from "../../kernel/inet/token_bucket.ts";
import { type Random, SeededRandom } from "../../kernel/random.ts";
import { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { type NatConfig, natConfig, type NatOptions } from "./nat/config.ts";
import { Counters, Reason } from "./nat/counters.ts";
import { Decision } from "./nat/decision.ts";
import { Reassembler } from "./nat/fragments.ts";
import type { Guest } from "./nat/guest.ts";
import { askGuest, toGuest } from "./nat/link.ts";
import { MAP_PROTO_NAMES, NatMap, Realm } from "./nat/map.ts";
import { NatPacket } from "./nat/packet.ts";
import { NatTable } from "./nat/table.ts";
import { UnresolvedGuests } from "./nat/unresolved.ts";
import { Way } from "./nat/way.ts";
import { advertise, askGuest6, toGuest6 } from "./nat6/link6.ts";
import { Nat6 } from "./nat6/nat6.ts";
import { formatForward, type Forward, type ForwardSpec, ForwardTable, parseForward } from "./nat_forward.ts";
import { NatPolicy } from "./nat_policy.ts";
import { DhcpServer } from "./services/dhcp.ts";
import { DnsRelay } from "./services/dns.ts";

export { translateOutbound } from "./nat/outbound.ts";
export { translateInbound } from "./nat/inbound.ts";
export { translateError } from "./nat/errors.ts";
export { translateError6 } from "./nat6/errors6.ts";
export { translateInbound6 } from "./nat6/inbound6.ts";
export { refusedByHost6 } from "./nat6/undo6.ts";
export { type HostRefusal, refusedByHost } from "./nat/undo.ts";
export type { NatConfig, NatOptions } from "./nat/config.ts";
export { type Decision, Verdict } from "./nat/decision.ts";
export { type Counters, Reason } from "./nat/counters.ts";

/** ICMP errors a second, and at once (RFC 1812 4.3.2.8; Linux lets 1000 through). */
const ERRORS_PER_SECOND = 100;
const ERRORS_BURST = 50;

/** Who gets the host's ports: system calls in earnest, a table in tests. */
export interface NatDoor {
  /** Claims a port of the host for `map` and fills in `hostPort`: a forward's own, or any. Answers why not, or "". */
  open(map: NatMap): string;
  /** Gives the port of `map` back. */
  close(map: NatMap): void;
}

/** One NAT: the guests of one link. Not shared, nothing global. */
export class Nat {
  readonly config: NatConfig;
  readonly policy: NatPolicy;
  readonly table: NatTable;
  readonly forwards: ForwardTable = new ForwardTable();
  readonly counters: Counters = new Counters();
  readonly reassembler: Reassembler = new Reassembler();
  readonly dhcp: DhcpServer;
  readonly relay: DnsRelay;
  /** The IPv6 side; null: guests have none. */
  readonly six: Nat6 | null;
  readonly errorLimiter: TokenBucket = new TokenBucket(ERRORS_PER_SECOND, ERRORS_BURST);
  /** Guests whose hardware address is asked for, and what waits for it. */
  readonly unresolved: UnresolvedGuests = new UnresolvedGuests({
    ask: (guest) => guest.addr.isV4 ? askGuest(this, guest) : askGuest6(this.six!, guest),
    dropped: () => void this.counters.refuse(Reason.NoMac),
  });
  /** Whether filtering depends on remotes at all, by MapProto. */
  readonly filters: readonly boolean[];
  /** For the translation: the packet that is looked at, its way, what becomes of it; overwritten by the next. */
  readonly packet: NatPacket = new NatPacket();
  readonly way: Way = new Way();
  readonly decision: Decision = new Decision();
  /** For the translation: time, and the hardware address that the frame came from. */
  now = 0;
  macHi = 0;
  macLo = 0;
  /** Forwards from the start that could not be had, and why; by their text. */
  readonly #refusedForwards = new Map<string, string>();
  /** Frames for guests that nobody has taken yet. */
  frames: Block[] = [];

  /** `random` is for what nobody shall guess; only IPv6 has such a thing. */
  constructor(options: NatOptions, readonly door: NatDoor, random: Random = new SeededRandom(1)) {
    const config = this.config = natConfig(options);
    this.policy = new NatPolicy(options.policy);
    this.table = new NatTable(config);
    this.filters = config.filtering.map((filtering) => filtering !== "endpoint");
    this.dhcp = new DhcpServer({ ...dhcpConfig(config), isInUse: (word, mac) => this.#isInUse(word, mac) });
    const zone = zoneOf(config);
    const zone6 = zone6Of(config);
    this.relay = new DnsRelay(config.nameServers, zone, config.zoneName, zone6);
    const six = { policy: options.policy ?? {}, random, zone, zone6 };
    this.six = config.v6 === null ? null : new Nat6(this, { config: config.v6, ...six });
    this.table.onResolved = (guest) => this.#sendHeld(guest);
    this.table.addGuest(config.guest, config.guestMac);
  }

  #sendHeld(guest: Guest): void {
    for (const block of this.unresolved.release(guest)) {
      if (guest.addr.isV4) toGuest(this, block, guest);
      else toGuest6(this.six!, block, guest);
    }
  }

  /** The frames for guests since last asked. */
  takeFrames(): Block[] {
    const { frames } = this;
    this.frames = [];
    return frames;
  }

  /** Whether another station than `mac` sends from the guest address `word`: it has maps that live. */
  #isInUse(word: number, mac: number): boolean {
    const guest = this.table.guest(word);
    return guest !== null && guest.mac?.key !== mac && guest.counts.some((count) => count > 0);
  }

  /** Whether a guest may have the address `word`. */
  mayBeGuest(word: number): boolean {
    const { style, guest, router, dns } = this.config;
    if (style === "real") return word === guest.w3;
    return this.isOnLink(word) && word !== router.w3 && word !== dns?.w3;
  }

  /** Whether `word` is a host address of the guests' own network; never in real style, where it is the host's. */
  isOnLink(word: number): boolean {
    const { style, subnet, mask } = this.config;
    if (style === "real" || ((word ^ subnet.w3) & mask.w3) !== 0) return false;
    const number = word & ~mask.w3;
    return number !== 0 && number !== ~mask.w3;
  }

  /** Whether guests are to send packets for `addr` to the router: its own; in real style all but the guest's. */
  isBehind(addr: IpAddr): boolean {
    const { style, guest, router, dns } = this.config;
    if (addr.equals(router) || (dns !== null && addr.equals(dns))) return true;
    return style === "real" && !addr.equals(guest) && !addr.isUnspecified;
  }

  /**
   * Adds the forwards that a NAT starts with. One that cannot be had now is no reason not to start (akaros 29): it is
   * kept with what stands in its way, and said with what is exposed. Throws KernelError for a text that makes no sense.
   */
  startForwards(texts: readonly string[]): void {
    for (const text of texts) {
      try {
        this.addForward(text);
      } catch (error) {
        if (!(error instanceof KernelError) || error.code === "EINVAL") throw error;
        this.#refusedForwards.set(formatForward(parseForward(text)), error.message);
      }
    }
  }

  /**
   * Adds a forward, in either form of {@link parseForward}; a host port of 0 becomes one that is free. Throws
   * KernelError: the text, a conflict, or no port.
   */
  addForward(text: string): Forward {
    const asked = parseForward(text);
    this.forwards.requireFree(asked);
    const addr = asked.guestAddr ?? this.config.guest;
    const isGuests = addr.isV4 ? this.mayBeGuest(addr.w3) : this.six?.mayBeGuest(addr) === true;
    if (!isGuests) throw new KernelError("EINVAL", `Cannot forward to ${addr}: no guest's address`);
    this.#requireNoMap(asked);
    const guest = this.table.addGuest(addr, null, addr.isV4 ? addr.w3 : this.six!.keys.ofGuest(addr));
    if (guest === null) throw new KernelError("ENOSPC", `Cannot forward to ${addr}: too many guests`);
    const map = new NatMap(guest, asked.proto, asked.guestPort, Realm.World, 0, 0);
    map.isStatic = true;
    map.count = asked.count;
    map.bound = asked.bound;
    map.hostPort = asked.hostPort;
    const refusal = this.door.open(map);
    if (refusal !== "") throw new KernelError("EADDRINUSE", `Cannot forward ${formatForward(asked)}: ${refusal}`);
    const forward = { spec: { ...asked, hostPort: map.hostPort }, map };
    this.forwards.add(forward);
    this.#refusedForwards.delete(formatForward(asked));
    return forward;
  }

  /** EADDRINUSE names the guest whose map has one of the ports. */
  #requireNoMap(spec: ForwardSpec): void {
    for (let i = 0; i < spec.count; i++) {
      const holder = this.table.findByHost(spec.proto, spec.hostPort + i);
      if (holder === null) continue;
      throw new KernelError(
        "EADDRINUSE",
        `Cannot forward ${formatForward(spec)}: ` +
          `guest ${holder.guest.addr} port ${holder.guestPort} has port ${holder.hostPort}`,
      );
    }
  }

  /** Takes out a forward named as it was added. ENOENT: there is none. */
  removeForward(text: string): Forward {
    const forward = this.forwards.remove(parseForward(text));
    this.door.close(forward.map);
    return forward;
  }

  /** Ends a map for another's sake. */
  evict(victim: NatMap): void {
    this.counters.mapsEvicted++;
    this.close(victim);
  }

  /** Ends a map: its port is free again. */
  close(map: NatMap): void {
    this.table.remove(map);
    this.door.close(map);
  }

  /** Ends what is over: idle maps, datagrams that never became whole. Advertises the router of IPv6 when it is time. */
  expire(now: number): void {
    for (let map = this.table.expired(now); map !== null; map = this.table.expired(now)) {
      this.counters.mapsExpired++;
      this.door.close(map);
    }
    for (let lost = this.reassembler.expire(now); lost > 0; lost--) this.counters.refuse(Reason.FragmentTimeout);
    this.unresolved.expire(now);
    if (this.six !== null) advertise(this.six, now);
  }

  /** When {@link expire} has something to do, if nothing happens until then; Infinity: never. */
  nextExpiry(): number {
    const soon = Math.min(this.table.nextExpiry(), this.reassembler.nextExpiry(), this.unresolved.deadline);
    return Math.min(soon, this.six?.adverts.next ?? Infinity);
  }

  /** As {@link nextExpiry} but for advertisements, at once: perhaps too early, never too late. */
  get nextDeadline(): number {
    return Math.min(this.table.deadline, this.reassembler.nextExpiry(), this.unresolved.deadline);
  }

  /** Ends all maps and forwards. */
  shutdown(): void {
    this.unresolved.clear();
    for (const map of [...this.table.maps()]) this.close(map);
    for (const { spec, map } of [...this.forwards.list]) {
      this.forwards.remove(spec);
      this.door.close(map);
    }
  }

  /** What is open, a line each: printed at start, so that nobody exposes anything unawares. */
  exposure(): string[] {
    const lines = this.policy.lines().map((line) => `guest reaches ${line}`);
    const { loopbackFrom, router } = this.config;
    if (this.policy.loopback && !loopbackFrom.isLoopback) {
      lines.push(`guest reaches 127.0.0.1 of this machine as ${router}`);
    }
    for (const { spec, map } of this.forwards.list) {
      const from = spec.bound === null ? "every address of the host" : `${spec.bound}`;
      lines.push(`${formatForward(spec)} exposes guest ${map.guest.addr} on ${from}`);
    }
    const open = MAP_PROTO_NAMES.filter((_, proto) => !this.filters[proto]);
    if (open.length > 0) lines.push(`anybody reaches every ${open.join(", ")} port that a guest has sent from`);
    if (this.six !== null) lines.push(...this.six.exposure());
    lines.push(...this.#refusedForwards.values());
    return lines;
  }
}

function dhcpConfig(config: NatConfig) {
  const { style, router, guest, dns, mask, subnet, mtu, leaseSeconds, hostName, search, reservations } = config;
  const broadcast = subnet.or(IpAddr.v4(~mask.w3));
  return {
    ...{ router, mask, mtu, leaseSeconds, hostName, search, reservations },
    first: guest,
    last: style === "real" ? guest : IpAddr.v4(broadcast.w3 - 1),
    taken: dns === null ? [router] : [router, dns],
    nameServers: dns === null ? config.nameServers : [dns],
    domain: search[0] ?? "",
  };
}

/** The names that are always there, and those of the options, below the zone's name. */
function zoneOf(config: NatConfig): Map<string, IpAddr> {
  const { zoneName, router, guest, dns, hostName } = config;
  const names = new Map<string, IpAddr>();
  if (dns === null) return names;
  const put = (name: string, addr: IpAddr) => names.set(name.endsWith(zoneName) ? name : `${name}.${zoneName}`, addr);
  put("gateway", router);
  put("dns", dns);
  if (hostName !== "") put(hostName.toLowerCase(), guest);
  for (const [name, addr] of config.zone) put(name, addr);
  return names;
}

/** As {@link zoneOf}, the IPv6 addresses of the names that are always there. */
function zone6Of({ v6, zoneName }: NatConfig): Map<string, IpAddr> {
  if (v6 === null || v6.dns === null) return new Map();
  return new Map([[`gateway.${zoneName}`, v6.router], [`dns.${zoneName}`, v6.dns]]);
}

/**
 * Nat: the guest's network behind the host's, by rewriting packets: RFC 4787 (UDP), RFC 5382 (TCP), RFC 5508 (ICMP),
 * RFC 7857 (updates to them); and the same for IPv6 (NAT66 with ports).
 *
 * Path: control, names, program → nat → context, inbound, outbound, family4, family6.
 *
 * # Theory of operation
 *
 * Connections are not terminated: a packet goes in and the same packet comes out with other ends. The other side sees
 * the guest's own sequence numbers, options, TTL less one, TOS and ECN, half-closes and resets. The guest sees the
 * other side's real address.
 *
 * ```
 *   guest 10.0.2.15:40000 ─frame─▶ outbound ─▶ flow ─▶ policy ─▶ map ─▶ rewritten packet ─▶ host 10.0.0.1:40000
 *                         ◀─frame─ link ◀────── inbound ◀─ filter ◀─ map ◀────────────────  bypassed conversation
 * ```
 *
 * **A map** ({@link NatMap}) is one port of a guest behind one port of the host, for all remotes
 * (endpoint-independent, RFC 4787 REQ-1), or for one remote where mapping is to depend on it. The host's port is a
 * bypassed conversation, opened by the {@link PortBroker}; its lifetime depends on protocol and state (see map). **The
 * filter** says which remotes get in: by default those whose address the guest has sent to (address-dependent, RFC
 * 4787 REQ-8).
 *
 * **Versions of IP** share every step, table, limit and counter. What differs is in two records: a {@link NatFamily}
 * (how a packet of it is written) and a {@link NatLink} (ARP and DHCP; neighbour discovery, router advertisements and
 * DHCPv6); {@link FamilyContext} joins them with the addresses of that version. An address is its four words.
 *
 * **Realms** keep apart what must not be mixed up: the world; the host's loopback, which the guest calls the router
 * (10.0.2.2 means 127.0.0.1, bound there so that it cannot be reached from outside; with `farLoopback` that of the
 * machine behind the uplink, and only 127/8 is let in); and the host's name servers, which the guest calls 10.0.2.3.
 * Each has maps of its own.
 *
 * **Forwards** ({@link ForwardTable}) are maps that stay, and let all remotes in. They remember how each remote came. A
 * forward takes its host ports from guests' maps that have them, and carries their packets on (see nat/takeover).
 *
 * **A hairpin**, from one guest to a map or forward by the host's address, goes out and in again without leaving here.
 *
 * **Whose address it is**: no other station sends from an address that DHCP has leased to, or keeps for, a station, or
 * from an IPv6 address that has maps. Addresses without a lease are for the stations that use them.
 *
 * **ICMP errors** are translated with the packet that they quote, both ways, so path MTU discovery, traceroute and port
 * unreachable work. Our own errors (TTL, policy, too big, no route) are limited in rate.
 *
 * **Fragments** of guests are put together (see reassembler); those of IPv6 go on with a fragment header that says that
 * the host may cut them. A packet larger than the guest's MTU is cut, or refused with the MTU if it must not be.
 *
 * Everything is bounded: guests, maps by guest and protocol, remotes by map, forwards, fragments. What is refused is
 * counted with its reason, and nothing that comes from a guest or from the network throws.
 *
 * Time is a parameter, system calls are the broker's: this and all of nat/ is pure. TCP, UDP, ICMP queries and errors
 * only; of IPv6 no routing and authentication headers, and datagrams in fragments up to 65519 bytes, as their fragment
 * header takes the room of eight.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import { KernelError } from "../../kernel/error.ts";
import { TokenBucket } from "../../kernel/inet/token_bucket.ts";
import { type Random, SeededRandom } from "../../kernel/random.ts";
import { IpAddr } from "../../kernel/wire/ip_addr.ts";
import type { MacAddr } from "../../kernel/wire/mac_addr.ts";
import { AddrHash, type RemoteAddr } from "./addr_hash.ts";
import { type NatConfig, natConfig, type NatOptions } from "./config.ts";
import type { FamilyContext, NatContext, NatLink, PortBroker } from "./context.ts";
import { Counters, Reason } from "./counters.ts";
import { Decision } from "./decision.ts";
import { FAMILY4 } from "./family4.ts";
import { FAMILY6 } from "./family6.ts";
import type { FamilyConfig } from "./family_config.ts";
import { Flow } from "./flow.ts";
import { formatForward, type Forward, type ForwardDoors, ForwardTable, parseForward } from "./forward.ts";
import { closeForward, openForward } from "./forward_ports.ts";
import { LimitReport } from "./limit_report.ts";
import { toGuest } from "./link.ts";
import { LINK4 } from "./link4.ts";
import { Link6 } from "./link6.ts";
import { type Guest, MapClass, type NatMap, Realm } from "./map.ts";
import { type NatFamily, NatPacket } from "./packet.ts";
import { NatPolicy } from "./policy.ts";
import { Reassembler } from "./reassembler.ts";
import { dhcpConfig, type HostNames, namesFor, zone6Of, zoneOf } from "./service_config.ts";
import { DhcpServer } from "./services/dhcp.ts";
import { DnsRelay } from "./services/dns.ts";
import { DnsServers } from "./services/dns_servers.ts";
import { DnsZone } from "./services/dns_zone.ts";
import { AdvertTimer } from "./services/router_advert.ts";
import { NatTable } from "./table.ts";
import { uncarry } from "./takeover.ts";
import { UnresolvedGuests } from "./unresolved.ts";

export { translateOutbound } from "./outbound.ts";
export { translateInbound } from "./inbound.ts";
export { translateError } from "./errors.ts";
export { refusedByHost } from "./host_refusal.ts";
export type { NatConfig, NatOptions } from "./config.ts";
export type { PortBroker } from "./context.ts";
export { Decision } from "./decision.ts";
export { type Counters, Reason } from "./counters.ts";

/** ICMP errors a second, and at once (RFC 1812 4.3.2.8; Linux lets 1000 through). */
const ERRORS_PER_SECOND = 100;
const ERRORS_BURST = 50;

/** What one version of IP is made of. */
interface FamilyParts {
  readonly family: NatFamily;
  readonly link: NatLink;
  readonly config: FamilyConfig;
  readonly policy: NatPolicy;
}

/** One NAT: the guests of one link. Not shared, nothing global. */
export class Nat implements NatContext {
  readonly config: NatConfig;
  readonly table: NatTable;
  readonly forwards: ForwardTable = new ForwardTable();
  readonly counters: Counters = new Counters();
  readonly limits: LimitReport = new LimitReport(this.counters);
  readonly doors: ForwardDoors | null;
  readonly reassembler: Reassembler = new Reassembler();
  readonly dhcp: DhcpServer;
  readonly relay: DnsRelay;
  search: readonly string[];
  readonly errorLimiter: TokenBucket = new TokenBucket(ERRORS_PER_SECOND, ERRORS_BURST);
  /** Guests whose hardware address is asked for, and the packets that wait for it. */
  readonly unresolved: UnresolvedGuests = new UnresolvedGuests({
    ask: (guest) => this.#contextOf(guest.addr).link.ask(this.#contextOf(guest.addr), guest),
    dropped: () => void this.counters.refuse(Reason.NoMac),
  });
  readonly filters: readonly boolean[];
  readonly filtersPorts: readonly boolean[];
  readonly v4: FamilyContext;
  readonly v6: FamilyContext | null;
  readonly decision: Decision = new Decision();
  now = 0;
  macHi = 0;
  macLo = 0;
  frames: Block[] = [];
  /** Forwards from the start that could not be had, and why; by their text. */
  readonly #refusedForwards = new Map<string, string>();
  /** The guest that forwards lead to which name none. */
  #main: Guest;
  readonly #link6: Link6 | null;

  /** `random` is for what must not be guessed; only IPv6 has such a thing. */
  constructor(options: NatOptions, readonly ports: PortBroker, readonly random: Random = new SeededRandom(1)) {
    const config = this.config = natConfig(options);
    this.doors = options.doors ?? null;
    this.table = new NatTable(config, new AddrHash(config.v6 === null ? null : random));
    this.filters = config.filtering.map((filtering) => filtering !== "endpoint");
    this.filtersPorts = config.filtering.map((filtering) => filtering === "address-port");
    this.dhcp = new DhcpServer({ ...dhcpConfig(config), isInUse: (word, mac) => this.#isInUse(word, mac) });
    this.search = config.search;
    const zone = new DnsZone(zoneOf(config), config.zoneName, zone6Of(config));
    this.relay = new DnsRelay({ zone, servers: new DnsServers(config.nameServers, options.dnsPatience), random });
    this.#link6 = config.v6 === null ? null : new Link6(new AdvertTimer(random));
    const { policy } = options;
    this.v4 = this.#contextFor({ family: FAMILY4, link: LINK4, config, policy: new NatPolicy(policy) });
    this.v6 = config.v6 === null || this.#link6 === null ? null : this.#contextFor({
      family: FAMILY6,
      link: this.#link6,
      config: config.v6,
      policy: new NatPolicy(policy, 6, config.v6.hasLoopback),
    });
    this.table.onResolved = (guest) => this.#sendHeld(guest);
    this.#main = this.table.addGuest(config.guest, config.guestMac)!;
  }

  #contextFor({ family, link, config, policy }: FamilyParts): FamilyContext {
    const packet = new NatPacket(family);
    return { nat: this, family, link, config, policy, packet, flow: new Flow(this.table.hash), nameServer: null };
  }

  #contextOf(addr: IpAddr): FamilyContext {
    return addr.isV4 ? this.v4 : this.v6!;
  }

  /** The host has other name servers now, and other domains to search. Guests hear of it when they ask again. */
  setNames({ nameServers, patience, search = this.search }: HostNames): void {
    this.relay.setServers(nameServers, patience);
    this.search = search;
    this.dhcp.setNames(namesFor(this.config, nameServers, search));
  }

  /** The guest whose connection to the name server has the host's `port`, or null. */
  dnsGuest(port: number, is6: boolean): Guest | null {
    for (const map of this.table.maps()) {
      if (map.realm === Realm.Dns && map.hostPort === port && map.is6 === is6) return map.guest;
    }
    return null;
  }

  #sendHeld(guest: Guest): void {
    for (const block of this.unresolved.release(guest)) {
      toGuest(this.#contextOf(guest.addr), block, guest);
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
    const guest = this.table.guest(IpAddr.v4(word));
    if (guest === null || guest.mac === null || guest.mac.key === mac) return false;
    return guest.counts.some((count) => count > 0);
  }

  /**
   * The guest at `addr`, heard of from the station `mac`; null: too many. Forwards that name no guest follow to it if
   * theirs has not been heard of, or with `isLease` if theirs is the same station, which has a new address.
   */
  meet(addr: IpAddr, mac: MacAddr, isLease = false): Guest | null {
    const main = this.#main;
    const known = main.mac;
    const guest = this.table.addGuest(addr, mac);
    if (guest === null || guest === main || !addr.isV4) return guest;
    if (known === null || (isLease && known.equals(mac))) {
      this.#main = guest;
      this.forwards.follow(main, guest);
    }
    return guest;
  }

  /** The stations of the guests' link have gone: the next may have their addresses. */
  guestsLeft(): void {
    this.dhcp.vacate();
    for (const guest of this.table.guests) guest.mac = null;
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
    const forward = openForward(this, asked, asked.guestAddr ?? this.#main.addr);
    this.#refusedForwards.delete(formatForward(asked));
    return forward;
  }

  /** Takes out a forward named as it was added. ENOENT: there is none. */
  removeForward(text: string): Forward {
    return closeForward(this, parseForward(text));
  }

  /** Ends a map for the sake of another, of `guest`. */
  evict(victim: NatMap, guest: Guest): void {
    const { counters, limits } = this;
    counters.mapsEvicted++;
    if (victim.class === MapClass.TcpHalfClosed) counters.evictedHalfClosed++;
    else if (victim.class === MapClass.TcpEstablished) counters.evictedEstablished++;
    limits.note(this.now, guest, victim.proto);
    this.close(victim);
  }

  letIn(map: NatMap, at: RemoteAddr, port: number): void {
    if (!this.table.letIn(map, at, port, this.now)) return;
    this.counters.remotesForgotten++;
    this.limits.note(this.now, map.guest, map.proto);
  }

  /** Ends a map: its port is free again. */
  close(map: NatMap): void {
    this.table.remove(map);
    if (map.carrier === null) this.ports.close(map);
    else uncarry(map);
  }

  /** Ends what is over: idle maps, datagrams that never became whole. Advertises the router of IPv6 when it is time. */
  expire(now: number): void {
    for (let map = this.table.expired(now); map !== null; map = this.table.expired(now)) {
      this.counters.mapsExpired++;
      this.close(map);
    }
    for (let lost = this.reassembler.expire(now); lost > 0; lost--) this.counters.refuse(Reason.FragmentTimeout);
    this.unresolved.expire(now);
    if (this.v6 !== null) this.#link6?.advertise(this.v6, now);
  }

  /** When {@link expire} has something to do, if nothing happens until then; Infinity: never. */
  nextExpiry(): number {
    const { table, reassembler, unresolved, limits } = this;
    const soon = Math.min(table.nextExpiry(), reassembler.nextExpiry(), unresolved.deadline, limits.due);
    return Math.min(soon, this.#link6?.adverts.next ?? Infinity);
  }

  /** As {@link nextExpiry} but for advertisements, at once: perhaps too early, never too late. */
  get nextDeadline(): number {
    const { table, reassembler, unresolved, limits } = this;
    return Math.min(table.deadline, reassembler.nextExpiry(), unresolved.deadline, limits.due);
  }

  /** Ends all maps and forwards. */
  shutdown(): void {
    this.unresolved.clear();
    for (const map of [...this.table.maps()]) this.close(map);
    for (const { spec, map } of [...this.forwards.list]) {
      this.forwards.remove(spec);
      this.ports.close(map);
    }
  }

  /** Why forwards that it starts with are not in force, a line each. */
  refusedForwards(): string[] {
    return [...this.#refusedForwards.values()];
  }
}

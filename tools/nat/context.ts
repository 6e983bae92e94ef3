/**
 * What a step of the translation needs: the NAT, and its part of one version of IP. nat.ts implements both.
 *
 * Path: errors, inbound, link, outbound → context → flow, nat/packet, table, decision.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import type { TokenBucket } from "../../kernel/inet/token_bucket.ts";
import type { Random } from "../../kernel/random.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import type { MacAddr } from "../../kernel/wire/mac_addr.ts";
import type { RemoteAddr } from "./addr_hash.ts";
import type { NatConfig } from "./config.ts";
import type { Counters } from "./counters.ts";
import type { Decision } from "./decision.ts";
import type { FamilyConfig } from "./family_config.ts";
import type { Flow } from "./flow.ts";
import type { ForwardDoors, ForwardTable } from "./forward.ts";
import type { LimitReport } from "./limit_report.ts";
import type { Guest, NatMap } from "./map.ts";
import type { NatFamily, NatPacket } from "./packet.ts";
import type { NatPolicy } from "./policy.ts";
import type { Reassembler } from "./reassembler.ts";
import type { DhcpServer } from "./services/dhcp.ts";
import type { DnsRelay } from "./services/dns.ts";
import type { NatTable } from "./table.ts";
import type { UnresolvedGuests } from "./unresolved.ts";

/** Claims and releases the host's ports: by system calls, or in tests in a table. */
export interface PortBroker {
  /** Claims `hostPort` of the host for `map`, or any if that is 0, and fills it in. Returns the refusal, or "". */
  open(map: NatMap): string;
  /** Gives the port of `map` back. */
  close(map: NatMap): void;
}

/** An address and port of the host's, where a program answers for the guests' name server. */
interface HostEndpoint {
  readonly addr: IpAddr;
  readonly port: number;
}

/** The NAT, as every step of either version sees it. */
export interface NatContext {
  readonly config: NatConfig;
  readonly table: NatTable;
  readonly forwards: ForwardTable;
  /** What opens forwards on the machine behind the uplink; null: they are ports of the host kernel alone. */
  readonly doors: ForwardDoors | null;
  readonly counters: Counters;
  readonly limits: LimitReport;
  readonly reassembler: Reassembler;
  readonly unresolved: UnresolvedGuests;
  readonly errorLimiter: TokenBucket;
  readonly dhcp: DhcpServer;
  readonly relay: DnsRelay;
  readonly ports: PortBroker;
  readonly random: Random;
  /** Domains that DHCP and router advertisements announce. */
  readonly search: readonly string[];
  /** Whether filtering depends on remotes at all, and on their ports, by MapProto. */
  readonly filters: readonly boolean[];
  readonly filtersPorts: readonly boolean[];
  readonly v4: FamilyContext;
  /** Null: guests have no IPv6. */
  readonly v6: FamilyContext | null;
  /** What becomes of the packet at hand; overwritten by the next. */
  readonly decision: Decision;
  /** Frames for guests that are not handed out yet. */
  readonly frames: Block[];
  /** Time, and the hardware address that the frame at hand came from. */
  now: number;
  macHi: number;
  macLo: number;
  /** The guest at `addr`, which the station `mac` sends from, or has as a lease; null: too many. */
  meet(addr: IpAddr, mac: MacAddr, isLease?: boolean): Guest | null;
  /** Ends a map for the sake of another, of `guest`. */
  evict(victim: NatMap, guest: Guest): void;
  /** The filter of `map` lets the remote `at` in from now on, with `port` or (0) without. */
  letIn(map: NatMap, at: RemoteAddr, port: number): void;
}

/** The NAT's part of one version of IP. */
export interface FamilyContext {
  readonly nat: NatContext;
  readonly family: NatFamily;
  readonly link: NatLink;
  readonly config: FamilyConfig;
  readonly policy: NatPolicy;
  /** The packet at hand, and its flow; overwritten by the next. */
  readonly packet: NatPacket;
  readonly flow: Flow;
  /** Where connections to the name server go, on the host; null: nowhere. */
  nameServer: HostEndpoint | null;
}

/** What the guests' link does for one version of IP: link4, link6. */
export interface NatLink {
  readonly etherType: number;
  /** The link's own services: takes the packet that was read (consumed), or returns null, and it is to be routed. */
  serve(ctx: FamilyContext, isGroup: boolean): Decision | null;
  /** Whether another station than `mac` has the address of a guest. */
  isAnothers(ctx: FamilyContext, addr: IpAddr, mac: MacAddr): boolean;
  /** Asks the link for the hardware address of `guest`. */
  ask(ctx: FamilyContext, guest: Guest): void;
}

/**
 * A world for stories about UDP and echo of the uplink: both relays over {@link FakeDatagrams}, in virtual time, and
 * the test in the place of near.
 *
 *     const world = datagramWorld();
 *     world.udp(link.udp({ payload }));
 *     world.seen(); // what near got
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { Block, BlockPool } from "../../../kernel/block.ts";
import type { HostSockets } from "../../../kernel/host_sockets.ts";
import { VirtualClock } from "../../../kernel/time.ts";
import type { UplinkContext } from "../../../tools/uplink/context.ts";
import { UplinkCounters } from "../../../tools/uplink/counters.ts";
import { DatagramRelay } from "../../../tools/uplink/datagram_relay.ts";
import type { Verdict } from "../../../tools/uplink/destination.ts";
import { EchoRelay } from "../../../tools/uplink/echo_relay.ts";
import { IcmpMaker } from "../../../tools/uplink/icmp_maker.ts";
import { ip } from "../ip/ip_fixture.ts";
import { FakeDatagrams } from "./fake_datagrams.ts";
import { LINKS, packetsOf, see, type Seen } from "./link_families.ts";

/** The relays and everything around them. */
export interface DatagramWorld {
  readonly clock: VirtualClock;
  readonly fake: FakeDatagrams;
  readonly counters: UplinkCounters;
  readonly context: UplinkContext;
  readonly icmp: IcmpMaker;
  readonly relay: DatagramRelay;
  readonly pings: EchoRelay;
  /** Blocks to near since last taken. */
  readonly blocks: Block[];
  /** Destinations that the policy closes, by text. */
  readonly closed: Set<string>;
  /** Near sends packets; then everything due now happens. */
  udp(...packets: readonly Uint8Array[]): void;
  echo(...packets: readonly Uint8Array[]): void;
  /** Takes the packets that near got, read. */
  seen(): Seen[];
  /** As `seen`: one line each, `udp 192.0.2.9 9 > 4000`, `error 192.0.2.9 3/3 of 4000 > 9`. */
  lines(): string[];
  /** Closes all, and fails if anything is left. */
  end(): void;
}

/** A context over `sockets` whose packets to near go to `toNear`. */
export function linkContext(clock: VirtualClock, sockets: HostSockets, toNear: (block: Block) => void): UplinkContext {
  const [v4, v6] = LINKS.map(({ near, peer }) => ({ near: ip(near), peer: ip(peer) }));
  return {
    clock,
    blocks: new BlockPool(),
    sockets,
    counters: new UplinkCounters(),
    v4: v4!,
    v6: v6!,
    outbound: () => null,
    hidesCallers: false,
    toNear,
  };
}

/** HostSockets without TCP. */
export function withoutTcp(fake: FakeDatagrams): HostSockets {
  return {
    connect: () => "EOPNOTSUPP",
    listen: () => "EOPNOTSUPP",
    datagrams: (request) => fake.datagrams(request),
    echo: (version, from) => fake.echo(version, from),
    isLocal: (address) => fake.isLocal(address),
  };
}

/** Makes a world. */
export function datagramWorld(options: { socketsMax?: number } = {}): DatagramWorld {
  const clock = new VirtualClock();
  const fake = new FakeDatagrams(clock);
  const blocks: Block[] = [];
  const context = linkContext(clock, withoutTcp(fake), (block) => void blocks.push(block));
  const closed = new Set<string>();
  const peers = new Set(LINKS.map(({ peer }) => peer));
  const policy = (address: { toString(): string }): Verdict => {
    const text = `${address}`;
    return closed.has(text) ? "closed" : peers.has(text) ? "loopback" : "ok";
  };
  const icmp = new IcmpMaker(context);
  const relay = new DatagramRelay(context, { policy, icmp, ...options });
  const pings = new EchoRelay(context, { policy, icmp, relieve: () => relay.evict() > 0 });
  const world: DatagramWorld = {
    ...{ clock, fake, counters: context.counters, context, icmp, relay, pings, blocks, closed },
    udp(...packets) {
      for (const packet of packets) relay.input(Block.from(packet));
      clock.advance(0);
    },
    echo(...packets) {
      for (const packet of packets) pings.input(Block.from(packet));
      clock.advance(0);
    },
    seen() {
      clock.advance(0);
      return blocks.splice(0).flatMap(packetsOf).map(see);
    },
    lines: () => world.seen().map(line),
    end() {
      relay.close();
      pings.close();
      clock.jobs.run();
      assertEquals([fake.open.size, relay.sockets, pings.sockets], [0, 0, 0]);
      // Answers may still be on their way to sockets that are closed: they are no one's.
      clock.advance(60_000);
      assertEquals(clock.timerCount, 0);
    },
  };
  return world;
}

function line({ kind, src, what, mtu, quoted }: Seen): string {
  const about = quoted === null ? "" : ` of ${quoted.what}`;
  return `${kind} ${src} ${what}${mtu > 0 ? ` mtu ${mtu}` : ""}${about}`;
}

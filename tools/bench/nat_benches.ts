/**
 * Benchmarks of the NAT: the translation alone, and a namespace as the guest of netd, of slirp4netns and of pasta, by
 * Linux' own tools, in one run.
 *
 * Path: benches → nat_benches → nat, nat_peers.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import { BlockPool } from "../../kernel/block.ts";
import { emitEthernet, ETHER_HEADER_LEN, ETHERTYPE_IPV4 } from "../../kernel/wire/ethernet.ts";
import { put16 } from "../../kernel/wire/bytes.ts";
import { checksum } from "../../kernel/wire/checksum.ts";
import { GUEST_MACS, HOST_MAC } from "../nat/config.ts";
import type { NatMap } from "../nat/map.ts";
import { Decision, Nat, translateInbound, translateOutbound } from "../nat/nat.ts";
import { type Figure, measure } from "./measure.ts";
import { GUEST_WAYS, type NatGuest, openNatGuest } from "./nat_peers.ts";

type Tell = (figure: Figure) => void;

/** In the order in which they run. */
export const NAT_BENCHES: readonly { readonly name: string; run(tell: Tell): Promise<void> }[] = [
  { name: "nat-translate", run: translation },
  { name: "nat-guest", run: guests },
];

const IP_LEN = 20;
const UDP_LEN = 8;
/** Packets in one call of a measured function. */
const BATCH = 64;
const SECONDS = 1;
const MIB = 1 << 20;

/** A UDP packet over IPv4 without a UDP checksum, as both ends send it here. */
function udp(bytes: Uint8Array, at: number, ends: { src: number[]; dst: number[]; ports: [number, number] }): void {
  const total = bytes.length - at;
  bytes.set([0x45, 0, total >> 8, total & 255, 0, 1, 0, 0, 64, 17, 0, 0, ...ends.src, ...ends.dst], at);
  put16(bytes, at + 10, checksum(bytes, at, at + IP_LEN));
  put16(bytes, at + IP_LEN, ends.ports[0]);
  put16(bytes, at + IP_LEN + 2, ends.ports[1]);
  put16(bytes, at + IP_LEN + 4, total - IP_LEN);
}

async function translation(tell: Tell): Promise<void> {
  const ports = {
    open(map: NatMap): string {
      map.hostPort = map.guestPort;
      map.fd = 1;
      return "";
    },
    close(): void {},
  };
  const nat = new Nat({ hostAddr: "10.0.0.1/24" }, ports);
  const pool = new BlockPool();
  for (const size of [64, 1400]) {
    const frame = new Uint8Array(ETHER_HEADER_LEN + IP_LEN + UDP_LEN + size);
    emitEthernet({ dst: HOST_MAC, src: GUEST_MACS.qemu, etherType: ETHERTYPE_IPV4 }, frame, 0);
    udp(frame, ETHER_HEADER_LEN, { src: [10, 0, 2, 15], dst: [10, 0, 0, 2], ports: [4000, 7] });
    const answer = new Uint8Array(IP_LEN + UDP_LEN + size);
    udp(answer, 0, { src: [10, 0, 0, 2], dst: [10, 0, 0, 1], ports: [7, 4000] });
    let map: NatMap | null = null;
    const out = () => {
      for (let i = 0; i < BATCH; i++) {
        const result = translateOutbound(nat, pool.from(frame), 0);
        if (result.kind !== Decision.Send) throw new Error("A packet was refused");
        map = result.map;
        result.block!.free();
      }
    };
    tell(await measure(`NAT: guest → host, ${size} bytes`, BATCH, out));
    const into = () => {
      for (let i = 0; i < BATCH; i++) translateInbound(nat, pool.from(answer), map!, 0);
      for (const one of nat.takeFrames()) one.free();
    };
    tell(await measure(`NAT: host → guest, ${size} bytes`, BATCH, into));
    tell(
      await measure(`(of it a copy into a pooled block, ${size} bytes)`, BATCH, () => {
        for (let i = 0; i < BATCH; i++) (pool.from(frame) as Block).free();
      }),
    );
  }
}

/** Pings and connections before anything is measured. */
const WARM_UP = 1000;
/** How often each row is measured, all networks in turn: other work on the machine then hits them all. */
const ROUNDS = 3;
const PINGS = 200;
const CALLS = 1600;
const CALLS_AT_ONCE = 16;
const TURNS = 3000;

/** What one round of a row has done. */
interface Done {
  readonly operations: number;
  readonly seconds: number;
}

/** A row. */
interface Row {
  readonly name: string;
  /** Whether busy polling is of interest here, and processor time is not. */
  readonly isLatency?: boolean;
  /** What processor time is given for, as its name and so many operations. Default: for one. */
  readonly amount?: { readonly name: string; readonly operations: number };
  measure(guest: NatGuest): Promise<Done>;
}

function tcpRow(name: string, options: readonly string[]): Row {
  return {
    name: `TCP ${name}, a MiB`,
    amount: { name: `TCP ${name}, a GiB`, operations: 1024 },
    measure: async (guest) => {
      const rate = await guest.iperf3([...options, "-t", `${SECONDS}`]);
      return { operations: rate * SECONDS / MIB, seconds: SECONDS };
    },
  };
}

function udpRow(name: string, options: readonly string[]): Row {
  const args = ["-u", "-l", "64", "-b", "0", ...options, "-t", `${SECONDS}`];
  return {
    name: `UDP ${name}, 64 bytes that arrived`,
    measure: async (guest) => ({ operations: await guest.iperf3(args) * SECONDS / 64, seconds: SECONDS }),
  };
}

function callRow(name: string, atOnce: number): Row {
  return {
    name,
    measure: async (guest) => ({ operations: CALLS, seconds: await guest.calls(CALLS, atOnce) }),
  };
}

const ROWS: readonly Row[] = [
  {
    name: "ping, round trip",
    isLatency: true,
    measure: async (guest) => ({ operations: 1, seconds: await guest.ping(PINGS) / 1e9 }),
  },
  {
    name: "request and answer of 1 byte",
    isLatency: true,
    measure: async (guest) => ({ operations: TURNS, seconds: await guest.turns(TURNS) }),
  },
  callRow("connections", 1),
  callRow(`connections, ${CALLS_AT_ONCE} at a time`, CALLS_AT_ONCE),
  tcpRow("up", []),
  tcpRow("down", ["-R"]),
  tcpRow("up, 4 streams", ["-P", "4"]),
  tcpRow("down, 4 streams", ["-R", "-P", "4"]),
  udpRow("up", []),
  udpRow("down", ["-R"]),
];

/** Rates of a row, and processor time of an operation in nanoseconds, of one guest's network. */
interface Rounds {
  readonly rates: number[];
  readonly cpu: number[];
}

/** Every row with us as the network and with the others, and the most memory that each took. */
async function guests(tell: Tell): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const all: NatGuest[] = [];
  for (const way of GUEST_WAYS) all.push(stack.use(await openNatGuest(way)));
  for (const guest of all) {
    // A process of days is meant, not one whose code is compiled as it goes.
    await guest.ping(WARM_UP);
    await guest.calls(WARM_UP, 1);
    await guest.iperf3(["-t", `${SECONDS}`]);
    await guest.iperf3(["-R", "-t", `${SECONDS}`]);
  }
  for (const row of ROWS) {
    const some = all.filter(({ way }) => row.isLatency === true || way.latencyOnly !== true);
    const rounds = new Map(some.map((guest) => [guest, { rates: [], cpu: [] } as Rounds]));
    for (let i = 0; i < ROUNDS; i++) for (const guest of some) await round(row, guest, rounds.get(guest)!);
    for (const [{ way }, { rates, cpu }] of rounds) {
      tell(figureOf(`${way.name}: ${row.name}`, rates));
      if (row.isLatency === true) continue;
      const { name, operations } = row.amount ?? { name: row.name, operations: 1 };
      tell(figureOf(`${way.name}: ${name} (processor)`, cpu.map((ns) => 1e9 / (ns * operations))));
    }
  }
  for (const guest of all) tell({ name: `${guest.way.name}: most memory`, ...NO_TIME, bytes: await guest.memory() });
}

const NO_TIME = { ns: 0, perSecond: 0, spread: 1 };

async function round(row: Row, guest: NatGuest, { rates, cpu }: Rounds): Promise<void> {
  const before = await guest.cpu();
  const { operations, seconds } = await row.measure(guest);
  rates.push(operations / seconds);
  cpu.push((await guest.cpu() - before) * 1e9 / operations);
}

/** The median of some rates, and the best. */
function figureOf(name: string, rates: readonly number[]): Figure {
  const sorted = rates.toSorted((a, b) => a - b);
  const perSecond = sorted[sorted.length >> 1]!;
  return { name, ns: 1e9 / perSecond, perSecond, best: sorted.at(-1)!, spread: sorted.at(-1)! / sorted[0]! };
}

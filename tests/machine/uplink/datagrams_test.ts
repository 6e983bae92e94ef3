/**
 * Datagrams through the socket uplink: their sizes, their header fields, their errors.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import {
  HOST,
  openUplinkLab,
  ROUTER_HOST_SIDE,
  type UplinkLab,
  uplinkNeeds,
  VERSIONS,
  WORLD,
} from "../../kit/uplink/lab.ts";
import { machineTest } from "../../kit/check/skip.ts";

/** What came for a datagram. */
interface Heard {
  readonly by?: string;
  readonly length?: number;
  readonly same?: boolean;
  readonly ttl?: number;
  readonly tos?: number;
  readonly source: number;
  readonly said?: { readonly from: string; readonly port: number; readonly ttl: number; readonly tos: number };
  readonly error?: string;
  readonly report?: { readonly icmp: string; readonly by: string; readonly to: string; readonly mtu: number } | null;
}

const DEAD = { 4: "192.0.2.1", 6: "2001:db8:3::1" } as const;
const TOO_BIG = { 4: "3/4", 6: "2/0" } as const;
const UNREACHABLE = { 4: "3/1", 6: "1/3" } as const;

/** Sends datagrams of the guest; what came of each. */
const askBy = (lab: UplinkLab) => (requests: readonly unknown[]) => lab.peer<Heard>("guest", ["ask"], requests);

/** A link behind the router that takes less. */
async function checkMtu(lab: UplinkLab): Promise<void> {
  const ask = askBy(lab);
  await lab.must("router", "ip link set r1 mtu 1280");
  await lab.must("world", "ip link set w0 mtu 1280");
  for (const version of VERSIONS) {
    const [had] = await ask([{ to: WORLD[version], port: 8007, length: 1400, df: true, answer: false, linger: 1 }]);
    const { icmp, by, mtu } = had!.report!;
    assertEquals([icmp, by, mtu], [TOO_BIG[version], ROUTER_HOST_SIDE[version], 1280], `IPv${version}`);
  }
  // What may be cut is cut.
  const had = await ask(VERSIONS.map((version) => ({ to: WORLD[version], port: 8007, length: 1400 })));
  assertEquals(had.map(({ same }) => same), [true, true]);
}

machineTest("socket uplink: datagrams keep size, fields and errors", uplinkNeeds("nft"), async (t) => {
  await using lab = await openUplinkLab();
  const rules = VERSIONS.map((version) =>
    `add rule inet broken way ip${version === 4 ? "" : "6"} daddr ${
      DEAD[version]
    } reject with icmpx type host-unreachable`
  );
  const chain = "add table inet broken; add chain inet broken way { type filter hook forward priority 0; }";
  await lab.must("router", `nft '${chain}; ${rules.join("; ")}'`);
  const ask = askBy(lab);
  for (const version of VERSIONS) {
    const to = WORLD[version];
    await t.step(`IPv${version}: of 0 bytes, of one, and the longest there is`, async () => {
      // Fragments of IPv6 may have 65,519 bytes together, nat(4); over 65,487 they do not fit the link in one piece.
      const lengths = [0, 1, 1472, 1473, 9000, ...version === 4 ? [65_507] : [65_487, 65_488, 65_519]];
      const had = await ask(lengths.map((length) => ({ to, port: 8007, length })));
      assertEquals(had.map(({ length, same }) => [length, same]), lengths.map((length) => [length, true]));
    });
    await t.step(`IPv${version}: a burst in one call, whose last is shorter, comes back as it was`, async () => {
      for (const count of [1, 20, 60]) {
        assertEquals(await lab.peer("guest", ["burst", to, 8007, count]), [{ right: count + 1, got: count + 1 }]);
      }
    });
    await t.step(`IPv${version}: TOS with its ECN bits, and the TTL less the hops, both ways`, async () => {
      const [had] = await ask([{ to, ttl: 40, tos: 0xbb, say: { ttl: 50, tos: 0x4a } }]);
      // The NAT and the router are hops; the uplink is none.
      assertEquals([had!.said!.ttl, had!.said!.tos], [38, 0xbb]);
      assertEquals([had!.ttl, had!.tos], [48, 0x4a]);
    });
    await t.step(`IPv${version}: one port for all peers, the guest's own number`, async () => {
      const had = await ask([
        { to, source: 45_670 + version, say: {} },
        { to: ROUTER_HOST_SIDE[version], port: 99, answer: false },
        { to, say: {}, again: true },
      ]);
      assertEquals(had.filter((_, i) => i !== 1).map(({ said }) => [said!.from, said!.port]), [
        [HOST[version], 45_670 + version],
        [HOST[version], 45_670 + version],
      ]);
    });
    await t.step(`IPv${version}: an error of one peer takes no datagram to another`, async () => {
      const alive = { to, say: {}, again: true };
      const dead = { to: DEAD[version], answer: false, linger: 0.3 };
      const had = await ask([alive, dead, alive, dead, alive, alive]);
      const reports = [had[1]!, had[3]!].map(({ report }) => [report!.icmp, report!.by, report!.to]);
      const wanted = [UNREACHABLE[version], ROUTER_HOST_SIDE[version], DEAD[version]];
      assertEquals(reports, [wanted, wanted]);
      const answered = [0, 2, 4, 5].map((i) => had[i]!.said?.from);
      assertEquals(answered, [HOST[version], HOST[version], HOST[version], HOST[version]]);
    });
  }
  await t.step("a router's MTU comes to the guest, with its sender", () => checkMtu(lab));
});

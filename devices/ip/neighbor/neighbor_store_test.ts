import { assertEquals } from "@std/assert";
import { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import type { ArpLink } from "../link/ifc.ts";
import { PEER_MAC } from "../../../tests/kit/ip/packets.ts";
import { TestHost } from "../../../tests/kit/ip/link.ts";
import { Neighbor, NEIGHBORS_MAX, NeighborStore } from "./neighbor_store.ts";

const at = new TestHost();
const link: ArpLink = at.ifc("bind ether /net/ether0").ifc.link!.arpLink!;
const other: ArpLink = at.ifc("bind ether /net/ether1").ifc.link!.arpLink!;

function addr(i: number): IpAddr {
  return IpAddr.v4(0x0a000000 | i);
}

/** A full store; each entry was used after the ones before it. */
function full(isWaiting: (i: number) => boolean): NeighborStore<Neighbor> {
  const store = new NeighborStore<Neighbor>();
  for (let i = 0; i < NEIGHBORS_MAX; i++) {
    const entry = store.insert(new Neighbor(link, addr(i)));
    if (!isWaiting(i)) entry.mac = PEER_MAC;
    store.touch(entry);
  }
  return store;
}

Deno.test("NeighborStore finds entries by link and address", () => {
  const store = new NeighborStore<Neighbor>();
  const entry = store.insert(new Neighbor(link, addr(1)));
  assertEquals(store.find(link, addr(1)), entry);
  assertEquals([store.find(other, addr(1)), store.find(link, addr(2))], [null, null]);
  store.remove(entry);
  store.remove(entry);
  assertEquals([store.size, store.find(link, addr(1))], [0, null]);
});

Deno.test("NeighborStore.victim() is the least recently used", () => {
  const store = full(() => false);
  store.touch(store.find(link, addr(0))!);
  assertEquals(store.victim()!.ip.w3 & 255, 1);
});

Deno.test("NeighborStore.victim() is first of all one that was never used", () => {
  const store = full(() => false);
  store.find(link, addr(200))!.lastUse = 0;
  assertEquals(store.victim()!.ip.w3 & 255, 200);
});

Deno.test("NeighborStore.victim() is the oldest question when more than half of the table only waits", () => {
  assertEquals(full((i) => i >= 127).victim()!.ip.w3 & 255, 127);
  assertEquals(full((i) => i >= 128).victim()!.ip.w3 & 255, 0);
});

Deno.test("NeighborStore.victim() is never a permanent entry", () => {
  const store = full(() => false);
  for (const entry of store.entries()) entry.permanent = true;
  assertEquals(store.victim(), null);
});

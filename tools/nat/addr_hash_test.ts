/** Numbers for addresses, and tables that compare the addresses behind them. */

import { assert, assertEquals } from "@std/assert";
import { SeededRandom } from "../../kernel/random.ts";
import { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { ip } from "../../tests/kit/ip/ip_fixture.ts";
import { type AddrEntry, AddrHash, AddrMap, copyAddr, scratchAddr, setAddr } from "./addr_hash.ts";

Deno.test("AddrHash gives IPv6 addresses numbers under a secret: alike ones differ, secrets differ", () => {
  const hash = new AddrHash(new SeededRandom(7));
  const other = new AddrHash(new SeededRandom(8));
  const seen = new Set<number>();
  for (let i = 0; i < 4096; i++) {
    const addr = ip(`2001:db8::${i.toString(16)}`);
    const number = hash.of(addr);
    assert(Number.isInteger(number) && number === (number | 0));
    seen.add(number);
    assert(number !== other.of(addr));
  }
  assertEquals(seen.size, 4096);
});

Deno.test("An IPv4 address is its own number, whatever the secret", () => {
  for (const hash of [new AddrHash(null), new AddrHash(new SeededRandom(7))]) {
    assertEquals([hash.of(ip("10.0.2.15")), hash.of(ip("255.255.255.255"))], [0x0a00020f, -1]);
  }
});

/** Something at an address. */
class Entry implements AddrEntry<Entry> {
  nextSame: Entry | null = null;
  constructor(readonly hash: number, readonly addr: IpAddr, readonly port = 5) {}
}

Deno.test("AddrMap finds each of many addresses with one number, in whatever order they are taken out", () => {
  for (const order of [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]]) {
    const map = new AddrMap<Entry>();
    const entries = [1, 2, 3].map((n) => new Entry(7, new IpAddr(0x20010db8, n, 0, 0)));
    for (const entry of entries) map.add(entry);
    const left = [...entries] as (Entry | null)[];
    assertEquals(entries.map(({ addr }) => map.get(7, addr, 5)), left);
    assertEquals(map.get(7, ip("2001:db8::9"), 5), null);
    assertEquals([map.get(8, entries[0]!.addr, 5), map.get(7, entries[0]!.addr, 6)], [null, null]);
    for (const i of order) {
      map.delete(entries[i]!);
      map.delete(entries[i]!);
      left[i] = null;
      assertEquals(entries.map(({ addr }) => map.get(7, addr, 5)), left);
      assertEquals(map.size, left.filter((one) => one !== null).length);
    }
    assertEquals([...map.values()], []);
  }
});

Deno.test("AddrMap shows every entry, also while those that were shown are taken out", () => {
  const map = new AddrMap<Entry>();
  for (let n = 0; n < 9; n++) map.add(new Entry(n % 3, IpAddr.v4(n)));
  const words: number[] = [];
  for (const entry of map.values()) {
    words.push(entry.addr.w3);
    map.delete(entry);
  }
  assertEquals([words.sort(), map.size], [[0, 1, 2, 3, 4, 5, 6, 7, 8], 0]);
});

Deno.test("A scratch address is overwritten, and a copy of it is not", () => {
  const scratch = scratchAddr();
  setAddr(scratch, ip("2001:db8::1"));
  const copy = copyAddr(scratch);
  setAddr(scratch, ip("10.0.2.15"));
  assertEquals([`${copy}`, `${scratch}`], ["2001:db8::1", "10.0.2.15"]);
});

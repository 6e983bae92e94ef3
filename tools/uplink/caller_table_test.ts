/** Tests of the callers of forwards. */

import { assert, assertEquals } from "@std/assert";
import { ip } from "../../tests/kit/ip/ip_fixture.ts";
import { datagramWorld } from "../../tests/kit/uplink/datagram_world.ts";
import { LINKS } from "../../tests/kit/uplink/link_families.ts";
import { CALLERS_MAX, CallerTable } from "./caller_table.ts";
import { linkVersion } from "./link_version.ts";

const end = (address: string, port: number) => ({ address: ip(address), port });

for (const { name, version, remote, other, own, peer, loopback } of LINKS) {
  Deno.test(`${name}: a caller is found by its end and by what near sees, and only of its forward`, () => {
    const { context } = datagramWorld();
    const table = new CallerTable<string>(context, linkVersion(version));
    const caller = table.called("a", end(remote, 5000), ip(own));
    assertEquals(table.called("a", end(remote, 5000), ip(own)) === caller, true);
    assertEquals(table.at("a", end(remote, 5000)) === caller, true);
    assertEquals([table.at("b", end(remote, 5000)), table.at("a", end(remote, 5001))], [null, null]);
    assertEquals([table.at("a", end(other, 5000)), table.shownAs(ip(other), 5000)], [null, null]);
    assertEquals(table.shownAs(ip(remote), 5000) === caller, true);
    table.called("b", end(remote, 5000), ip(own));
    assertEquals([table.size, `${table.shownAs(ip(remote), 5001)!.port}`], [2, "b"]);
    table.forget("a");
    assertEquals([table.size, table.shownAs(ip(remote), 5000)], [1, null]);
  });

  Deno.test(`${name}: where callers are hidden each is the peer, with a port of its own`, () => {
    const { context } = datagramWorld();
    const table = new CallerTable<string>({ ...context, hidesCallers: true }, linkVersion(version));
    const shown = [remote, other, loopback].map((from) => table.called("a", end(from, 5000), ip(own)).shown);
    assertEquals(
      shown.map(({ address, port }) => `${address}!${port}`),
      [5000, 5001, 5002].map((at) => `${peer}!${at}`),
    );
  });

  Deno.test(`${name}: answers leave from the address that was asked last, if it is the machine's`, () => {
    const { context } = datagramWorld();
    const table = new CallerTable<string>(context, linkVersion(version));
    const asked = [own, loopback, other].map((to) => `${table.called("a", end(remote, 5000), ip(to)).from}`);
    assertEquals(asked, [own, loopback, "null"]);
  });

  Deno.test(`${name}: of too many the longest idle quarter is forgotten, and no port is shown twice`, () => {
    const { context, clock } = datagramWorld();
    const table = new CallerTable<string>(context, linkVersion(version));
    const shown = new Set<number>();
    for (let i = 0; i < CALLERS_MAX; i++) {
      // As many forwards with a caller of one port on the loopback each.
      shown.add(table.called(`f${i}`, end(loopback, 65_000), ip(loopback)).shown.port);
      clock.advance(1);
    }
    assertEquals([table.size, shown.size], [CALLERS_MAX, CALLERS_MAX]);
    assert(Math.min(...shown) >= 1024);
    table.called("f0", end(loopback, 65_000), ip(loopback));
    table.called("new", end(remote, 1), ip(own));
    assertEquals(table.size, CALLERS_MAX - CALLERS_MAX / 4 + 1);
    const left = (forward: string) => table.at(forward, end(loopback, 65_000)) !== null;
    assertEquals(["f0", "f1", `f${CALLERS_MAX / 4}`, `f${CALLERS_MAX / 4 + 1}`].map(left), [true, false, false, true]);
    assertEquals(`${table.shownAs(ip(peer), 65_000)!.port}`, "f0");
  });
}

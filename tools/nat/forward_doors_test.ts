/** Forwards that are ports of the machine behind the uplink. */

import { assertEquals, assertThrows } from "@std/assert";
import { KernelError } from "../../kernel/error.ts";
import { IP_HEADERS } from "../../kernel/inet/ip_header.ts";
import { ip } from "../../tests/kit/ip/ip_fixture.ts";
import { FAMILIES } from "../../tests/kit/nat/families.ts";
import { endsOf, gotOf, natKit, sentOf } from "../../tests/kit/nat/steps.ts";
import { runNatCommand } from "./control.ts";
import { formatForward, type ForwardDoors, type ForwardSpec } from "./forward.ts";

/** Doors that open all but the machine's port 22, and what they were asked for. */
function doors(): ForwardDoors & { readonly asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    open(spec, port) {
      if (spec.hostPort === 22) throw new KernelError("EACCES", "Cannot forward port 22 of this machine: EACCES");
      asked.push(`open ${formatForward(spec)} at ${port}`);
    },
    close: (spec) => void asked.push(`close ${formatForward(spec)}`),
    counters: () => ({ "tcp-in": 7 }),
  };
}

Deno.test("A forward opens the machine's port, at any of its addresses, and closes it", () => {
  const opened = doors();
  const { nat } = natKit({ doors: opened });
  nat.addForward("tcp:127.0.0.1:8080:80");
  nat.addForward("udp:5000-5009:5000");
  nat.removeForward("tcp:127.0.0.1:8080:80");
  assertEquals(opened.asked, [
    "open tcp:127.0.0.1:8080:80 at 8080",
    "open udp:5000-5009:5000 at 5000",
    "close tcp:127.0.0.1:8080:80",
  ]);
});

Deno.test("One port of two addresses leads to two ports of the host kernel", () => {
  const opened = doors();
  const { nat } = natKit({ doors: opened });
  nat.addForward("tcp:192.0.2.1:8080:80");
  nat.addForward("tcp:192.0.2.2:8080:81");
  const ports = opened.asked.map((line) => Number(line.split(" at ")[1]));
  assertEquals({ first: ports[0], isSame: ports[0] === ports[1] }, { first: 8080, isSame: false });
  assertThrows(() => nat.addForward("tcp:192.0.2.2:8080:82"), KernelError, "has the port");
});

Deno.test("A port that the machine refuses is no forward, and its port of the host kernel is free again", () => {
  const opened = doors();
  const { nat } = natKit({ doors: opened });
  assertThrows(() => nat.addForward("tcp:22:22"), KernelError, "port 22 of this machine: EACCES");
  assertEquals({ list: nat.forwards.list.length, asked: opened.asked }, { list: 0, asked: [] });
  nat.addForward("tcp:23:22");
  assertEquals(runNatCommand(nat, "stats", 0).includes("\nuplink-tcp-in 7\n"), true);
});

Deno.test("Behind doors a forward at one address of the machine carries the guest's map of that port", () => {
  const opened = doors();
  const kit = natKit({ doors: opened });
  const { map } = sentOf(kit.out(FAMILIES[0]!.udp({ srcPort: 8080 })));
  kit.nat.addForward("udp:192.0.2.1:8080:80");
  assertEquals({ carrier: map.carrier?.guestPort, asked: opened.asked }, {
    carrier: 80,
    asked: ["open udp:192.0.2.1:8080:80 at 8080"],
  });
});

/** The link by which callers of the machine's sockets come. */
const LINK = {
  4: { near: ip("192.0.0.2"), peer: ip("192.0.0.1") },
  6: { near: ip("fd61::2"), peer: ip("fd61::1") },
};

for (const family of FAMILIES) {
  const { near, peer } = LINK[family.is6 ? 6 : 4];
  const place = ({ bound }: ForwardSpec) => ({ bound: bound === null ? null : near, anyPort: bound !== null });

  Deno.test(`${family.name}: callers by the doors' link are the router, and the guest's answers go back there`, () => {
    const kit = family.kit({ doors: { ...doors(), link: LINK, place } });
    const { map } = kit.nat.addForward(family.forward("udp", 6000, 53));
    // The NAT learns the guest's hardware address.
    kit.out(family.udp());
    const got = gotOf(kit.back(
      family.udp({ src: `${peer}`, srcPort: 5000, dst: `${near}`, dstPort: 6000 }),
      map,
    ));
    assertEquals(endsOf(got), family.ends(family.router, 5000, family.guest, 53));
    const answer = sentOf(kit.out(family.udp({ srcPort: 53, dst: family.router, dstPort: 5000 }))).packet;
    assertEquals(endsOf(answer), family.ends(`${near}`, 6000, `${peer}`, 5000));
    const error = family.error(family.codes.port, answer, { src: `${peer}`, dst: `${near}` });
    const told = gotOf(kit.error(error, map));
    assertEquals(`${IP_HEADERS[family.is6 ? 6 : 4]!.src(told, 0)}`, family.router);
  });

  Deno.test(`${family.name}: a forward at an address of the machine is reached by the doors' link alone`, () => {
    const kit = family.kit({ doors: { ...doors(), link: LINK, place } });
    const { map } = kit.nat.addForward(family.forward("udp", 6000, 53, family.loopback));
    assertEquals(`${map.bound}`, `${near}`);
    kit.out(family.udp());
    const from = (src: string) =>
      kit.back(family.udp({ src, srcPort: 5000, dst: `${near}`, dstPort: 6000 }), map).toGuest.length;
    assertEquals({ peer: from(`${peer}`), neighbor: from(family.remote) }, { peer: 1, neighbor: 0 });
    const again = kit.nat.addForward(family.forward("udp", 6000, 54, family.other));
    assertEquals(again.map.hostPort === 6000, false, "the same port of another address leads to another of ours");
  });

  Deno.test(`${family.name}: the guest's own packet to the link's peer is no answer, and its error comes`, () => {
    const kit = family.kit({ doors: { ...doors(), link: LINK, place } });
    const { packet, map } = sentOf(kit.out(family.udp({ dst: `${peer}`, srcPort: 4000, dstPort: 9 })));
    assertEquals(endsOf(packet), family.ends(family.host, 4000, `${peer}`, 9));
    const error = family.error(family.codes.prohibited, packet, { src: `${peer}`, dst: family.host });
    assertEquals(kit.error(error, map).toGuest.length, 1);
  });
}

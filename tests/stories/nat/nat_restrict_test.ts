/** A restricted guest, over both versions of IP: it reaches what a rule names, and nothing by another way. */

import { assertEquals } from "@std/assert";
import { dnsLen, dnsQuery, emitDns } from "../../../kernel/wire/dns.ts";
import { ipPacket, pattern } from "../../kit/ip/ip_fixture.ts";
import { packet6 } from "../../kit/ip/story6.ts";
import type { FamilyPacket } from "../../kit/nat/families.ts";
import { pieces } from "../../kit/nat/naive.ts";
import type { NatStory } from "../../kit/nat/nat.ts";
import { STORY_FAMILIES, type StoryFamily } from "../../kit/nat/story_families.ts";

/** What reached the host's side of a story, in packets. */
const sent = (story: NatStory) => story.stat("sent");

function question(family: StoryFamily, name: string): Uint8Array {
  const query = dnsQuery(7, { name, type: 1, class: 1 });
  const payload = new Uint8Array(dnsLen(query));
  emitDns(query, payload, 0);
  return family.udp({ dst: family.dns, dstPort: 53, payload });
}

/** Destinations that are no host's, each with the reason. */
function nowhere(family: StoryFamily): [string, Uint8Array, string][] {
  const { is6, guest, remote } = family;
  const to = (dst: string, dstPort = 9) => family.udp({ dst, dstPort });
  const inside = family.udp({ dstPort: 7 });
  if (is6) {
    return [
      ["a group", to("ff02::fb", 5353), "destination"],
      ["a tunnel", packet6({ src: guest, dst: remote, nextHeader: 41, payload: inside }), "protocol"],
    ];
  }
  return [
    ["the host's broadcast", to("10.0.0.255"), "destination"],
    ["everybody", to("255.255.255.255"), "destination"],
    ["a group", to("224.0.0.251", 5353), "destination"],
    ["a tunnel", ipPacket({ src: guest, dst: remote, protocol: 4, payload: inside }), "protocol"],
  ];
}

for (const family of STORY_FAMILIES) {
  const { name, is6, host, remote, router, dns, loopback, headerLen, codes } = family;
  const udp = (options: FamilyPacket = {}) => family.udp({ dstPort: 7, ...options });
  const ruleOf = (addr: string, port: number) => is6 ? `udp:[${addr}]:${port}` : `udp:${addr}:${port}`;

  Deno.test(`${name}: restrict has no back ports: names, router, host, hairpin, ping, groups, pieces`, async () => {
    const policy = { restrict: true, loopback: false, allow: [ruleOf(remote, 9)] };
    await using story = await family.tell({ nat: { policy }, forwards: [family.forward("udp", 8053, 53)] });
    const tries: [string, Uint8Array, string][] = [
      ["the relay", question(family, "example.com"), "policy-restricted"],
      ["our zone", question(family, "gateway.internal"), "policy-restricted"],
      ["DNS over TCP", family.tcp({ dst: dns, dstPort: 53 }), "policy-restricted"],
      ["another port of the name server", udp({ dst: dns, dstPort: 54 }), "policy-restricted"],
      ["the router", udp({ dst: router }), "policy-loopback"],
      ["the loopback itself", udp({ dst: loopback }), "policy-loopback"],
      ["the host", udp({ dst: host }), "policy-restricted"],
      ["a hairpin", udp({ dst: host, dstPort: 8053 }), "policy-restricted"],
      ["ping", family.echo(), "policy-restricted"],
      ["another port", udp({ dstPort: 10 }), "policy-restricted"],
      ["another protocol", family.tcp({ dstPort: 9 }), "policy-restricted"],
      ...nowhere(family),
    ];
    for (const [what, packet, reason] of tries) {
      const before = story.stat(`refused-${reason}`);
      story.guest.ask(packet);
      const made = { what, refused: story.stat(`refused-${reason}`) - before, sent: sent(story) };
      assertEquals(made, { what, refused: 1, sent: 0 });
    }
    // In pieces as in one.
    for (const piece of pieces(udp({ dstPort: 10, payload: pattern(3000) }), 100)) story.guest.send(piece);
    assertEquals([sent(story), story.stat("reassembled")], [0, 1]);
    story.guest.ask(udp({ dstPort: 9 }));
    assertEquals(sent(story), 1);
  });

  Deno.test(`${name}: restrict lets through what a rule names: questions, and a service at the router`, async () => {
    const policy = { restrict: true, allow: ["udp:*:53", ruleOf(router, 9)] };
    await using story = await family.tell({ nat: { policy } });
    assertEquals(story.guest.askOne(question(family, "gateway.internal"))[is6 ? 6 : 9], 17);
    story.guest.ask(question(family, "example.com"));
    story.guest.ask(udp({ dst: router, dstPort: 9 }));
    assertEquals([sent(story), story.program.nat.relay.counters.asked], [1, 1]);
    const refusal = story.guest.askOne(udp({ dst: router, dstPort: 10 }));
    assertEquals([refusal[headerLen], refusal[headerLen + 1]], codes.prohibited);
  });
}

/**
 * Guests of one link reach each other by the host's address, over both versions of IP: RFC 4787 REQ-9, RFC 5382 REQ-8,
 * RFC 5508 REQ-7.
 */

import { assertEquals } from "@std/assert";
import { TCP_ACK, TCP_SYN } from "../../../kernel/wire/tcp.ts";
import { assertSound, endsOf, layoutOf } from "../../kit/nat/steps.ts";
import { pattern } from "../../kit/ip/ip_fixture.ts";
import { advance, mac } from "../../kit/ip/story.ts";
import type { FamilyPacket } from "../../kit/nat/families.ts";
import { must, type NatStoryOptions } from "../../kit/nat/nat.ts";
import { STORY_FAMILIES } from "../../kit/nat/story_families.ts";

const OTHER_MAC = mac("000102030410");

for (const family of STORY_FAMILIES) {
  const { name, is6, host, guest, second, ends, headerLen, hopsAt, codes, loopback } = family;
  const udp = (options: FamilyPacket = {}) =>
    family.udp({ dst: host, srcPort: 4000, dstPort: 5000, payload: pattern(9), ...options });
  const dataOf = (packet: Uint8Array) => packet.slice(headerLen + 8);

  /** Two guests: the other one has opened UDP port 5000 towards the host. */
  const tellTwo = async (options: NatStoryOptions = {}) => {
    const story = await family.tell(options);
    const other = story.addGuest(OTHER_MAC);
    other.send(udp({ src: second, srcPort: 5000, dstPort: 9 }));
    advance(story.host, 20);
    other.packets();
    return { story, other };
  };

  Deno.test(`${name}: RFC 4787 REQ-9a: a hairpin shows the host's address and port as its source`, async () => {
    const { story, other } = await tellTwo();
    await using _ = story;
    story.guest.send(udp({ hops: 9 }));
    const got = must(other.packets()[0]);
    assertSound(got);
    assertEquals([endsOf(got), dataOf(got), got[hopsAt]], [ends(host, 4000, second, 5000), pattern(9), 8]);
    other.send(udp({ src: second, srcPort: 5000, dstPort: 4000 }));
    assertEquals(endsOf(must(story.guest.packets()[0])), ends(host, 5000, guest, 4000));
  });

  Deno.test(`${name}: a hairpin is filtered as any packet from the host's address is`, async () => {
    const { story, other } = await tellTwo({ nat: { filtering: "address-port" } });
    await using _ = story;
    story.guest.send(udp());
    assertEquals([other.packets(), story.stat("refused-filtered")], [[], 1]);
    other.send(udp({ src: second, srcPort: 5000, dstPort: 4000 }));
    assertEquals(endsOf(must(story.guest.packets()[0])), ends(host, 5000, guest, 4000));
  });

  Deno.test(`${name}: RFC 5382 REQ-8: TCP of one guest to the forward of another, SYN to ACK`, async () => {
    const forward = is6 ? `tcp::2222-[${second}]:22` : `tcp::2222-${second}:22`;
    await using story = await family.tell({ forwards: [forward] });
    const other = story.addGuest(OTHER_MAC);
    other.send(udp({ src: second, dstPort: 9 }));
    story.guest.send(family.tcp({ dst: host, dstPort: 2222, seq: 7 }));
    const syn = must(other.packets().at(-1));
    assertSound(syn);
    assertEquals(endsOf(syn), ends(host, 4000, second, 22));
    const answer = { src: second, dst: host, srcPort: 22, dstPort: 4000, seq: 70, ack: 8 };
    other.send(family.tcp({ ...answer, flags: TCP_SYN | TCP_ACK }));
    advance(story.host, 1);
    assertEquals(endsOf(must(story.guest.packets()[0])), ends(host, 2222, guest, 4000));
    story.guest.send(family.tcp({ dst: host, dstPort: 2222, seq: 8, ack: 71, flags: TCP_ACK }));
    assertEquals(endsOf(must(other.packets()[0])), ends(host, 4000, second, 22));
    assertEquals(story.command("maps tcp").includes("established"), true);
  });

  Deno.test(`${name}: RFC 5508 REQ-7: an ICMP error about a hairpin comes back, quote translated`, async () => {
    const { story, other } = await tellTwo();
    await using _ = story;
    const sent = udp();
    story.guest.send(sent);
    const got = must(other.packets()[0]);
    other.send(family.error(codes.port, got, { src: second, dst: host }));
    advance(story.host, 20);
    const error = must(story.guest.packets()[0]);
    assertSound(error);
    const { src, dst, at } = layoutOf(error);
    assertEquals([`${src}`, `${dst}`], [host, `${layoutOf(sent).src}`]);
    assertEquals([[error[at], error[at + 1]], endsOf(error.slice(at + 8))], [codes.port, endsOf(sent)]);
  });

  Deno.test(`${name}: with \`host: false\` no port of the host's own is reached by way of a hairpin`, async () => {
    const forwards = [is6 ? family.forward("udp", 7070, 70, loopback) : "udp:127.0.0.1:7070:70"];
    await using story = await family.tell({ forwards, nat: { policy: { host: false } } });
    // The host has the port at its own address, the guest's map at all the others.
    const server = story.user.conv("udp", `announce ${host}!8080`, "headers");
    story.guest.send(udp({ dst: family.remote, srcPort: 8080 }));
    story.guest.send(udp({ dstPort: 8080 }));
    advance(story.host, 20);
    assertEquals(server.bread(), null);
    // A forward of the loopback alone is none at the other address.
    const other = story.user.conv("udp", `announce ${host}!7070`, "headers");
    story.guest.packets();
    const refusal = story.guest.askOne(udp({ dstPort: 7070 }));
    assertEquals([refusal[headerLen], refusal[headerLen + 1]], codes.prohibited);
    assertEquals([other.bread(), story.stat("refused-policy-host")], [null, 1]);
  });
}

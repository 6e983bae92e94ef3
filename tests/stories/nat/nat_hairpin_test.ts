/** Guests of one link reach each other by the host's address: RFC 4787 REQ-9, RFC 5382 REQ-8, RFC 5508 REQ-7. */

import { assertEquals } from "@std/assert";
import { TCP_ACK, TCP_SYN } from "../../../kernel/wire/tcp.ts";
import { assertSound, endsOf, tcpPacket } from "../../kit/nat/steps.ts";
import { icmpErrorPacket, pattern, udpPacket } from "../../kit/ip/ip_fixture.ts";
import { advance, mac } from "../../kit/ip/story.ts";
import { headerOf } from "../../kit/ip/packets.ts";
import { dataOf } from "../../kit/ip/packet_parts.ts";
import { GUEST, HOST, must, REMOTE, tellNat } from "../../kit/nat/nat.ts";

const OTHER = "10.0.2.16";
const OTHER_MAC = mac("000102030410");

const udp = (options: Parameters<typeof udpPacket>[0] = {}) =>
  udpPacket({ src: GUEST, dst: HOST, srcPort: 4000, dstPort: 5000, ttl: 64, payload: pattern(9), ...options });

/** Two guests: the other one has opened UDP port 5000 towards the host. */
async function tellTwo(options: Parameters<typeof tellNat>[0] = {}) {
  const story = await tellNat(options);
  const other = story.addGuest(OTHER_MAC);
  other.send(udp({ src: OTHER, srcPort: 5000, dstPort: 9 }));
  advance(story.host, 20);
  other.packets();
  return { story, other };
}

Deno.test("RFC 4787 REQ-9a: a hairpin between two guests shows the host's address and port as its source", async () => {
  const { story, other } = await tellTwo();
  await using _ = story;
  story.guest.send(udp({ ttl: 9 }));
  const got = must(other.packets()[0]);
  assertSound(got);
  assertEquals([endsOf(got), dataOf(got), headerOf(got).ttl], [`${HOST}:4000 > ${OTHER}:5000`, pattern(9), 8]);
  other.send(udp({ src: OTHER, srcPort: 5000, dstPort: 4000 }));
  assertEquals(endsOf(must(story.guest.packets()[0])), `${HOST}:5000 > ${GUEST}:4000`);
});

Deno.test("A hairpin is filtered as any packet from the host's address is", async () => {
  const { story, other } = await tellTwo({ nat: { filtering: "address-port" } });
  await using _ = story;
  story.guest.send(udp());
  assertEquals([other.packets(), story.stat("refused-filtered")], [[], 1]);
  other.send(udp({ src: OTHER, srcPort: 5000, dstPort: 4000 }));
  assertEquals(endsOf(must(story.guest.packets()[0])), `${HOST}:5000 > ${GUEST}:4000`);
});

Deno.test("RFC 5382 REQ-8: TCP of one guest to the forward of another, SYN to ACK", async () => {
  await using story = await tellNat({ forwards: ["tcp::2222-10.0.2.16:22"] });
  const other = story.addGuest(OTHER_MAC);
  other.send(udp({ src: OTHER, dstPort: 9 }));
  story.guest.send(tcpPacket({ dst: HOST, dstPort: 2222, seq: 7 }));
  const syn = must(other.packets().at(-1));
  assertSound(syn);
  assertEquals(endsOf(syn), `${HOST}:4000 > ${OTHER}:22`);
  const flags = TCP_SYN | TCP_ACK;
  other.send(tcpPacket({ src: OTHER, dst: HOST, srcPort: 22, dstPort: 4000, flags, seq: 70, ack: 8 }));
  advance(story.host, 1);
  const answer = must(story.guest.packets()[0]);
  assertEquals(endsOf(answer), `${HOST}:2222 > ${GUEST}:4000`);
  story.guest.send(tcpPacket({ dst: HOST, dstPort: 2222, seq: 8, ack: 71, flags: TCP_ACK }));
  assertEquals(endsOf(must(other.packets()[0])), `${HOST}:4000 > ${OTHER}:22`);
  assertEquals(story.command("maps tcp").includes("established"), true);
});

Deno.test("RFC 5508 REQ-7: an ICMP error about a hairpin comes back, destination and quote translated", async () => {
  const { story, other } = await tellTwo();
  await using _ = story;
  const sent = udp();
  story.guest.send(sent);
  const got = must(other.packets()[0]);
  other.send(icmpErrorPacket({ type: 3, code: 3, packet: got }, { src: OTHER, dst: HOST }));
  advance(story.host, 20);
  const error = must(story.guest.packets()[0]);
  assertSound(error);
  assertEquals([`${headerOf(error).src}`, `${headerOf(error).dst}`], [HOST, GUEST]);
  assertEquals([error[20], error[21], endsOf(error.slice(28))], [3, 3, endsOf(sent)]);
});

Deno.test("With `host: false` no port of the host's own is reached by way of a hairpin", async () => {
  const forwards = ["udp:127.0.0.1:7070:70"];
  await using story = await tellNat({ forwards, nat: { policy: { host: false } } });
  // The host has the port at its own address, the guest's map at all the others.
  const server = story.user.conv("udp", `announce ${HOST}!8080`, "headers");
  story.guest.send(udp({ dst: REMOTE, srcPort: 8080 }));
  story.guest.send(udp({ dstPort: 8080 }));
  advance(story.host, 20);
  assertEquals(server.bread(), null);
  // A forward of the loopback alone is none at the other address.
  const other = story.user.conv("udp", `announce ${HOST}!7070`, "headers");
  story.guest.packets();
  assertEquals(story.guest.askOne(udp({ dstPort: 7070 }))[21], 13);
  assertEquals([other.bread(), story.stat("refused-policy-host")], [null, 1]);
});

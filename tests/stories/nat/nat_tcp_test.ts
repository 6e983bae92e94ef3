/** TCP through the NAT segment by segment: who may open, from which side, and what ends a connection or does not. */

import { assertEquals } from "@std/assert";
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from "../../../kernel/wire/tcp.ts";
import { assertSound, endsOf, tcpPacket } from "../../kit/nat/steps.ts";
import { icmpErrorPacket, pattern } from "../../kit/ip/ip_fixture.ts";
import { advance, type UserConv } from "../../kit/ip/story.ts";
import { GUEST, HOST, must, type NatStory, REMOTE, tellNat } from "../../kit/nat/nat.ts";

type Segment = Parameters<typeof tcpPacket>[0];

/** A story with a claimed port 80 at the remote: segments are made by hand on both sides. */
async function tellTcp(options: Parameters<typeof tellNat>[0] = {}) {
  const story = await tellNat(options);
  const there = story.there.conv("tcp", "bypass 80");
  return { story, there, ...sides(story, there) };
}

function sides(story: NatStory, there: UserConv) {
  return {
    /** The guest sends; what the remote gets of it. */
    up: (segment: Segment) => {
      story.guest.send(tcpPacket({ dst: REMOTE, ...segment }));
      advance(story.host, 20);
      return there.take();
    },
    /** The remote sends; what the guest gets of it. */
    down: (segment: Segment, conv = there) => {
      conv.bwrite(tcpPacket({ src: REMOTE, dst: HOST, srcPort: 80, dstPort: 4000, ...segment }));
      advance(story.host, 20);
      return story.guest.packets();
    },
    state: () => must(/ (opening|closing|established) /.exec(story.command("maps tcp")))[1],
  };
}

Deno.test("RFC 5382 REQ-2a: a simultaneous open passes, whichever SYN is first at the NAT", async () => {
  const { story, up, down, state } = await tellTcp();
  await using _ = story;
  assertEquals(endsOf(up({ seq: 7 })), `${HOST}:4000 > ${REMOTE}:80`);
  const [syn] = down({ seq: 70 });
  assertSound(must(syn));
  assertEquals([endsOf(must(syn)), syn![33], state()], [`${REMOTE}:80 > ${GUEST}:4000`, TCP_SYN, "opening"]);
  up({ seq: 7, ack: 71, flags: TCP_SYN | TCP_ACK });
  assertEquals(down({ seq: 70, ack: 8, flags: TCP_SYN | TCP_ACK }).length, 1);
  assertEquals(state(), "established");
});

Deno.test("RFC 5382 REQ-4a: an unsolicited SYN gets no answer, in 6 seconds or ever", async () => {
  const { story, up, down } = await tellTcp({ nat: { filtering: "address-port" } });
  await using _ = story;
  up({ seq: 7 });
  const stranger = story.there.conv("tcp", "bypass 81");
  assertEquals(down({ srcPort: 81, seq: 1 }, stranger), []);
  advance(story.host, 7000);
  assertEquals([stranger.bread(), story.stat("refused-filtered")], [null, 1]);
  // The guest calls in the meantime: what the stranger sends again is half of a simultaneous open.
  story.guest.send(tcpPacket({ dst: REMOTE, dstPort: 81, seq: 9 }));
  advance(story.host, 20);
  assertEquals(endsOf(stranger.take()), `${HOST}:4000 > ${REMOTE}:81`);
  assertEquals(down({ srcPort: 81, seq: 1 }, stranger).length, 1);
});

Deno.test("RFC 5382 REQ-10: no ICMP message ends a map or a connection", async () => {
  const { story, there, up, down, state } = await tellTcp();
  await using _ = story;
  const sent = up({ seq: 7 });
  down({ seq: 70, ack: 8, flags: TCP_SYN | TCP_ACK });
  up({ seq: 8, ack: 71, flags: TCP_ACK });
  for (const [type, code] of [[3, 0], [3, 1], [3, 2], [3, 3], [3, 4], [3, 13], [11, 0], [12, 0]] as const) {
    there.bwrite(icmpErrorPacket({ type, code, packet: sent }, { src: REMOTE, dst: HOST }));
  }
  advance(story.host, 20);
  story.guest.packets();
  assertEquals(down({ seq: 71, ack: 8, flags: TCP_ACK, data: pattern(100) }).length, 1);
  assertEquals([state(), story.stat("maps-tcp")], ["established", 1]);
});

Deno.test("RFC 7857 2.2: a reset passes and leaves 4 minutes; who goes on sending is connected again", async () => {
  const { story, up, down, state } = await tellTcp();
  await using _ = story;
  up({ seq: 7 });
  down({ seq: 70, ack: 8, flags: TCP_SYN | TCP_ACK });
  up({ seq: 8, ack: 71, flags: TCP_ACK });
  assertEquals(must(down({ seq: 71, flags: TCP_RST })[0])[33], TCP_RST);
  assertEquals(state(), "closing");
  up({ seq: 8, ack: 71, flags: TCP_ACK });
  assertEquals(state(), "established");
  down({ seq: 71, flags: TCP_RST });
  advance(story.host, 240_000);
  assertEquals(story.stat("maps-tcp"), 0);
});

Deno.test("akaros 27: an idle connection lives 2 hours, a half-closed one 15 minutes, a closed one 4", async () => {
  const { story, up, down } = await tellTcp();
  await using _ = story;
  up({ seq: 7 });
  down({ seq: 70, ack: 8, flags: TCP_SYN | TCP_ACK });
  up({ seq: 8, ack: 71, flags: TCP_ACK });
  advance(story.host, 2 * 3_600_000);
  assertEquals(down({ seq: 71, ack: 8, flags: TCP_ACK, data: pattern(9) }).length, 1);
  up({ seq: 8, ack: 80, flags: TCP_FIN | TCP_ACK });
  advance(story.host, 14 * 60_000);
  assertEquals(down({ seq: 80, ack: 9, flags: TCP_ACK, data: pattern(9) }).length, 1);
  advance(story.host, 14 * 60_000);
  assertEquals(down({ seq: 89, ack: 9, flags: TCP_FIN | TCP_ACK }).length, 1);
  advance(story.host, 239_900);
  assertEquals(story.stat("maps-tcp"), 1);
  advance(story.host, 100);
  assertEquals(story.stat("maps-tcp"), 0);
});

Deno.test("head-to-head, refused → RST: a closed port is a reset, one round trip later", async () => {
  await using story = await tellNat();
  const got = story.guest.askOne(tcpPacket({ dst: REMOTE, dstPort: 81, seq: 7 }));
  assertSound(got);
  assertEquals([endsOf(got), got[33]], [`${REMOTE}:81 > ${GUEST}:4000`, TCP_RST | TCP_ACK]);
});

Deno.test("head-to-head, half-close: after the guest's FIN the remote's data still comes", async () => {
  const { story, up, down } = await tellTcp();
  await using _ = story;
  up({ seq: 7 });
  down({ seq: 70, ack: 8, flags: TCP_SYN | TCP_ACK });
  assertEquals(up({ seq: 8, ack: 71, flags: TCP_FIN | TCP_ACK })[33], TCP_FIN | TCP_ACK);
  for (let i = 0; i < 5; i++) {
    const [got] = down({ seq: 71 + 1000 * i, ack: 9, flags: TCP_ACK, data: pattern(1000, i) });
    assertEquals(must(got).slice(40), pattern(1000, i));
  }
  assertEquals(must(down({ seq: 5071, ack: 9, flags: TCP_FIN | TCP_ACK })[0])[33], TCP_FIN | TCP_ACK);
});

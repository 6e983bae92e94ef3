/**
 * TCP through the NAT segment by segment, over both versions of IP: who may open, from which side, and what ends a
 * connection or does not.
 */

import { assertEquals } from "@std/assert";
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from "../../../kernel/wire/tcp.ts";
import { assertSound, endsOf } from "../../kit/nat/steps.ts";
import { pattern } from "../../kit/ip/ip_fixture.ts";
import { advance, type UserConv } from "../../kit/ip/story.ts";
import type { FamilySegment } from "../../kit/nat/families.ts";
import { must, type NatStory, type NatStoryOptions } from "../../kit/nat/nat.ts";
import { STORY_FAMILIES, type StoryFamily } from "../../kit/nat/story_families.ts";

/** A story with a claimed port 80 at the remote: segments are made by hand on both sides. */
async function tellTcp(family: StoryFamily, options: NatStoryOptions = {}) {
  const story = await family.tell(options);
  const there = story.there.conv("tcp", "bypass 80");
  return { story, there, ...sides(family, story, there) };
}

function sides(family: StoryFamily, story: NatStory, there: UserConv) {
  return {
    /** The guest sends; what the remote gets of it. */
    up: (segment: FamilySegment) => {
      story.guest.send(family.tcp({ dstPort: 80, ...segment }));
      advance(story.host, 20);
      return there.take();
    },
    /** The remote sends; what the guest gets of it. */
    down: (segment: FamilySegment, conv = there) => {
      conv.bwrite(family.tcpIn(segment));
      advance(story.host, 20);
      return story.guest.packets();
    },
    state: () => must(/ (opening|closing|established) /.exec(story.command("maps tcp")))[1],
  };
}

for (const family of STORY_FAMILIES) {
  const { name, is6, host, remote, guest, ends, headerLen } = family;
  const flagsOf = (packet: Uint8Array) => packet[headerLen + 13];

  Deno.test(`${name}: RFC 5382 REQ-2a: a simultaneous open passes, whichever SYN is first at the NAT`, async () => {
    const { story, up, down, state } = await tellTcp(family);
    await using _ = story;
    assertEquals(endsOf(up({ seq: 7 })), ends(host, 4000, remote, 80));
    const [syn] = down({ seq: 70 });
    assertSound(must(syn));
    assertEquals([endsOf(must(syn)), flagsOf(syn!), state()], [ends(remote, 80, guest, 4000), TCP_SYN, "opening"]);
    up({ seq: 7, ack: 71, flags: TCP_SYN | TCP_ACK });
    assertEquals(down({ seq: 70, ack: 8, flags: TCP_SYN | TCP_ACK }).length, 1);
    assertEquals(state(), "established");
  });

  Deno.test(`${name}: RFC 5382 REQ-4a: an unsolicited SYN gets no answer, in 6 seconds or ever`, async () => {
    const { story, up, down } = await tellTcp(family, { nat: { filtering: "address-port" } });
    await using _ = story;
    up({ seq: 7 });
    const stranger = story.there.conv("tcp", "bypass 81");
    assertEquals(down({ srcPort: 81, seq: 1 }, stranger), []);
    advance(story.host, 7000);
    assertEquals([stranger.bread(), story.stat("refused-filtered")], [null, 1]);
    // The guest calls in the meantime: what the stranger sends again is half of a simultaneous open.
    story.guest.send(family.tcp({ dstPort: 81, seq: 9 }));
    advance(story.host, 20);
    assertEquals(endsOf(stranger.take()), ends(host, 4000, remote, 81));
    assertEquals(down({ srcPort: 81, seq: 1 }, stranger).length, 1);
  });

  Deno.test(`${name}: RFC 5382 REQ-10: no ICMP message ends a map or a connection`, async () => {
    const { story, there, up, down, state } = await tellTcp(family);
    await using _ = story;
    const sent = up({ seq: 7 });
    down({ seq: 70, ack: 8, flags: TCP_SYN | TCP_ACK });
    up({ seq: 8, ack: 71, flags: TCP_ACK });
    const codes = is6
      ? [[1, 0], [1, 1], [1, 3], [1, 4], [2, 0], [3, 0], [4, 0]]
      : [[3, 0], [3, 1], [3, 2], [3, 3], [3, 4], [3, 13], [11, 0], [12, 0]];
    for (const code of codes) there.bwrite(family.error(code, sent, { src: remote, dst: host }));
    advance(story.host, 20);
    story.guest.packets();
    assertEquals(down({ seq: 71, ack: 8, flags: TCP_ACK, payload: pattern(100) }).length, 1);
    assertEquals([state(), story.stat("maps-tcp")], ["established", 1]);
  });

  Deno.test(`${name}: RFC 7857 2.2: a reset passes and leaves 4 minutes; who goes on is connected again`, async () => {
    const { story, up, down, state } = await tellTcp(family);
    await using _ = story;
    up({ seq: 7 });
    down({ seq: 70, ack: 8, flags: TCP_SYN | TCP_ACK });
    up({ seq: 8, ack: 71, flags: TCP_ACK });
    assertEquals(flagsOf(must(down({ seq: 71, flags: TCP_RST })[0])), TCP_RST);
    assertEquals(state(), "closing");
    up({ seq: 8, ack: 71, flags: TCP_ACK });
    assertEquals(state(), "established");
    down({ seq: 71, flags: TCP_RST });
    advance(story.host, 240_000);
    assertEquals(story.stat("maps-tcp"), 0);
  });

  Deno.test(`${name}: akaros 27: an idle connection lives 2 hours, half-closed 15 minutes, closed 4`, async () => {
    const { story, up, down } = await tellTcp(family);
    await using _ = story;
    up({ seq: 7 });
    down({ seq: 70, ack: 8, flags: TCP_SYN | TCP_ACK });
    up({ seq: 8, ack: 71, flags: TCP_ACK });
    advance(story.host, 2 * 3_600_000);
    assertEquals(down({ seq: 71, ack: 8, flags: TCP_ACK, payload: pattern(9) }).length, 1);
    up({ seq: 8, ack: 80, flags: TCP_FIN | TCP_ACK });
    advance(story.host, 14 * 60_000);
    assertEquals(down({ seq: 80, ack: 9, flags: TCP_ACK, payload: pattern(9) }).length, 1);
    advance(story.host, 14 * 60_000);
    assertEquals(down({ seq: 89, ack: 9, flags: TCP_FIN | TCP_ACK }).length, 1);
    advance(story.host, 239_900);
    assertEquals(story.stat("maps-tcp"), 1);
    advance(story.host, 100);
    assertEquals(story.stat("maps-tcp"), 0);
  });

  Deno.test(`${name}: head-to-head, refused → RST: a closed port is a reset, one round trip later`, async () => {
    await using story = await family.tell();
    const got = story.guest.askOne(family.tcp({ dstPort: 81, seq: 7 }));
    assertSound(got);
    assertEquals([endsOf(got), flagsOf(got)], [ends(remote, 81, guest, 4000), TCP_RST | TCP_ACK]);
  });

  Deno.test(`${name}: head-to-head, half-close: after the guest's FIN the remote's data still comes`, async () => {
    const { story, up, down } = await tellTcp(family);
    await using _ = story;
    up({ seq: 7 });
    down({ seq: 70, ack: 8, flags: TCP_SYN | TCP_ACK });
    assertEquals(flagsOf(up({ seq: 8, ack: 71, flags: TCP_FIN | TCP_ACK })), TCP_FIN | TCP_ACK);
    for (let i = 0; i < 5; i++) {
      const [got] = down({ seq: 71 + 1000 * i, ack: 9, flags: TCP_ACK, payload: pattern(1000, i) });
      assertEquals(must(got).slice(headerLen + 20), pattern(1000, i));
    }
    assertEquals(flagsOf(must(down({ seq: 5071, ack: 9, flags: TCP_FIN | TCP_ACK })[0])), TCP_FIN | TCP_ACK);
  });
}

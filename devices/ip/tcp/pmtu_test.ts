/** The largest segment that a path takes, as a connection learns it. */

import { assertEquals } from "@std/assert";
import { peerEstablished } from "../../../tests/kit/tcp/peer_states.ts";
import { lowerMss, updateMss } from "./pmtu.ts";

Deno.test("lowerMss() makes segments fit a smaller path, and only a smaller one", () => {
  const { tcb } = peerEstablished({ syn: { mss: 1460 } });
  const before = tcb.snd.mss;
  assertEquals(lowerMss(tcb, 1_000_000), false);
  assertEquals(tcb.snd.mss, before);
  assertEquals(lowerMss(tcb, before - 100), true);
  const { mss } = tcb.snd;
  assertEquals({ isSmaller: mss < before - 100, congestion: tcb.congestion.mss }, { isSmaller: true, congestion: mss });
  assertEquals(lowerMss(tcb, before - 100), false, "the same again");
});

Deno.test("lowerMss() goes no lower than 552 bytes of IPv4: below that, routers may cut the segments", () => {
  const { tcb } = peerEstablished({ syn: { mss: 1460 } });
  assertEquals(tcb.sendOptions.dontFragment, true);
  assertEquals(lowerMss(tcb, 300), true);
  assertEquals({ pathMtu: tcb.pathMtu, dontFragment: tcb.sendOptions.dontFragment }, {
    pathMtu: 552,
    dontFragment: false,
  });
});

Deno.test("updateMss() forgets a lower path after ten minutes (RFC 1191 6.3)", () => {
  const { tcb, clock } = peerEstablished({ syn: { mss: 1460 } });
  const before = tcb.snd.mss;
  lowerMss(tcb, 600);
  clock.advance(599_000);
  updateMss(tcb);
  assertEquals({ pathMtu: tcb.pathMtu, isLower: tcb.snd.mss < before }, { pathMtu: 600, isLower: true });
  clock.advance(1000);
  updateMss(tcb);
  assertEquals({ pathMtu: tcb.pathMtu, mss: tcb.snd.mss }, { pathMtu: 0, mss: before });
});

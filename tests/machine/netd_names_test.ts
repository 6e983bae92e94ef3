/**
 * Names behind netd: the relay passes questions and answers as they are, whatever their type and size.
 *
 * @module
 */

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { LARGE_TXT, UNKNOWN_TYPE } from "../kit/netd_dns.ts";
import { NAME_SERVER, type NetdLab, netdNeeds, openNetdLab, ROUTER } from "../kit/netd.ts";
import { machineTest } from "../kit/skip.ts";

const ANSWERS: readonly (readonly [type: string, answer: string])[] = [
  ["A", "192.0.2.77"],
  ["AAAA", "2001:db8::77"],
  ["TXT", '"hello world"'],
  ["SRV", "1 2 5269 srv.test."],
  ["SOA", "ns.test. root.test. 9 3600 600 86400 60"],
  ["MX", "10 mail.test."],
  ["PTR", "host.test."],
  [`TYPE${UNKNOWN_TYPE}`, "\\# 4 DEADBEEF"],
];

function dig(lab: NetdLab, ...words: string[]): Promise<string> {
  return lab.guestMust("dig", `@${NAME_SERVER}`, "+time=3", "+tries=1", ...words);
}

machineTest("netd, head to head: dig of SOA, SRV, PTR, TXT, AAAA and unknown types", netdNeeds("dig"), async () => {
  await using lab = await openNetdLab();
  await Promise.all(ANSWERS.flatMap(([type, answer]) =>
    ["+notcp", "+tcp"].map(async (by) => {
      assertEquals((await dig(lab, "+short", by, "x.test", type)).trim(), answer, `${type} ${by}`);
    })
  ));
  assertEquals((await dig(lab, "+short", "gateway.internal")).trim(), ROUTER);
});

machineTest(
  "netd, head to head: names with EDNS, large answers, and TCP when one was cut",
  netdNeeds("dig"),
  async () => {
    await using lab = await openNetdLab();
    assertMatch(await dig(lab, "+edns", "x.test"), /EDNS: version: 0, flags:; udp: 4096/);
    assertMatch(await dig(lab, "+noedns", "x.test"), /ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 0/);
    const roomy = await dig(lab, "+bufsize=4096", "+ignore", "large.test", "TXT");
    assertMatch(roomy, /MSG SIZE {2}rcvd: 30\d\d/, "fragments of one datagram");
    const cut = await dig(lab, "+noedns", "+ignore", "large.test", "TXT");
    assertMatch(cut, /flags: qr aa tc rd ra;.* ANSWER: 0/);
    const again = await dig(lab, "+noedns", "large.test", "TXT");
    assertStringIncludes(again, "Truncated, retrying in TCP mode");
    assertEquals(again.match(/a/g)!.length > LARGE_TXT - 20, true, again);
  },
);

/**
 * Names behind netd: the relay passes questions and answers as they are, whatever their type and size.
 *
 * @module
 */

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { LARGE_TXT, UNKNOWN_TYPE } from "../../kit/netd/dns.ts";
import { DEAD, NAME_SERVER, type NetdLab, netdNeeds, openNetdLab, PEER, ROUTER } from "../../kit/netd/netd.ts";
import { machineTest } from "../../kit/check/skip.ts";

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
});

machineTest(
  "netd's own names by dig, over UDP and TCP alike: OPT, BADVERS, SOA, and nothing upstream",
  netdNeeds("dig"),
  async () => {
    // There is no server there: a query that went upstream would get no answer.
    await using lab = await openNetdLab({ options: ["--dns", DEAD] });
    for (const by of ["+notcp", "+tcp"]) {
      assertEquals((await dig(lab, "+short", by, "gateway.internal")).trim(), ROUTER);
      const edns = await dig(lab, by, "+edns=0", "gateway.internal");
      assertMatch(edns, /EDNS: version: 0, flags:; udp: 1232/);
      assertMatch(await dig(lab, by, "+noedns", "gateway.internal"), /ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 0/);
      assertMatch(await dig(lab, by, "+edns=1", "+noednsneg", "gateway.internal"), /status: BADVERS/);
      const none = await dig(lab, by, "absent.internal");
      assertMatch(none, /status: NXDOMAIN/);
      assertMatch(none, /^internal\.\s+60\s+IN\s+SOA\s+dns\.internal\. /m);
      assertMatch(await dig(lab, by, "+opcode=UPDATE", "gateway.internal"), /status: NOTIMP/);
    }
  },
);

/** An address of the world where packets end without a word. */
const SILENT = "198.51.100.53";

async function silence(lab: NetdLab): Promise<void> {
  await lab.worldMust("ip", "route", "add", "blackhole", SILENT);
}

machineTest(
  "Twenty questions at once behind a silent first server are all answered, by UDP and TCP",
  netdNeeds("dig"),
  async () => {
    const resolvConf = `nameserver ${SILENT} # down\nnameserver ${PEER}\noptions timeout:1 attempts:2\n`;
    await using lab = await openNetdLab({ resolvConf, prepare: silence });
    for (const by of ["+notcp", "+tcp"]) {
      const start = performance.now();
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, i) => dig(lab, "+short", by, "+time=5", `n${i}.test`)),
      );
      assertEquals(answers.map((answer) => answer.trim()), new Array(20).fill("192.0.2.77"), by);
      if (by === "+tcp") assertEquals(performance.now() - start < 4000, true, "the silent one is not waited for again");
    }
  },
);

machineTest(
  "netd follows resolv.conf: written again, renamed, behind a link, gone for a moment",
  netdNeeds("dig"),
  async () => {
    await using lab = await openNetdLab({ resolvConf: `nameserver ${DEAD}\nsearch old.test\n` });
    const answered = async (text: string) => {
      await lab.netd.until(text);
      assertEquals((await dig(lab, "+short", "x.test")).trim(), "192.0.2.77");
    };
    await Deno.writeTextFile(lab.resolvConf, `nameserver fe80::1%eth0\nnameserver ${PEER} ; up\n`);
    await answered(`the name server asks ${PEER}\n`);
    assertStringIncludes(lab.netd.text, "fe80::1%eth0 is passed over");
    await Deno.remove(lab.resolvConf);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    assertEquals((await dig(lab, "+short", "y.test")).trim(), "192.0.2.77", "the old ones are kept");
    await Deno.writeTextFile(`${lab.folder}/etc/new`, `nameserver ${DEAD}\nnameserver ${PEER}\noptions timeout:1\n`);
    await Deno.symlink("new", lab.resolvConf);
    await answered(`the name server asks ${DEAD}, ${PEER}\n`);
  },
);

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

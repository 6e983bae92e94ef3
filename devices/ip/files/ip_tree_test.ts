/** Which files there are, their qids and records. */

import { assertEquals } from "@std/assert";
import { EVE, Open } from "../../../kernel/qid.ts";
import { namesIn, openAt, walkTo } from "../../../tests/kit/host/dev.ts";
import { ipFixture } from "../../../tests/kit/ip/ip_fixture.ts";
import { convAt, Kind, kindOf, listDir, lookupName, pathOf, protoAt, statPath } from "./ip_tree.ts";

Deno.test("#ip lists Akaros' files in Akaros' order, and raw", () => {
  const { root } = ipFixture();
  assertEquals(namesIn(root), [
    "tcp",
    "udp",
    "ipifc",
    "icmp",
    "icmpv6",
    "raw",
    "arp",
    "ndb",
    "iproute",
    "ipselftab",
    "log",
  ]);
  assertEquals(namesIn(walkTo(root, "udp")), ["clone", "stats"]);
  assertEquals(namesIn(walkTo(root, "ipifc")), ["0", "clone", "stats"]);
  const files = ["ctl", "data", "err", "listen", "local", "remote", "status"];
  assertEquals(namesIn(walkTo(root, "ipifc/0")), [...files, "snoop"]);
  openAt(root, "udp/clone");
  assertEquals(namesIn(walkTo(root, "udp/0")), files);
});

Deno.test("#ip encodes kind, conversation and protocol in qid paths as Akaros does", () => {
  const { root } = ipFixture();
  for (let i = 0; i < 6; i++) openAt(root, "udp/clone");
  assertEquals(walkTo(root, "udp/5/data").qid.path, 13 | (5 << 5) | (1 << 17));
});

Deno.test("#ip walks .. from a conversation to its protocol, to the root, and stays there", () => {
  const { root } = ipFixture();
  openAt(root, "udp/clone");
  assertEquals(walkTo(root, "udp/0/..").qid.path, walkTo(root, "udp").qid.path);
  assertEquals(walkTo(root, "udp/../..").qid.path, root.qid.path);
});

Deno.test("pathOf() is taken apart by kindOf(), protoAt() and convAt(), also beyond 12 bits of conversations", () => {
  const { stack } = ipFixture();
  const udp = stack.protoNamed("udp")!;
  const { convs } = stack.space(udp);
  for (let i = 0; i <= 4097; i++) stack.space(udp).take(EVE);
  for (const number of [0, 4095, 4096, 4097]) {
    const path = pathOf(Kind.Snoop, udp.index, number);
    assertEquals({ kind: kindOf(path), proto: protoAt(stack, path)?.name, conv: convAt(stack, path)?.number }, {
      kind: Kind.Snoop,
      proto: "udp",
      conv: convs[number]?.number,
    });
  }
  assertEquals(convs[4097]?.number, 4097);
  assertEquals(kindOf(pathOf(Kind.Snoop, 4, 65535)), Kind.Snoop);
});

Deno.test("Every entry that is listed can be looked up and has the record that stat gives", () => {
  const ip = ipFixture();
  ip.conv("udp", "announce 7");
  ip.conv("raw");
  const visit = (path: number): number => {
    let count = 0;
    for (const dir of listDir(ip.stack, path)) {
      assertEquals(lookupName(ip.stack, path, dir.name), dir);
      assertEquals(statPath(ip.stack, dir.qid.path), dir);
      count += 1 + visit(dir.qid.path);
    }
    return count;
  };
  assertEquals(visit(pathOf(Kind.Root)), 11 + 6 * 2 + (1 + 8) + 2 * (1 + 7));
});

Deno.test("Names that are no number, or a number without a conversation, are not found", () => {
  const ip = ipFixture();
  ip.conv("udp");
  for (const name of ["1", "00", "-1", "0x0", "", "nothing", "65536"]) {
    assertEquals(lookupName(ip.stack, pathOf(Kind.ProtoDir, 1), name), null, name);
  }
  assertEquals(lookupName(ip.stack, pathOf(Kind.Root), "iprouter"), null);
  ip.dev.close(ip.open("udp/0/local", Open.Read));
});

/** Tests of the table of failures: the whole of it, for both versions. */

import { assertEquals } from "@std/assert";
import type { SocketFailure } from "../../kernel/host_sockets.ts";
import { isShortage, outcomeOf } from "./failure_table.ts";

/** `kind`, and `type/code` where there is one. */
function shown(failure: SocketFailure, version: 4 | 6): string {
  const outcome = outcomeOf(failure, version);
  return "type" in outcome ? `${outcome.kind} ${outcome.type}/${outcome.code}` : outcome.kind;
}

Deno.test("outcomeOf() has the answer of reference section 5.2 for every failure", () => {
  const rows: { failures: SocketFailure[]; v4: string; v6: string }[] = [
    { failures: ["ECONNREFUSED"], v4: "reset 3/3", v6: "reset 1/4" },
    { failures: ["EHOSTUNREACH", "EHOSTDOWN", "ENONET"], v4: "icmp 3/1", v6: "icmp 1/3" },
    { failures: ["ENETUNREACH", "ENETDOWN", "EAFNOSUPPORT"], v4: "icmp 3/0", v6: "icmp 1/0" },
    { failures: ["EADDRNOTAVAIL"], v4: "drop", v6: "icmp 1/0" },
    { failures: ["ENOPROTOOPT"], v4: "icmp 3/2", v6: "icmp 4/1" },
    { failures: ["EACCES", "EPERM", "EPROTO", "EOPNOTSUPP"], v4: "icmp 3/13", v6: "icmp 1/1" },
    { failures: ["EMSGSIZE"], v4: "icmp 3/4", v6: "icmp 2/0" },
    { failures: ["EINVAL", "ETIMEDOUT"], v4: "nothing", v6: "nothing" },
    { failures: ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EADDRINUSE", "E200"], v4: "drop", v6: "drop" },
  ];
  for (const { failures, v4, v6 } of rows) {
    for (const failure of failures) assertEquals([shown(failure, 4), shown(failure, 6)], [v4, v6], failure);
  }
});

Deno.test("isShortage() tells what closing an idle socket may mend", () => {
  const all: SocketFailure[] = ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EADDRINUSE", "ECONNREFUSED", "EACCES"];
  assertEquals(all.filter(isShortage), ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"]);
});

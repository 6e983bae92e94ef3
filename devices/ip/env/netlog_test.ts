/** The log ring. */

import { assert, assertEquals } from "@std/assert";
import { Rendez } from "../../../kernel/rendez.ts";
import { parseIpAddr } from "../../../kernel/wire/ip_addr.ts";
import { now, refusalCode } from "../../../tests/kit/host/dev.ts";
import { LOG_BYTES_MAX, LogFlag, NetLog } from "./netlog.ts";

function read(log: NetLog, max = 8192): string {
  const buf = new Uint8Array(max);
  return new TextDecoder().decode(buf.subarray(0, now(log.read(buf))));
}

Deno.test("NetLog keeps lines only while it is open and only of flags that are set", () => {
  const log = new NetLog();
  log.ctl(["set", "udp", "nosuchflag"]);
  assert(!log.wants(LogFlag.Udp));
  log.open();
  log.line(LogFlag.Udp, "one");
  log.line(LogFlag.Icmp, "not wanted");
  assertEquals(read(log), "one\n");
  log.ctl(["clear", "udp"]);
  log.line(LogFlag.Udp, "two");
  assert(log.read(new Uint8Array(1)) instanceof Rendez);
  log.close();
  assert(!log.wants(LogFlag.Udp));
});

Deno.test("NetLog only tells of one address, and of all again after *", () => {
  const log = new NetLog();
  const [a, b] = [parseIpAddr("10.0.0.1")!, parseIpAddr("10.0.0.2")!];
  log.open();
  log.ctl(["set", "udp"]);
  log.ctl(["only", "10.0.0.1"]);
  assertEquals([log.wants(LogFlag.Udp, a), log.wants(LogFlag.Udp, b)], [true, false]);
  log.ctl(["only", "*"]);
  assert(log.wants(LogFlag.Udp, b));
});

Deno.test("NetLog loses the oldest bytes when its ring is full", () => {
  const log = new NetLog();
  log.open();
  log.ctl(["set", "all"]);
  for (let i = 0; i < 1000; i++) log.line(LogFlag.Ip, `line ${i}`);
  assertEquals(log.length, LOG_BYTES_MAX);
  assert(log.lost > 0);
  const text = read(log, 100) + read(log);
  assertEquals(text.length, LOG_BYTES_MAX);
  assert(text.endsWith("line 998\nline 999\n"));
});

Deno.test("NetLog refuses commands it does not know, and those with too few words", () => {
  const log = new NetLog();
  for (const words of [[], ["set"], ["only"], ["only", "x"], ["frob", "udp"]]) {
    assertEquals(refusalCode(() => log.ctl(words)), "EINVAL");
  }
});

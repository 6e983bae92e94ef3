/** The file tree of `#ip`, the life of its conversations, permissions, readiness. */

import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { TapEvent } from "../../../kernel/fd_tap.ts";
import { DirMode, EVE, Open } from "../../../kernel/qid.ts";
import { Rendez } from "../../../kernel/rendez.ts";
import {
  namesIn,
  openAt,
  readText,
  refusal,
  refusalCode,
  testEnv,
  wakes,
  walkTo,
  watch,
  writeText,
} from "../../../tests/kit/host/dev.ts";
import { ipFixture, pattern, PEER, udpPacket, US } from "../../../tests/kit/ip/ip_fixture.ts";
import { IpDev, STACKS_MAX } from "./dev_ip.ts";

const ALL = TapEvent.Readable | TapEvent.Writable | TapEvent.Hangup | TapEvent.Error;

Deno.test("#ip.N refuses negative, non-numeric and too large N: Akaros took -1 and words", () => {
  const dev = new IpDev(testEnv());
  for (const spec of ["-1", "x", "1x", " 1", "0x1"]) assertEquals(refusalCode(() => dev.attach(spec, EVE)), "EINVAL");
  assertEquals(refusal(() => dev.attach(`${STACKS_MAX}`, EVE)), 'EFAIL: Cannot attach "#ip.32": stacks are 0 to 31');
  assertEquals(dev.attach("31", EVE).path, "#ip.31");
  assertEquals(dev.attach("", EVE).path, "#ip");
});

Deno.test("#ip.1 shares nothing with #ip.0", () => {
  const { dev, conv } = ipFixture();
  conv("udp", "announce 7");
  const other = dev.attach("1", EVE);
  assertEquals(namesIn(walkTo(other, "udp")), ["clone", "stats"]);
  writeText(openAt(other, "udp/clone"), "announce 7");
});

Deno.test("Conformance 1: a clone reads as its number once; a fresh conversation is open and empty", () => {
  const { root } = ipFixture();
  const ctl = openAt(root, "udp/clone");
  assertEquals([readText(ctl), readText(ctl)], ["0", ""]);
  const read = (file: string) => readText(openAt(root, `udp/0/${file}`, Open.Read));
  assert(read("status").startsWith("Open qin 0 qout 0"));
  assertEquals([read("local"), read("remote")], ["::!0\n", "::!0\n"]);
});

Deno.test("Conformance 11: the last close frees the slot and the port, and status says Closed", () => {
  const ip = ipFixture();
  const first = ip.conv("udp", "bypass 7", "ignoreadvice", "ttl 3");
  const status = ip.open("udp/0/status", Open.Read);
  first.close();
  assert(readText(status).startsWith("Closed"));
  const second = ip.conv("udp", "bypass 7");
  assertEquals(second.dir, "udp/0");
  // Akaros kept ignoreadvice.
  assertEquals([second.conv.ignoreAdvice, second.conv.ttl], [false, 255]);
});

Deno.test("A conversation lives until the last of ctl, data, err and listen is closed", () => {
  const ip = ipFixture();
  const udp = ip.conv("udp", "announce 7");
  const err = udp.err();
  const listen = ip.open("udp/0/listen", Open.Path);
  udp.close();
  ip.dev.close(err);
  assertEquals(refusalCode(() => ip.conv("udp", "announce 7")), "EFAIL");
  ip.dev.close(listen);
  ip.conv("udp", "announce 7");
});

Deno.test("Opening data of a free slot makes it the opener's conversation", () => {
  const ip = ipFixture();
  ip.conv("udp").close();
  const data = ip.open("udp/0/data", Open.ReadWrite, "glenda");
  assertEquals(ip.dev.stat(data).uid, "glenda");
});

Deno.test("Defect 11: mode 0660 keeps everybody out but the owner and eve; Akaros let anybody in", () => {
  const ip = ipFixture();
  ip.convOf("glenda", "udp", "announce 7");
  for (const file of ["ctl", "data", "err"]) {
    assertEquals(refusalCode(() => ip.open(`udp/0/${file}`, Open.ReadWrite, "boyd")), "EACCES");
    ip.dev.close(ip.open(`udp/0/${file}`, Open.ReadWrite, EVE));
  }
  assertEquals(refusalCode(() => ip.open("udp/0/listen", Open.Read, "boyd")), "EACCES");
  const data = ip.open("udp/0/data", Open.ReadWrite, "glenda");
  assertEquals(refusalCode(() => ip.dev.wstat(data, { mode: 0o666 }, "boyd")), "EPERM");
  ip.dev.wstat(data, { mode: 0o666 }, "glenda");
  ip.open("udp/0/data", Open.ReadWrite, "boyd");
  ip.dev.wstat(data, { uid: "boyd" }, EVE);
  assertEquals(ip.dev.stat(data).uid, "boyd");
});

Deno.test("Defect 11: files of the whole stack are eve's to write", () => {
  const ip = ipFixture();
  for (const file of ["arp", "iproute", "ndb", "log"]) {
    assertEquals(refusalCode(() => ip.open(file, Open.Write, "glenda")), "EACCES", file);
    ip.dev.close(ip.open(file, Open.Read, "glenda"));
  }
  assertEquals(refusalCode(() => ip.open("raw/clone", Open.ReadWrite, "glenda")), "EACCES");
});

Deno.test("Defect 11: one user cannot take every conversation of a protocol; eve can", () => {
  const ip = ipFixture();
  for (let i = 0; i < 768; i++) ip.open("icmp/clone", Open.ReadWrite, "glenda");
  assertEquals(
    refusal(() => ip.open("icmp/clone", Open.ReadWrite, "glenda")),
    "EFAIL: Cannot make a conversation: glenda has 768 of icmp already",
  );
  for (let i = 0; i < 256; i++) ip.open("icmp/clone");
  assertEquals(
    refusal(() => ip.open("icmp/clone")),
    "ENODEV: Cannot make a conversation: all 1024 of icmp are taken",
  );
});

Deno.test("stat tells the readiness of data in every state: Akaros forgot Bypass and headers mode", () => {
  const ip = ipFixture();
  for (const commands of [["bypass 7"], ["headers", "announce 8"], [`connect ${PEER}!9 9`]]) {
    const udp = ip.conv("udp", ...commands);
    const mode = () => ip.dev.stat(udp.data).mode & (DirMode.Readable | DirMode.Writable);
    assertEquals(mode(), DirMode.Writable, commands[0]);
    ip.inject(udpPacket({ dstPort: udp.port(), srcPort: 9, payload: pattern(3) }));
    assertEquals(mode(), DirMode.Readable | DirMode.Writable, commands[0]);
    assertNotEquals(ip.dev.stat(udp.data).length, 0);
    udp.close();
  }
});

Deno.test("A tap answers the level that it finds, and edges after that", () => {
  const ip = ipFixture();
  const udp = ip.conv("udp", "bypass 7");
  ip.inject(udpPacket({ dstPort: 7 }));
  const tap = udp.tap(ALL);
  assertEquals(tap.level, TapEvent.Readable | TapEvent.Writable);
  ip.inject(udpPacket({ dstPort: 7 }));
  assertEquals(tap.take(), []);
  udp.read();
  udp.read();
  ip.inject(udpPacket({ dstPort: 7 }));
  assertEquals(tap.take(), [TapEvent.Readable]);
});

Deno.test("Files but data, err and listen have no taps, and err no writable one", () => {
  const ip = ipFixture();
  const udp = ip.conv("udp", "announce 7");
  for (const file of ["ctl", "local", "status"]) {
    assertEquals(refusalCode(() => watch(ip.open(`udp/0/${file}`, Open.Read), TapEvent.Readable)), "ENOSYS", file);
  }
  assertEquals(refusalCode(() => watch(udp.err(), TapEvent.Writable)), "ENOSYS");
  assertEquals(watch(udp.err(), TapEvent.Readable).level, 0);
});

Deno.test("listen gives calls in order, sleeps without one, and is refused unless announced", async () => {
  const ip = ipFixture();
  const udp = ip.conv("udp");
  assertEquals(refusalCode(() => ip.open("udp/0/listen")), "EFAIL");
  udp.command("announce 7");
  const listen = walkTo(ip.root, "udp/0/listen");
  const waits = ip.dev.open(listen, Open.ReadWrite, EVE);
  assert(waits instanceof Rendez);
  const path = ip.open("udp/0/listen", Open.Path);
  const tap = watch(path, TapEvent.Readable);
  assert(await wakes(waits, () => ip.inject(udpPacket({ srcPort: 100, dstPort: 7, payload: pattern(1) }))));
  assertEquals(tap.take(), [TapEvent.Readable]);
  ip.inject(udpPacket({ srcPort: 101, dstPort: 7, payload: pattern(2) }));
  const first = ip.open("udp/0/listen");
  assertEquals([readText(first), first.path], ["1", "#ip/udp/1/ctl"]);
  assertEquals(readText(ip.open("udp/1/remote", Open.Read)), `${PEER}!100\n`);
  assertEquals(readText(ip.open("udp/1/local", Open.Read)), `${US}!7\n`);
  assertEquals(readText(ip.open("udp/1/data")).length, 1);
  assertEquals(readText(ip.open("udp/0/listen")), "2");
});

Deno.test("Closing a listener closes the calls that were not taken", () => {
  const ip = ipFixture();
  const udp = ip.conv("udp", "announce 7");
  ip.inject(udpPacket({ dstPort: 7 }));
  assertEquals(ip.stack.space(udp.conv.proto).convs.map((conv) => conv.inUse), [2, 1]);
  udp.close();
  assertEquals(ip.stack.space(udp.conv.proto).convs.map((conv) => conv.inUse), [0, 0]);
  assertEquals(ip.conv("udp").dir, "udp/0");
});

Deno.test("ndb keeps a text with a version; log tells what was asked for while it is open", () => {
  const ip = ipFixture();
  const ndb = ip.open("ndb");
  writeText(ndb, "sys=x\n");
  assertEquals([readText(ip.open("ndb", Open.Read)), ip.dev.stat(ndb).qid.vers], ["sys=x\n", 1]);
  const log = ip.open("log");
  writeText(log, "set udp");
  ip.inject(udpPacket({ dstPort: 99 }));
  assertEquals(readText(log), `udp no port ${PEER} > ${US}!99\n`);
  ip.dev.close(log);
  assertEquals(ip.dev.stat(walkTo(ip.root, "log")).length, 0);
});

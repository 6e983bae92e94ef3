import { assertEquals } from "@std/assert";
import { DirMode, EVE, Open } from "../../kernel/qid.ts";
import { ALL_OFFLOADS, Bench, frame } from "../../tests/kit/ip/ether.ts";
import { NetifKind, netifKind, netifPath } from "./netif.ts";

/** Names in a directory below `#ether.0`. */
function names(bench: Bench, ...path: string[]): string[] {
  const { chan } = bench.dev.walk(bench.dev.attach("0", "ann"), path);
  return bench.dev.list(chan!).map((entry) => entry.name);
}

Deno.test("netifPath() is the kind and, above 5 bits, the number plus 1", () => {
  const paths = [
    { kind: NetifKind.Clone, id: -1, path: 1 },
    { kind: NetifKind.Data, id: 0, path: 37 },
    { kind: NetifKind.IfStats, id: 7, path: 265 },
  ];
  for (const { kind, id, path } of paths) {
    assertEquals({ path: netifPath(kind, id), kind: netifKind(path) }, { path, kind });
  }
});

Deno.test("the tree of a NIC lists clone, addr, stats, ifstats, then the conversations there were", () => {
  const bench = new Bench();
  assertEquals(names(bench), ["ether0"]);
  assertEquals(names(bench, "ether0"), ["clone", "addr", "stats", "ifstats"]);
  bench.conv();
  bench.conv();
  assertEquals(names(bench, "ether0"), ["clone", "addr", "stats", "ifstats", "0", "1"]);
  assertEquals(names(bench, "ether0", "1"), ["data", "ctl", "stats", "type", "ifstats"]);
  assertEquals(names(bench, "ether0", "1", "..", "..", ".."), ["ether0"]);
  assertEquals(bench.dev.walk(bench.dev.attach("", "ann"), ["ether0", "2"]), { found: 1, chan: null });
});

Deno.test("files have Akaros' qid paths and permissions", () => {
  const bench = new Bench();
  bench.conv();
  const record = (...path: string[]) => {
    const { qid, mode, uid } = bench.dev.stat(bench.dev.walk(bench.dev.attach("0", "ann"), path).chan!);
    return [qid.path, (mode & 0o777).toString(8), uid];
  };
  assertEquals(record(), [0, "555", EVE]);
  assertEquals(record("ether0"), [3, "555", EVE]);
  assertEquals(record("ether0", "clone"), [1, "666", EVE]);
  assertEquals(record("ether0", "addr"), [2, "666", EVE]);
  assertEquals(record("ether0", "stats"), [7, "444", EVE]);
  assertEquals(record("ether0", "ifstats"), [9, "444", EVE]);
  assertEquals(record("ether0", "0"), [36, "555", "ann"]);
  assertEquals(record("ether0", "0", "data"), [37, "660", "ann"]);
  assertEquals(record("ether0", "0", "ctl"), [38, "660", "ann"]);
  assertEquals(record("ether0", "0", "stats"), [39, "444", "ann"]);
  assertEquals(record("ether0", "0", "type"), [40, "444", "ann"]);
  assertEquals(record("ether0", "0", "ifstats"), [41, "444", "ann"]);
});

Deno.test("the record of data reports how much waits, and readiness", () => {
  const bench = new Bench();
  const { data } = bench.conv("connect 0x800");
  const level = () => {
    const { mode, length } = bench.dev.stat(data);
    return [length, (mode & DirMode.Readable) !== 0, (mode & DirMode.Writable) !== 0];
  };
  assertEquals(level(), [0, false, true]);
  bench.port.arrives(frame());
  assertEquals(level(), [64, true, true]);
  bench.dev.detachPort(0);
  assertEquals(level(), [64, true, false]);
  bench.next(data);
  assertEquals(level(), [0, true, false], "the end can be read");
});

Deno.test("addr, ctl and type read as text without newline or NUL", () => {
  const bench = new Bench();
  const { ctl, number } = bench.conv();
  assertEquals(bench.textOf("addr"), "525400000001");
  assertEquals(bench.text(ctl), "0");
  assertEquals(bench.dev.read(ctl, new Uint8Array(9), 1), 0);
  const types = ["0x800", "01006", "34525", "-1", "-2"].map((type) => {
    bench.tell(ctl, `connect ${type}`);
    return bench.textOf(`${number}/type`);
  });
  // The original prints -1 as eleven digits of 2^64-1 (akaros 13.17).
  assertEquals(types, ["2048", "518", "34525", "-1", "-2"]);
});

Deno.test("stats has Akaros' lines, with the features of the port, and its MTU; a conversation's adds its own", () => {
  const bench = new Bench();
  bench.port.offloads = ALL_OFFLOADS;
  const { data, number } = bench.conv("connect 0x800", "promiscuous");
  bench.port.arrives(frame());
  bench.write(data, frame());
  const lines = [
    "driver: fake0",
    "in: 1",
    "link: 1",
    "out: 0",
    "crc errs: 0",
    "overflows: 0",
    "soft overflows: 0",
    "framing errs: 0",
    "buffer errs: 0",
    "output errs: 0",
    "prom: 1",
    "mbps: 1000",
    "addr: 525400000001",
    "feat: udpck tcpck tso uso",
    "hw_features: udpck tcpck tso uso",
    "mtu: 1500",
  ];
  assertEquals(bench.textOf("stats"), lines.join("\n") + "\n");
  assertEquals(
    bench.textOf(`${number}/stats`),
    [...lines, "conv in: 1", "conv soft overflows: 0", "conv queued: 64"].join("\n") + "\n",
  );
  assertEquals(bench.textOf(`${number}/ifstats`), bench.textOf("ifstats"));
});

Deno.test("a text read in pieces is one text, though counters move meanwhile", () => {
  const bench = new Bench();
  const chan = bench.open("stats", { flags: Open.Read });
  const whole = bench.textOf("stats");
  const buf = new Uint8Array(7);
  let text = "";
  for (let count; (count = bench.dev.read(chan, buf, text.length) as number) > 0;) {
    text += new TextDecoder().decode(buf.subarray(0, count));
    bench.port.arrives(frame());
  }
  assertEquals(text, whole);
});

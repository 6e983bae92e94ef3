/** Forwards: both ways to write them, conflicts, limits, and who answers whom. */

import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { KernelError } from "../../kernel/error.ts";
import { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { ip } from "../../tests/kit/ip/ip_fixture.ts";
import { newGuest, newMap } from "../../tests/kit/nat/guest_maps.ts";
import { ForwardGroup, REMOTES_MAX } from "./forward_group.ts";
import { MapProto, type NatMap } from "./map.ts";
import { formatForward, FORWARD_PORTS_MAX, FORWARDS_MAX, ForwardTable, parseForward } from "./forward.ts";

const guest = newGuest(ip("10.0.2.15"));
const mapOf = (text: string) => {
  const spec = parseForward(text);
  const map = newMap(guest, { proto: spec.proto, guestPort: spec.guestPort });
  return { spec, map };
};

Deno.test("Both forms say the same, QEMU's in every way that it can be written", () => {
  const table: [string, string][] = [
    ["tcp:2222:22", "tcp:2222:22"],
    ["tcp:127.0.0.1:2222:22", "tcp:127.0.0.1:2222:22"],
    ["udp:*:53:53", "udp:53:53"],
    ["udp:0.0.0.0:53:53", "udp:53:53"],
    ["tcp:8000-8010:80", "tcp:8000-8010:80"],
    ["tcp:10.0.0.1:8000-8010:80", "tcp:10.0.0.1:8000-8010:80"],
    ["hostfwd=tcp::2222-:22", "tcp:2222:22"],
    ["tcp:127.0.0.1:2222-:22", "tcp:127.0.0.1:2222:22"],
    ["hostfwd=udp:127.0.0.1:5353-10.0.2.16:53", "udp:127.0.0.1:5353-10.0.2.16:53"],
    ["hostfwd=::80-:80", "tcp:80:80"],
    ["hostfwd=tcp:127.0.0.1:6001-:6000", "tcp:127.0.0.1:6001:6000"],
    ["tcp::5555-:5555", "tcp:5555:5555"],
    ["hostfwd=:10.0.0.1:80-10.0.2.15:80", "tcp:10.0.0.1:80-10.0.2.15:80"],
    ["udp::0-:53", "udp:0:53"],
    ["tcp:*:22", "tcp:0:22"],
  ];
  for (const [text, plain] of table) {
    assertEquals([text, formatForward(parseForward(text))], [text, plain]);
    assertEquals(parseForward(plain), parseForward(text));
  }
  const { bound, hostPort, count, guestPort, proto } = parseForward("udp:10.0.0.1:8000-8010:80");
  assertEquals([`${bound}`, hostPort, count, guestPort, proto], ["10.0.0.1", 8000, 11, 80, MapProto.Udp]);
});

Deno.test("What is no forward is refused with a reason, whatever the text", () => {
  const bad = ["", "tcp", "tcp:1", "sctp:1:1", "tcp:0-3:1", "tcp:1:0", "tcp:99999:1", "tcp:9-8:1", "tcp:65535:65536"];
  for (
    const text of [
      ...bad,
      "tcp:x:1:1",
      "tcp:1-65535:2",
      "tcp:fe80::1:1:1",
      "hostfwd=tcp::1-1.2.3:1",
      "tcp:1:1:1:1",
      "unix:/tmp/x-:80",
    ]
  ) {
    assertEquals([text, assertThrows(() => parseForward(text), KernelError).code], [text, "EINVAL"]);
  }
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^tcp:[0-9.:-]{0,20}$/)), (text) => {
      try {
        assertEquals(parseForward(formatForward(parseForward(text))), parseForward(text));
      } catch (error) {
        if (!(error instanceof KernelError)) throw error;
      }
    }),
    fuzz(300),
  );
});

Deno.test("Ports of one protocol and address are forwarded once; others stand side by side", () => {
  const table = new ForwardTable();
  for (const text of ["tcp:80:1", "udp:80:1", "tcp:127.0.0.1:81:1", "tcp:10.0.0.1:81:1", "tcp:90-99:1"]) {
    table.requireFree(parseForward(text));
    table.add(mapOf(text));
  }
  for (const text of ["tcp:80:9", "tcp:127.0.0.1:80:9", "tcp:81:9", "tcp:85-90:9", "tcp:99-100:9", "tcp:70-120:9"]) {
    assertEquals([text, assertThrows(() => table.requireFree(parseForward(text)), KernelError).code], [
      text,
      "EADDRINUSE",
    ]);
  }
  for (const text of ["udp:81:9", "tcp:192.0.2.1:81:9", "tcp:100:9", "tcp:89:9"]) table.requireFree(parseForward(text));
  assertEquals(table.list.length, 5);
  table.remove(parseForward("tcp:90-99:7"));
  table.requireFree(parseForward("tcp:95:9"));
});

Deno.test("Forwards and forwarded ports are limited", () => {
  const few = new ForwardTable();
  for (let i = 1; i <= FORWARDS_MAX; i++) few.add(mapOf(`tcp:${i}:${i}`));
  assertEquals(assertThrows(() => few.requireFree(parseForward("udp:1:1")), KernelError).code, "ENOSPC");
  const large = new ForwardTable();
  large.requireFree(parseForward(`tcp:1-${FORWARD_PORTS_MAX}:1`));
  assertEquals(
    assertThrows(() => large.requireFree(parseForward(`tcp:1-${FORWARD_PORTS_MAX + 1}:1`)), KernelError).code,
    "ENOSPC",
  );
});

Deno.test("A port remembers how its remotes came, the newest at most, and forgets them with their forward", () => {
  for (const addrOf of [(n: number) => IpAddr.v4(n), (n: number) => new IpAddr(0x20010db8, n, 0, 9)]) {
    const group = new ForwardGroup<NatMap>();
    const [a, b] = [mapOf("tcp:1:1").map, mapOf("tcp:2:1").map];
    group.maps.push(a, b);
    const dst = ip("10.0.0.1");
    // Two hashes for all: it is the address that counts.
    const end = (n: number) => ({ remote: addrOf(n), remoteHash: n % 2, remotePort: 80 });
    const remember = (n: number, map: NatMap) => group.remember(end(n), map, { src: addrOf(n), dst });
    const mapFor = (n: number) => group.pathTo(end(n))?.map ?? null;
    for (let n = 0; n <= REMOTES_MAX; n++) remember(n, n % 2 === 0 ? a : b);
    assertEquals({ length: group.length, first: mapFor(0), last: mapFor(1) }, {
      length: REMOTES_MAX,
      first: null,
      last: b,
    });
    remember(1, a);
    assertEquals({ length: group.length, moved: mapFor(1) }, { length: REMOTES_MAX, moved: a });
    group.remove(a);
    assertEquals({ gone: mapFor(1), left: mapFor(3), maps: group.maps.length }, { gone: null, left: b, maps: 1 });
  }
});

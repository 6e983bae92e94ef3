import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { KernelError } from "../../../kernel/error.ts";
import { IpAddr, prefixMask } from "../../../kernel/wire/ip_addr.ts";
import { refusal, refusalCode } from "../../../tests/kit/host/dev.ts";
import { fuzz, fuzzSteps, sequences } from "../../../tests/kit/check/fuzz.ts";
import { ip } from "../../../tests/kit/ip/packets.ts";
import { TestHost } from "../../../tests/kit/ip/link.ts";
import { RouteKind } from "./route.ts";
import { RouteTable } from "./route_table.ts";

/** A stack with 10.0.0.1/24 on interface 0 and 10.1.0.1/16 on interface 1. */
function twoNets(): TestHost {
  const host = new TestHost();
  host.ifc("bind ether /net/ether0", "add 10.0.0.1 /24");
  host.ifc("bind ether /net/ether1", "add 10.1.0.1 /16");
  return host;
}

/** Where packets to `dst` go: `gateway interface`. */
function way({ stack }: TestHost, dst: string): string {
  const route = stack.routes.lookup(ip(dst));
  return route === null ? "none" : `${route.gateway ?? "direct"} ${route.ifc!.number}`;
}

function ctl({ stack }: TestHost, text: string, tag = "none"): string {
  return stack.routes.ctl(text.split(" "), tag);
}

Deno.test("RouteTable.lookup() takes the longest prefix, and finds the interface of a gateway", () => {
  const host = twoNets();
  ctl(host, "add 0 0 10.0.0.254");
  ctl(host, "add 172.16.0.0 /12 10.1.2.3");
  ctl(host, "add 172.16.5.0 255.255.255.0 10.0.0.253");
  assertEquals(way(host, "10.0.0.7"), "direct 0");
  assertEquals(way(host, "10.1.0.7"), "direct 1");
  assertEquals(way(host, "8.8.8.8"), "10.0.0.254 0");
  assertEquals(way(host, "172.16.4.1"), "10.1.2.3 1");
  assertEquals(way(host, "172.16.5.1"), "10.0.0.253 0");
});

Deno.test("RouteTable.lookup() knows no way without a route, and skips a gateway that is on no link", () => {
  const host = twoNets();
  assertEquals(way(host, "8.8.8.8"), "none");
  ctl(host, "add 8.8.8.0 /24 192.168.9.9");
  assertEquals(way(host, "8.8.8.8"), "none");
  ctl(host, "add 0 0 10.0.0.254");
  assertEquals(way(host, "8.8.8.8"), "10.0.0.254 0");
  host.ifc("bind loopback", "add 192.168.9.1 /24");
  assertEquals(way(host, "8.8.8.8"), "192.168.9.9 2");
});

Deno.test("RouteTable.lookup() forgets what it remembered when a route goes", () => {
  const host = twoNets();
  ctl(host, "add 0 0 10.0.0.254");
  ctl(host, "add 8.8.8.8 /32 10.0.0.253");
  assertEquals(way(host, "8.8.8.8"), "10.0.0.253 0");
  ctl(host, "remove 8.8.8.8 /32");
  assertEquals(way(host, "8.8.8.8"), "10.0.0.254 0");
  ctl(host, "flush");
  assertEquals(way(host, "8.8.8.8"), "none");
});

Deno.test("RouteTable never replaces or removes an interface's route by a static one", () => {
  const host = twoNets();
  assertEquals(refusalCode(() => ctl(host, "add 10.0.0.0 /24 10.1.0.9")), "EEXIST");
  assertEquals(refusalCode(() => ctl(host, "remove 10.0.0.0 /24")), "EPERM");
  ctl(host, "flush");
  assertEquals(way(host, "10.0.0.7"), "direct 0");
});

Deno.test("RouteTable: an interface's route goes before an older static one, which comes back after it", () => {
  const host = twoNets();
  ctl(host, "add 10.7.0.0 /16 10.0.0.254");
  const late = host.ifc("bind loopback", "add 10.7.0.1 /16");
  assertEquals(way(host, "10.7.0.9"), "direct 2");
  late.ctl("remove 10.7.0.1 /16");
  assertEquals(way(host, "10.7.0.9"), "10.0.0.254 0");
});

Deno.test("RouteTable.ctl() flush with a tag removes the routes with that tag only", () => {
  const host = twoNets();
  ctl(host, "add 1.0.0.0 /8 10.0.0.254", "dhcp");
  ctl(host, "add 2.0.0.0 /8 10.0.0.254");
  assertEquals(ctl(host, "tag dhcpd", "none"), "dhcp");
  ctl(host, "flush dhcp");
  assertEquals(way(host, "1.1.1.1"), "none");
  assertEquals(way(host, "2.2.2.2"), "10.0.0.254 0");
});

Deno.test("RouteTable.format() prints masks as people do, and no NULs (defect 15)", () => {
  const host = twoNets();
  ctl(host, "add 0 0 10.0.0.254", "dhcp");
  ctl(host, "add 9.9.9.0 /24 7.7.7.7");
  host.stack.routes.ctl(["add", "2001:db8::", "/32", "fe80::1"], "none");
  assertEquals(
    host.stack.routes.format(),
    `0.0.0.0 /0 10.0.0.254 4    dhcp 0
9.9.9.0 /24 7.7.7.7 4    none -
10.0.0.0 /24 10.0.0.0 4i   ifc 0
10.0.0.0 /32 10.0.0.0 4b   ifc 0
10.0.0.1 /32 10.0.0.1 4u   ifc 0
10.0.0.255 /32 10.0.0.255 4b   ifc 0
10.1.0.0 /16 10.1.0.0 4i   ifc 1
10.1.0.0 /32 10.1.0.0 4b   ifc 1
10.1.0.1 /32 10.1.0.1 4u   ifc 1
10.1.255.255 /32 10.1.255.255 4b   ifc 1
255.255.255.255 /32 255.255.255.255 4b   ifc 0
255.255.255.255 /32 255.255.255.255 4b   ifc 1
2001:db8:: /32 fe80::1 6    none -
`,
  );
});

Deno.test("RouteTable.ctl() refuses what it does not understand, and names it", () => {
  const host = twoNets();
  assertEquals(refusal(() => ctl(host, "replace 0 0 10.0.0.254")).includes('"replace"'), true);
  assertEquals(refusal(() => ctl(host, "add 1.2.3.0 /33 10.0.0.254")).includes('"/33"'), true);
  assertEquals(refusal(() => ctl(host, "add 1.2.3.x /24 10.0.0.254")).includes('"1.2.3.x"'), true);
  assertEquals(refusal(() => ctl(host, "add 1.2.3.0 /24 gw")).includes('"gw"'), true);
  assertEquals(refusal(() => ctl(host, "add 1.2.3.0 /24 fe80::1")).includes('"1.2.3.0"'), true);
  assertEquals(refusalCode(() => ctl(host, "add 1.2.3.0 /24 224.0.0.1")), "EINVAL");
  assertEquals(refusalCode(() => ctl(host, "add 1.2.3.0 /24")), "EINVAL");
  assertEquals(refusalCode(() => ctl(host, "remove 1.2.3.0 /24")), "ENOENT");
  assertEquals(refusalCode(() => host.stack.routes.ctl([], "none")), "EINVAL");
});

Deno.test("RouteTable keeps IPv4 and IPv6 apart", () => {
  const host = twoNets();
  host.stack.routes.add({ dest: ip("::"), mask: prefixMask(0), kind: RouteKind.OnLink, ifc: host.stack.ifcs[0]! });
  assertEquals(way(host, "2001:db8::1"), "direct 0");
  assertEquals(way(host, "8.8.8.8"), "none");
});

Deno.test("RouteTable.lookup() agrees with a search of all routes, whatever was added and removed", () => {
  const host = twoNets();
  const addr = fc.tuple(fc.boolean(), fc.integer({ min: 0, max: 0xff })).map(([v4, bits]) =>
    v4 ? IpAddr.v4((bits & 0xf0) << 24 | bits & 0xf) : new IpAddr((bits & 0xf0) << 24, 0, 0, bits & 0xf)
  );
  const change = fc.record({ add: fc.boolean(), dest: addr, length: fc.integer({ min: 0, max: 32 }) });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 40 }), fc.array(addr, { maxLength: 20 }), (changes, probes) => {
      const table = new RouteTable();
      const ifc = host.stack.ifcs[0]!;
      const list = new Map<string, { dest: IpAddr; mask: IpAddr; length: number }>();
      for (const { add, dest, length } of changes) {
        const bits = dest.isV4 ? 96 + length : 4 * length;
        const mask = prefixMask(bits);
        const key = `${dest.and(mask)}/${bits}`;
        if (add && !list.has(key)) {
          table.add({ dest, mask, kind: RouteKind.OnLink, ifc });
          list.set(key, { dest: dest.and(mask), mask, length: bits });
        } else if (!add) {
          table.removeOwn(dest, mask, ifc, RouteKind.OnLink);
          list.delete(key);
        }
        for (const probe of probes) {
          let best = -1;
          for (const route of list.values()) {
            if (route.dest.isV4 !== probe.isV4 && (route.length > 0 || probe.isV4)) continue;
            if (probe.sameNet(route.dest, route.mask)) best = Math.max(best, route.length);
          }
          assertEquals(table.lookup(probe)?.length ?? -1, best);
        }
      }
      assertEquals(table.size, list.size);
    }),
    fuzz(100),
  );
});

Deno.test("RouteTable.ctl() of random words never throws anything but KernelError", () => {
  const words = fc.array(
    fc.oneof(
      fc.constantFrom("add", "remove", "flush", "tag", "0", "/24", "/0", "10.0.0.9", "fe80::1", "::", "255.0.255.0"),
      fc.string({ maxLength: 12 }),
    ),
    { maxLength: 6 },
  );
  fc.assert(
    fc.property(sequences(words), (steps) => {
      const host = twoNets();
      for (const line of steps) {
        try {
          host.stack.routes.ctl(line, "none");
        } catch (error) {
          if (!(error instanceof KernelError)) throw error;
        }
        host.stack.routes.format();
      }
    }),
    fuzzSteps(500),
  );
});

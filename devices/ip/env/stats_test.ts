import { assertEquals, assertMatch } from "@std/assert";
import { IpStats } from "./stats.ts";

Deno.test("IpStats.format() begins with the lines of the IP MIB in Akaros' order", () => {
  const stats = new IpStats();
  stats.inReceives = 7;
  const lines = stats.format({ forwarding: true, ttl: 255 }).split("\n");
  const names = lines.slice(0, 19).map((line) => line.split(":")[0]);
  assertEquals(
    names.join(" "),
    "Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards InDelivers " +
      "OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs FragFails FragCreates",
  );
  assertEquals(lines.slice(0, 3), ["Forwarding: 1", "DefaultTTL: 255", "InReceives: 7"]);
  assertMatch(new IpStats().format({ forwarding: false, ttl: 255 }), /^Forwarding: 2\n/);
});

Deno.test("IpStats shows each reason to drop on a line of its own, and in the sum of the MIB it belongs to", () => {
  const stats = new IpStats();
  stats.inBadChecksum = 2;
  stats.ttlExpired = 1;
  stats.inMartian = 4;
  stats.forwSameIfc = 8;
  stats.arpUnresolved = 16;
  stats.reasmOverlap = 32;
  const text = stats.format({ forwarding: false, ttl: 255 });
  const sums = ["InHdrErrors: 3", "InAddrErrors: 4", "InDiscards: 8", "OutDiscards: 16", "ReasmFails: 32"];
  for (const line of [...sums, "InBadChecksum: 2", "TtlExpired: 1"]) assertMatch(text, new RegExp(`^${line}$`, "m"));
});

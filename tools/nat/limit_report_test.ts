/** What is said about limits: when, how often, and that the figures are right. */

import { assertEquals } from "@std/assert";
import { ip } from "../../tests/kit/ip/ip_fixture.ts";
import { Counters, Reason } from "./counters.ts";
import { newGuest } from "../../tests/kit/nat/guest_maps.ts";
import { LimitReport, REPORT_MS } from "./limit_report.ts";
import { MapProto } from "./map.ts";

Deno.test("A limit is said at once, then in sum once a minute, with the last guest that met it", () => {
  const counters = new Counters();
  const report = new LimitReport(counters);
  const guest = newGuest(ip("10.0.2.15"));
  const refuse = (now: number) => {
    counters.refuse(Reason.GuestCap);
    report.note(now, guest, MapProto.Tcp);
  };
  assertEquals([report.due, report.take(1e9)], [Infinity, ""]);
  refuse(5000);
  assertEquals(report.due, 5000);
  const words = "refused as the guest has all the maps it may have";
  assertEquals(report.take(5000), `limits met: 1 ${words}; the last: tcp of 10.0.2.15`);
  for (let i = 0; i < 7; i++) refuse(6000 + i);
  counters.mapsEvicted += 5;
  counters.evictedEstablished += 2;
  report.note(7000, guest, MapProto.Udp);
  assertEquals([report.due, report.take(5000 + REPORT_MS - 1)], [5000 + REPORT_MS, ""]);
  const rest = "2 idle established connections ended for new ones, 3 other maps ended for new ones";
  assertEquals(report.take(5000 + REPORT_MS), `limits met: 7 ${words}, ${rest}; the last: udp of 10.0.2.15`);
  assertEquals([report.due, report.take(1e9)], [Infinity, ""]);
  counters.refuse(Reason.Guests);
  report.note(1e9, null, null);
  const places = "packets refused as there are too many guests, or addresses of one";
  assertEquals(report.take(1e9), `limits met: 1 ${places}`);
});

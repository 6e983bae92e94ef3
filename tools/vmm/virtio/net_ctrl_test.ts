import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../../tests/kit/check/fuzz.ts";
import { hex } from "../../../tests/kit/ip/wire.ts";
import { Feature, Features } from "./ids.ts";
import { Control, MAC_TABLE_MAX, runControl, RxFilter } from "./net_ctrl.ts";

const ALL = Features.of([Feature.CtrlVq, Feature.CtrlRx, Feature.CtrlRxExtra, Feature.CtrlMacAddr]);
const OWN = hex("52:54:00:00:00:01");
const OTHER = hex("52:54:00:00:00:02");
const GROUP = hex("33:33:00:00:00:05");
const BROADCAST = hex("ff:ff:ff:ff:ff:ff");

function ownFilter(): RxFilter {
  const filter = new RxFilter();
  filter.reset(0x525400000001);
  return filter;
}

function run(filter: RxFilter, command: number, data: Uint8Array, features: Features = ALL): boolean {
  const bytes = new Uint8Array([command >> 8, command & 255, ...data]);
  return runControl(bytes, bytes.length, filter, features);
}

/** Which of own, other, group and broadcast address are accepted. */
function accepted(filter: RxFilter): string {
  const names: [string, Uint8Array][] = [["own", OWN], ["other", OTHER], ["group", GROUP], ["all", BROADCAST]];
  return names.filter(([, mac]) => filter.accepts(mac, 0)).map(([name]) => name).join(" ");
}

/** The data of MAC_TABLE_SET. */
function tables(unicast: Uint8Array[], multicast: Uint8Array[]): Uint8Array {
  const table = (macs: Uint8Array[]) => [macs.length, 0, 0, 0, ...macs.flatMap((mac) => [...mac])];
  return new Uint8Array([...table(unicast), ...table(multicast)]);
}

Deno.test("RxFilter lets in everything until the driver sets a filter, and again after a reset", () => {
  const filter = ownFilter();
  assertEquals(accepted(filter), "own other group all");
  assert(run(filter, Control.RxPromisc, hex("00")));
  assertEquals(accepted(filter), "own all");
  filter.reset(filter.mac);
  assertEquals(accepted(filter), "own other group all");
});

Deno.test("runControl() sets each receive mode (5.1.6.5.1)", () => {
  const cases: [number, string][] = [
    [Control.RxAllMulti, "own group all"],
    [Control.RxAllUni, "own other all"],
    [Control.RxNoUni, "all"],
    [Control.RxNoMulti, "own all"],
    [Control.RxNoBcast, "own"],
  ];
  for (const [command, expected] of cases) {
    const filter = ownFilter();
    filter.promiscuous = false;
    assert(run(filter, command, hex("01")));
    assertEquals(accepted(filter), expected);
    assert(run(filter, command, hex("00")));
    assertEquals(accepted(filter), "own all");
  }
});

Deno.test("runControl() sets the address tables (5.1.6.5.2), and lets in all of a kind that has too many", () => {
  const filter = ownFilter();
  filter.promiscuous = false;
  assert(run(filter, Control.MacTableSet, tables([OTHER], [])));
  assertEquals(accepted(filter), "own other all");
  assert(run(filter, Control.MacTableSet, tables([], [GROUP])));
  assertEquals(accepted(filter), "own group all");
  const many = Array.from({ length: MAC_TABLE_MAX + 1 }, (_, i) => hex("01:00:5e:00:01:" + (i + 16).toString(16)));
  assert(run(filter, Control.MacTableSet, tables([], many)));
  assertEquals(accepted(filter), "own group all");
  assert(run(filter, Control.MacTableSet, tables([], [])));
  assertEquals(accepted(filter), "own all");
});

Deno.test("runControl() sets the card's address, and refuses a group or the zero address", () => {
  const filter = ownFilter();
  filter.promiscuous = false;
  assert(run(filter, Control.MacAddrSet, OTHER));
  assertEquals(accepted(filter), "other all");
  assertEquals(run(filter, Control.MacAddrSet, GROUP), false);
  assertEquals(run(filter, Control.MacAddrSet, new Uint8Array(6)), false);
  assertEquals(run(filter, Control.MacAddrSet, OTHER.subarray(1)), false);
  assertEquals(accepted(filter), "other all");
});

Deno.test("runControl() refuses what was not negotiated, and what has another length", () => {
  const filter = ownFilter();
  const none = Features.of([Feature.CtrlVq]);
  for (const command of [0, 1, 2, 3, 4, 5]) assertEquals(run(filter, command, hex("00"), none), false);
  assertEquals(run(filter, Control.MacTableSet, tables([], []), none), false);
  assertEquals(run(filter, Control.MacAddrSet, OTHER, none), false);
  assertEquals(run(filter, Control.RxNoUni, hex("01"), Features.of([Feature.CtrlRx])), false);
  for (const data of ["", "00 00"]) assertEquals(run(filter, Control.RxPromisc, hex(data)), false);
  for (const data of ["", "01000000", "00000000", "ffffffff", "00000000 00000000 00"]) {
    assertEquals(run(filter, Control.MacTableSet, hex(data)), false);
  }
  assertEquals(run(filter, Control.MacTableSet, tables([GROUP], [])), false);
  assertEquals(run(filter, Control.MacTableSet, tables([], [OTHER])), false);
  for (const command of [6, 0xff, 0x102, 0x200, 0x400, 0xffff]) assertEquals(run(filter, command, hex("01")), false);
  assertEquals(accepted(filter), "own other group all");
});

Deno.test("runControl() never throws, and keeps tables small", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 2, maxLength: 60 }), fc.nat(1), (bytes, kind) => {
      bytes[0]! &= 1;
      if (kind === 1) bytes[1]! &= 3;
      const filter = ownFilter();
      runControl(bytes, bytes.length, filter, ALL);
      accepted(filter);
    }),
    fuzz(300),
  );
});

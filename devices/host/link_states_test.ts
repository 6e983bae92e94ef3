import { assertEquals } from "@std/assert";
import { linkStates } from "./link_states.ts";

/** A message RTM_NEWLINK: header, ifinfomsg, then IFLA_IFNAME "a" and IFLA_MTU. */
function newLink(index: number, flags: number, mtu: number): number[] {
  const mtuBytes = [mtu & 255, mtu >> 8, 0, 0];
  return [
    ...[48, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ...[0, 0, 1, 0, index, 0, 0, 0, flags, 0, 0, 0, 0, 0, 0, 0],
    ...[6, 0, 3, 0, 97, 0, 0, 0],
    ...[8, 0, 4, 0, ...mtuBytes],
  ];
}

Deno.test("linkStates() reads every change of the one interface, in order", () => {
  const done = [20, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
  const messages = [...newLink(7, 0x42, 1500), ...done, ...newLink(8, 0x43, 9000), ...newLink(7, 0x43, 1200)];
  const states = linkStates(new Uint8Array(messages), 7);
  assertEquals(states, [{ up: false, mtu: 1500 }, { up: true, mtu: 1200 }]);
});

Deno.test("linkStates() stops at an impossible length", () => {
  const whole = newLink(7, 1, 1500);
  for (let length = 0; length < whole.length; length++) {
    assertEquals(linkStates(new Uint8Array(whole.slice(0, length)), 7), [], `cut after ${length} bytes`);
  }
  for (const [at, value] of [[0, 0], [0, 15], [0, 255], [32, 0], [32, 3], [32, 255], [40, 7]] as const) {
    const bad = new Uint8Array(whole);
    bad[at] = value;
    assertEquals(linkStates(bad, 7), [], `byte ${at} is ${value}`);
  }
});

/** Forwards that are ports of the machine behind the uplink. */

import { assertEquals, assertThrows } from "@std/assert";
import { KernelError } from "../../kernel/error.ts";
import { natKit } from "../../tests/kit/nat/steps.ts";
import { runNatCommand } from "./control.ts";
import { formatForward, type ForwardDoors } from "./forward.ts";

/** Doors that open all but the machine's port 22, and what they were asked for. */
function doors(): ForwardDoors & { readonly asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    open(spec, port) {
      if (spec.hostPort === 22) throw new KernelError("EACCES", "Cannot forward port 22 of this machine: EACCES");
      asked.push(`open ${formatForward(spec)} at ${port}`);
    },
    close: (spec) => void asked.push(`close ${formatForward(spec)}`),
    counters: () => ({ "tcp-in": 7 }),
  };
}

Deno.test("A forward opens the machine's port, at any of its addresses, and closes it", () => {
  const opened = doors();
  const { nat } = natKit({ doors: opened });
  nat.addForward("tcp:127.0.0.1:8080:80");
  nat.addForward("udp:5000-5009:5000");
  nat.removeForward("tcp:127.0.0.1:8080:80");
  assertEquals(opened.asked, [
    "open tcp:127.0.0.1:8080:80 at 8080",
    "open udp:5000-5009:5000 at 5000",
    "close tcp:127.0.0.1:8080:80",
  ]);
});

Deno.test("One port of two addresses leads to two ports of the host kernel", () => {
  const opened = doors();
  const { nat } = natKit({ doors: opened });
  nat.addForward("tcp:192.0.2.1:8080:80");
  nat.addForward("tcp:192.0.2.2:8080:81");
  const ports = opened.asked.map((line) => Number(line.split(" at ")[1]));
  assertEquals({ first: ports[0], isSame: ports[0] === ports[1] }, { first: 8080, isSame: false });
  assertThrows(() => nat.addForward("tcp:192.0.2.2:8080:82"), KernelError, "has the port");
});

Deno.test("A port that the machine refuses is no forward, and its port of the host kernel is free again", () => {
  const opened = doors();
  const { nat } = natKit({ doors: opened });
  assertThrows(() => nat.addForward("tcp:22:22"), KernelError, "port 22 of this machine: EACCES");
  assertEquals({ list: nat.forwards.list.length, asked: opened.asked }, { list: 0, asked: [] });
  nat.addForward("tcp:23:22");
  assertEquals(runNatCommand(nat, "stats", 0).includes("\nuplink-tcp-in 7\n"), true);
});

/** Commands by the pipe in `#srv`, carried out by the test. */

import { assertEquals, assertThrows } from "@std/assert";
import { KernelError } from "../../kernel/error.ts";
import { EventQueue } from "../../kernel/fd_tap.ts";
import { Open } from "../../kernel/qid.ts";
import { nearHost } from "../../tests/kit/uplink/tcp_world.ts";
import { ControlPipe } from "./control_pipe.ts";

Deno.test("Each block is a command with an answer of its own, and after sixteen others have their turn", async () => {
  const { host } = await nearHost();
  await using world = host.world;
  const proc = host.spawn("nat");
  const events = new EventQueue();
  const ran: string[] = [];
  const run = (text: string) => `${ran.push(text)}: ${text}`;
  const pipe = new ControlPipe({ proc, events, run, name: "control" });
  const user = host.spawn("user");
  const fd = await user.open("#srv/control", Open.ReadWrite);
  for (let i = 0; i < 20; i++) await user.blockwrite(fd, new TextEncoder().encode(`list ${i}`));
  assertEquals(events.poll()?.data, null);
  pipe.serve();
  assertEquals({ ran: ran.length, more: events.poll() !== null }, { ran: 16, more: true });
  pipe.serve();
  assertEquals({ ran: ran.length, more: events.poll() }, { ran: 20, more: null });
  const answer = await user.blockread(fd);
  assertEquals(new TextDecoder().decode(answer!.bytes()), "1: list 0");
  assertThrows(() => new ControlPipe({ proc, events, run, name: "control" }), KernelError);
  pipe.close();
  assertThrows(() => user.sys.open("#srv/control", Open.ReadWrite), KernelError);
  assertEquals(world.hosts.length, 1);
});

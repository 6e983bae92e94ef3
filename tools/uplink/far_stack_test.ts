/** The stack that stands for every other host, with a real host kernel before it. */

import { assertEquals } from "@std/assert";
import { Block } from "../../kernel/block.ts";
import { ENDS4, ENDS6, nearHost, TCP_LINKS } from "../../tests/kit/uplink/tcp_world.ts";
import type { FarConv } from "./far_conv.ts";
import { FarStack } from "./far_stack.ts";

for (const { remote, near } of TCP_LINKS) {
  Deno.test(`A call to ${remote} is taken by the far stack, which answers nothing else`, async () => {
    const { host, link } = await nearHost();
    await using world = host.world;
    link.onPacket = (block) => link.toFar(block);
    const calls: FarConv[] = [];
    const events: number[] = [];
    const owner = { call: (conv: FarConv) => void calls.push(conv), event: (data: number) => void events.push(data) };
    const options = { proc: host.spawn("far"), stack: 1, port: link.far.name, v4: ENDS4, v6: ENDS6 };
    const far = new FarStack(options, owner);
    const conn = await host.connect({ hostname: remote, port: 4711 });
    const conv = calls[0]!;
    assertEquals(conv.text("local"), `${remote}!4711\n`);
    assertEquals(conv.text("remote"), `${near}!${conn.localAddr.port}\n`);
    far.watch(conv);
    assertEquals(conv.write(Block.from(new Uint8Array([1, 2, 3]))), true);
    assertEquals(await conn.read(new Uint8Array(9)), 3);
    assertEquals({ isWatched: events.includes(conv.data), unsent: conv.unsent <= 3 }, {
      isWatched: true,
      unsent: true,
    });
    conv.close();
    conn.close();
    far.close();
    assertEquals(world.hosts.length, 1);
  });
}

/**
 * TCP over links and paths of every size: whole segments that fit, and data that arrive (RFC 9293 3.7.1, RFC 6691).
 */

import { assertEquals, assertLessOrEqual } from "@std/assert";
import { Cable } from "../../../devices/ether/cable.ts";
import { Mount } from "../../../kernel/namespace.ts";
import type { Proc } from "../../../kernel/proc.ts";
import { SeededRandom } from "../../../kernel/random.ts";
import { announce, dial, hangUp, listen } from "../../../kernel/dial.ts";
import { boot, type Host } from "../../../tools/boot/boot.ts";
import { advance, User } from "../../kit/ip/story.ts";
import { call } from "../../kit/tcp/story.ts";

const PATTERN = Uint8Array.from({ length: 6000 }, (_, i) => (i * 7 + (i >> 8)) & 0xff);
/** Bytes of an Ethernet header, which `mtu` on ctl counts. */
const ETHER = 14;

async function readAll(proc: Proc, fd: number): Promise<Uint8Array> {
  const parts: number[] = [];
  const buf = new Uint8Array(1 << 16);
  for (let count = await proc.read(fd, buf); count > 0; count = await proc.read(fd, buf)) {
    for (let i = 0; i < count; i++) parts.push(buf[i]!);
  }
  return Uint8Array.from(parts);
}

async function writeAll(proc: Proc, fd: number, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await proc.write(fd, bytes.subarray(at));
}

/** Sends the pattern both ways between `here` and `there`; `midway` happens when half has gone. */
async function exchange(here: Host, there: Host, address: string, midway: () => void = () => {}): Promise<string> {
  const [client, server] = [here.spawn("client"), there.spawn("server")];
  const listener = await announce(server, "tcp!*!80");
  const [near, far] = await Promise.all([dial(client, `tcp!${address}!80`), listen(server, listener)]);
  const half = PATTERN.length / 2;
  const send = async (proc: Proc, data: number, ctl: number) => {
    await writeAll(proc, data, PATTERN.subarray(0, half));
    midway();
    await writeAll(proc, data, PATTERN.subarray(half));
    await proc.write(ctl, "shutdown wr");
  };
  const sending = Promise.all([send(client, near.data, near.ctl), send(server, far.data, far.ctl)]);
  const got = await Promise.all([readAll(client, near.data), readAll(server, far.data)]);
  await sending;
  assertEquals(got, [PATTERN, PATTERN]);
  const status = await client.readText(`${near.dir}/status`);
  hangUp(client, near);
  hangUp(server, far);
  hangUp(server, listener);
  return status;
}

/** Fragments that a host has made, and packets that it could not send. */
function fragments(host: Host): { created: number; failed: number } {
  const { stats } = host.ip.stack(0);
  return { created: stats.fragCreates, failed: stats.fragFails };
}

const NONE = { created: 0, failed: 0 };

for (const loss of [0, 0.03]) {
  Deno.test(`data cross links of 68 to 88 bytes in whole segments, with a loss of ${100 * loss} %`, async () => {
    for (const mtu of [68, 69, 72, 76, 80, 84, 87, 88]) {
      await using here = await boot({ mtu, seed: mtu, cable: { loss, delayMs: 1 } });
      await using there = await here.neighbor();
      const status = await exchange(here, there, "10.0.0.2");
      // 20 bytes of IP, 20 of TCP, 12 of timestamps.
      assertEquals(Number(/ mss (\d+)/.exec(status)![1]), mtu - 52);
      assertEquals({ mtu, here: fragments(here), there: fragments(there) }, { mtu, here: NONE, there: NONE });
    }
  });
}

Deno.test("without timestamps a link of 72 bytes takes segments of 32", async () => {
  await using here = await boot({ mtu: 72, seed: 1 });
  await using there = await here.neighbor();
  const server = new User(there);
  const client = new User(here);
  const listener = server.conv("tcp", "timestamps off", "announce *!80");
  const conv = call(client, "10.0.0.2!80");
  advance(here, 1000);
  assertEquals(/^Established .* mss (\d+)/.exec(conv.text("status"))![1], "32");
  conv.close();
  listener.close();
});

for (const loss of [0, 0.03]) {
  Deno.test(`a link that becomes smaller makes segments smaller, with a loss of ${100 * loss} %`, async () => {
    for (const mtu of [68, 72, 576]) {
      await using here = await boot({ seed: mtu, cable: { loss, delayMs: 1 } });
      await using there = await here.neighbor();
      const shrink = () => {
        for (const host of [here, there]) new User(host).command("/net/ipifc/1/ctl", `mtu ${mtu + ETHER}`);
      };
      const status = await exchange(here, there, "10.0.0.2", shrink);
      assertLessOrEqual(Number(/ mss (\d+)/.exec(status)![1]), mtu - 52);
      assertEquals([fragments(here).created, fragments(there).created], [0, 0]);
    }
  });
}

/** Two hosts on usual links, and between them two routers and a net whose packets have at most `mtu` bytes. */
async function narrow(mtu: number): Promise<{ here: Host; there: Host; routers: readonly Host[] }> {
  const here = await boot({ address: "10.0.0.1/24", gateway: "10.0.0.254", seed: mtu });
  const cables = [here.cable!, new Cable(here.clock, new SeededRandom(1)), new Cable(here.clock, new SeededRandom(2))];
  const attach = (net: number, station: number) =>
    cables[net]!.attach({
      name: `${net}.${station}`,
      mac: new Uint8Array([2, 0, 0, 0, net, station]),
      mtu: net === 1 ? mtu : 1500,
    });
  const routers: Host[] = [];
  for (const net of [0, 1]) {
    const host = await here.neighbor({ address: `10.0.${net}.254/24`, port: attach(net, 254) });
    const router = new User(host);
    host.ether.attachPort(attach(net + 1, 253));
    router.proc.sys.nbind("#ether.1", "/net", Mount.After);
    router.conv("ipifc", "bind ether /net/ether1", `add 10.0.${net + 1}.253 /24`, "iprouting on").close();
    const route = net === 0 ? "add 10.0.2.0 /24 10.0.1.254" : "add 10.0.0.0 /24 10.0.1.253";
    router.command("/net/iproute", route);
    routers.push(host);
  }
  const there = await here.neighbor({ address: "10.0.2.1/24", gateway: "10.0.2.253", port: attach(2, 1) });
  return { here, there, routers };
}

Deno.test("data cross a net of any size on the way: below 552 bytes its routers may cut the segments", async () => {
  for (const mtu of [68, 72, 296, 551, 552, 1000]) {
    const { here, there, routers } = await narrow(mtu);
    await using _ = here.world;
    await exchange(here, there, "10.0.2.1");
    const cut = routers.map((router) => fragments(router).created > 0);
    assertEquals({ mtu, cut, ends: fragments(here).created + fragments(there).created }, {
      mtu,
      cut: [mtu < 552, mtu < 552],
      ends: 0,
    });
  }
});

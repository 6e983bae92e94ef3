/** `#ip` through system calls: a whole kernel with a loopback interface, programs on it. */

import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import type { Block } from "../../../kernel/block.ts";
import { getPort, hangUp, listen } from "../../../kernel/dial.ts";
import { KernelError } from "../../../kernel/error.ts";
import { EventQueue, TapEvent } from "../../../kernel/fd_tap.ts";
import type { Kernel } from "../../../kernel/kernel.ts";
import type { Proc } from "../../../kernel/proc.ts";
import { Open } from "../../../kernel/qid.ts";
import { AGAIN } from "../../../kernel/sys.ts";
import { Tap } from "../../../kernel/syscall_table.ts";
import { get16 } from "../../../kernel/wire/bytes.ts";
import { icmpEchoId } from "../../../kernel/wire/icmp.ts";
import { ipv4Dst, ipv4Src, setIpv4Dst, setIpv4Src } from "../../../kernel/wire/ipv4.ts";
import { setUdpDstPort, setUdpSrcPort, udpDstPort, udpSrcPort } from "../../../kernel/wire/udp.ts";
import { pattern, udpPacket } from "../../kit/ip/ip_fixture.ts";
import { testKernel } from "../../kit/host/test_kernel.ts";
import { IpDev } from "../../../devices/ip/files/dev_ip.ts";

/** A machine whose only interface is loopback, with 127.0.0.1 and 10.1.1.1. */
async function machine(): Promise<{ kernel: Kernel; proc: Proc }> {
  const kernel = testKernel();
  kernel.addDevice(new IpDev(kernel));
  const proc = kernel.spawn("test");
  const ctl = await proc.open("#ip/ipifc/clone", Open.ReadWrite);
  for (const command of ["bind loopback /dev/null", "add 127.0.0.1 255.0.0.0", "add 10.1.1.1 255.255.255.255"]) {
    await proc.write(ctl, command);
  }
  return { kernel, proc };
}

/** Turns a UDP packet round. */
function swapEnds(block: Block): Block {
  const { buf, rp } = block;
  const [src, dst] = [ipv4Src(buf, rp), ipv4Dst(buf, rp)];
  const [from, to] = [udpSrcPort(buf, rp + 20), udpDstPort(buf, rp + 20)];
  setIpv4Src(buf, rp, dst);
  setIpv4Dst(buf, rp, src);
  setUdpSrcPort(buf, rp + 20, to);
  setUdpDstPort(buf, rp + 20, from);
  return block;
}

const codeOf = (work: () => unknown) => assertThrows(work, KernelError).code;

Deno.test("A program echoes whole packets of a bypassed port to one that knows nothing of it", async () => {
  const { kernel, proc } = await machine();
  const echo = kernel.spawn("echo");
  const server = await echo.bypass("#ip/udp!*!7");
  const serving = (async () => {
    for await (const packet of echo.blocks(server.data)) await echo.blockwrite(server.data, swapEnds(packet));
  })();
  const client = await proc.dial("#ip/udp!10.1.1.1!7");
  for (const size of [0, 1, 1472, 1473, 9000, 65507]) {
    await proc.blockwrite(client.data, pattern(size));
    const answer = await proc.blockread(client.data);
    assertEquals(answer?.bytes(), pattern(size));
  }
  assertMatch(
    await proc.readText(`${server.dir}/status`),
    /^Bypassed local ::!7 .* in 6 drops 0 out 6 refused short 0/,
  );
  hangUp(proc, client);
  hangUp(echo, server);
  await serving;
  kernel.shutdown();
});

Deno.test("blockread of a bypassed port sleeps, answers EAGAIN, and leaves what is too long queued", async () => {
  const { kernel, proc } = await machine();
  const server = await proc.bypass("#ip/udp!*!7", { flags: Open.NonBlock });
  assertEquals(proc.sys.blockread(server.data), AGAIN);
  assertEquals((await assertRejects(() => proc.blockread(server.data), KernelError)).code, "EAGAIN");
  const client = await proc.dial("#ip/udp!10.1.1.1!7");
  for (const size of [1, 2, 3]) proc.sys.blockwrite(client.data, pattern(size));
  assertEquals(codeOf(() => proc.sys.blockread(server.data, 28)), "EMSGSIZE");
  const blocks = proc.sys.blockreadv(server.data, 8);
  assertEquals((blocks as Block[]).map((block) => block.length), [29, 30, 31]);
  kernel.shutdown();
});

Deno.test("blockwritev returns how many packets were taken, and fails only if the first was refused", async () => {
  const { kernel, proc } = await machine();
  const server = await proc.bypass("#ip/udp!*!7");
  const good = () => udpPacket({ src: "10.1.1.1", dst: "10.1.1.1", srcPort: 7, dstPort: 8 });
  const bad = udpPacket({ src: "10.1.1.1", dst: "10.1.1.1", srcPort: 9, dstPort: 8 });
  assertEquals(proc.sys.blockwritev(server.data, [good(), good(), bad, good()]), 2);
  assertEquals(codeOf(() => proc.sys.blockwritev(server.data, [bad, good()])), "EPERM");
  kernel.shutdown();
});

Deno.test("A tap on data fires for each edge and can get the level at once", async () => {
  const { kernel, proc } = await machine();
  const ctl = await proc.open("#ip/udp/clone", Open.ReadWrite);
  const data = await proc.open("#ip/udp/0/data", Open.ReadWrite | Open.NonBlock);
  const events = new EventQueue();
  proc.sys.tapFds([{ fd: data, command: Tap.Add, filter: TapEvent.Readable, queue: events, id: 123456, level: true }]);
  await proc.write(ctl, "bypass 7");
  assertEquals(events.poll(), null);
  const client = await proc.dial("#ip/udp!10.1.1.1!7");
  await proc.write(client.data, pattern(3));
  const event = events.poll();
  assertEquals([event?.id, event?.events], [123456, TapEvent.Readable]);
  kernel.shutdown();
});

Deno.test("Calls of announced udp conversations are taken by listen; none is EAGAIN without blocking", async () => {
  const { kernel, proc } = await machine();
  const server = await proc.announce("#ip/udp!*!7");
  await assertRejects(() => listen(proc, server, { flags: Open.NonBlock }), KernelError);
  const waiting = listen(proc, server);
  const client = await proc.dial("#ip/udp!127.0.0.1!7");
  await proc.write(client.data, "hello");
  const call = await waiting;
  const buf = new Uint8Array(100);
  assertEquals(await proc.read(call.data, buf), 5);
  await proc.write(call.data, "welcome");
  assertEquals(await proc.read(client.data, buf), 7);
  assertEquals(await getPort(proc, call.dir, "remote"), client.port);
  kernel.shutdown();
});

Deno.test("A closed port refuses: the next read of the dialled conversation reports it", async () => {
  const { kernel, proc } = await machine();
  const client = await proc.dial("#ip/udp!10.1.1.1!7");
  await proc.write(client.data, "anybody?");
  const error = await assertRejects(() => proc.read(client.data, new Uint8Array(9)), KernelError);
  assertEquals([error.code, error.message], ["EPIPE", "Connection refused: port unreachable"]);
  kernel.shutdown();
});

Deno.test("ping of our own address is answered, and a bypassed identifier by its owner", async () => {
  const { kernel, proc } = await machine();
  const ping = await proc.dial("#ip/icmp!10.1.1.1!1");
  const request = new Uint8Array(36);
  request[20] = 8;
  await proc.write(ping.data, request);
  const reply = await proc.blockread(ping.data);
  assertEquals([reply!.length, icmpEchoId(reply!.buf, reply!.rp + 20)], [36, ping.port]);
  const owner = await proc.bypass(`#ip/icmp!*!77`);
  const other = await proc.dial("#ip/icmp!127.0.0.1!1", { local: "77" });
  await proc.write(other.data, request);
  const taken = await proc.blockread(owner.data);
  assertEquals([taken!.buf[taken!.rp + 20], get16(taken!.buf, taken!.rp + 24)], [8, 77]);
  kernel.shutdown();
});

Deno.test("Ending every process gives all conversations, ports and entries back", async () => {
  const { kernel, proc } = await machine();
  for (const address of ["#ip/udp!*!7", "#ip/icmp!*!7", "#ip/raw!*!47"]) await proc.bypass(address);
  await proc.announce("#ip/udp!*!8");
  const dev = (proc.fds.get(0).chan.dev) as IpDev;
  kernel.shutdown();
  for (const space of dev.stack(0).protos.map((proto) => dev.stack(0).space(proto))) {
    if (space.proto.name === "ipifc") continue;
    assertEquals([space.table.length, space.ports.length], [0, 0]);
    assert(space.convs.every((conv) => conv.inUse === 0));
  }
  assertEquals(kernel.clock.timerCount, 0);
});

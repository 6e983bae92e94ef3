/**
 * TUN and TAP against Linux itself, each test in a network namespace of its own.
 *
 * @module
 */

import { assert, assertEquals, assertFalse, assertStringIncludes } from "@std/assert";
import { RealClock } from "../../../devices/host/clock.ts";
import { LinuxSocket } from "../../../devices/host/linux_socket.ts";
import { createNetns } from "../../../devices/host/netns.ts";
import { pause } from "../../../devices/host/pause.ts";
import { Reactor } from "../../../devices/host/reactor.ts";
import { openTap, openTun, type TapPort, type TunPort } from "../../../devices/host/tun.ts";
import { Block } from "../../../kernel/block.ts";
import { get16, put16 } from "../../../kernel/wire/bytes.ts";
import { netnsExec } from "../../kit/host/netns.ts";
import { machineTest } from "../../kit/check/skip.ts";
import {
  datagram,
  expectBlock,
  expectMessage,
  framed,
  isUdp,
  LINUX,
  LINUX_IP,
  LINUX_MAC,
  OUR_IP,
  OURS,
  PORT_MAC,
  sum16,
} from "../../kit/host/tun.ts";

/** Answers an echo request with its own bytes: ends swapped, type 8 made 0, checksum brought along. */
function pong(port: TunPort, block: Block): void {
  const { buf, rp } = block;
  if (buf[rp] !== 0x45 || buf[rp + 9] !== 1 || buf[rp + 20] !== 8) return block.free();
  const source = buf.slice(rp + 12, rp + 16);
  buf.copyWithin(rp + 12, rp + 16, rp + 20);
  buf.set(source, rp + 16);
  buf[rp + 20] = 0;
  put16(buf, rp + 22, sum16(new Uint8Array([buf[rp + 22]!, buf[rp + 23]!]), 0x0800));
  port.transmit(block);
}

/** A port under a running reactor, until `work` is done. */
async function underReactor(port: TunPort | TapPort, work: (reactor: Reactor) => Promise<void>): Promise<void> {
  const reactor = new Reactor({ clock: new RealClock() });
  reactor.add(port);
  reactor.start();
  try {
    await work(reactor);
  } finally {
    port.close();
    await reactor.stop();
  }
}

machineTest("openTun() is a TUN that Linux can ping", ["root", "tun", "netns", "ffi", "tool:ping"], async () => {
  using tun = openTun({ address: `${LINUX}/24`, netns: "new" });
  tun.receive = (block) => pong(tun, block);
  await underReactor(tun, async () => {
    const few = await netnsExec(tun.netns!, ["ping", "-c", "3", "-i", "0.05", OURS]);
    assertStringIncludes(few.text, "3 packets transmitted, 3 received");
    const many = await netnsExec(tun.netns!, ["ping", "-q", "-f", "-l", "50", "-c", "20000", "-s", "1400", OURS]);
    assertStringIncludes(many.text, "20000 packets transmitted, 20000 received");
    assert(tun.counters.transmitted >= 20_003);
    assertEquals(tun.counters.transmitDrops, 0);
  });
});

machineTest("openTap() carries frames both ways", ["root", "tun", "netns", "ffi"], async () => {
  using tap = openTap({ address: `${LINUX}/24`, netns: "new", mac: LINUX_MAC, portMac: PORT_MAC });
  assertEquals([tap.kind, tap.mtu, tap.mac, tap.device.mac], ["frame", 1500, PORT_MAC, LINUX_MAC]);
  const socket = new LinuxSocket("udp", tap.netns);
  socket.bind(LINUX, 4000);
  socket.sendTo(new TextEncoder().encode("hello"), OURS, 7);
  const request = await expectBlock(tap, (block) => get16(block.buf, block.rp + 12) === 0x0806);
  assertEquals(request.bytes().subarray(0, 12), new Uint8Array([255, 255, 255, 255, 255, 255, ...LINUX_MAC]));
  const reply = [0, 1, 8, 0, 6, 4, 0, 2, ...PORT_MAC, ...OUR_IP, ...LINUX_MAC, ...LINUX_IP];
  assert(tap.transmit(Block.from(framed(new Uint8Array(reply), 0x0806))));
  const hello = await expectBlock(tap, (block) => isUdp(block, block.rp + 14));
  assertEquals(new TextDecoder().decode(hello.bytes().subarray(42)), "hello");
  assert(hello.headroom >= 128);
  for (const size of [0, 1, 1472]) {
    assert(tap.transmit(Block.from(framed(datagram(4000, new Uint8Array(size).fill(size))))));
    const { bytes, addr, port } = await expectMessage(socket);
    assertEquals([bytes, addr, port], [new Uint8Array(size).fill(size), OURS, 7]);
  }
  assertFalse(tap.transmit(Block.from(new Uint8Array(13))), "shorter than an Ethernet header");
  assertEquals([tap.counters.transmitted, tap.counters.transmitDrops], [4, 1]);
  socket.close();
});

machineTest("openTap() sets addresses of both versions, in a namespace by name or path", [
  "root",
  "tun",
  "netns",
  "ffi",
], async () => {
  using netns = createNetns(`akarino-addr-${Deno.pid}`);
  for (const where of [netns.name, netns.path]) {
    using tap = openTap({ netns: where, address: [`${LINUX}/24`, "fd00:99::1/64", "fd00:98::1/48"], mtu: 9000 });
    const { text } = await netnsExec(netns, ["cat", "/proc/net/if_inet6", "/proc/net/fib_trie", "/proc/net/dev"]);
    assertStringIncludes(text, "fd000099000000000000000000000001");
    assertStringIncludes(text, "fd000098000000000000000000000001");
    assertStringIncludes(text, "+-- 10.99.0.0/24");
    assertStringIncludes(text, `${tap.name}:`);
    assertEquals(tap.mtu, 9000);
  }
});

machineTest("transmit() takes a block with borrowed extents", ["root", "tun", "netns", "ffi"], async () => {
  using tun = openTun({ address: `${LINUX}/24`, netns: "new", mtu: 20_000 });
  const socket = new LinuxSocket("udp", tun.netns);
  socket.bind(LINUX, 4000);
  for (const size of [100, 19_000]) {
    const guest = new Uint8Array(20_000).map((_, i) => i);
    const whole = datagram(4000, guest.subarray(0, size));
    const block = Block.from(whole.subarray(0, 30));
    block.extents = [whole.subarray(30, 33), whole.subarray(33, 90), whole.subarray(90)];
    assert(tun.transmit(block));
    assertEquals((await expectMessage(socket)).bytes, guest.subarray(0, size));
  }
  assertEquals(tun.counters.transmittedBytes, 100 + 28 + 19_000 + 28);
  socket.close();
});

machineTest(
  "an interface that goes down is an event, and up again resumes",
  ["root", "tun", "netns", "ffi"],
  async () => {
    using tun = openTun({ address: `${LINUX}/24`, netns: "new" });
    const socket = new LinuxSocket("udp", tun.netns);
    const events: boolean[] = [];
    tun.onLink = (up) => events.push(up);
    socket.bind(LINUX, 4000);
    const send = () => tun.transmit(Block.from(datagram(4000, new Uint8Array(8))));
    assert(send());
    await expectMessage(socket);
    tun.device.up = false;
    assertFalse(send());
    assertFalse(send());
    assertFalse(tun.link);
    assert(tun.drain(100) >= 0);
    tun.device.up = true;
    assert(tun.link);
    assert(send());
    await expectMessage(socket);
    tun.device.up = false;
    assertFalse(send());
    tun.device.up = true;
    assert(send(), "a port that is not asked for its link resumes too");
    assertEquals(events, [false, true, false, true]);
    assertEquals([...tun.transmitErrors], [[5, 3]]);
    socket.close();
  },
);

machineTest("a device that is deleted is gone for good", ["root", "tun", "netns", "ffi", "tool:ip"], async () => {
  using tun = openTun({ netns: "new", name: "doomed" });
  await underReactor(tun, async (reactor) => {
    await netnsExec(tun.netns!, ["ip", "link", "delete", "doomed"]);
    while (tun.link) await pause();
    assertEquals(tun.drain(1), -1);
    assertFalse(tun.transmit(Block.from(datagram(1, new Uint8Array(1)))));
    await new Promise((resolve) => setTimeout(resolve, 20));
    const { turns } = reactor.counters;
    await new Promise((resolve) => setTimeout(resolve, 30));
    assertEquals(reactor.counters.turns, turns, "the reactor does not go round and round");
  });
});

machineTest("a TUN under load loses nothing that its queue holds", ["root", "tun", "netns", "ffi"], async () => {
  using tun = openTun({ address: `${LINUX}/24`, netns: "new", queueLength: 1000 });
  const socket = new LinuxSocket("udp", tun.netns);
  let seen = 0;
  let next = 0;
  tun.receive = (block) => {
    if (isUdp(block)) {
      seen++;
      assertEquals(get16(block.buf, block.rp + 28), next++ & 0xffff);
    }
    block.free();
  };
  await underReactor(tun, async () => {
    const payload = new Uint8Array(1400);
    for (let round = 0; round < 100; round++) {
      for (let i = 0; i < 500; i++) {
        put16(payload, 0, round * 500 + i);
        assert(socket.sendTo(payload, OURS, 7));
      }
      while (seen < (round + 1) * 500) await pause();
    }
    socket.close();
  });
  assertEquals(seen, 50_000);
});

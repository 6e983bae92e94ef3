/**
 * TUN and TAP against Linux itself, each test in a network namespace of its own.
 *
 * @module
 */

import { assert, assertEquals, assertFalse, assertNotEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { RealClock } from "../../../devices/host/clock.ts";
import { HostError, libc, withLibc } from "../../../devices/host/libc.ts";
import { LinuxSocket, type Received } from "../../../devices/host/linux_socket.ts";
import { createNetns, openNetns } from "../../../devices/host/netns.ts";
import { pause } from "../../../devices/host/pause.ts";
import { Reactor } from "../../../devices/host/reactor.ts";
import { openTap, openTun, type TapPort, type TunPort } from "../../../devices/host/tun.ts";
import { Block, Checksum, Segment } from "../../../kernel/block.ts";
import { get16, put16 } from "../../../kernel/wire/bytes.ts";
import { netnsExec } from "../../kit/host/netns.ts";
import { aloneTest, machineTest } from "../../kit/check/skip.ts";

const LINUX = "10.99.0.1";
const OURS = "10.99.0.2";
const LINUX_IP = [10, 99, 0, 1];
const OUR_IP = [10, 99, 0, 2];
const PORT_MAC = new Uint8Array([2, 0, 0, 0, 0, 2]);
const LINUX_MAC = new Uint8Array([2, 0, 0, 0, 0, 1]);

/** Sum of 16-bit words, folded: not yet complemented. */
function sum16(bytes: Uint8Array, start = 0): number {
  let sum = start;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

/** A UDP datagram from us to Linux' `port`; the checksum is finished, or owed when `owed`. */
function datagram(port: number, payload: Uint8Array, owed = false): Uint8Array {
  const length = 28 + payload.length;
  const packet = new Uint8Array(length);
  packet.set([0x45, 0, length >> 8, length, 0, 0, 0, 0, 64, 17, 0, 0, ...OUR_IP, ...LINUX_IP]);
  put16(packet, 10, ~sum16(packet.subarray(0, 20)));
  packet.set([0, 7, port >> 8, port, (length - 20) >> 8, length - 20, 0, 0], 20);
  packet.set(payload, 28);
  const pseudo = sum16(packet.subarray(12, 20), 17 + length - 20);
  put16(packet, 26, owed ? pseudo : ~sum16(packet.subarray(20), pseudo));
  return packet;
}

function framed(packet: Uint8Array, type = 0x0800): Uint8Array {
  return new Uint8Array([...LINUX_MAC, ...PORT_MAC, type >> 8, type, ...packet]);
}

/** Whether an IPv4 packet at `at` carries UDP to our port 7. */
function isUdp(block: Block, at = block.rp): boolean {
  return block.buf[at] === 0x45 && block.buf[at + 9] === 17 && get16(block.buf, at + 22) === 7;
}

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

/** Drains until a block that `wanted` takes is there; the others are dropped. */
async function expectBlock(port: TunPort | TapPort, wanted: (block: Block) => boolean): Promise<Block> {
  let found: Block | null = null;
  port.receive = (block) => {
    if (found === null && wanted(block)) found = block;
    else block.free();
  };
  for (let i = 0; i < 1000 && found === null; i++) {
    port.drain(64);
    await pause();
  }
  port.receive = null;
  assert(found !== null, "the expected packet came");
  return found;
}

/** The number that the next descriptor gets: higher after a leak. */
function lowestDescriptor(): number {
  const fd = libc().eventfd(0, 0);
  libc().close(fd);
  return fd;
}

/** Waits for a message at a socket of Linux. */
async function expectMessage(socket: LinuxSocket): Promise<Received> {
  for (let i = 0; i < 1000; i++) {
    const message = socket.receive();
    if (message !== null) return message;
    await pause();
  }
  throw new Error("No message came");
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

machineTest("a namespace is made, reached by name, and removed without a trace", ["root", "netns", "ffi"], async () => {
  const name = `akarino-test-${Deno.pid}`;
  using netns = createNetns(name);
  const inside = await netnsExec(netns, ["readlink", "/proc/self/ns/net"]);
  const outside = await netnsExec(openNetns(`/proc/${Deno.pid}/ns/net`), ["readlink", "/proc/self/ns/net"]);
  assertNotEquals(inside.text, outside.text);
  assertThrows(() => createNetns(name), HostError, `namespace "${name}": file exists (EEXIST): the name is taken`);
  assertThrows(() => createNetns("a/b"), HostError, "a name of letters, digits");
  assertThrows(() => createNetns(".."), HostError, "a name of letters, digits");
  assertThrows(() => openNetns("none such").run(() => {}), HostError, "there is no such namespace");
  const visited = () => openNetns(name).run(() => new Deno.Command("readlink", { args: ["/proc/self/ns/net"] }));
  assertEquals(new TextDecoder().decode(visited().outputSync().stdout), outside.text, "a visit ends when it returns");
  assertThrows(
    () => {
      netns.run(() => {
        throw new Error("Broken visit");
      });
    },
    Error,
    "Broken visit",
  );
  const after = await new Deno.Command("readlink", { args: ["/proc/self/ns/net"] }).output();
  assertEquals(new TextDecoder().decode(after.stdout), outside.text, "and when it throws");
  netns.close();
  netns.close();
  assertFalse((await new Deno.Command("test", { args: ["-e", netns.path] }).output()).success);
  createNetns(name).close();
});

aloneTest("ports leave no descriptor, device or namespace behind", ["root", "tun", "netns", "ffi"], async () => {
  openTun({ netns: "new" }).close();
  const look = async () => {
    const args = ["-c", "ls /sys/class/net; ls /run/netns"];
    return new TextDecoder().decode((await new Deno.Command("sh", { args }).output()).stdout);
  };
  const before = await look();
  withLibc(() => {
    const descriptor = lowestDescriptor();
    for (let i = 0; i < 5; i++) {
      using tap = openTap({ netns: "new", offload: i % 2 === 1 });
      tap.drain(10);
      assertThrows(() => openTap({ name: "lo", netns: tap.netns! }), HostError);
      assertThrows(() => openTun({ netns: "new", name: "none", attach: true }), HostError);
      tap.close();
      tap.close();
      assertFalse(tap.link);
      assertFalse(tap.transmit(Block.from(new Uint8Array(60))));
      assertEquals(tap.drain(10), 0);
    }
    assertEquals(lowestDescriptor(), descriptor);
  });
  assertEquals(await look(), before);
});

machineTest("errors of opening a port have a reason", ["root", "tun", "netns", "ffi"], () => {
  using netns = createNetns(`akarino-errors-${Deno.pid}`);
  const said = (options: Parameters<typeof openTap>[0], kind: "tun" | "tap" = "tap") => {
    const open = kind === "tap" ? openTap : openTun;
    return assertThrows(() => open({ netns, ...options }).close(), HostError).message;
  };
  using tap = openTap({ netns, name: "taken%d" });
  assertEquals(tap.name, "taken0");
  assertEquals(
    said({ name: "a-name-of-16-byte" }),
    'Cannot use interface name "a-name-of-16-byte": too long, 15 bytes at most (ENAMETOOLONG)',
  );
  assertStringIncludes(said({ name: "a b" }), "no space, slash, colon");
  assertStringIncludes(said({ name: "a%d%d" }), "one %d at most");
  assertStringIncludes(said({ name: "a%s" }), "one %d at most");
  assertEquals(
    said({ name: "taken0" }),
    'Cannot create TAP device "taken0": device or resource busy (EBUSY): the name is taken',
  );
  assertStringIncludes(said({ name: "taken0", attach: true }), "(EBUSY): another program holds it");
  assertStringIncludes(said({ name: "taken0", attach: true }, "tun"), "that is no TUN");
  assertStringIncludes(
    said({ name: "absent", attach: true }),
    'attach to TAP device "absent": no such device (ENODEV)',
  );
  assertStringIncludes(said({ address: "10.0.0.256/24" }), 'Cannot use address "10.0.0.256/24"');
  assertStringIncludes(said({ address: "10.0.0.1/33" }), "not of the form 10.0.0.1/24");
  assertStringIncludes(said({ address: ["10.0.0.1/24", "10.0.1.1/24"] }), "one IPv4 address at most");
  assertStringIncludes(said({ mtu: 67 }), "Cannot use MTU 67: a whole number of 68 to 65521 is needed");
  assertStringIncludes(said({ mtu: 1500.5 }), "Cannot use MTU 1500.5");
  assertStringIncludes(said({ queueLength: 0 }), "Cannot use queue length 0");
  assertStringIncludes(said({ mac: new Uint8Array([1, 0, 0, 0, 0, 1]) }), "01:00:00:00:00:01");
  assertStringIncludes(said({ portMac: new Uint8Array(5) }), "6 bytes are needed");
  tap.close();
});

machineTest(
  "without CAP_NET_ADMIN opening reports what is needed",
  ["root", "tun", "ffi", "tool:setpriv"],
  async () => {
    const program = `
    import { openTap } from "./devices/host/tun.ts";
    import { createNetns } from "./devices/host/netns.ts";
    for (const open of [openTap, () => createNetns("akarino-denied")]) {
      try { open(); } catch (error) { console.log(error.message); }
    }`;
    const deno = [Deno.execPath(), "eval", "--no-lock", "--ext=ts", program];
    const caps = "-net_admin,-sys_admin";
    const args = [`--bounding-set=${caps}`, `--inh-caps=${caps}`, ...deno];
    const { stdout } = await new Deno.Command("setpriv", { args, cwd: new URL("../../..", import.meta.url) }).output();
    const text = new TextDecoder().decode(stdout);
    assertStringIncludes(text, "operation not permitted (EPERM): needs root or CAP_NET_ADMIN");
    assertStringIncludes(text, "operation not permitted (EPERM): needs root or CAP_SYS_ADMIN");
  },
);

machineTest("a persistent device stays, and can be attached to", ["root", "tun", "netns", "ffi"], () => {
  using netns = createNetns(`akarino-persist-${Deno.pid}`);
  using first = openTap({ netns, name: "keep", persist: true, mtu: 1400, address: `${LINUX}/24` });
  first.close();
  assertThrows(() => openTap({ netns, name: "keep" }), HostError, "the name is taken");
  using second = openTap({ netns, name: "keep", attach: true });
  assertEquals([second.name, second.mtu, second.link], ["keep", 1400, true]);
  second.close();
  openTap({ netns, name: "keep", attach: true, persist: false }).close();
  assertThrows(() => openTap({ netns, name: "keep", attach: true }), HostError, "ENODEV");
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

machineTest(
  "a packet longer than the MTU was is dropped once, then fits",
  ["root", "tun", "netns", "ffi"],
  async () => {
    using tun = openTun({ address: `${LINUX}/24`, netns: "new" });
    const socket = new LinuxSocket("udp", tun.netns);
    tun.drain(100);
    tun.device.mtu = 9000;
    socket.sendTo(new Uint8Array(8000), OURS, 7);
    socket.sendTo(new Uint8Array(8001), OURS, 7);
    socket.sendTo(new Uint8Array(8002), OURS, 7);
    const block = await expectBlock(tun, isUdp);
    assertEquals(block.length, 8001 + 28);
    assertEquals([tun.counters.receiveDrops, tun.mtu], [1, 9000]);
    socket.close();
  },
);

machineTest(
  "without offloads Linux finishes every checksum, and we must",
  ["root", "tun", "netns", "ffi"],
  async () => {
    using tun = openTun({ address: `${LINUX}/24`, netns: "new" });
    assertEquals(tun.offloads, { checksum: false, tcpSegment: false, udpSegment: false });
    const socket = new LinuxSocket("udp", tun.netns);
    socket.sendTo(new Uint8Array(100), OURS, 7);
    const block = await expectBlock(tun, isUdp);
    assertEquals(block.checksum, Checksum.None);
    const packet = block.bytes();
    assertEquals(sum16(packet.subarray(20), sum16(packet.subarray(12, 20), 17 + 108)), 0xffff);
    const owed = Block.from(datagram(4000, new Uint8Array(1), true));
    owed.checksum = Checksum.Owed;
    assertFalse(tun.transmit(owed));
    socket.close();
  },
);

const SOL_UDP = 17;
const UDP_SEGMENT = 103;

for (const kind of ["tun", "tap"] as const) {
  const link = kind === "tap" ? 14 : 0;
  /** Opens a port with offloads; on TAP Linux knows our hardware address already. */
  const opened = async () => {
    const options = { address: `${LINUX}/24`, netns: "new", offload: true, mac: LINUX_MAC, portMac: PORT_MAC };
    if (kind === "tun") return openTun({ address: options.address, netns: options.netns, offload: true });
    const tap = openTap(options);
    const mac = "02:00:00:00:00:02";
    const neighbour = ["ip", "neigh", "add", OURS, "lladdr", mac, "dev", tap.name];
    const { success, text } = await netnsExec(tap.netns!, neighbour).catch((error) => ({
      success: false,
      text: error,
    }));
    if (success) return tap;
    tap.close();
    throw new Error(`Cannot tell Linux our hardware address: ${text}`);
  };
  const needs = ["root", "tun", "netns", "ffi", "tool:ip"] as const;

  machineTest(`offloads on ${kind}: checksums and segments come unfinished from Linux`, needs, async () => {
    using port = await opened();
    assertEquals(port.offloads, { checksum: true, tcpSegment: true, udpSegment: true });
    const socket = new LinuxSocket("udp", port.netns);
    for (const size of [0, 5, 1472]) {
      const payload = new Uint8Array(size).fill(7);
      socket.sendTo(payload, OURS, 7);
      const block = await expectBlock(port, (one) => isUdp(one, one.rp + link));
      const { rp } = block;
      assertEquals([block.checksum, block.segment], [Checksum.Owed, Segment.None]);
      assertEquals([block.checksumStart, block.checksumField], [rp + link + 20, rp + link + 26]);
      assertEquals(block.bytes().subarray(link + 28), payload);
      const packet = block.bytes().subarray(link);
      assertEquals(get16(packet, 26), sum16(packet.subarray(12, 20), 17 + 8 + size), "the pseudo-header's sum");
    }
    const one = new Uint8Array(new Int32Array([1000]).buffer);
    assertEquals(libc().setsockopt(socket.fd, SOL_UDP, UDP_SEGMENT, one, 4), 0);
    for (const size of [1900, 4500, 60_000]) {
      const payload = new Uint8Array(size).map((_, i) => i * 7);
      socket.sendTo(payload, OURS, 7);
      const block = await expectBlock(port, (one) => isUdp(one, one.rp + link));
      assertEquals([block.segment, block.segmentSize, block.segmentHeaderLen], [Segment.Udp, 1000, 28]);
      assertEquals(block.bytes().subarray(link + 28), payload);
    }
    socket.close();
  });

  machineTest(`offloads on ${kind}: Linux finishes our checksums and cuts our segments`, needs, async () => {
    using port = await opened();
    const socket = new LinuxSocket("udp", port.netns);
    socket.bind(LINUX, 4000);
    const owed = (payload: Uint8Array, headroom = 128) => {
      const packet = datagram(4000, payload, true);
      const block = Block.from(kind === "tap" ? framed(packet) : packet, headroom);
      block.checksum = Checksum.Owed;
      block.checksumStart = block.rp + link + 20;
      block.checksumField = block.rp + link + 26;
      return block;
    };
    for (const headroom of [128, 10, 3, 0]) {
      const payload = new Uint8Array(700).fill(headroom);
      assert(port.transmit(owed(payload, headroom)));
      assertEquals((await expectMessage(socket)).bytes, payload);
    }
    const payload = new Uint8Array(2500).map((_, i) => i);
    const large = owed(payload);
    large.segment = Segment.Udp;
    large.segmentSize = 1000;
    large.segmentHeaderLen = 28;
    assert(port.transmit(large));
    for (const [from, to] of [[0, 1000], [1000, 2000], [2000, 2500]]) {
      assertEquals((await expectMessage(socket)).bytes, payload.subarray(from, to));
    }
    const senseless = owed(payload);
    senseless.checksumField = 100_000;
    assertFalse(port.transmit(senseless));
    assert(port.transmit(Block.from(owed(payload).bytes())), "unmarked: Linux takes it, and drops it by its checksum");
    assertEquals(socket.receive(), null);
    socket.close();
  });
}

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

machineTest("closing everything closes the C library, too", ["ffi"], () => {
  withLibc(() => assertEquals(libc().close(-1), -1));
});

/**
 * Two guests of one host, each with a card and a NAT of its own. One of them misbehaves in every way that there is,
 * again and again, while the other's datagrams go to a remote and back: none is lost, and the first works again after
 * each reset.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { Block } from "../../../kernel/block.ts";
import type { Conversation } from "../../../kernel/dial.ts";
import { SeededRandom } from "../../../kernel/random.ts";
import { AGAIN, type Sys } from "../../../kernel/sys.ts";
import { emitEthernet, ETHER_HEADER_LEN, ETHERTYPE_IPV4 } from "../../../kernel/wire/ethernet.ts";
import { boot, type Host } from "../../../tools/boot/boot.ts";
import { swapEnds } from "../../../tools/boot/swap_ends.ts";
import { GuestMemory } from "../../../tools/vmm/virtio/guest_memory.ts";
import { GUEST_MACS, HOST_MAC } from "../../../tools/nat/config.ts";
import {
  BUFFERS,
  CTRL,
  HostileDriver,
  PLAIN,
  RAM_BASE,
  RAM_BYTES,
  RX,
  TX,
  WRITE,
} from "../../kit/vmm/hostile_driver.ts";
import { MISCHIEFS } from "../../kit/vmm/mischief.ts";
import { BAD_SETUPS } from "../../kit/vmm/bad_set_ups.ts";
import { VirtioNet } from "../../../tools/vmm/virtio/net.ts";
import { CardPort, type GuestNetwork, ModelCard, startGuestNetwork } from "../../../tools/vmm/vm.ts";
import { pattern, udpPacket } from "../../kit/ip/ip_fixture.ts";
import { advance } from "../../kit/ip/story.ts";

const REMOTE = "10.0.0.2";
const ECHO = 7;
const CTRL_VQ = 1 << 17;
/** Datagrams in flight of the good guest while the other misbehaves. */
const BURST = 8;
const FRAME_AT = BUFFERS + 0x1000;
const ANSWER_AT = BUFFERS + 0x2000;

/** The good guest: a kernel of its own, with a call to the remote's echo. */
class GoodGuest {
  #sys: Sys;
  #fd: number;
  #sent = 0;
  #came = 0;

  constructor(sys: Sys, call: Conversation) {
    this.#sys = sys;
    this.#fd = call.data;
  }

  /** Sends datagrams, each with its number. */
  send(): void {
    for (let i = 0; i < BURST; i++) this.#sys.blockwrite(this.#fd, pattern(100 + (this.#sent++ % 1300)));
  }

  /** Takes the answers: all of them, in order, whole. */
  assertAllCame(): void {
    for (; this.#came < this.#sent; this.#came++) {
      const answer = this.#sys.blockread(this.#fd);
      assert(answer !== AGAIN && answer !== null, `Datagram ${this.#came} of ${this.#sent} is lost`);
      assertEquals((answer as Block).bytes(), pattern(100 + this.#came % 1300));
    }
  }
}

/** The bad guest: a card, and a driver without manners. */
class BadGuest {
  readonly card: VirtioNet;
  readonly driver: HostileDriver;
  readonly network: GuestNetwork;
  #number = 0;

  constructor(host: Host) {
    const ram = new Uint8Array(RAM_BYTES);
    const mac = new Uint8Array(6);
    GUEST_MACS.qemu.put(mac, 0);
    this.card = new VirtioNet({
      memory: new GuestMemory([{ base: RAM_BASE, bytes: ram }]),
      mac,
      jobs: host.clock.jobs,
      blocks: host.kernel.blocks,
      onFrame: (frame) => port.receive!(frame),
      onInterrupt: () => {},
    });
    const port = new CardPort(this.card, mac, host.kernel.blocks);
    this.driver = new HostileDriver(ram, this.card.mmio);
    this.network = networkOf(host, port, "bad");
  }

  /** After a reset, a datagram to the remote comes back. */
  assertWorks(remote: Remote): void {
    const { driver } = this;
    assert(driver.bringUp());
    driver.describe(RX, 0, { addr: RAM_BASE + ANSWER_AT, len: 2000, flags: WRITE });
    driver.offer(RX, 0);
    const payload = pattern(20 + this.#number++);
    const packet = udpPacket({ src: "10.0.2.15", dst: REMOTE, srcPort: 4000, dstPort: ECHO, payload });
    const frame = new Uint8Array(ETHER_HEADER_LEN + packet.length);
    emitEthernet({ dst: HOST_MAC, src: GUEST_MACS.qemu, etherType: ETHERTYPE_IPV4 }, frame, 0);
    frame.set(packet, ETHER_HEADER_LEN);
    driver.store(FRAME_AT, new Uint8Array([...new Uint8Array(12), ...frame]));
    driver.chain(TX, 0, [
      { addr: RAM_BASE + FRAME_AT, len: 12 },
      { addr: RAM_BASE + FRAME_AT + 12, len: frame.length },
    ]);
    driver.offer(TX, 0);
    driver.kick(TX);
    remote.round();
    assertEquals(driver.used(RX).length, 1, "Its answer came");
    assertEquals(driver.load(RAM_BASE + ANSWER_AT + 12 + 42, payload.length), payload);
  }
}

/** The remote, which sends every datagram back. */
class Remote {
  #host: Host;
  #sys: Sys;
  #fd: number;

  constructor(host: Host, sys: Sys, fd: number) {
    this.#host = host;
    this.#sys = sys;
    this.#fd = fd;
  }

  /** Lets everything go to the remote, and its answers back. */
  round(): void {
    advance(this.#host, 1);
    for (let packet = this.#sys.blockread(this.#fd); packet !== AGAIN; packet = this.#sys.blockread(this.#fd)) {
      this.#sys.blockwrite(this.#fd, swapEnds(packet as Block));
    }
    advance(this.#host, 1);
  }
}

function networkOf(host: Host, card: CardPort | ModelCard["port"], name: string): GuestNetwork {
  return startGuestNetwork({
    proc: host.spawn(name),
    clock: host.clock,
    random: new SeededRandom(1),
    card,
    name,
    nat: { hostAddr: `${host.address}/24` },
  });
}

/** One host, its two guests and a remote. */
async function twoGuests() {
  const host = await boot();
  const far = await host.neighbor({ address: `${REMOTE}/24` });
  const server = far.spawn("echo");
  const echo = await server.bypass(`udp!*!${ECHO}`);
  const mac = new Uint8Array(6);
  GUEST_MACS.qemu.put(mac, 0);
  const model = new ModelCard({ jobs: host.clock.jobs, mac });
  const kernel = await host.neighbor({ name: "good", port: model.driver, address: "10.0.2.15/24" });
  const networks = [networkOf(host, model.port, "good")];
  const proc = kernel.spawn("caller");
  await proc.writeText("/net/iproute", "add 0 0 10.0.2.2");
  const good = new GoodGuest(proc.sys, await proc.dial(`udp!${REMOTE}!${ECHO}`));
  const bad = new BadGuest(host);
  const remote = new Remote(host, server.sys, echo.data);
  return {
    host,
    good,
    bad,
    remote,
    model,
    async [Symbol.asyncDispose]() {
      for (const network of [...networks, bad.network]) network.close();
      await host.world.close();
    },
  };
}

Deno.test("akaros 34, 37: one guest misbehaves in every way, another loses nothing, a reset helps", async () => {
  await using world = await twoGuests();
  const { good, bad, remote, model } = world;
  const { driver, card } = bad;
  good.send();
  remote.round();
  good.assertAllCame();
  for (const { name, error, features = PLAIN, act } of MISCHIEFS) {
    bad.assertWorks(remote);
    assert(driver.bringUp({ features, count: (features[0] & CTRL_VQ) === 0 ? 2 : 3 }));
    good.send();
    act(driver);
    for (const queue of [RX, TX, CTRL]) driver.kick(queue);
    good.send();
    card.receive(Block.from(new Uint8Array(60)));
    remote.round();
    assertEquals([card.mmio.lastFault, driver.needsReset], [error, true], name);
    good.send();
    remote.round();
    good.assertAllCame();
  }
  for (const { name, error, act } of BAD_SETUPS) {
    driver.agree();
    good.send();
    act(driver);
    good.send();
    remote.round();
    assertEquals([card.mmio.lastFault, driver.needsReset], [error, true], name);
    good.assertAllCame();
    bad.assertWorks(remote);
  }
  assertEquals([model.driver.counters.restarts, model.device.mmio.counters.faults], [0, 0]);
  assertEquals(card.mmio.counters.faults, MISCHIEFS.length + BAD_SETUPS.length);
});

Deno.test("akaros 34: one guest is reset at every step of its way, and another loses nothing", async () => {
  await using world = await twoGuests();
  const { good, bad, remote } = world;
  const { driver, card } = bad;
  const queue = (step: () => void): void => {
    good.send();
    step();
    driver.status = 0;
    assertEquals([driver.status, card.ready], [0, false]);
    good.send();
    remote.round();
    good.assertAllCame();
  };
  const steps: (() => void)[] = [
    () => {},
    () => driver.status = 1,
    () => driver.status = 3,
    () => driver.choose(PLAIN),
    () => driver.status = 11,
    () => driver.setUp(RX),
    () => driver.setUp(TX),
    () => driver.status = 15,
    () => driver.describe(TX, 0, { addr: RAM_BASE + FRAME_AT, len: 100 }),
    () => driver.offer(TX, 0),
    () => driver.kick(TX),
    () => remote.round(),
  ];
  for (let count = 0; count <= steps.length; count++) {
    queue(() => {
      driver.ram.fill(0);
      driver.bringUp({ count: 0 });
      driver.status = 0;
      for (const step of steps.slice(0, count)) step();
    });
    bad.assertWorks(remote);
  }
  assertEquals(card.mmio.counters.faults, 0);
});

/** The assembly of a guest: its card, its frames to and from the NAT, and what it gives back. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { Block, Checksum, Segment } from "../../../kernel/block.ts";
import { listen } from "../../../kernel/dial.ts";
import { KernelError } from "../../../kernel/error.ts";
import { JobQueue } from "../../../kernel/job.ts";
import { SeededRandom } from "../../../kernel/random.ts";
import { ARP_REQUEST, emitArp } from "../../../kernel/wire/arp.ts";
import { fold, pseudoSum, sum } from "../../../kernel/wire/checksum.ts";
import { emitEthernet, ETHERTYPE_ARP, ETHERTYPE_IPV4 } from "../../../kernel/wire/ethernet.ts";
import { IpAddr, parseIpAddr } from "../../../kernel/wire/ip_addr.ts";
import { IP_PROTO_TCP } from "../../../kernel/wire/ip_proto.ts";
import { MAC_BROADCAST, MAC_ZERO, MacAddr } from "../../../kernel/wire/mac_addr.ts";
import { boot } from "../../../tools/boot/boot.ts";
import { ModelDriver } from "../../../tools/vmm/guests/model/driver.ts";
import type { NatSight } from "../../../tools/nat/observer.ts";
import { DeviceError, Feature } from "../../../tools/vmm/virtio/ids.ts";
import { MmioCounters } from "../../../tools/vmm/virtio/device.ts";
import { NetCounters } from "../../../tools/vmm/virtio/net_counters.ts";
import { ModelCard, startGuestNetwork } from "../../../tools/vmm/vm.ts";
import { ROOT } from "../../kit/check/tree.ts";

const MAC = new Uint8Array([0, 1, 2, 3, 4, 0x0b]);

/** Who has 10.0.2.2? */
function arpFrame(): Block {
  const frame = new Uint8Array(60);
  const mac = MacAddr.at(MAC, 0);
  emitEthernet({ dst: MAC_BROADCAST, src: mac, etherType: ETHERTYPE_ARP }, frame, 0);
  const addrs = { senderIp: parseIpAddr("10.0.2.15")!, targetIp: parseIpAddr("10.0.2.2")! };
  emitArp({ op: ARP_REQUEST, senderMac: mac, targetMac: MAC_ZERO, ...addrs }, frame, 14);
  return Block.from(frame);
}

Deno.test("ModelCard: frames go both ways, and noise in the rings costs a reset and no more", () => {
  const jobs = new JobQueue();
  const card = new ModelCard({ jobs, mac: MAC });
  const [up, down]: [number[], number[]] = [[], []];
  card.port.receive = (frame) => up.push(frame.length);
  card.driver.receive = (frame) => down.push(frame.length);
  const round = () => {
    assert(card.driver.transmit(Block.from(new Uint8Array(100))));
    assert(card.port.transmit(Block.from(Uint8Array.from({ length: 80 }, (_, i) => i < 6 ? MAC[i]! : 0))));
    jobs.run();
  };
  round();
  card.spoil(new SeededRandom(1).fill(new Uint8Array(512)));
  jobs.run();
  assertEquals(card.driver.counters.restarts, 1);
  const before = [up.length, down.length];
  round();
  assertEquals([up.length - before[0]!, down.length - before[1]!], [1, 1]);
  assertEquals([card.port.link, card.port.mtu, card.port.offloads.checksum], [true, 1500, true]);
  card.port.close();
  assertEquals(card.port.link, false);
});

Deno.test("ModelCard: a guest that comes back with a driver that takes no segments gets them cut", () => {
  const jobs = new JobQueue();
  const card = new ModelCard({ jobs, mac: MAC });
  const segment = () => {
    const block = Block.from(tcpFrame(4000));
    block.checksum = Checksum.Owed;
    block.checksumStart = block.rp + 34;
    block.checksumField = block.rp + 50;
    return Object.assign(block, { segment: Segment.Tcp4, segmentSize: 1460, segmentHeaderLen: 40 });
  };
  let got: Block[] = [];
  card.driver.receive = (frame) => got.push(frame);
  assert(card.port.transmit(segment()));
  jobs.run();
  assertEquals(got.map(({ length }) => length), [4054]);
  got = [];
  card.driver.close();
  const ram = { bytes: card.ram, base: 0x4000_0000 };
  const refuse = [Feature.GuestTso4, Feature.GuestTso6, Feature.GuestCsum];
  const other = new ModelDriver({ ram, at: 0x1000, page: card.device.mmio, jobs, refuse });
  other.receive = (frame) => got.push(frame);
  assert(other.start());
  assert(card.port.transmit(segment()));
  other.interrupt();
  jobs.run();
  assertEquals(got.map(({ length }) => length), [1514, 1514, 54 + 1080]);
  for (const piece of got) assertEquals([piece.checksum, tcpChecksumOk(piece.bytes())], [Checksum.None, true]);
  const whole = tcpFrame(4000);
  const payload = got.flatMap((piece) => [...piece.bytes().subarray(54)]);
  assertEquals([new Uint8Array(payload), got[2]!.bytes().slice(0, 14)], [whole.slice(54), whole.slice(0, 14)]);
});

/** TCP over IPv4 to the guest, its checksum owed, with `payload` bytes that are all different from their neighbours. */
function tcpFrame(payload: number): Uint8Array {
  const frame = Uint8Array.from({ length: 54 + payload }, (_, i) => i < 54 ? 0 : i * 7);
  emitEthernet({ dst: MacAddr.at(MAC, 0), src: MAC_ZERO, etherType: ETHERTYPE_IPV4 }, frame, 0);
  frame.set([0x45, 0, (40 + payload) >> 8, (40 + payload) & 255, 0, 1, 0, 0, 64, 6], 14);
  frame.set([10, 0, 0, 2, 10, 0, 2, 15], 26);
  frame.set([0x50, 0x10], 46);
  return frame;
}

/** Whether the TCP checksum of a frame over IPv4 is right. */
function tcpChecksumOk(frame: Uint8Array): boolean {
  const [src, dst] = [IpAddr.v4At(frame, 26), IpAddr.v4At(frame, 30)];
  return fold(sum(frame, 34, frame.length, pseudoSum(src, dst, IP_PROTO_TCP, frame.length - 34))) === 0xffff;
}

Deno.test("startGuestNetwork() answers the guest, shows its frames, and gives everything back", async () => {
  await using host = await boot();
  const card = new ModelCard({ jobs: host.clock.jobs, mac: MAC });
  const got: number[] = [];
  card.driver.receive = (frame) => got.push(frame.bytes()[21]!);
  const seen: string[] = [];
  const options = {
    proc: host.spawn("nat"),
    clock: host.clock,
    random: new SeededRandom(1),
    card: card.port,
    nat: { hostAddr: "10.0.0.1/24" },
    observe: ({ point, direction, note }: NatSight) => void seen.push(`${point} ${direction}: ${note}`),
  };
  const network = startGuestNetwork({ ...options, forwards: ["udp:8053:53"] });
  card.driver.transmit(arpFrame());
  host.clock.jobs.run();
  assertEquals([got, seen], [[2], ["guest out: answered by the router", "guest in: "]]);
  const other = { ...options, proc: host.spawn("other"), name: null };
  assertThrows(() => startGuestNetwork({ ...other, forwards: ["udp:8053"] }), KernelError, "Cannot read the forward");
  network.close();
  assertEquals(network.program.sockets.openCount, 0);
  startGuestNetwork({ ...other, forwards: ["udp:8053:53"] }).close();
});

for (const offload of [false, true]) {
  Deno.test(`a guest that leaves checksums and cutting to its card is served, offload ${offload}`, async () => {
    await using host = await boot();
    await using remote = await host.neighbor();
    const card = new ModelCard({ jobs: host.clock.jobs, mac: MAC });
    await using kernel = await host.neighbor({ port: card.driver, address: "10.0.2.15/24", gateway: "10.0.2.2" });
    const network = startGuestNetwork({
      proc: host.spawn("nat"),
      clock: host.clock,
      random: new SeededRandom(1),
      card: card.port,
      offload,
      nat: { hostAddr: "10.0.0.1/24" },
    });
    const sent: Segment[] = [];
    const receive = card.port.receive!;
    card.port.receive = (frame) => {
      sent.push(frame.segment);
      receive(frame);
    };
    const bytes = Uint8Array.from({ length: 20_000 }, (_, i) => i * 7);
    const [near, far] = [kernel.spawn("near"), remote.spawn("far")];
    const [udp, echo] = [await far.bypass("udp!*!7"), await near.dial(`udp!${remote.address}!7`)];
    await near.write(echo.data, bytes.subarray(0, 100));
    assertEquals(((await far.blockread(udp.data)) as Block).bytes().slice(28), bytes.slice(0, 100));
    const calls = await far.announce("tcp!*!7");
    const call = await near.dial(`tcp!${remote.address}!7`);
    const answer = await listen(far, calls);
    await near.write(call.data, bytes);
    const got = new Uint8Array(bytes.length);
    for (let at = 0; at < got.length;) at += await far.read(answer.data, got.subarray(at));
    assertEquals(got, bytes);
    assert(sent.includes(Segment.Tcp4), "the guest sent segments");
    network.close();
  });
}

Deno.test("docs/vmm.1.md names every counter of card and driver, and every reason to ask for a reset", () => {
  const page = Deno.readTextFileSync(`${ROOT}/docs/vmm.1.md`);
  const { driver } = new ModelCard({ jobs: new JobQueue(), mac: MAC });
  const counters = [new NetCounters(), new MmioCounters(), driver.counters].flatMap((one) => Object.keys(one));
  const words = [...counters, ...Object.values(DeviceError)];
  assert(words.length > 40);
  assertEquals(words.filter((word) => !page.includes(`\`${word}\``)), []);
});

/** The assembly of a guest: its card, its frames to and from the NAT, and what it gives back. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { Block } from "../../kernel/block.ts";
import { KernelError } from "../../kernel/error.ts";
import { JobQueue } from "../../kernel/job.ts";
import { SeededRandom } from "../../kernel/random.ts";
import { ARP_REQUEST, emitArp } from "../../kernel/wire/arp.ts";
import { emitEthernet, ETHERTYPE_ARP } from "../../kernel/wire/ethernet.ts";
import { parseIpAddr } from "../../kernel/wire/ip_addr.ts";
import { MAC_BROADCAST, MAC_ZERO, MacAddr } from "../../kernel/wire/mac_addr.ts";
import { boot } from "../../tools/boot.ts";
import { ModelCard, startGuestNetwork } from "../../tools/vmm/vm.ts";

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

Deno.test("startGuestNetwork() answers the guest, shows its frames, and gives everything back", async () => {
  await using host = await boot();
  const card = new ModelCard({ jobs: host.clock.jobs, mac: MAC });
  const got: number[] = [];
  card.driver.receive = (frame) => got.push(frame.bytes()[21]!);
  const seen: string[] = [];
  const options = {
    ...{ proc: host.spawn("nat"), clock: host.clock, random: new SeededRandom(1), card: card.port },
    nat: { hostAddr: "10.0.0.1/24" },
    observe: (direction: string) => void seen.push(direction),
  };
  const network = startGuestNetwork({ ...options, forwards: ["udp:8053:53"] });
  card.driver.transmit(arpFrame());
  host.clock.jobs.run();
  assertEquals([got, seen], [[2], ["out", "in"]]);
  const other = { ...options, proc: host.spawn("other"), name: null };
  assertThrows(() => startGuestNetwork({ ...other, forwards: ["udp:8053"] }), KernelError, "Cannot read the forward");
  network.close();
  assertEquals(network.program.sockets.openCount, 0);
  startGuestNetwork({ ...other, forwards: ["udp:8053:53"] }).close();
});

/**
 * Benchmarks of a guest's path: a second kernel behind a virtio card and the NAT, over the host to a remote on a cable,
 * and back; in memory, by system calls at both ends.
 *
 * Path: benches → guest_benches → boot, vm (card, NAT), system calls.
 *
 * ```
 *   guest's kernel ─ driver ═ rings ═ card ─ NAT ─ host ─ cable ─ remote
 * ```
 *
 * Goodput is the time of one MiB, so operations a second are MiB/s. With offloads a segment of up to 64 KiB
 * goes all the way without its checksum being computed or its bytes being cut; without, every packet is finished.
 *
 * @module
 */

import { pause } from "../../devices/host/pause.ts";
import { type Block, BlockPool, Checksum, Segment } from "../../kernel/block.ts";
import { type Conversation, hangUp, listen } from "../../kernel/dial.ts";
import { JobQueue } from "../../kernel/job.ts";
import type { Proc } from "../../kernel/proc.ts";
import { SeededRandom } from "../../kernel/random.ts";
import { AGAIN } from "../../kernel/sys.ts";
import { put16 } from "../../kernel/wire/bytes.ts";
import { ETHER_HEADER_LEN, ETHERTYPE_IPV4 } from "../../kernel/wire/ethernet.ts";
import { boot, type Host } from "../boot/boot.ts";
import { GUEST_MACS } from "../nat/config.ts";
import { type GuestNetwork, ModelCard, startGuestNetwork } from "../vmm/vm.ts";
import { type Bench, measure, type Tell } from "./measure.ts";

/** In the order in which they run. */
export const GUEST_BENCHES: readonly Bench[] = [
  { name: "guest-card", run: cardAlone },
  { name: "guest-udp", run: datagrams },
  { name: "guest-tcp", run: streams },
];

const IP_LEN = 20;
const TCP_LEN = 20;
const PORT = 7007;
const GUEST = "10.0.2.15";
const ROUTER = "10.0.2.2";
/** Packets in one call of a measured function. */
const BATCH = 64;
const MIB = 1 << 20;
const CHUNK = 1 << 17;
/** So long a way is compiled late. */
const LONG = { warmUpMs: 1000 };

/** The parts of a {@link GuestWorld}. */
interface GuestParts {
  readonly host: Host;
  readonly card: ModelCard;
  readonly network: GuestNetwork;
  /** A program of the guest, and one of the remote. */
  readonly near: Proc;
  readonly far: Proc;
  readonly remoteAddr: string;
}

/** A guest, its host, and a remote. */
class GuestWorld implements AsyncDisposable {
  private constructor(readonly parts: GuestParts) {}

  static async open(offloads: boolean): Promise<GuestWorld> {
    const host = await boot({ wire: "memory", cable: { offloads } });
    const remote = await host.neighbor();
    const mac = new Uint8Array(6);
    GUEST_MACS.qemu.put(mac, 0);
    const card = new ModelCard({ jobs: host.clock.jobs, mac, blocks: host.kernel.blocks });
    const kernel = await host.neighbor({ port: card.driver, address: `${GUEST}/24`, gateway: ROUTER });
    const network = startGuestNetwork({
      proc: host.spawn("nat"),
      clock: host.clock,
      random: new SeededRandom(1),
      card: card.port,
      nat: { hostAddr: `${host.address}/24` },
      offload: offloads,
    });
    const [near, far] = [kernel.spawn("guest"), remote.spawn("remote")];
    return new GuestWorld({ host, card, network, near, far, remoteAddr: remote.address });
  }

  /** Throws if the card or the NAT has lost something: then the figures would say nothing. */
  assertNothingLost(): void {
    const { device, driver } = this.parts.card;
    const { rxNoBuffers, rxMustCut, rxLong, txNotNegotiated, txBadHeader } = device.counters;
    const lost = rxNoBuffers + rxMustCut + rxLong + txNotNegotiated + txBadHeader + driver.counters.txFull;
    if (lost > 0) throw new Error(`The card lost ${lost} frames`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.parts.network.close();
    await this.parts.host.world.close();
  }
}

/** Driver, rings and card, without a kernel at either end; both have one frame in memory. */
async function cardAlone(tell: Tell): Promise<void> {
  const jobs = new JobQueue();
  const blocks = new BlockPool();
  const mac = new Uint8Array(6);
  GUEST_MACS.qemu.put(mac, 0);
  const card = new ModelCard({ jobs, mac, blocks });
  let came = 0;
  card.port.receive = card.driver.receive = (block) => {
    came++;
    block.free();
  };
  for (const [size, count] of [[64, BATCH], [1400, BATCH], [65_000, 4]] as const) {
    const frame = tcpFrame(mac, size);
    const make = () => {
      const block = blocks.from(frame);
      block.checksum = Checksum.Owed;
      block.checksumStart = block.rp + ETHER_HEADER_LEN + IP_LEN;
      block.checksumField = block.checksumStart + 16;
      if (size > 1460) {
        block.segment = Segment.Tcp4;
        block.segmentSize = 1460;
        block.segmentHeaderLen = IP_LEN + TCP_LEN;
      }
      return block;
    };
    for (const [way, port] of [["driver → card", card.driver], ["card → driver", card.port]] as const) {
      tell(
        await measure(`${way}, ${size} bytes tcp`, count, () => {
          came = 0;
          for (let i = 0; i < count; i++) port.transmit(make());
          jobs.run();
          if (came !== count) throw new Error(`${came} of ${count} frames came through`);
        }),
      );
    }
  }
}

/** A frame of TCP over IPv4 with `size` bytes of payload. */
function tcpFrame(mac: Uint8Array, size: number): Uint8Array {
  const frame = new Uint8Array(ETHER_HEADER_LEN + IP_LEN + TCP_LEN + size);
  frame.set(mac, 0);
  put16(frame, ETHER_HEADER_LEN - 2, ETHERTYPE_IPV4);
  frame[ETHER_HEADER_LEN] = 0x45;
  frame[ETHER_HEADER_LEN + IP_LEN + 12] = 0x50;
  return frame;
}

/** Takes `BATCH` packets of a conversation. */
function takeBatch(proc: Proc, conv: Conversation): void {
  for (let left = BATCH; left > 0;) {
    const blocks = proc.sys.blockreadv(conv.data, left);
    if (blocks === AGAIN || blocks === null) throw new Error(`${left} of ${BATCH} packets did not arrive`);
    left -= blocks.length;
    for (const block of blocks as Block[]) block.free();
  }
}

function sendBatch(proc: Proc, conv: Conversation, bytes: Uint8Array): void {
  for (let i = 0; i < BATCH; i++) proc.sys.blockwrite(conv.data, bytes);
}

async function datagrams(tell: Tell): Promise<void> {
  await using world = await GuestWorld.open(false);
  const { near, far, remoteAddr } = world.parts;
  const calls = await far.announce(`udp!*!${PORT}`);
  const call = await near.dial(`udp!${remoteAddr}!${PORT}`);
  await near.write(call.data, new Uint8Array(1));
  const answer = await listen(far, calls);
  await far.blockread(answer.data);
  for (const size of [64, 1400]) {
    const bytes = new Uint8Array(size);
    const row = async (way: string, work: () => void) =>
      tell(await measure(`${way}, ${size} bytes udp`, BATCH, work, LONG));
    await row("guest → NAT → remote", () => {
      sendBatch(near, call, bytes);
      takeBatch(far, answer);
    });
    await row("remote → NAT → guest", () => {
      sendBatch(far, answer, bytes);
      takeBatch(near, call);
    });
    await row("guest → NAT → remote and back", () => {
      sendBatch(near, call, bytes);
      takeBatch(far, answer);
      sendBatch(far, answer, bytes);
      takeBatch(near, call);
    });
  }
  world.assertNothingLost();
}

async function streams(tell: Tell): Promise<void> {
  for (const offloads of [false, true]) {
    await using world = await GuestWorld.open(offloads);
    const { near, far, remoteAddr } = world.parts;
    const calls = await far.announce(`tcp!*!${PORT}`);
    const call = await near.dial(`tcp!${remoteAddr}!${PORT}`);
    const answer = await listen(far, calls);
    const how = offloads ? "64 KiB segments" : "every packet finished";
    const row = async (way: string, work: () => Promise<void>) =>
      tell(await measure(`${way}, tcp, ${how}, 1 MiB`, 1, work, LONG));
    await row("guest → NAT → remote", () => transfer(near, call, far, answer));
    await row("remote → NAT → guest", () => transfer(far, answer, near, call));
    hangUp(near, call);
    hangUp(far, answer);
    world.assertNothingLost();
  }
}

/** Sends one MiB. */
async function transfer(from: Proc, out: Conversation, to: Proc, into: Conversation): Promise<void> {
  const sending = new Uint8Array(CHUNK);
  const buf = new Uint8Array(CHUNK);
  let toSend = MIB;
  for (let toRead = MIB; toRead > 0;) {
    const sent = toSend === 0 ? 0 : from.sys.write(out.data, sending.subarray(0, Math.min(CHUNK, toSend)));
    const got = to.sys.read(into.data, buf);
    if (sent !== AGAIN) toSend -= sent;
    if (got !== AGAIN) toRead -= got;
    // Both wait: for a timer, which comes at once.
    if ((sent === AGAIN || sent === 0) && got === AGAIN) await pause();
  }
}

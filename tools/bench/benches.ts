/**
 * Benchmarks of system calls, pipes, checksums, and of packets in memory and over a TAP.
 *
 * Path: bench → benches → boot, system calls.
 *
 * @module
 */

import { LinuxSocket } from "../../devices/host/linux_socket.ts";
import { pause } from "../../devices/host/pause.ts";
import type { TapPort } from "../../devices/host/tun.ts";
import { Block } from "../../kernel/block.ts";
import { type FramePort, NO_OFFLOADS } from "../../kernel/host.ts";
import { Open } from "../../kernel/qid.ts";
import { SeededRandom } from "../../kernel/random.ts";
import { AGAIN } from "../../kernel/sys.ts";
import { checksum, fold, pseudoSum, sum } from "../../kernel/wire/checksum.ts";
import { parseIpAddr } from "../../kernel/wire/ip_addr.ts";
import { boot, type Host } from "../boot/boot.ts";
import { swapEnds } from "../boot/swap_ends.ts";
import { GUEST_BENCHES } from "./guest_benches.ts";
import { type Bench, measure, type Tell } from "./measure.ts";
import { NAT_BENCHES } from "./nat_benches.ts";
import { SOCKET_BENCHES } from "./socket_benches.ts";
import { TCP_BENCHES } from "./tcp_benches.ts";

/** Packets moved in one call of a measured function. */
const BATCH = 64;
const PORT = 7007;
const ETHER_LEN = 14;

/** All of them, in the order in which they run. */
export const BENCHES: readonly Bench[] = [
  { name: "syscall", run: nullSystemCall },
  { name: "pipe", run: pipe },
  { name: "checksum", run: checksums },
  { name: "bypass", run: bypassInMemory },
  { name: "kernels", run: twoKernels },
  { name: "tap", run: overTap },
  ...SOCKET_BENCHES,
  ...TCP_BENCHES,
  ...GUEST_BENCHES,
  ...NAT_BENCHES,
];

async function nullSystemCall(tell: Tell): Promise<void> {
  await using host = await boot({ wire: "none" });
  const { sys } = host.spawn("bench");
  const fd = sys.open("/dev/null", Open.ReadWrite) as number;
  const nothing = new Uint8Array(0);
  tell(
    await measure("null system call (write of nothing to null)", 1000, () => {
      for (let i = 0; i < 1000; i++) sys.write(fd, nothing);
    }),
  );
  tell(
    await measure("null system call, block face", 1000, () => {
      for (let i = 0; i < 1000; i++) sys.blockread(fd);
    }),
  );
}

async function pipe(tell: Tell): Promise<void> {
  await using host = await boot({ wire: "none" });
  const { sys } = host.spawn("bench");
  const dir = sys.open("#pipe", Open.Path) as number;
  sys.write(sys.openat(dir, "ctl", Open.Write) as number, new TextEncoder().encode("oneblock"));
  const near = sys.openat(dir, "data", Open.ReadWrite) as number;
  const far = sys.openat(dir, "data1", Open.ReadWrite) as number;
  for (const size of [64, 1400]) {
    const bytes = new Uint8Array(size);
    tell(
      await measure(`pipe blockwrite + blockread, ${size} bytes copied`, 1000, () => {
        for (let i = 0; i < 1000; i++) {
          sys.blockwrite(near, bytes);
          (sys.blockread(far) as Block).free();
        }
      }),
    );
  }
  let block = Block.alloc(1400);
  block.wp += 1400;
  tell(
    await measure("pipe blockwrite + blockread, 1400 bytes given", 1000, () => {
      for (let i = 0; i < 1000; i++) {
        sys.blockwrite(near, block);
        block = sys.blockread(far) as Block;
      }
    }),
  );
}

async function checksums(tell: Tell): Promise<void> {
  const buf = new SeededRandom(1).fill(new Uint8Array(65536));
  for (const size of [20, 64, 576, 1460, 9000, 65532]) {
    let check = 0;
    tell(
      await measure(`checksum of ${size} bytes`, 100, () => {
        for (let i = 0; i < 100; i++) check ^= checksum(buf, 0, size);
      }),
    );
    if (check === -1) throw new Error("unreachable");
  }
}

/** A port without a wire: frames are put in by hand and counted on the way out. */
class BenchPort implements FramePort {
  readonly kind = "frame";
  readonly name = "bench";
  readonly mtu = 1500;
  readonly mbps = 10_000;
  readonly link = true;
  readonly offloads = NO_OFFLOADS;
  readonly mac = new Uint8Array([2, 0, 0, 0, 0, 1]);
  receive: ((block: Block) => void) | null = null;
  sent = 0;

  transmit(block: Block): boolean {
    this.sent++;
    block.free();
    return true;
  }

  close(): void {}
}

async function bypassInMemory(tell: Tell): Promise<void> {
  const port = new BenchPort();
  await using host = await boot({ wire: "none", address: "10.0.0.1/24", port });
  const proc = host.spawn("bench");
  const { sys } = proc;
  const conv = await proc.bypass(`udp!*!${PORT}`);
  await proc.writeText("/net/arp", "add ether 10.0.0.2 02:00:00:00:00:02");
  const jobs = host.clock.jobs;
  for (const size of [64, 1400]) {
    const frame = udpFrame(size, host);
    const receiveBatch = () => {
      for (let i = 0; i < BATCH; i++) port.receive!(host.kernel.blocks.from(frame));
      jobs.run();
    };
    tell(
      await measure(`wire → bypass → blockread, ${size} bytes udp`, BATCH, () => {
        receiveBatch();
        for (let i = 0; i < BATCH; i++) (sys.blockread(conv.data) as Block).free();
      }),
    );
    const packet = packetOut(frame);
    const before = port.sent;
    let written = 0;
    tell(
      await measure(`blockwrite → wire, ${size} bytes udp`, BATCH, () => {
        for (let i = 0; i < BATCH; i++) sys.blockwrite(conv.data, host.kernel.blocks.from(packet));
        written += BATCH;
      }),
    );
    if (port.sent - before !== written) throw new Error(`${port.sent - before} of ${written} packets reached the wire`);
    tell(
      await measure(`wire → bypass → program → wire, ${size} bytes udp`, BATCH, () => {
        receiveBatch();
        const blocks = sys.blockreadv(conv.data, BATCH) as Block[];
        for (const block of blocks) swapEnds(block);
        sys.blockwritev(conv.data, blocks);
      }),
    );
  }
}

/** A frame from 10.0.0.2 with `size` bytes of UDP payload for the bypassed port. */
function udpFrame(size: number, host: Host): Uint8Array {
  const frame = new Uint8Array(ETHER_LEN + 28 + size);
  const view = new DataView(frame.buffer);
  frame.set((host.port as FramePort).mac, 0);
  frame.set([2, 0, 0, 0, 0, 2], 6);
  view.setUint16(12, 0x0800);
  view.setUint16(14, 0x4500);
  view.setUint16(16, 28 + size);
  view.setUint16(22, 0x4011);
  const src = parseIpAddr("10.0.0.2")!;
  const dst = parseIpAddr("10.0.0.1")!;
  src.putV4(frame, 26);
  dst.putV4(frame, 30);
  view.setUint16(24, checksum(frame, 14, 34));
  view.setUint16(34, 5555);
  view.setUint16(36, PORT);
  view.setUint16(38, 8 + size);
  view.setUint16(40, ~fold(sum(frame, 34, frame.length, pseudoSum(src, dst, 17, 8 + size))) & 0xffff);
  return frame;
}

/** The same packet on its way back, without the link header. */
function packetOut(frame: Uint8Array): Uint8Array {
  return swapEnds(Block.from(frame.subarray(ETHER_LEN))).bytes().slice();
}

async function twoKernels(tell: Tell): Promise<void> {
  await using host = await boot({ wire: "memory" });
  await using other = await host.neighbor();
  const server = host.spawn("server");
  const conv = await server.bypass(`udp!*!${PORT}`);
  const client = other.spawn("client");
  const call = await client.dial(`udp!${host.address}!${PORT}`);
  await client.blockwrite(call.data, new Uint8Array(1));
  await server.blockread(conv.data);
  for (const size of [64, 1400]) {
    const bytes = new Uint8Array(size);
    tell(
      await measure(`udp through two kernels and back, ${size} bytes`, BATCH, () => {
        for (let i = 0; i < BATCH; i++) client.sys.blockwrite(call.data, bytes);
        const blocks = server.sys.blockreadv(conv.data, BATCH) as Block[];
        for (const block of blocks) swapEnds(block);
        server.sys.blockwritev(conv.data, blocks);
        for (let i = 0; i < BATCH; i++) (client.sys.blockread(call.data) as Block).free();
      }),
    );
  }
}

async function overTap(tell: Tell): Promise<void> {
  const linux = { netns: "new", address: "10.99.0.1/24" };
  await using host = await boot({ wire: "tap", address: "10.99.0.2/24", linux });
  const port = host.port as TapPort;
  const proc = host.spawn("bench");
  const conv = await proc.bypass(`udp!*!${PORT}`);
  const socket = new LinuxSocket("udp", port.netns);
  try {
    for (const size of [64, 1400]) {
      const bytes = new Uint8Array(size);
      const send = () => {
        for (let i = 0; i < BATCH; i++) socket.sendTo(bytes, "10.99.0.2", PORT);
      };
      const take = async (answer: boolean) => {
        for (let left = BATCH; left > 0;) {
          const blocks = proc.sys.blockreadv(conv.data, BATCH);
          if (blocks === AGAIN || blocks === null) {
            await pause();
            continue;
          }
          left -= blocks.length;
          for (const block of blocks) answer ? swapEnds(block) : block.free();
          if (answer) proc.sys.blockwritev(conv.data, blocks);
        }
      };
      tell(
        await measure(`Linux → TAP → bypass → blockread, ${size} bytes udp`, BATCH, async () => {
          send();
          await take(false);
        }),
      );
      tell(
        await measure(`Linux → TAP → bypass → TAP → Linux, ${size} bytes udp`, BATCH, async () => {
          send();
          await take(true);
          for (let left = BATCH; left > 0;) socket.receive() === null ? await pause() : left--;
        }),
      );
    }
  } finally {
    socket.close();
  }
}

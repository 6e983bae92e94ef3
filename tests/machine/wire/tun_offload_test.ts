/** TUN and TAP with checksums owed and segments uncut, both ways. */

import { assert, assertEquals, assertFalse } from "@std/assert";
import { libc } from "../../../devices/host/libc.ts";
import { LinuxSocket } from "../../../devices/host/linux_socket.ts";
import { openTap, openTun } from "../../../devices/host/tun.ts";
import { Block, Checksum, Segment } from "../../../kernel/block.ts";
import { get16 } from "../../../kernel/wire/bytes.ts";
import { netnsExec } from "../../kit/host/netns.ts";
import { machineTest } from "../../kit/check/skip.ts";
import {
  datagram,
  expectBlock,
  expectMessage,
  framed,
  isUdp,
  LINUX,
  LINUX_MAC,
  OURS,
  PORT_MAC,
  sum16,
} from "../../kit/host/tun.ts";

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

import { assertEquals } from "@std/assert";
import { Block, Checksum } from "../../../kernel/block.ts";
import { textOf } from "../../../kernel/dev.ts";
import { KernelError } from "../../../kernel/error.ts";
import { etherDst, etherSrc } from "../../../kernel/wire/ethernet.ts";
import { refusalCode } from "../../../tests/kit/host/dev.ts";
import { RX_BATCH } from "./ether_medium.ts";
import { sendPacket } from "../network/ip_output.ts";
import { etherFrame, ip, ip6Packet, ipPacket, OUR_MAC, pattern, PEER_MAC } from "../../../tests/kit/ip/packets.ts";
import { TestHost } from "../../../tests/kit/ip/link.ts";

const OPTIONS = { src: ip("10.0.0.1"), dst: ip("10.0.0.2"), protocol: 17, ttl: 64, tos: 0 };

function host(): TestHost {
  const made = new TestHost();
  made.etherIfc();
  made.knowPeer();
  return made;
}

function send(at: TestHost, length = 10): void {
  sendPacket(at.stack, Block.from(pattern(length)), OPTIONS);
  at.run();
}

Deno.test("the ether medium opens the interface's files for IPv4, ARP and IPv6, and asks for offload", () => {
  const at = new TestHost();
  at.ifc("bind ether /net/ether0");
  assertEquals(at.ether.commands, ["0x800", "0x806", "0x86dd"].flatMap((type) => [`connect ${type}`, "offload on"]));
});

Deno.test("the ether medium writes frames from our address to the neighbour's", () => {
  const at = host();
  send(at);
  const [frame] = at.takeFrames();
  assertEquals([`${etherDst(frame!, 0)}`, `${etherSrc(frame!, 0)}`], [`${PEER_MAC}`, `${OUR_MAC}`]);
  assertEquals([frame![12], frame![13], frame!.length], [8, 0, 44]);
});

Deno.test("the ether medium leaves to the device what its features say", () => {
  const sent = (features: string) => {
    const at = new TestHost();
    at.ether.features = features;
    at.etherIfc();
    at.knowPeer();
    const block = Block.from(pattern(50));
    block.checksum = Checksum.Owed;
    block.checksumStart = block.rp;
    block.checksumField = block.rp + 6;
    sendPacket(at.stack, block, OPTIONS);
    return { offloads: at.stack.ifcs[0]!.link!.offloads, field: at.takePackets()[0]!.subarray(26, 28) };
  };
  assertEquals(sent("udpck tcpck tso").offloads, { checksum: true, tcpSegment: true, udpSegment: false });
  assertEquals(sent("udpck tcpck tso").field, pattern(8).subarray(6), "Still owed");
  assertEquals(sent("tso").offloads, { checksum: false, tcpSegment: false, udpSegment: false });
  assertEquals([...sent("").field].join() === [...pattern(8).subarray(6)].join(), false, "Finished");
});

Deno.test("the ether medium counts what the device could not take, or refused", () => {
  const at = host();
  at.ether.busy = true;
  send(at);
  at.ether.busy = false;
  at.ether.failing = true;
  send(at);
  assertEquals([at.stack.stats.outLinkBusy, at.stack.stats.outLinkError, at.stack.ifcs[0]!.errorsOut], [1, 1, 2]);
});

Deno.test("the ether medium reads everything that waits, however much, in more than one turn", () => {
  const at = host();
  const conv = at.ether.convs[0]!;
  for (let i = 0; i < 2 * RX_BATCH + 1; i++) {
    conv.queue.pass(Block.from(new Uint8Array([...new Uint8Array(14), ...ipPacket({ id: i & 0xffff })])));
  }
  at.run();
  assertEquals([at.received.length, conv.queue.blocks], [2 * RX_BATCH + 1, 0]);
  // And hears of what comes after that.
  at.receiveIp(ipPacket());
  assertEquals(at.received.length, 2 * RX_BATCH + 2);
});

Deno.test("the ether medium takes what came before its tap was set", () => {
  const at = new TestHost();
  const tapfd = at.ether.tapfd.bind(at.ether);
  at.ether.tapfd = (...args) => {
    at.ether.convs[0]!.queue.pass(Block.from(new Uint8Array([...new Uint8Array(14), ...ipPacket()])));
    return tapfd(...args);
  };
  at.etherIfc();
  at.run();
  assertEquals(at.received.length, 3);
});

Deno.test("the ether medium counts frames without a header (defect 16)", () => {
  const at = host();
  at.ether.convs[0]!.queue.pass(Block.from(new Uint8Array(13)));
  at.ether.convs[1]!.queue.pass(Block.from(new Uint8Array(13)));
  at.run();
  assertEquals([at.stack.ifcs[0]!.errorsIn, at.stack.stats.arpMalformed], [1, 1]);
});

Deno.test("the ether medium survives a device that goes away", () => {
  const at = host();
  for (const { queue } of at.ether.convs) queue.hangup("the port is gone");
  at.run();
  at.ether.failing = true;
  send(at);
  assertEquals(at.stack.stats.outLinkError, 1);
  at.stack.ifcs[0]!.unbind();
  assertEquals(at.ether.openConvs, 0);
});

Deno.test("the ether medium subscribes to a group's address once, until the last group there is left", () => {
  const at = host();
  const ifc = at.stack.ifcs[0]!;
  at.ether.commands.length = 0;
  for (const group of ["224.0.0.5", "224.0.0.5", "225.0.0.5"]) ifc.joinGroup(ip(group));
  for (const group of ["224.0.0.5", "224.0.0.5"]) ifc.leaveGroup(ip(group));
  assertEquals(at.ether.commands, ["addmulti 01005e000005"]);
  ifc.leaveGroup(ip("225.0.0.5"));
  assertEquals(at.ether.commands, ["addmulti 01005e000005", "remmulti 01005e000005"]);
});

Deno.test("a bind that fails, at whatever step, leaves no file open", () => {
  for (const step of ["open", "write", "tapfd"] as const) {
    for (let failAt = 0; failAt < 2; failAt++) {
      const at = new TestHost();
      const { ctl, ifc } = at.ifc();
      failFrom(at, step, failAt);
      assertEquals(refusalCode(() => ctl("bind ether /net/ether0")), "EIO", `${step} ${failAt}`);
      assertEquals([at.ether.openConvs, ifc.medium, ifc.link], [0, null, null], `${step} ${failAt}`);
      assertEquals(refusalCode(() => ctl("unbind")), "EFAIL");
    }
  }
});

/**
 * Makes an operation of the first Ethernet fail, for `open` on data files and for `write` of types, after `good`
 * times.
 */
function failFrom(at: TestHost, step: "open" | "write" | "tapfd", good: number): void {
  let left = good;
  const refuse = () => {
    if (left-- <= 0) throw new KernelError("EIO", "Refused");
  };
  const { open, write, tapfd } = at.ether;
  if (step === "tapfd") {
    at.ether.tapfd = (...args) => (refuse(), tapfd.apply(at.ether, args));
  } else if (step === "write") {
    at.ether.write = (chan, bytes) => {
      if (textOf(bytes).startsWith("connect")) refuse();
      return write.call(at.ether, chan, bytes);
    };
  } else {
    at.ether.open = (chan, flags) => {
      if (chan.path.endsWith("/data")) refuse();
      return open.call(at.ether, chan, flags);
    };
  }
}

Deno.test("the ether medium takes no packet of one version in a frame of the other's type", () => {
  const at = host();
  const { ctl } = at.ifc("bind ether /net/ether1", "add fe80::9 /64");
  ctl("add 10.9.0.1 /24");
  const frame = (etherType: number, payload: Uint8Array) =>
    etherFrame({ dst: at.ethers[1]!.mac, src: PEER_MAC, etherType, payload, pad: false });
  at.ethers[1]!.receive(frame(0x86dd, ipPacket({ src: "10.9.0.2", dst: "10.9.0.1" })));
  at.ethers[1]!.receive(frame(0x800, ip6Packet({ src: "fe80::2", dst: "fe80::9" })));
  at.run();
  assertEquals([at.stack.stats.inBadVersion, at.received.length, at.received6.length], [2, 0, 0]);
  at.ethers[1]!.receive(frame(0x86dd, ip6Packet({ src: "fe80::2", dst: "fe80::9" })));
  at.run();
  assertEquals(at.received6.length, 1);
});

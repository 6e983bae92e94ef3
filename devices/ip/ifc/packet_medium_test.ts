import { assertEquals } from "@std/assert";
import { Block } from "../../../kernel/block.ts";
import { NO_OFFLOADS, type PacketPort } from "../../../kernel/host.ts";
import { refusalCode } from "../../../tests/kit/host/dev.ts";
import { sendPacket } from "../network/ip_output.ts";
import { ip, ipPacket, pattern } from "../../../tests/kit/ip/packets.ts";
import { TestHost } from "../../../tests/kit/ip/link.ts";
import { PKT_QUEUE_LIMIT } from "./packet_medium.ts";

const OPTIONS = { src: ip("10.0.0.1"), dst: ip("10.0.0.2"), protocol: 17, ttl: 64, tos: 0 };

function send(at: TestHost, length = 10): string {
  return sendPacket(at.stack, Block.from(pattern(length)), OPTIONS);
}

Deno.test("pkt: what a user writes comes in, and what goes out a user reads", () => {
  const at = new TestHost();
  const { conv } = at.ifc("bind pkt", "add 10.0.0.1 /24");
  assertEquals(at.proto.output(conv, Block.from(ipPacket())), 28);
  assertEquals(at.received.length, 1);
  assertEquals(send(at), "sent");
  assertEquals((conv.rq.bread() as Block).length, 30);
});

Deno.test("pkt: packets that are not read are dropped beyond the limit, and counted", () => {
  const at = new TestHost();
  const { conv, ifc } = at.ifc("bind pkt", "add 10.0.0.1 /24");
  for (let i = 0; i < 100; i++) send(at, 980);
  const held = Math.ceil(PKT_QUEUE_LIMIT / 1000);
  assertEquals([conv.rq.blocks, at.stack.stats.outLinkBusy, ifc.errorsOut], [held, 100 - held, 100 - held]);
});

Deno.test("only an interface bound to pkt takes packets from a user", () => {
  const at = new TestHost();
  const ether = at.etherIfc();
  const unbound = at.ifc();
  for (const { conv } of [ether, unbound]) {
    assertEquals(refusalCode(() => at.proto.output(conv, Block.from(ipPacket()))), "EFAIL");
  }
});

/** A port of the host's. */
class FakePort implements PacketPort {
  readonly kind = "packet";
  readonly name = "tun7";
  readonly mtu = 1400;
  readonly offloads = NO_OFFLOADS;
  readonly mbps = 1000;
  readonly link = true;
  receive: ((block: Block) => void) | null = null;
  full = false;
  readonly sent: number[] = [];

  transmit(block: Block): boolean {
    if (!this.full) this.sent.push(block.length);
    return !this.full;
  }
  close(): void {}
}

Deno.test("tun: packets cross the port both ways, and its MTU is the interface's", () => {
  const at = new TestHost();
  const port = new FakePort();
  at.proto.packetPorts.set("tun7", port);
  const { ifc, ctl } = at.ifc("bind tun tun7", "add 10.0.0.1 /24");
  assertEquals([ifc.mtu, ifc.link!.device], [1400, "tun7"]);
  port.receive!(Block.from(ipPacket()));
  assertEquals(at.received.length, 1);
  send(at);
  port.full = true;
  send(at);
  assertEquals([port.sent, at.stack.stats.outLinkBusy, ifc.errorsOut], [[30], 1, 1]);
  ctl("unbind");
  assertEquals(port.receive, null);
});

Deno.test("tun: a port that is not there, or has a user, cannot be bound", () => {
  const at = new TestHost();
  at.proto.packetPorts.set("tun7", new FakePort());
  assertEquals(refusalCode(() => at.ifc("bind tun tun8")), "ENODEV");
  assertEquals(refusalCode(() => at.ifc("bind tun")), "ENODEV");
  at.ifc("bind tun tun7");
  assertEquals(refusalCode(() => at.ifc("bind tun tun7")), "EBUSY");
});

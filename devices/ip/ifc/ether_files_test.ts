import { assertEquals } from "@std/assert";
import type { DevEnv } from "../../../kernel/dev.ts";
import { refusalCode } from "../../../tests/kit/host/dev.ts";
import { Block } from "../../../kernel/block.ts";
import { openEtherFiles, readEtherFacts } from "./ether_files.ts";
import { FakeEther } from "../../../tests/kit/ip/fake_ether.ts";
import { OUR_MAC } from "../../../tests/kit/ip/packets.ts";
import { TestHost } from "../../../tests/kit/ip/link.ts";

/** An environment in which the first Ethernet says `stats` of itself. */
function env(stats: string): DevEnv {
  const at = new TestHost();
  at.ether.read = (_chan, buf) => new TextEncoder().encodeInto(stats, buf).written;
  return at.stack.env;
}

Deno.test("readEtherFacts() reads address, features and, where the file has it, the MTU", () => {
  const facts = readEtherFacts(env("in: 1\naddr: 020000000001 \nfeat: udpck tcpck uso\nmtu: 9000\n"), "/net/ether0");
  assertEquals([facts.mac.equals(OUR_MAC), facts.mtu], [true, 9000]);
  assertEquals(facts.offloads, { checksum: true, tcpSegment: false, udpSegment: true });
  const plain = readEtherFacts(env("addr: 020000000001"), "/net/ether0");
  assertEquals([plain.mtu, plain.offloads.checksum], [null, false]);
});

Deno.test("readEtherFacts() refuses an interface that names no address, and one that is not there", () => {
  assertEquals(refusalCode(() => readEtherFacts(env("addr: nothing\n"), "/net/ether0")), "EIO");
  assertEquals(refusalCode(() => readEtherFacts(env(""), "/net/ether9")), "ENOENT");
});

Deno.test("openEtherFiles() refuses a clone file that gives no number", () => {
  assertEquals(refusalCode(() => openEtherFiles(env("zero"), "/net/ether0", 0x800)), "EIO");
});

Deno.test("EtherFiles tells what a device answers, and never throws a KernelError", () => {
  const at = new TestHost();
  const files = openEtherFiles(at.stack.env, "/net/ether0", 0x800);
  const write = () => files.write(Block.from(new Uint8Array(20)));
  assertEquals([files.read(), write()], ["empty", "sent"]);
  at.ether.busy = true;
  assertEquals(write(), "busy");
  at.ether.busy = false;
  at.ether.failing = true;
  assertEquals(write(), "error");
  at.ether.convs[0]!.queue.hangup("gone");
  assertEquals(files.read(), "error");
  files.close();
  assertEquals(at.ether.openConvs, 0);
});

Deno.test("the fake interface of these tests has the files that #ether has", () => {
  const ether = new FakeEther();
  for (const path of [["clone"], ["stats"], ["0"], ["0", "data"]]) {
    assertEquals(ether.walk(ether.attach(), path).found, path.length);
  }
});

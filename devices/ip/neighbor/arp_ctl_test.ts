import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Block } from "../../../kernel/block.ts";
import { KernelError } from "../../../kernel/error.ts";
import { refusal, refusalCode } from "../../../tests/kit/host/dev.ts";
import { fuzzSteps, sequences } from "../../../tests/kit/check/fuzz.ts";
import { ARP_LIFE_MS } from "./arp.ts";
import { runArpCtl } from "./arp_ctl.ts";
import { NEIGHBORS_MAX } from "./neighbor_store.ts";
import { sendRaw } from "../network/ip_output.ts";
import { ipPacket, mac, PEER_MAC } from "../../../tests/kit/ip/packets.ts";
import { TestHost } from "../../../tests/kit/ip/link.ts";

function host(): TestHost {
  const made = new TestHost();
  made.etherIfc();
  return made;
}

/** Sends a packet of ours with identification `id`. */
function send(at: TestHost, dst = "10.0.0.2", id = 1): void {
  sendRaw(at.stack, Block.from(ipPacket({ src: "10.0.0.1", dst, id })), { kernelHeader: false });
  at.run();
}

const OTHER_MAC = mac("02:00:00:00:00:99");

Deno.test("ArpTable.ctl() adds for good, deletes and flushes", () => {
  const at = host();
  runArpCtl(at.stack, ["add", "ether", "10.0.0.2", PEER_MAC.toHex()]);
  runArpCtl(at.stack, ["add", "10.0.0.3", `${OTHER_MAC}`]);
  at.clock.advance(10 * ARP_LIFE_MS);
  at.receiveArp({ senderMac: OTHER_MAC });
  assertEquals(at.stack.arp.format(), "ether OK 10.0.0.2 020000000002\nether OK 10.0.0.3 020000000099\n");
  runArpCtl(at.stack, ["del", "10.0.0.2"]);
  assertEquals(at.stack.arp.format(), "ether OK 10.0.0.3 020000000099\n");
  send(at, "10.0.0.9");
  runArpCtl(at.stack, ["flush"]);
  assertEquals([at.stack.arp.format(), at.stack.stats.arpUnresolved, at.clock.timerCount], ["", 1, 0]);
});

Deno.test("ArpTable.ctl() refuses what it does not understand, missing words included (defect 16)", () => {
  const at = host();
  const ctl = (text: string) => refusalCode(() => runArpCtl(at.stack, text === "" ? [] : text.split(" ")));
  for (
    const text of ["", "add", "add 10.0.0.2", "add 10.0.0.2 nonsense", "add 10.0.0.x 020000000002", "del", "flush x"]
  ) {
    assertEquals(ctl(text), "EINVAL", text);
  }
  assertEquals(ctl("add 10.0.0.2 ffffffffffff"), "EINVAL");
  assertEquals(ctl("add 10.0.0.1 020000000002"), "EINVAL");
  assertEquals(ctl("add wifi 10.0.0.2 020000000002"), "EINVAL");
  assertEquals(ctl("add 8.8.8.8 020000000002"), "EHOSTUNREACH");
  assertEquals(ctl("del 10.0.0.2"), "ENOENT");
  assert(refusal(() => runArpCtl(at.stack, ["explode"])).includes('"explode"'));
});

Deno.test("ArpTable.ctl() refuses one more permanent entry than it can hold", () => {
  const at = new TestHost();
  at.ifc("bind ether /net/ether0", "add 10.0.0.1 /8");
  const add = (i: number) => runArpCtl(at.stack, ["add", `10.1.${i >> 8}.${i & 255}`, "020000000002"]);
  for (let i = 0; i < NEIGHBORS_MAX; i++) add(i);
  assertEquals(refusalCode(() => add(NEIGHBORS_MAX)), "ENOSPC");
  // And a packet for somebody else is dropped, not held for ever.
  send(at, "10.0.0.2");
  assertEquals([at.stack.arp.size, at.stack.stats.arpUnresolved], [NEIGHBORS_MAX, 1]);
});

Deno.test("ArpTable.ctl() of random words never throws anything but KernelError", () => {
  const word = fc.oneof(
    fc.constantFrom("add", "del", "flush", "ether", "10.0.0.2", "10.0.0.1", "020000000002", "8.8.8.8", "fe80::1"),
    fc.string({ maxLength: 14 }),
  );
  fc.assert(
    fc.property(sequences(fc.array(word, { maxLength: 5 })), (steps) => {
      const at = host();
      for (const words of steps) {
        try {
          runArpCtl(at.stack, words);
        } catch (error) {
          if (!(error instanceof KernelError)) throw error;
        }
        at.stack.arp.format();
      }
    }),
    fuzzSteps(500),
  );
});

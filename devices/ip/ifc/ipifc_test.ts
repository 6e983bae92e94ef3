import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Block } from "../../../kernel/block.ts";
import { KernelError } from "../../../kernel/error.ts";
import { refusal, refusalCode } from "../../../tests/kit/host/dev.ts";
import { fuzz } from "../../../tests/kit/check/fuzz.ts";
import { IPIFC_VERBS } from "../files/ipifc_ctl.ts";
import { IFC_GROUPS_MAX, IPLIFCS_MAX } from "./ifc_addresses.ts";
import { sendPacket } from "../network/ip_output.ts";
import { ip, ipPacket, pattern } from "../../../tests/kit/ip/packets.ts";
import { TestHost } from "../../../tests/kit/ip/link.ts";
import { SNOOP_QUEUE_LIMIT } from "../files/ipifc_proto.ts";

const ROUTER =
  "sendra 0 recvra 0 mflag 0 oflag 0 maxraint 600000 minraint 200000 linkmtu 0 reachtime 0 rxmitra 0 ttl 255" +
  " routerlt 1800000";
const FOREVER = "18446744073709551615";

Deno.test("ifcStatus() shows Akaros' labels, and masks as people write them", () => {
  const at = new TestHost();
  const { conv, ctl } = at.ifc();
  assertEquals(conv.proto.status(conv), `device  maxtu 0 ${ROUTER} pktin 0 pktout 0 errin 0 errout 0 tracedrop 0\n\n`);
  ctl("bind ether /net/ether0");
  ctl("add 10.0.0.1 /24");
  ctl("add 192.168.0.1 255.255.0.0 192.168.9.0");
  assertEquals(
    conv.proto.status(conv),
    `device /net/ether0 maxtu 1514 ${ROUTER} pktin 0 pktout 0 errin 0 errout 0 tracedrop 0
\t10.0.0.1 /24 10.0.0.0 ${FOREVER} ${FOREVER}
\t192.168.0.1 /16 192.168.0.0 ${FOREVER} ${FOREVER}
`,
  );
  assertEquals(
    conv.proto.local!(conv),
    "10.0.0.1 -> 10.0.0.1 255.255.255.255 10.0.0.255 10.0.0.0\n" +
      "192.168.0.1 -> 192.168.0.1 255.255.255.255 192.168.255.255 192.168.0.0\n",
  );
});

Deno.test("add without a mask takes the class's; a /31 and a /32 have no broadcast address", () => {
  const at = new TestHost();
  const { ifc, ctl } = at.ifc("bind loopback");
  for (const addr of ["10.0.0.1", "172.16.0.1", "192.168.0.1"]) ctl(`add ${addr}`);
  assertEquals(ifc.lifcs.map((one) => `${one.net}`), ["10.0.0.0", "172.16.0.0", "192.168.0.0"]);
  ctl("add 1.2.3.4 /31");
  ctl("add 5.6.7.8 /32");
  assertEquals([at.stack.self.cast(ip("1.2.3.5")), at.stack.self.cast(ip("5.6.7.8"))], [null, "unicast"]);
});

Deno.test("add with a remote and /32 makes a point-to-point link", () => {
  const at = new TestHost();
  at.ifc("bind pkt", "add 10.9.0.1 /32 10.9.0.2");
  assertEquals(
    at.stack.routes.format(),
    `10.9.0.1 /32 10.9.0.1 4u   ifc 0
10.9.0.2 /32 10.9.0.2 4ip  ifc 0
255.255.255.255 /32 255.255.255.255 4b   ifc 0
`,
  );
});

Deno.test("removing addresses takes away all that adding them brought, in any order", () => {
  const addrs = [
    "10.0.0.1 /24",
    "10.0.0.2 /24",
    "10.0.0.3 /16",
    "10.0.0.9 /32",
    "0.0.0.0 /0",
    "10.0.0.255 /8",
    ":: /0",
  ];
  fc.assert(
    fc.property(fc.shuffledSubarray(addrs), fc.shuffledSubarray(addrs), (added, removed) => {
      const at = new TestHost();
      const { ifc, ctl } = at.ifc("bind ether /net/ether0");
      const other = at.ifc("bind loopback", "add 10.0.0.1 /24");
      const before = [at.stack.routes.format(), at.stack.self.format()];
      for (const one of added) ctl(`add ${one}`);
      const last = [...removed.filter((one) => added.includes(one)), ...added.filter((one) => !removed.includes(one))];
      for (const one of last) ctl(`remove ${one}`);
      assertEquals([at.stack.routes.format(), at.stack.self.format()], before);
      assertEquals([ifc.lifcs.length, ifc.acceptsAny(4), ifc.acceptsAny(6)], [0, false, false]);
      other.ctl("unbind");
      assertEquals([at.stack.routes.size, at.stack.self.size], [0, 0]);
    }),
    fuzz(60),
  );
});

Deno.test("the route to a net stays until the last address in it is gone", () => {
  const at = new TestHost();
  const { ctl } = at.ifc("bind ether /net/ether0", "add 10.0.0.1 /24", "add 10.0.0.2 /24");
  ctl("remove 10.0.0.1 /24");
  assertEquals(at.stack.routes.lookup(ip("10.0.0.77"))?.ifc?.number, 0);
  ctl("remove 10.0.0.2 /24 10.0.0.0");
  assertEquals(at.stack.routes.lookup(ip("10.0.0.77")), null);
});

Deno.test("unbind lets go of the device, addresses, routes, groups, neighbours and timers (defect 14)", () => {
  const at = new TestHost();
  const made = at.etherIfc();
  made.ctl("joinmulti 224.0.0.5");
  at.stack.routes.ctl(["add", "0", "0", "10.0.0.2"], "none");
  sendPacket(at.stack, Block.from(pattern(9)), {
    src: ip("10.0.0.1"),
    dst: ip("10.0.0.2"),
    protocol: 17,
    ttl: 1,
    tos: 0,
  });
  assertEquals([at.ether.openConvs, at.clock.timerCount, made.conv.inUse], [3, 1, 2]);
  made.ctl("unbind");
  assertEquals([at.ether.openConvs, at.clock.timerCount, made.conv.inUse], [0, 0, 1]);
  assertEquals([at.stack.self.size, at.stack.arp.size, at.stack.routes.size], [0, 0, 1]);
  assertEquals(at.stack.routes.lookup(ip("10.0.0.2")), null);
  // And everything can be had again.
  for (const command of ["bind ether /net/ether0", "add 10.0.0.1 /24", "joinmulti 224.0.0.5"]) made.ctl(command);
  at.receiveIp(ipPacket());
  assertEquals(at.received.length, 1);
});

Deno.test("unbind of loopback works, and drops what was on its way (defect 14)", () => {
  const at = new TestHost();
  const { ctl } = at.ifc("bind loopback lo", "add 127.0.0.1 /8");
  const options = { src: ip("127.0.0.1"), dst: ip("127.0.0.1"), protocol: 17, ttl: 1, tos: 0 };
  sendPacket(at.stack, Block.from(pattern(9)), options);
  ctl("unbind");
  at.run();
  assertEquals([at.received.length, at.stack.self.size], [0, 0]);
});

Deno.test("a bound interface lives on when it is closed; one bound to pkt does not", () => {
  const at = new TestHost();
  const ether = at.etherIfc();
  const pkt = at.ifc("bind pkt", "add 10.9.0.1 /24");
  const space = at.stack.space(at.proto);
  space.drop(ether.conv);
  space.drop(pkt.conv);
  assertEquals([ether.ifc.link === null, pkt.ifc.link === null], [false, true]);
  at.receiveIp(ipPacket());
  assertEquals(at.received.length, 1);
  assertEquals(at.stack.self.isLocal(ip("10.9.0.1")), false);
});

Deno.test("mtu keeps within what the medium allows, and counts the link's header", () => {
  const at = new TestHost();
  const { ifc, ctl } = at.ifc("bind ether /net/ether0");
  assertEquals(ifc.mtu, 1500);
  ctl("mtu 614");
  assertEquals(ifc.mtu, 600);
  assertEquals([refusalCode(() => ctl("mtu 59")), refusalCode(() => ctl("mtu 1515"))], ["EFAIL", "EFAIL"]);
  ctl("add 10.0.0.1 /24 10.0.0.0 714");
  assertEquals(ifc.mtu, 700);
});

Deno.test("connect replaces all addresses by one, and the conversation is connected", () => {
  const at = new TestHost();
  const { ifc, ctl, conv } = at.ifc("bind ether /net/ether0", "add 10.0.0.1 /24", "add 10.0.0.2 /24");
  ctl("connect 10.5.0.1 /16");
  assertEquals(ifc.lifcs.map((one) => `${one.local}`), ["10.5.0.1"]);
  assertEquals(conv.state, 4);
});

Deno.test("iprouting without a word means on; with one, what it says", () => {
  const at = new TestHost();
  const { ctl } = at.ifc();
  for (const [word, wanted] of [["", true], [" off", false], [" on", true], [" 0", false], [" 2", true]] as const) {
    ctl(`iprouting${word}`);
    assertEquals(at.stack.forwarding, wanted, word);
  }
  assert(at.proto.stats().startsWith("Forwarding: 1\n"));
  assertEquals(refusalCode(() => ctl("iprouting maybe")), "EINVAL");
});

Deno.test("the ctl file refuses what makes no sense, missing arguments included (defect 16)", () => {
  const at = new TestHost();
  const { ctl, ifc } = at.ifc();
  for (
    const text of ["bind", "add", "remove", "remove 10.0.0.1", "mtu", "joinmulti", "unbind now", "add 1 2 3 4 5 6"]
  ) {
    assertEquals(refusalCode(() => ctl(text)), "EINVAL", text);
  }
  for (const text of ["add 10.0.0.1 /24", "unbind", "mtu 1000", "bind floppy", "joinmulti 224.0.0.1"]) {
    assertEquals(refusalCode(() => ctl(text)), "EFAIL", text);
  }
  assertEquals(refusalCode(() => ctl("bind ether /net/ether9")), "ENOENT");
  assertEquals(refusalCode(() => ctl("bind ether")), "EINVAL");
  assertEquals([ifc.medium, at.ether.openConvs], [null, 0]);
  ctl("bind ether /net/ether0");
  assert(refusal(() => ctl("bind loopback")).includes("/net/ether0"));
  for (
    const text of [
      "add x",
      "add 10.0.0.1 /33",
      "add 10.0.0.1 255.0.255.0",
      "add 224.0.0.1",
      "add 10.0.0.1 /24 fe80::1",
      "try :: /0",
    ]
  ) {
    assertEquals(refusalCode(() => ctl(text)), "EINVAL", text);
  }
  assertEquals(refusalCode(() => ctl("add fe80::1 /64 fe80:: 1514 proxy")), "EPROTONOSUPPORT");
  assertEquals(refusalCode(() => ctl("remove 10.0.0.1 /24")), "EFAIL");
  assertEquals(refusalCode(() => ctl("leavemulti 224.0.0.1")), "EFAIL");
  assertEquals(refusalCode(() => ctl("joinmulti 10.0.0.1")), "EINVAL");
  assertEquals([ifc.lifcs.length, at.stack.self.size], [0, 0]);
});

Deno.test("an interface has a limit of addresses and of groups", () => {
  const at = new TestHost();
  const { ctl } = at.ifc("bind ether /net/ether0");
  for (let i = 0; i < IPLIFCS_MAX; i++) ctl(`add 10.0.${i}.1 /24`);
  assertEquals(refusalCode(() => ctl("add 10.1.0.1 /24")), "ENOSPC");
  for (let i = 0; i < IFC_GROUPS_MAX; i++) ctl(`joinmulti 239.0.${i >> 4}.${i & 15}`);
  assertEquals(refusalCode(() => ctl("joinmulti 239.1.0.0")), "ENOSPC");
});

Deno.test("a snooper sees each packet once, in and out, also one that was held for ARP", () => {
  const at = new TestHost();
  const { conv } = at.etherIfc();
  const options = { src: ip("10.0.0.1"), dst: ip("10.0.0.2"), protocol: 17, ttl: 1, tos: 0 };
  sendPacket(at.stack, Block.from(pattern(5)), options);
  assertEquals(conv.sq!.blocks, 0, "No snooper");
  conv.snoopers = 1;
  sendPacket(at.stack, Block.from(pattern(6)), options);
  at.receiveArp({});
  at.receiveIp(ipPacket({ payload: 30 }), { pad: true });
  at.receiveIp(new Uint8Array(3));
  const seen: number[] = [];
  for (let block = conv.sq!.bread(); typeof block !== "string"; block = conv.sq!.bread()) seen.push(block.length);
  assertEquals(seen, [26, 50, 3], "Without padding; what is no packet as it came");
});

Deno.test("a snooper of loopback sees each packet once", () => {
  const at = new TestHost();
  const { conv } = at.ifc("bind loopback", "add 127.0.0.1 /8");
  conv.snoopers = 1;
  for (const dst of ["127.0.0.1", "127.0.0.2"]) {
    sendPacket(at.stack, Block.from(pattern(5)), { src: ip("127.0.0.1"), dst: ip(dst), protocol: 17, ttl: 1, tos: 0 });
  }
  at.run();
  assertEquals([conv.sq!.blocks, at.received.length], [2, 2]);
});

Deno.test("a slow snooper loses packets, and that is counted", () => {
  const at = new TestHost();
  const { conv, ifc } = at.etherIfc();
  conv.snoopers = 1;
  for (let i = 0; i < 100; i++) at.receiveIp(ipPacket({ payload: 1480 }));
  assertEquals(conv.sq!.blocks, Math.ceil(SNOOP_QUEUE_LIMIT / 1500));
  assertEquals(ifc.traceDrops, 100 - conv.sq!.blocks);
  assertEquals(at.received.length, 100);
});

Deno.test("every verb's usage begins with its name, and no verb is there twice", () => {
  for (const { name, usage } of IPIFC_VERBS) assert(usage.split(" ")[0] === name, usage);
  assertEquals(new Set(IPIFC_VERBS.map(({ name }) => name)).size, IPIFC_VERBS.length);
});

Deno.test("random commands on the ctl file never throw anything but KernelError", () => {
  const word = fc.oneof(
    fc.constantFrom("bind", "unbind", "add", "remove", "connect", "try", "mtu", "iprouting", "joinmulti", "leavemulti"),
    fc.constantFrom("ether", "/net/ether0", "loopback", "pkt", "tun", "10.0.0.1", "10.0.0.2", "/24", "/0", "/32", "0"),
    fc.constantFrom("224.0.0.1", "255.255.255.255", "1500", "-1", "proxy", "off", "reassemble", "fe80::1"),
    fc.string({ maxLength: 8, unit: fc.constantFrom(..."abc/.:0129") }),
  );
  fc.assert(
    fc.property(fc.array(fc.array(word, { minLength: 1, maxLength: 6 }), { maxLength: 30 }), (commands) => {
      const at = new TestHost();
      const { conv, ifc } = at.ifc();
      for (const words of commands) {
        try {
          at.proto.ctl(conv, words);
        } catch (error) {
          if (!(error instanceof KernelError)) throw error;
        }
        at.proto.status(conv);
        at.proto.local(conv);
        at.run();
      }
      if (ifc.link !== null) ifc.unbind();
      assertEquals([at.stack.self.size, at.stack.routes.size, at.ether.openConvs, at.clock.timerCount], [0, 0, 0, 0]);
    }),
    fuzz(300),
  );
});

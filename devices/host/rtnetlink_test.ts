/** Linux' answers of interfaces, addresses, routes and neighbours, in a namespace made for the purpose. */

import { assertEquals, assertThrows } from "@std/assert";
import { Block } from "../../kernel/block.ts";
import { ARP_LEN, ARP_REPLY, emitArp } from "../../kernel/wire/arp.ts";
import { emitEthernet, ETHER_HEADER_LEN, ETHERTYPE_ARP } from "../../kernel/wire/ethernet.ts";
import { MacAddr } from "../../kernel/wire/mac_addr.ts";
import { ip } from "../../tests/kit/ip/ip_fixture.ts";
import { machineTest } from "../../tests/kit/check/skip.ts";
import { HostError } from "./libc.ts";
import { openTap } from "./tun.ts";
import { LinuxSocket } from "./linux_socket.ts";
import { hasFirewallChains, hostInterfaces, hostNeighbor, hostRoute } from "./rtnetlink.ts";
import { readSysctl, writeSysctl } from "./sysctl.ts";

machineTest("rtnetlink and sysctl answer of the namespace that is visited", ["root", "tun", "netns"], () => {
  using tap = openTap({ netns: "new", name: "rt0", address: ["10.98.7.1/24", "fd98::1/64"] });
  tap.netns!.run(() => {
    const [lo, rt0] = ["lo", "rt0"].map((name) => hostInterfaces().find((one) => one.name === name)!);
    assertEquals([rt0!.name, rt0!.up, rt0!.master], ["rt0", true, 0]);
    const texts = rt0!.addresses.map(({ addr, prefix }) => `${addr}/${prefix}`);
    assertEquals(["10.98.7.1/24", "fd98::1/64"].map((text) => texts.includes(text)), [true, true], `${texts}`);
    assertEquals(lo!.addresses.map(({ addr, prefix }) => `${addr}/${prefix}`), ["127.0.0.1/8", "::1/128"]);
    const unicast = { kind: "unicast", device: rt0!.index, gateway: null };
    for (const to of ["10.98.7.2", "fd98::2"]) assertEquals(hostRoute({ to: ip(to) }), unicast as never, to);
    const own = hostRoute({ to: ip("10.98.7.1") });
    assertEquals(typeof own === "number" ? own : own.kind, "local");
    for (const to of ["203.0.113.1", "2001:db8::1"]) assertEquals(hostRoute({ to: ip(to) }), 101, `ENETUNREACH ${to}`);
    const incoming = { from: ip("10.98.7.2"), device: rt0!.index };
    assertEquals(typeof hostRoute({ to: ip("203.0.113.1"), incoming }), "number", "there is no way on");
    assertEquals(readSysctl("net/ipv4/conf/rt0/forwarding"), "0");
    assertEquals(readSysctl("net/ipv4/conf/none/forwarding"), null);
    writeSysctl("net/ipv6/conf/rt0/accept_dad", "0");
    assertEquals(readSysctl("net/ipv6/conf/rt0/accept_dad"), "0");
    assertThrows(() => writeSysctl("net/ipv6/conf/none/accept_dad", "0"), HostError, "Cannot set /proc/sys/net/ipv6");
  });
});

machineTest(
  "rtnetlink finds the hardware address of a neighbor, once it has answered",
  ["root", "tun", "netns"],
  () => {
    using tap = openTap({ netns: "new", name: "rt0", address: "10.98.7.1/24" });
    const find = () => tap.netns!.run(() => hostNeighbor(ip("10.98.7.2")));
    // Linux takes a reply only where it has asked: it asks for the destination of a datagram.
    const socket = new LinuxSocket("udp", tap.netns);
    socket.sendTo(new Uint8Array(1), "10.98.7.2", 9);
    socket.close();
    assertEquals(find(), null);
    const senderMac = new MacAddr(0x0200, 2);
    const targetMac = MacAddr.at(tap.device.mac, 0);
    const frame = new Uint8Array(ETHER_HEADER_LEN + ARP_LEN);
    emitEthernet({ dst: targetMac, src: senderMac, etherType: ETHERTYPE_ARP }, frame, 0);
    const ends = { senderMac, senderIp: ip("10.98.7.2"), targetMac, targetIp: ip("10.98.7.1") };
    emitArp({ op: ARP_REPLY, ...ends }, frame, ETHER_HEADER_LEN);
    tap.transmit(Block.from(frame));
    assertEquals(`${find()}`, `${senderMac}`);
  },
);

machineTest("rtnetlink tells whether nftables has a chain", ["root", "tun", "netns", "tool:nft"], async () => {
  using tap = openTap({ netns: "new", name: "rt1", address: ["10.98.8.1/24"] });
  const netns = tap.netns!;
  const nft = async (...words: string[]) => {
    const args = [`--net=${netns.path}`, "nft", ...words];
    const { code } = await new Deno.Command("nsenter", { args }).output();
    assertEquals(code, 0, words.join(" "));
  };
  assertEquals(netns.run(hasFirewallChains), false);
  await nft("add", "table", "ip", "t");
  assertEquals(netns.run(hasFirewallChains), false, "a table is no chain");
  await nft("add", "chain", "ip", "t", "c");
  assertEquals(netns.run(hasFirewallChains), true);
});

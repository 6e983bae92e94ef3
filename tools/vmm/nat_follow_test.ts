/** A forward that names no guest leads to the guest there is: by its lease, by its first packet, after another left. */

import { assertEquals, assertThrows } from "@std/assert";
import { KernelError } from "../../kernel/error.ts";
import {
  DHCP_ACK,
  DHCP_BOOT_REQUEST,
  DHCP_DISCOVER,
  DHCP_OPTION_REQUESTED_ADDR,
  DHCP_OPTION_TYPE,
  DHCP_REQUEST,
  dhcpLen,
  dhcpType,
  emitDhcp,
  encodeDhcpAddrs,
  encodeDhcpNumber,
  parseDhcp,
} from "../../kernel/wire/dhcp.ts";
import { IPV4_UNSPECIFIED } from "../../kernel/wire/ip_addr.ts";
import { MAC_BROADCAST, MacAddr } from "../../kernel/wire/mac_addr.ts";
import { ip, udpPacket } from "../../tests/kit/ip/ip_fixture.ts";
import { framed, gotOf, GUEST, GUEST_MAC, type NatKit, natKit, REMOTE } from "../../tests/kit/nat/steps.ts";

const card = (n: number) => new MacAddr(0x0200, n);
const IP_UDP_HEADERS = 28;

/** Asks for an address as a client does, with discover and request; the address. */
function lease({ frame }: NatKit, mac: MacAddr, wish?: string): string {
  const ask = (type: number, addr: string | undefined) => {
    const options = new Map([[DHCP_OPTION_TYPE, encodeDhcpNumber(type, 1)]]);
    if (addr !== undefined) options.set(DHCP_OPTION_REQUESTED_ADDR, encodeDhcpAddrs([ip(addr)]));
    const none = IPV4_UNSPECIFIED;
    const message = {
      op: DHCP_BOOT_REQUEST,
      hops: 0,
      xid: 7,
      secs: 0,
      broadcast: false,
      sname: "",
      file: "",
      options,
      ciaddr: none,
      yiaddr: none,
      siaddr: none,
      giaddr: none,
      chaddr: mac,
    };
    const payload = new Uint8Array(dhcpLen(message));
    emitDhcp(message, payload, 0);
    const packet = udpPacket({ src: "0.0.0.0", dst: "255.255.255.255", srcPort: 68, dstPort: 67, payload });
    const answer = gotOf(frame(framed(packet, { dst: MAC_BROADCAST, src: mac })));
    return parseDhcp(answer, IP_UDP_HEADERS, answer.length)!;
  };
  const offer = ask(DHCP_DISCOVER, wish);
  const ack = ask(DHCP_REQUEST, `${offer.yiaddr}`);
  assertEquals(dhcpType(ack), DHCP_ACK);
  return `${ack.yiaddr}`;
}

/** Where the first forward's packets go: address and station. */
function target({ nat, back }: NatKit): { guest: string; mac: string } {
  const { map } = nat.forwards.list[0]!;
  const frame = back(udpPacket({ src: REMOTE, dst: "10.0.0.1", srcPort: 9, dstPort: 53 }), map).frames[0]!;
  const dst = `${ip([...frame.subarray(30, 34)].join("."))}`;
  return { guest: dst, mac: `${MacAddr.at(frame, 0)}` };
}

Deno.test("A forward made for one guest leads to the next one, with another card, after the first has left", () => {
  const kit = natKit({ guestMac: null });
  kit.nat.addForward("udp:53:53");
  assertEquals(lease(kit, card(1)), GUEST);
  kit.frame(framed(udpPacket({ src: GUEST, dst: REMOTE }), { src: card(1) }));
  assertEquals(target(kit), { guest: GUEST, mac: `${card(1)}` });
  assertEquals(lease(kit, card(2)), "10.0.2.16", "beside the first there is no other way");
  assertEquals(target(kit), { guest: GUEST, mac: `${card(1)}` }, "the first is still the guest");
  kit.nat.guestsLeft();
  assertEquals(lease(kit, card(3)), GUEST, "also with maps of the first guest alive");
  assertEquals(target(kit), { guest: GUEST, mac: `${card(3)}` });
});

Deno.test("A forward follows a lease: to the guest that had none, and to its next address", () => {
  const kit = natKit({ guestMac: null, guest: "10.0.2.100", firstLease: "10.0.2.15" });
  kit.nat.addForward("udp:53:53");
  kit.nat.addForward("udp::54-10.0.2.100:53");
  assertEquals(lease(kit, card(1)), "10.0.2.15");
  assertEquals(target(kit), { guest: "10.0.2.15", mac: `${card(1)}` });
  assertEquals(`${kit.nat.forwards.list[1]!.map.guest.addr}`, "10.0.2.100", "one that names its guest stays");
  assertEquals(lease(kit, card(1), "10.0.2.40"), "10.0.2.15", "its own comes first");
  kit.nat.guestsLeft();
  assertEquals(lease(kit, card(1), "10.0.2.40"), "10.0.2.40");
  assertEquals(target(kit), { guest: "10.0.2.40", mac: `${card(1)}` });
  kit.nat.addForward("udp:60:60");
  assertEquals(`${kit.nat.forwards.list[2]!.map.guest.addr}`, "10.0.2.40", "so does one that comes later");
  for (const text of ["udp:53:53", "udp:60:60"]) kit.nat.removeForward(text);
  assertEquals(kit.nat.forwards.list.length, 1);
});

Deno.test("A forward leads to the first that speaks, if its guest has never been heard of", () => {
  const kit = natKit({ guestMac: null, guest: "10.0.2.100", firstLease: "10.0.2.15" });
  kit.nat.addForward("udp:53:53");
  kit.frame(framed(udpPacket({ src: "10.0.2.77", dst: REMOTE }), { src: card(5) }));
  assertEquals(target(kit), { guest: "10.0.2.77", mac: `${card(5)}` });
  kit.frame(framed(udpPacket({ src: "10.0.2.78", dst: REMOTE }), { src: card(5) }));
  assertEquals(target(kit), { guest: "10.0.2.77", mac: `${card(5)}` }, "its second address is not another guest");
  const given = natKit({ guest: "10.0.2.100", firstLease: "10.0.2.15" });
  given.nat.addForward("udp:53:53");
  given.frame(framed(udpPacket({ src: "10.0.2.77", dst: REMOTE }), { src: card(5) }));
  assertEquals(target(given), { guest: "10.0.2.100", mac: `${GUEST_MAC}` }, "the station of a given guest is known");
});

Deno.test("A forward at the host's loopback is refused with its reason where it is not reached", () => {
  const { nat } = natKit({ loopbackForwards: false });
  for (const addr of ["127.0.0.1", "127.9.9.9"]) {
    const error = assertThrows(() => nat.addForward(`tcp:${addr}:8081:80`), KernelError, "forwards are at 10.0.0.1");
    assertEquals(error.code, "EADDRNOTAVAIL");
  }
  assertEquals(nat.forwards.list.length, 0);
  natKit().nat.addForward("tcp:127.0.0.1:8081:80");
  const six = { hostAddr: "2001:db8::1/64", uplinkMtu: 1500 };
  const both = natKit({ loopbackForwards: false, v6: six }).nat;
  assertThrows(() => both.addForward("tcp:[::1]:8081-[fd00:0:0:2::f]:80"), KernelError, "forwards are at 2001:db8::1");
});

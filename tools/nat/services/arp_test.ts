/** Whom the router answers for, and whom not. */

import { assertEquals } from "@std/assert";
import { ARP_REPLY, ARP_REQUEST, type ArpPacket } from "../../../kernel/wire/arp.ts";
import { MAC_BROADCAST, MAC_ZERO, MacAddr } from "../../../kernel/wire/mac_addr.ts";
import { ip } from "../../../tests/kit/ip/ip_fixture.ts";
import { answerArp, arpRequest, arpSender } from "./arp.ts";

const mac = new MacAddr(1, 2);
const service = { mac, answersFor: (addr: { w3: number }) => addr.w3 === ip("10.0.2.2").w3 };
const asks = (fields: Partial<ArpPacket>): ArpPacket => ({
  ...{
    op: ARP_REQUEST,
    senderMac: new MacAddr(2, 3),
    senderIp: ip("10.0.2.15"),
    targetMac: MAC_ZERO,
    targetIp: ip("10.0.2.2"),
  },
  ...fields,
});

Deno.test("A request for the router, and a probe for it, are answered to the sender", () => {
  for (const senderIp of [ip("10.0.2.15"), ip("0.0.0.0")]) {
    assertEquals(answerArp(service, asks({ senderIp })), {
      ...{ op: ARP_REPLY, senderMac: mac, senderIp: ip("10.0.2.2"), targetMac: new MacAddr(2, 3), targetIp: senderIp },
    });
  }
});

Deno.test("akaros 25: announcements, probes for others, replies, and senders that cannot be get no answer", () => {
  const silent: Partial<ArpPacket>[] = [
    { senderIp: ip("10.0.2.2") },
    { targetIp: ip("10.0.2.15") },
    { op: ARP_REPLY },
    { op: 3 },
    { senderMac: MAC_BROADCAST },
    { senderMac: MAC_ZERO },
  ];
  for (const fields of silent) assertEquals(answerArp(service, asks(fields)), null);
});

Deno.test("Senders are learnt unless they say nothing", () => {
  assertEquals(arpSender(asks({}))?.mac, new MacAddr(2, 3));
  for (const senderIp of [ip("0.0.0.0"), ip("224.0.0.1")]) assertEquals(arpSender(asks({ senderIp })), null);
  assertEquals(arpSender(asks({ senderMac: MAC_BROADCAST })), null);
  assertEquals(arpRequest(mac, ip("10.0.2.2"), ip("10.0.2.15")).senderIp, ip("10.0.2.2"));
});

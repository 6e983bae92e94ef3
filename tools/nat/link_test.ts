/** The guest's link: what is said to guests, in what frames; addresses learnt from what they say. */

import { assertEquals } from "@std/assert";
import { Block } from "../../kernel/block.ts";
import { MacAddr } from "../../kernel/wire/mac_addr.ts";
import { icmpErrorPacket, ip, pattern, udpPacket } from "../../tests/kit/ip/ip_fixture.ts";
import { FAMILIES } from "../../tests/kit/nat/families.ts";
import { Counters, Reason } from "./counters.ts";
import { newGuest } from "../../tests/kit/nat/guest_maps.ts";
import { assertSound, endsOf, framed, GUEST, GUEST_MAC, natKit, REMOTE } from "../../tests/kit/nat/steps.ts";
import { FAMILY4 } from "./family4.ts";
import { errorToGuest, toGuest } from "./link.ts";
import { resolveFlow } from "./flow.ts";

Deno.test("toGuest puts the guest's address before what fits, and cuts what does not", () => {
  const { nat } = natKit({ mtu: 1000 });
  const guest = nat.table.guest(ip(GUEST))!;
  toGuest(nat.v4, Block.from(udpPacket({ payload: pattern(100) })), guest);
  toGuest(nat.v4, Block.from(udpPacket({ payload: pattern(1500) })), guest);
  const frames = nat.takeFrames().map((frame) => frame.bytes().slice());
  assertEquals(frames.map(({ length }) => length), [142, 1010, 566]);
  assertEquals(frames.every((frame) => MacAddr.at(frame, 0).equals(GUEST_MAC)), true);
  assertEquals(toGuest(nat.v4, Block.from(new Uint8Array(2000)), guest), false);
  assertEquals(nat.counters.refused[Reason.TooBig], 1);
});

Deno.test("A packet of our own is sound, and an error about it is reported once", () => {
  const { nat } = natKit();
  const block = FAMILY4.makeDatagram({ src: ip(GUEST), dst: ip(REMOTE), srcPort: 1, dstPort: 2 }, pattern(9));
  assertSound(block.bytes());
  assertEquals(endsOf(block.bytes()), `${GUEST}:1 > ${REMOTE}:2`);
  const guest = newGuest(ip(GUEST), GUEST_MAC);
  const tell = (about: Block) => {
    nat.v4.packet.read(about);
    return errorToGuest(nat.v4, guest, { type: 3, code: 1 });
  };
  assertEquals(tell(block), true);
  assertEquals(nat.takeFrames().length, 1);
  const error = Block.from(icmpErrorPacket({ type: 3, code: 1, packet: block.bytes() }));
  assertEquals([tell(error), nat.takeFrames().length], [false, 0]);
});

Deno.test("A guest's hardware address is learnt from its packets, and learnt again", () => {
  const { nat, frame } = natKit({ guestMac: null });
  const guest = nat.table.guest(ip(GUEST))!;
  assertEquals(guest.mac, null);
  for (const lo of [1, 2]) {
    frame(framed(udpPacket({ src: GUEST, dst: REMOTE }), { src: new MacAddr(2, lo) }));
    assertEquals(guest.mac, new MacAddr(2, lo));
  }
  frame(framed(udpPacket({ src: GUEST, dst: REMOTE }), { src: new MacAddr(0x0102, 3) }));
  assertEquals(guest.mac, new MacAddr(2, 2));
});

Deno.test("A flow to a remote without a map has none, and goes to the world", () => {
  for (const family of FAMILIES) {
    const kit = family.kit();
    const ctx = family.context(kit);
    ctx.flow.set(0, 1, ip(family.remote), 9);
    const { map, isAnswer, realm, remote, local } = resolveFlow(ctx, newGuest(ip(family.guest)));
    assertEquals({ map, isAnswer, realm }, { map: null, isAnswer: false, realm: 0 });
    assertEquals({ remote: `${remote}`, local: `${local}` }, { remote: family.remote, local: family.host });
  }
});

Deno.test("Counters have a name for every reason", () => {
  const counters = new Counters();
  for (const reason of Object.values(Reason)) counters.refuse(reason);
  const names = counters.entries().map(([name]) => name).filter((name) => name.startsWith("refused-"));
  assertEquals([names.length, names.includes("refused-undefined")], [Object.keys(Reason).length, false]);
});

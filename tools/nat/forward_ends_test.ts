/** Forwards of one version of IP alone: styles and ranges of IPv4, several addresses of the host and syntax of IPv6. */

import { assertEquals, assertThrows } from "@std/assert";
import { KernelError } from "../../kernel/error.ts";
import { ip, udpPacket } from "../../tests/kit/ip/ip_fixture.ts";
import {
  assertSound,
  endsOf,
  gotOf,
  GUEST,
  GUEST6,
  GUEST_MAC,
  HOST,
  natKit,
  natKit6,
  REMOTE,
  REMOTE6,
  ROUTER,
  sentOf,
  tcp6,
  udp6,
} from "../../tests/kit/nat/steps.ts";
import { exposureOf } from "./exposure.ts";

const udp = (options: Parameters<typeof udpPacket>[0] = {}) =>
  udpPacket({ src: GUEST, dst: REMOTE, srcPort: 4000, dstPort: 9, ttl: 64, ...options });
const reply4 = (options: Parameters<typeof udpPacket>[0] = {}) =>
  udpPacket({ src: REMOTE, dst: HOST, srcPort: 9, dstPort: 4000, ttl: 64, ...options });

Deno.test("akaros 33: clients on the host come to a forward as the router, and get answers", () => {
  for (const style of ["qemu", "real"] as const) {
    const real = { style, subnet: "10.0.0.0/24", router: "10.0.0.254", guestMac: undefined } as const;
    const kit = natKit(style === "real" ? { ...real, guestMac: null } : {});
    const guest = style === "real" ? HOST : GUEST;
    const router = style === "real" ? "10.0.0.254" : ROUTER;
    kit.nat.table.addGuest(ip(guest), GUEST_MAC);
    const { map } = kit.nat.addForward("udp:53:5353");
    for (const [src, port] of [["127.0.0.1", 40], ["127.0.0.5", 41], [HOST, 42]] as const) {
      const got = gotOf(kit.back(udpPacket({ src, dst: src, srcPort: port, dstPort: 53 }), map));
      const seen = style === "qemu" && src === HOST ? HOST : router;
      assertEquals(endsOf(got), `${seen}:${port} > ${guest}:5353`);
      const answer = udpPacket({ src: guest, dst: seen, srcPort: 5353, dstPort: port });
      assertEquals(endsOf(sentOf(kit.out(answer)).packet), `${src}:53 > ${src}:${port}`);
    }
  }
});

Deno.test("A range of ports is one map: each host port stands for the guest port of the same place", () => {
  const { nat, out, back } = natKit();
  const { map } = nat.addForward("udp:8000-8009:70");
  assertEquals(endsOf(gotOf(back(reply4({ dstPort: 8003 }), map))), `${REMOTE}:9 > ${GUEST}:73`);
  assertEquals(endsOf(sentOf(out(udp({ srcPort: 73 }))).packet), `${HOST}:8003 > ${REMOTE}:9`);
  assertEquals(back(reply4({ dstPort: 8010 }), map).reason, "unmapped");
});

Deno.test("A forward of IPv6 answers each by the address that it came to; a guest not heard of is asked for", () => {
  const kit = natKit6({}, { hostAddrs: ["2001:db8:2::2/64"] });
  const { map } = kit.nat.addForward(`tcp::8080-[${GUEST6}]:80`);
  const syn = tcp6({ src: REMOTE6, srcPort: 1234, dst: "2001:db8:2::2", dstPort: 8080 });
  // The guest's hardware address is not known yet: it is resolved.
  const { frames, toGuest } = kit.back(syn, map);
  assertEquals([frames.length, toGuest[0]![40]], [1, 135]);
  sentOf(kit.out(udp6()));
  const got = gotOf(kit.back(syn, map));
  assertSound(got);
  assertEquals(endsOf(got), `[${REMOTE6}]:1234 > [${GUEST6}]:80`);
  const answer = sentOf(kit.out(tcp6({ srcPort: 80, dstPort: 1234, flags: 18 })));
  assertSound(answer.packet);
  assertEquals([endsOf(answer.packet), answer.map], [`[2001:db8:2::2]:8080 > [${REMOTE6}]:1234`, map]);
  assertEquals(exposureOf(kit.nat).filter((line) => line.includes("exposes")), [
    "tcp::8080-[fd00:0:0:2::15]:80 exposes guest fd00:0:0:2::15 on every address of the host",
  ]);
  kit.nat.removeForward(`tcp::8080-[${GUEST6}]:80`);
  for (const bad of [`tcp::8080-[2001:db8::1]:80`, `tcp::8080-[10.0.2.15]:80`, "tcp:[x]:1-[fd00:0:0:2::1]:80"]) {
    assertThrows(() => kit.nat.addForward(bad), KernelError);
  }
  assertThrows(() => natKit().nat.addForward(`tcp::8080-[${GUEST6}]:80`), KernelError, "no guest's address");
});

import { assertEquals } from "@std/assert";
import { parseIcmp6Quote } from "../../kernel/wire/icmp6.ts";
import { pattern } from "../../tests/kit/ip/ip_fixture.ts";
import { error6Packet, header6 } from "../../tests/kit/ip/story6.ts";
import { sentOf } from "../../tests/kit/nat/steps.ts";
import {
  assertSound,
  echo6,
  endsOf,
  gotOf,
  GUEST6,
  HOST6,
  natKit6,
  REMOTE6,
  swapped,
  tcp6,
  udp6,
} from "../../tests/kit/nat/steps.ts";

const ROUTER_FAR = "2001:db8:ffff::1";

/** What the guest's error quotes. */
function quoted(error: Uint8Array): Uint8Array {
  return error.slice(parseIcmp6Quote(error, 40, error.length)!.ipAt);
}

Deno.test("Errors about what a guest sent reach it with the packet that it knows, and every checksum right", () => {
  const kit = natKit6();
  for (const packet of [udp6({ payload: pattern(20) }), tcp6({ data: pattern(9) }), echo6()]) {
    const { packet: sent, map } = sentOf(kit.out(packet));
    for (const [type, code, rest] of [[1, 4, 0], [2, 0, 1280], [3, 0, 0], [4, 1, 6]] as const) {
      const error = error6Packet({ type, code, rest, packet: sent }, { src: ROUTER_FAR, dst: HOST6 });
      for (const got of [gotOf(kit.error(error, map)), gotOf(kit.back(error, map))]) {
        assertSound(got);
        assertEquals([`${header6(got).src}`, `${header6(got).dst}`], [ROUTER_FAR, GUEST6]);
        assertEquals([got[40], got[41], (got[46]! << 8) | got[47]!], [type, code, rest]);
        const quote = quoted(got);
        assertEquals(endsOf(quote), endsOf(packet));
        assertSound(quote);
      }
    }
  }
});

Deno.test("Errors that quote nothing of the map, are damaged, or come for whom nothing was sent to are dropped", () => {
  const kit = natKit6();
  const { packet: sent, map } = sentOf(kit.out(udp6()));
  const error = (packet: Uint8Array) => error6Packet({ type: 1, code: 4, packet }, { src: ROUTER_FAR, dst: HOST6 });
  const damaged = error(sent);
  damaged[60]! ^= 1;
  const cases: [Uint8Array, string][] = [
    [damaged, "icmp-quote"],
    [error(udp6({ src: HOST6, srcPort: map.hostPort + 1 })), "icmp-quote"],
    [error(udp6({ src: "2001:db8::bad", srcPort: map.hostPort })), "icmp-quote"],
    [error(tcp6({ src: HOST6, srcPort: map.hostPort })), "icmp-quote"],
    [error(sent.slice(0, 44)), "icmp-quote"],
    [error(udp6({ src: HOST6, srcPort: map.hostPort, dst: "2001:db8:9::7" })), "filtered"],
  ];
  for (const [packet, reason] of cases) assertEquals(kit.error(packet, map).reason, reason);
});

Deno.test("A guest's error goes to whoever sent what it quotes, and to nobody else", () => {
  const kit = natKit6();
  const { packet: sent, map } = sentOf(kit.out(udp6()));
  const got = gotOf(kit.back(swapped(sent), map));
  const error = (options = {}) =>
    error6Packet({ type: 1, code: 4, packet: got }, { src: GUEST6, dst: REMOTE6, ...options });
  const out = sentOf(kit.out(error()));
  assertEquals(out.map, map);
  assertSound(out.packet);
  assertEquals([`${header6(out.packet).src}`, `${header6(out.packet).dst}`], [HOST6, REMOTE6]);
  assertEquals(endsOf(quoted(out.packet)), `[${REMOTE6}]:9 > [${HOST6}]:${map.hostPort}`);
  assertSound(quoted(out.packet));
  assertEquals(kit.out(error({ dst: "2001:db8:9::7" })).reason, "icmp-quote");
  const forged = udp6({ src: "2001:db8:9::7", srcPort: 9, dst: GUEST6, dstPort: 4000 });
  const lie = error6Packet({ type: 1, code: 4, packet: forged }, { src: GUEST6, dst: "2001:db8:9::7" });
  assertEquals(kit.out(lie).reason, "icmp-quote");
});

Deno.test("Our own errors are limited in rate, and none is about an error", () => {
  const kit = natKit6();
  let told = 0;
  for (let i = 0; i < 200; i++) told += kit.out(udp6({ hopLimit: 1 })).toGuest.length;
  assertEquals(told, 50);
  assertEquals(kit.refused("icmp-rate"), 150);
});

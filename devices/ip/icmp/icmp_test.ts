/** ICMP: echo, conversations by identifier, errors in, bypass of identifiers. */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { KernelError } from "../../../kernel/error.ts";
import {
  ICMP_ECHO_REPLY,
  ICMP_ECHO_REQUEST,
  ICMP_PARAMETER_PROBLEM,
  ICMP_REDIRECT,
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
  ICMP_UNREACHABLE_HOST,
  icmpChecksumOk,
  icmpEchoId,
  icmpEchoSeq,
} from "../../../kernel/wire/icmp.ts";
import { parseIpv4 } from "../../../kernel/wire/ipv4.ts";
import { refusal, refusalCode } from "../../../tests/kit/host/dev.ts";
import { fuzzSteps, sequences } from "../../../tests/kit/check/fuzz.ts";
import {
  echoPacket,
  icmpErrorPacket,
  ipFixture,
  ipPacket,
  pattern,
  PEER,
  udpPacket,
  US,
} from "../../../tests/kit/ip/ip_fixture.ts";
import { ICMP_QUEUE_LIMIT } from "./echo_convs.ts";

/** An echo request as the writer of a conversation gives it: room for an IP header, then the message. */
function request(size: number, seq = 1, type = ICMP_ECHO_REQUEST): Uint8Array {
  const bytes = new Uint8Array(28 + size);
  bytes[20] = type;
  bytes[27] = seq;
  bytes.set(pattern(size), 28);
  return bytes;
}

Deno.test("The kernel answers echo requests with the same identifier, sequence, data and TOS", () => {
  const ip = ipFixture();
  for (const size of [0, 1, 56, 1400]) {
    ip.inject(echoPacket({ id: 0x1234, seq: 7, data: pattern(size), tos: 0x10, options: Uint8Array.of(1, 1, 1, 1) }));
    const [reply] = ip.sent();
    const header = parseIpv4(reply!, 0, reply!.length)!;
    assertEquals([`${header.src}`, `${header.dst}`, header.tos, header.headerLen], [US, PEER, 0x10, 20]);
    assertEquals([reply![20], icmpEchoId(reply!, 20), icmpEchoSeq(reply!, 20)], [ICMP_ECHO_REPLY, 0x1234, 7]);
    assert(icmpChecksumOk(reply!, 20, reply!.length));
    assertEquals(reply!.subarray(28), pattern(size));
  }
  assertEquals([ip.stat("icmp", "EchoRequest"), ip.stat("icmp", "OutMsgs")], [4, 4]);
});

Deno.test("Defect 13: an echo request to a broadcast or multicast address is not answered; Akaros amplified it", () => {
  const ip = ipFixture();
  for (const dst of ["10.0.0.255", "255.255.255.255", "224.0.0.1"]) ip.inject(echoPacket({ dst }));
  assertEquals(ip.sent(), []);
});

Deno.test("Defect 12: a message below 8 bytes or with a wrong checksum is dropped and counted", () => {
  const ip = ipFixture();
  for (const size of [0, 1, 7]) ip.inject(ipPacket({ protocol: 1, payload: pattern(size) }));
  const bad = echoPacket();
  bad[24]! ^= 1;
  ip.inject(bad);
  assertEquals([ip.sent(), ip.stat("icmp", "LenErrs"), ip.stat("icmp", "CsumErrs")], [[], 3, 1]);
});

Deno.test("A conversation sends requests with its identifier and reads the replies that carry it", () => {
  const ip = ipFixture();
  const icmp = ip.conv("icmp", `connect ${PEER}!1 77`, "ttl 3");
  assertEquals(icmp.text("local"), `${US}!77\n`);
  assertEquals(icmp.send(request(10)), 38);
  const [packet] = ip.sent();
  assertEquals([packet![8], packet![20], icmpEchoId(packet!, 20)], [3, ICMP_ECHO_REQUEST, 77]);
  assert(icmpChecksumOk(packet!, 20, packet!.length));
  const reply = echoPacket({ reply: true, id: 77, data: pattern(10) });
  ip.inject(echoPacket({ reply: true, id: 78 }));
  ip.inject(echoPacket({ reply: true, id: 77, src: "10.0.0.3" }));
  ip.inject(reply);
  assertEquals([icmp.read(), icmp.read(), ip.stat("icmp", "NoConv")], [reply, null, 2]);
});

Deno.test("An identifier is picked if none is given, and refused if somebody has it for the same peer", () => {
  const ip = ipFixture();
  const first = ip.conv("icmp", `connect ${PEER}!1`);
  assert(first.port() >= 5000);
  assertEquals(refusalCode(() => ip.conv("icmp", `connect ${PEER}!1 ${first.port()}`)), "EFAIL");
  ip.conv("icmp", `connect 10.0.0.3!1 ${first.port()}`);
});

Deno.test("A conversation sends nothing but messages with an identifier, at least 28 bytes, to its peer", () => {
  const ip = ipFixture();
  const icmp = ip.conv("icmp", `connect ${PEER}!1`);
  assertEquals(refusalCode(() => icmp.send(new Uint8Array(27))), "EINVAL");
  assertEquals(refusalCode(() => icmp.send(request(8, 1, ICMP_UNREACHABLE))), "EPERM");
  assertEquals(refusalCode(() => icmp.send(request(8, 1, ICMP_REDIRECT))), "EPERM");
  assertEquals(refusalCode(() => icmp.send(new Uint8Array(65536))), "EMSGSIZE");
  assertEquals(refusalCode(() => ip.conv("icmp", "announce 7").send(request(1))), "ENOTCONN");
  assertEquals(ip.sent(), []);
});

Deno.test("Unreachable about a request of ours hangs its conversation up; time exceeded only reaches err", () => {
  const ip = ipFixture();
  const icmp = ip.conv("icmp", `connect ${PEER}!1 77`);
  icmp.send(request(10));
  const [packet] = ip.sent();
  ip.inject(icmpErrorPacket({ type: ICMP_TIME_EXCEEDED, code: 0, packet: packet! }));
  assertEquals([icmp.conv.eq.blocks, icmp.conv.rq.closed], [1, false]);
  ip.inject(icmpErrorPacket({ type: ICMP_UNREACHABLE, code: ICMP_UNREACHABLE_HOST, packet: packet! }));
  assertEquals(refusal(() => icmp.read()), "EPIPE: Host unreachable");
});

Deno.test("Redirects and errors with a malformed quote change nothing", () => {
  const ip = ipFixture();
  const icmp = ip.conv("icmp", `connect ${PEER}!1 77`);
  const ours = echoPacket({ src: US, dst: PEER, id: 77 });
  ip.inject(icmpErrorPacket({ type: ICMP_REDIRECT, code: 1, rest: 0x0a000063, packet: ours }));
  ip.inject(icmpErrorPacket({ type: ICMP_UNREACHABLE, code: 1, packet: ours.subarray(0, 27) }));
  ip.inject(icmpErrorPacket({ type: ICMP_PARAMETER_PROBLEM, code: 0, packet: Uint8Array.of(0x41) }));
  assertEquals([icmp.conv.rq.closed, icmp.conv.eq.blocks, ip.stat("icmp", "HlenErrs")], [false, 0, 2]);
});

Deno.test("Defect 8: a bypassed identifier takes requests and replies; with bypass-echo replies only those", () => {
  const ip = ipFixture();
  const icmp = ip.conv("icmp", "bypass 77");
  const ping = echoPacket({ id: 77 });
  const pong = echoPacket({ reply: true, id: 77 });
  ip.inject(ping);
  ip.inject(pong);
  assertEquals([icmp.read(), icmp.read(), ip.sent()], [ping, pong, []]);
  ip.inject(echoPacket({ id: 78 }));
  assertEquals(ip.sent().length, 1);
  icmp.command("bypass-echo replies");
  ip.inject(ping);
  ip.inject(pong);
  assertEquals([icmp.read(), icmp.read(), ip.sent().length], [pong, null, 1]);
  assertEquals(refusalCode(() => icmp.command("bypass-echo maybe")), "EINVAL");
});

Deno.test("Defect 1: a bypassed range of identifiers sends its echoes, and errors about what came to it", () => {
  const ip = ipFixture();
  const icmp = ip.conv("icmp", "bypass 100-199");
  const back = { src: US, dst: PEER };
  for (const id of [100, 199]) icmp.send(echoPacket({ ...back, id }));
  icmp.send(icmpErrorPacket({ type: ICMP_UNREACHABLE, code: 1, packet: echoPacket({ reply: true, id: 150 }) }, back));
  assertEquals(ip.sent().length, 3);
  for (const id of [99, 200]) assertEquals(refusalCode(() => icmp.send(echoPacket({ ...back, id }))), "EPERM");
  assertEquals(
    refusalCode(() => icmp.send(ipPacket({ ...back, protocol: 1, payload: Uint8Array.of(5, 0, 0, 0, 0, 0, 0, 0) }))),
    "EPERM",
  );
  const foreign = icmpErrorPacket({ type: ICMP_UNREACHABLE, code: 1, packet: udpPacket({ dstPort: 150 }) }, back);
  assertEquals(refusalCode(() => icmp.send(foreign)), "EPERM");
});

Deno.test("Defect 6: an error about an echo from a bypassed identifier comes to its err file", () => {
  const ip = ipFixture();
  const icmp = ip.conv("icmp", "bypass 77");
  const sent = echoPacket({ src: US, dst: PEER, id: 77 });
  const packet = icmpErrorPacket({ type: ICMP_TIME_EXCEEDED, code: 0, packet: sent });
  ip.inject(packet);
  const block = ip.dev.bread(icmp.err(), 2000);
  assertEquals(block !== null && "bytes" in block ? block.bytes() : block, packet);
});

Deno.test("Random bytes as ICMP never throw and leave no queue above its limit", () => {
  const samples = [
    echoPacket({ id: 77, reply: true }),
    icmpErrorPacket({ type: ICMP_UNREACHABLE, code: 1, packet: echoPacket({ src: US, dst: PEER, id: 3 }) }),
  ];
  const damaged = fc.constantFrom(...samples).chain((sample) =>
    fc.array(fc.tuple(fc.nat(sample.length - 1), fc.nat(255)), { maxLength: 4 }).map((changes) => {
      const bytes = sample.slice();
      for (const [at, value] of changes) bytes[at] = value;
      return bytes;
    })
  );
  const random = fc.uint8Array({ maxLength: 80 }).map((payload) => ipPacket({ protocol: 1, payload }));
  fc.assert(
    fc.property(sequences(fc.oneof(damaged, random)), (steps) => {
      const ip = ipFixture();
      const icmp = ip.conv("icmp", `connect ${PEER}!1 77`);
      const bypassed = ip.conv("icmp", "bypass 1-50");
      for (const packet of steps) {
        ip.inject(packet);
        ip.sent();
        assert(icmp.conv.rq.length <= ICMP_QUEUE_LIMIT + 65536);
        try {
          icmp.read();
          bypassed.read();
        } catch (error) {
          assert(error instanceof KernelError);
        }
      }
    }),
    fuzzSteps(300),
  );
});

Deno.test("Random bytes from the writer of a conversation or of a bypassed identifier throw only KernelError", () => {
  fc.assert(
    fc.property(sequences(fc.tuple(fc.nat(1), fc.uint8Array({ maxLength: 80 }), fc.boolean())), (steps) => {
      const ip = ipFixture();
      const convs = [ip.conv("icmp", `connect ${PEER}!1 77`), ip.conv("icmp", "bypass 1-50")];
      for (const [which, bytes, isEcho] of steps) {
        const icmp = convs[which]!;
        if (isEcho && bytes.length > 20) bytes[20] = ICMP_ECHO_REQUEST;
        try {
          icmp.send(bytes);
        } catch (error) {
          assert(error instanceof KernelError);
        }
        for (const packet of ip.sent()) assertEquals(`${parseIpv4(packet, 0, packet.length)?.src}`, US);
      }
    }),
    fuzzSteps(200),
  );
});

/** Tests of UDP forwards over the uplink, for both versions of IP. */

import { assert, assertEquals } from "@std/assert";
import { ip, pattern } from "../../tests/kit/ip/ip_fixture.ts";
import { datagramWorld } from "../../tests/kit/uplink/datagram_world.ts";
import { ECHOES } from "../../tests/kit/uplink/fake_peer.ts";
import { LINKS } from "../../tests/kit/uplink/link_families.ts";
import type { DatagramRelay } from "./datagram_relay.ts";
import type { ForwardRequest, UdpForward } from "./udp_forwards.ts";

/** Opens a forward that must open. */
function opened(relay: DatagramRelay, request: ForwardRequest): UdpForward {
  const forward = relay.openForward(request);
  assert(typeof forward !== "string", `${forward}`);
  return forward;
}

for (const link of LINKS) {
  const { name, version, near, peer, own, remote, other, loopback } = link;
  const request = (fields: Partial<ForwardRequest> = {}): ForwardRequest => ({
    ...{ version, address: null, port: 8053, toPort: 53, toVersion: version },
    ...fields,
  });
  /** An answer of near. */
  const answer = (dst: string, dstPort: number, payload = pattern(3)) =>
    link.udp({ srcPort: 53, dst, dstPort, payload });

  Deno.test(`${name}: near sees who called, and its answer leaves from the address and port that were asked`, () => {
    const world = datagramWorld();
    opened(world.relay, request());
    world.fake.arrive(`${remote}!5000`, `${own}!8053`, { payload: pattern(4), ttl: 44, tos: 0x12 });
    const seen = world.seen()[0]!;
    assertEquals([seen.src, seen.dst, seen.what, seen.ttl, seen.tos], [remote, near, "5000 > 53", 44, 0x12]);
    world.udp(answer(remote, 5000));
    assertEquals(world.fake.sent.map(({ from, to }) => [from, to]), [[`${own}!8053`, `${remote}!5000`]]);
    assertEquals(world.relay.sockets, 0);
    world.end();
  });

  Deno.test(`${name}: a caller on the machine's loopback is the peer, with its own port or a free one`, () => {
    const world = datagramWorld();
    opened(world.relay, request());
    const second = version === 4 ? "127.0.0.2" : "fe80::5";
    const call = (from: string) => world.fake.arrive(from, `${loopback}!8053`, { payload: pattern(4) });
    call(`${loopback}!5000`);
    call(`${second}!5000`);
    call(`${loopback}!5000`);
    assertEquals(world.lines(), [`udp ${peer} 5000 > 53`, `udp ${peer} 5001 > 53`, `udp ${peer} 5000 > 53`]);
    world.udp(answer(peer, 5001), answer(peer, 5000));
    assertEquals(world.fake.sent.map(({ from, to }) => [from, to]), [
      [`${loopback}!8053`, `${second}!5000`],
      [`${loopback}!8053`, `${loopback}!5000`],
    ]);
    world.end();
  });

  Deno.test(`${name}: a caller with an address of the link is the peer`, () => {
    const world = datagramWorld();
    opened(world.relay, request());
    world.fake.arrive(`${near}!5000`, `${own}!8053`, { payload: pattern(4) });
    assertEquals(world.lines(), [`udp ${peer} 5000 > 53`]);
    world.end();
  });

  Deno.test(`${name}: two forwards to one port answer each its own callers, of one address and port, too`, () => {
    const world = datagramWorld();
    opened(world.relay, request({ address: ip(own) }));
    opened(world.relay, request({ address: ip(own), port: 8054 }));
    world.fake.arrive(`${remote}!5000`, `${own}!8053`, { payload: pattern(4) });
    world.fake.arrive(`${remote}!5000`, `${own}!8054`, { payload: pattern(4) });
    world.fake.arrive(`${other}!5000`, `${own}!8054`, { payload: pattern(4) });
    assertEquals(world.lines(), [
      `udp ${remote} 5000 > 53`,
      `udp ${remote} 5001 > 53`,
      `udp ${other} 5000 > 53`,
    ]);
    world.udp(answer(other, 5000), answer(remote, 5001), answer(remote, 5000));
    const sent = world.fake.sent.map(({ from, to }) => `${from} ${to}`).sort();
    assertEquals(
      sent,
      [
        `${own}!8053 ${remote}!5000`,
        `${own}!8054 ${other}!5000`,
        `${own}!8054 ${remote}!5000`,
      ].sort(),
    );
    world.end();
  });

  Deno.test(`${name}: what was asked by a group is answered from the route's address`, () => {
    const world = datagramWorld();
    opened(world.relay, request());
    const [socket] = world.fake.open;
    const group = ip(version === 4 ? "224.0.0.251" : "ff02::fb");
    socket!.deliver({ from: { address: ip(remote), port: 5000 }, to: group, answer: { payload: pattern(4) } });
    assertEquals(world.lines(), [`udp ${remote} 5000 > 53`]);
    world.udp(answer(remote, 5000));
    assertEquals(world.fake.sent.map(({ from }) => from), [`${own}!8053`]);
    world.end();
  });

  Deno.test(`${name}: near's own datagram from a forwarded port leaves by a forward that listens everywhere`, () => {
    const world = datagramWorld();
    world.fake.peer(remote, ECHOES);
    const bound = opened(world.relay, request({ address: ip(loopback) }));
    world.udp(answer(remote, 9));
    assertEquals(world.fake.sent[0]!.from, `${own}!32768`);
    bound.close();
    world.clock.advance(400_000);
    const everywhere = opened(world.relay, request({ port: 8060 }));
    world.udp(answer(remote, 9));
    assertEquals(world.fake.sent[1]!.from, `${own}!8060`);
    assertEquals(world.lines(), [`udp ${remote} 9 > 53`, `udp ${remote} 9 > 53`]);
    everywhere.close();
    world.udp(answer(remote, 9));
    assertEquals(world.fake.sent[2]!.from, `${own}!32769`);
    world.end();
  });

  Deno.test(`${name}: the policy is asked about who never called, not about callers`, () => {
    const world = datagramWorld();
    opened(world.relay, request());
    for (const address of [remote, other]) world.closed.add(address);
    world.fake.arrive(`${remote}!5000`, `${own}!8053`, { payload: pattern(4) });
    assertEquals(world.lines(), [`udp ${remote} 5000 > 53`]);
    world.udp(answer(remote, 5000), answer(other, 5000));
    assertEquals(world.lines(), [`error ${peer} ${link.codes.prohibited} of 53 > 5000`]);
    assertEquals(world.fake.sent.map(({ to }) => to), [`${remote}!5000`]);
    world.end();
  });

  Deno.test(`${name}: an error about an answer comes to near with the caller as near knows it`, () => {
    const world = datagramWorld();
    opened(world.relay, request());
    const error = { type: version === 4 ? 3 : 1, code: version === 4 ? 3 : 4 };
    world.fake.peer(loopback, { error: { ...error, offender: loopback } });
    world.fake.peer(remote, { error: { ...error, offender: remote } });
    world.fake.arrive(`${loopback}!5000`, `${loopback}!8053`, { payload: pattern(4) });
    world.fake.arrive(`${remote}!6000`, `${own}!8053`, { payload: pattern(4) });
    world.seen();
    world.udp(answer(peer, 5000, pattern(31)), answer(remote, 6000, pattern(32)));
    const errors = world.seen();
    assertEquals(errors.map(({ src, what }) => [src, what]), [[peer, link.codes.port], [remote, link.codes.port]]);
    assertEquals(errors.map(({ quoted }) => [quoted!.src, quoted!.dst, quoted!.what, quoted!.payload]), [
      [near, peer, "53 > 5000", pattern(31)],
      [near, remote, "53 > 6000", pattern(32)],
    ]);
    world.end();
  });

  Deno.test(`${name}: a port that cannot be had is said, and one that closes takes its callers along`, () => {
    const world = datagramWorld();
    assertEquals(world.relay.openForward(request({ port: 53 })), "EACCES");
    assertEquals(world.relay.openForward(request({ address: ip(remote) })), "EADDRNOTAVAIL");
    const forward = opened(world.relay, request());
    assertEquals([`${forward.local.address}`, forward.local.port], [version === 4 ? "0.0.0.0" : "::", 8053]);
    assertEquals(world.relay.openForward(request({ toPort: 54 })), "EADDRINUSE");
    world.fake.arrive(`${remote}!5000`, `${own}!8053`, { payload: pattern(4) });
    world.seen();
    forward.close();
    forward.close();
    assertEquals(world.fake.open.size, 0);
    // The answer has a socket as any datagram of near: the caller sees another port, as after any restart.
    world.udp(answer(remote, 5000));
    assertEquals(world.fake.sent.map(({ from }) => from), [`${own}!32768`]);
    opened(world.relay, request());
    world.end();
  });

  Deno.test(`${name}: a forward that closes leaves its callers to another of the same port`, () => {
    const world = datagramWorld();
    const first = opened(world.relay, request());
    opened(world.relay, request({ port: 8054 }));
    world.fake.arrive(`${remote}!5000`, `${own}!8053`, { payload: pattern(4) });
    assertEquals(world.lines(), [`udp ${remote} 5000 > 53`]);
    first.close();
    world.udp(answer(remote, 5000));
    assertEquals(world.fake.sent.map(({ from, to }) => [from, to]), [[`${own}!8054`, `${remote}!5000`]]);
    world.end();
  });

  Deno.test(`${name}: a flow that was there before the forward keeps its port`, () => {
    const world = datagramWorld();
    const flow = () => link.udp({ srcPort: 2053, dst: remote });
    world.udp(flow());
    opened(world.relay, request({ toPort: 2053 }));
    world.udp(flow());
    assertEquals(world.fake.sent.map(({ from }) => from), [`${own}!2053`, `${own}!2053`]);
    world.end();
  });

  Deno.test(`${name}: a forward that finds no descriptor takes that of an idle flow`, () => {
    const world = datagramWorld();
    world.udp(link.udp());
    world.fake.descriptorsMax = 1;
    opened(world.relay, request());
    assertEquals([world.relay.sockets, world.counters.udpEvicted], [0, 1]);
    assertEquals(world.relay.openForward(request({ port: 8054 })), "EMFILE");
    world.end();
  });

  Deno.test(`${name}: a forward is not evicted and does not lie idle`, () => {
    const world = datagramWorld();
    opened(world.relay, request());
    world.udp(link.udp());
    assertEquals([world.relay.evict(), world.relay.evict()], [1, 0]);
    world.clock.advance(3_600_000);
    world.fake.arrive(`${remote}!5000`, `${own}!8053`, { payload: pattern(4) });
    assertEquals(world.lines(), [`udp ${remote} 5000 > 53`]);
    world.end();
  });
}

for (const [link, foreign] of [[LINKS[0], LINKS[1]], [LINKS[1], LINKS[0]]]) {
  const { name, version, remote, own, peer, near, other } = link!;
  const { remote: caller, own: asked, codes } = foreign!;
  const dual = { version: 6, address: null, port: 8053, toPort: 53, toVersion: version, dualStack: true } as const;

  Deno.test(`${name}: a caller of the other version is the peer, and is answered`, () => {
    const world = datagramWorld();
    opened(world.relay, dual);
    world.fake.arrive(`${remote}!5000`, `${own}!8053`, { payload: pattern(4) });
    world.fake.arrive(`${caller}!5000`, `${asked}!8053`, { payload: pattern(4) });
    assertEquals(world.lines(), [`udp ${remote} 5000 > 53`, `udp ${peer} 5000 > 53`]);
    const answer = (dst: string) => link!.udp({ srcPort: 53, dst, dstPort: 5000, payload: pattern(3) });
    world.udp(answer(peer), answer(remote));
    // And near of its own accord.
    world.udp(link!.udp({ srcPort: 53, dst: other, dstPort: 7 }));
    assertEquals(world.fake.sent.map(({ from, to }) => `${from} ${to}`), [
      `${asked}!8053 ${caller}!5000`,
      `${own}!8053 ${remote}!5000`,
      `${own}!8053 ${other}!7`,
    ]);
    world.end();
  });

  Deno.test(`${name}: a forward bound to an address of the other version shows its callers as the peer`, () => {
    const world = datagramWorld();
    const bound = opened(world.relay, { ...dual, version: foreign!.version, address: ip(asked), dualStack: false });
    world.fake.arrive(`${caller}!5000`, `${asked}!8053`, { payload: pattern(4) });
    assertEquals(world.lines(), [`udp ${peer} 5000 > 53`]);
    world.udp(link!.udp({ srcPort: 53, dst: peer, dstPort: 5000 }));
    assertEquals(world.fake.sent.map(({ from, to }) => `${from} ${to}`), [`${asked}!8053 ${caller}!5000`]);
    bound.close();
    world.end();
  });

  Deno.test(`${name}: an error about an answer to a caller of the other version is one of near's version`, () => {
    const world = datagramWorld();
    opened(world.relay, dual);
    const [type, code] = codes.port.split("/").map(Number) as [number, number];
    world.fake.peer(caller, { error: { type, code, offender: caller } });
    world.fake.arrive(`${caller}!5000`, `${asked}!8053`, { payload: pattern(4) });
    world.seen();
    world.udp(link!.udp({ srcPort: 53, dst: peer, dstPort: 5000, payload: pattern(31) }));
    const errors = world.seen();
    assertEquals(errors.map(({ src, what }) => [src, what]), [[peer, link!.codes.port]]);
    assertEquals(errors.map(({ quoted }) => [quoted!.src, quoted!.dst, quoted!.what, quoted!.payload]), [
      [near, peer, "53 > 5000", pattern(31)],
    ]);
    world.end();
  });
}

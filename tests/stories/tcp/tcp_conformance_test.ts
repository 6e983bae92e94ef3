/**
 * Conformance, the lines that need TCP: the observable sequences of the original (reference/akaros.md section 13) by
 * their numbers, through files and system calls, over two kernels. "Ours" marks where we differ on purpose.
 *
 * @module
 */

import { assertEquals, assertMatch } from "@std/assert";
import { TapEvent } from "../../../kernel/fd_tap.ts";
import { Open } from "../../../kernel/qid.ts";
import { AGAIN } from "../../../kernel/sys.ts";
import { TCP_SYN } from "../../../kernel/wire/tcp.ts";
import { PEER, US } from "../../kit/ip/ip_fixture.ts";
import { advance, errnoOf, meet } from "../../kit/ip/story.ts";
import { accept, call, hear, say, segmentOf, stateOf } from "../../kit/tcp/story.ts";

Deno.test("10 (tcp): a connection keeps its segments; all others for its port are the bypass'", async () => {
  await using world = await meet();
  const listener = world.peer.conv("tcp", "announce 80");
  const conv = call(world.user, `${PEER}!80 4000`);
  const far = accept(listener);
  const held = world.user.conv("tcp", "bypass *!4000");
  say(far, "mine");
  call(world.peer, `${US}!4000`);
  assertEquals([hear(conv), segmentOf(held.take()).flags, held.bread()], ["mine", TCP_SYN, null]);
});

Deno.test("11 (tcp): the last close frees slot and port once the connection is over", async () => {
  await using world = await meet();
  const listener = world.user.conv("tcp", "announce *!80");
  const conv = call(world.peer, `${US}!80`);
  const taken = accept(listener);
  listener.close();
  assertEquals(world.user.text(`${listener.dir}/status`).split(" ")[0], "Closed");
  // The connection outlives its listener, whose port may be announced again.
  say(conv, "still here");
  assertEquals(hear(taken), "still here");
  taken.close();
  conv.close();
  advance(world.user.host, 61_000);
  assertEquals(world.user.text(`${taken.dir}/status`).split(" ")[0], "Closed");
  assertEquals(world.user.conv("tcp", "announce 80").dir, listener.dir);
});

Deno.test("12: listen without a call is EAGAIN; a handshake is READABLE on its tap; opening takes it", async () => {
  await using world = await meet();
  const { user, peer } = world;
  const { sys } = user.proc;
  const listener = user.conv("tcp", "announce *!80");
  assertEquals(sys.open(`${listener.dir}/listen`, Open.ReadWrite | Open.NonBlock), AGAIN);
  const watch = user.open(`${listener.dir}/listen`, Open.Path);
  const events = user.tap(watch, TapEvent.Readable);
  assertEquals(events.poll(), null);
  const conv = call(peer, `${US}!80`);
  assertEquals([events.poll()?.events, events.poll()], [TapEvent.Readable, null]);
  const ctl = user.open(`${listener.dir}/listen`);
  const number = user.readText(ctl);
  assertMatch(number, /^\d+$/);
  assertEquals(`/net/tcp/${number}` === listener.dir, false);
  const status = user.text(`/net/tcp/${number}/status`);
  assertMatch(status, /^Established qin 0 qout 0 srtt \d+ mdev \d+ cwin \d+ swin \d+>>\d+ /);
  assertEquals(user.text(`/net/tcp/${number}/remote`), `${PEER}!${conv.port}\n`);
  assertEquals(user.text(`/net/tcp/${number}/local`), `${US}!80\n`);
  assertEquals(sys.open(`${listener.dir}/listen`, Open.ReadWrite | Open.NonBlock), AGAIN);
});

Deno.test("13: connect with O_NONBLOCK is EINPROGRESS; WRITABLE reports its end, status the result", async () => {
  await using world = await meet();
  const { user, peer } = world;
  peer.conv("tcp", "announce 80");
  for (const [port, state, code] of [[80, "Established", null], [81, "Closed", "ECONNREFUSED"]] as const) {
    const conv = user.conv("tcp");
    const events = conv.tap(TapEvent.Writable);
    events.poll();
    assertEquals(errnoOf(() => conv.command(`connect ${PEER}!${port}`)), "EINPROGRESS");
    // The cable has no delay: the jobs of the refused call have carried the handshake to its end.
    assertEquals([events.poll()?.events, stateOf(conv)], [TapEvent.Writable, state]);
    // (ours) The next call on it reports the error.
    if (code === null) say(conv, "hello");
    else assertEquals(errnoOf(() => user.write(conv.data, "hello")), code);
  }
});

Deno.test("14: (ours) after `shutdown rd` a read finds the end; what comes is acknowledged", async () => {
  await using world = await meet();
  const listener = world.peer.conv("tcp", "announce 80");
  const conv = call(world.user, `${PEER}!80`);
  const far = accept(listener);
  conv.command("shutdown rd");
  assertEquals([hear(conv), hear(conv)], ["", ""]);
  say(far, "not read");
  advance(world.user.host, 1000);
  assertEquals([hear(conv), far.status("qout"), stateOf(far)], ["", 0, "Established"]);
  say(conv, "but I write");
  assertEquals(hear(far), "but I write");
});

Deno.test("14: the peer's FIN: what was buffered, then 0 three times, then EPIPE", async () => {
  await using world = await meet();
  const listener = world.peer.conv("tcp", "announce 80");
  const conv = call(world.user, `${PEER}!80`);
  const far = accept(listener);
  say(far, "last");
  far.close();
  assertEquals(hear(conv), "last");
  for (let i = 0; i < 3; i++) assertEquals(hear(conv), "");
  assertEquals(errnoOf(() => hear(conv)), "EPIPE");
});

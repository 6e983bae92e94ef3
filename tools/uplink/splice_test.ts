/** One splice, between a conversation and a socket that the test plays. */

import { assertEquals } from "@std/assert";
import { Block, BlockPool } from "../../kernel/block.ts";
import { type HostStream, NOT_NOW } from "../../kernel/host_sockets.ts";
import { AGAIN } from "../../kernel/sys.ts";
import { ip } from "../../tests/kit/ip/ip_fixture.ts";
import { Splice } from "./splice.ts";

/** A conversation with `up` to be read; what is written to it, and told, is kept. */
function guestEnd(up: Uint8Array[] = []) {
  const got: Block[] = [];
  const told: string[] = [];
  return {
    data: 3,
    unsent: 0,
    got,
    told,
    read: () => up.length === 0 ? AGAIN as typeof AGAIN : up.splice(0, 64).map((bytes) => Block.from(bytes)),
    write: (block: Block) => got.push(block) > 0,
    tell: (text: string) => void told.push(text),
    close: () => void told.push("close"),
  };
}

/** A socket that has `down` to be read, in reads of these sizes, and takes `room` bytes in one write. */
function socketOf(down: number[], room = Infinity): HostStream & { readonly taken: number[]; ttl: number } {
  const end = { address: ip("192.0.2.1"), port: 80 };
  const taken: number[] = [];
  return {
    ...{ onReady: null, failure: null, local: end, remote: end, state: "connected", taken, ttl: -1 },
    takeReport: () => null,
    read: () => down.shift() ?? NOT_NOW,
    write(parts, count) {
      const length = parts.slice(0, count).reduce((sum, part) => sum + part.length, 0);
      const done = Math.min(length, room);
      taken.push(done);
      return done;
    },
    setTtl(ttl) {
      this.ttl = ttl;
    },
    shutdownWrite: () => {},
    reset: () => {},
    close: () => {},
  };
}

function splice(conv: ReturnType<typeof guestEnd>, socket: HostStream): { one: Splice; again: () => number } {
  let again = 0;
  const owner = { blocks: new BlockPool(), ended: () => {}, draining: () => {}, again: () => void again++ };
  return { one: new Splice(owner, conv, socket), again: () => again };
}

Deno.test("A splice asks for keepalive towards the guest, and gives the socket the machine's own TTL", () => {
  const [conv, socket] = [guestEnd(), socketOf([])];
  splice(conv, socket);
  assertEquals({ told: conv.told, ttl: socket.ttl }, { told: ["keepalive 120000"], ttl: 0 });
});

Deno.test("A short text does not hold the buffer of a long one", () => {
  const conv = guestEnd();
  splice(conv, socketOf([100, 65_536])).one.run();
  assertEquals(conv.got.map((block) => block.length), [100, 65_536]);
  assertEquals(conv.got.map((block) => block.buf.length < 65_536), [true, false]);
});

Deno.test("Blocks of the guest go in one write, and a write that takes a part goes on behind it", () => {
  const conv = guestEnd([new Uint8Array(1000), new Uint8Array(500)]);
  const socket = socketOf([], 700);
  splice(conv, socket).one.run();
  assertEquals(socket.taken, [700, 700, 100]);
});

Deno.test("After sixteen steps the other connections have their turn", () => {
  const conv = guestEnd();
  const { one, again } = splice(conv, socketOf(new Array(40).fill(65_536)));
  one.run();
  // What the last one read is given first, in the next turn.
  assertEquals({ given: conv.got.length, again: again() }, { given: 15, again: 1 });
  one.run();
  one.run();
  assertEquals({ given: conv.got.length, again: again() }, { given: 40, again: 2 });
});

/** One splice, between a conversation and a socket that the test plays. */

import { assertEquals } from "@std/assert";
import { Block, BlockPool } from "../../kernel/block.ts";
import { FAILED, type HostStream, NOT_NOW, type SocketFailure } from "../../kernel/host_sockets.ts";
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
    isClosed: false,
    packetBytes: 65_160,
    isEnded: false,
    got,
    told,
    read(): Block[] | typeof AGAIN | null {
      if (up.length > 0) return up.splice(0, 64).map((bytes) => Block.from(bytes));
      return this.isEnded ? null : AGAIN;
    },
    write: (block: Block) => got.push(block) > 0,
    tell: (text: string) => void told.push(text),
    close: () => void told.push("close"),
  };
}

/** See {@link socketOf}; what is asked of it is kept. */
interface PlayedSocket extends Omit<HostStream, "failure"> {
  failure: SocketFailure | null;
  readonly taken: number[];
  readonly told: string[];
  ttl: number;
}

/** A socket that has `down` to be read, in reads of these sizes, and takes `room` bytes in one write. */
function socketOf(down: number[], room = Infinity): PlayedSocket {
  const end = { address: ip("192.0.2.1"), port: 80 };
  const [taken, told] = [[] as number[], [] as string[]];
  return {
    ...{ onReady: null, failure: null, local: end, remote: end, state: "connected", taken, told, ttl: -1 },
    takeReport: () => null,
    read: () => down.shift() ?? NOT_NOW,
    write(parts, count) {
      const length = parts.slice(0, count).reduce((sum, part) => sum + part.length, 0);
      if (this.failure !== null) return FAILED;
      const done = Math.min(length, room);
      taken.push(done);
      return done;
    },
    setTtl(ttl) {
      this.ttl = ttl;
    },
    shutdownWrite: () => {},
    reset: () => void told.push("reset"),
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

Deno.test("What the world sent before its reset goes to the guest, though a write has met the reset first", () => {
  const conv = guestEnd([new Uint8Array(1000)]);
  const socket = socketOf([300, FAILED]);
  socket.failure = "ECONNRESET";
  splice(conv, socket).one.run();
  assertEquals({ given: conv.got.map((block) => block.length), told: conv.told.slice(1) }, {
    given: [300],
    told: ["hangup", "close"],
  });
});

Deno.test("A reset of the world behind its end resets the guest", () => {
  const conv = guestEnd();
  const socket = socketOf([0]);
  const { one } = splice(conv, socket);
  one.run();
  socket.failure = "EPIPE";
  one.run();
  assertEquals(conv.told.slice(1), ["shutdown wr", "hangup", "close"]);
});

Deno.test("A reset of the guest behind its end resets the socket; a hang-up that is its end does not", () => {
  const conv = guestEnd();
  const socket = socketOf([]);
  const { one } = splice(conv, socket);
  conv.isEnded = true;
  one.hungUp();
  one.hungUp();
  assertEquals(socket.told, []);
  conv.isClosed = true;
  one.hungUp();
  assertEquals(socket.told, ["reset"]);
});

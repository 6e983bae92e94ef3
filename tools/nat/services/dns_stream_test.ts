import { assertEquals } from "@std/assert";
import { KernelError } from "../../../kernel/error.ts";
import { AGAIN, type Sys } from "../../../kernel/sys.ts";
import { DnsStream, OUT_MAX } from "./dns_stream.ts";

/** A connection that gives `arriving`, piece by piece, and takes `room` bytes a write. */
class Wire {
  readonly written: number[] = [];
  room = Infinity;
  isBroken = false;
  readonly sys: Sys;

  constructor(readonly arriving: Uint8Array[]) {
    this.sys = this as unknown as Sys;
  }

  read(_fd: number, buf: Uint8Array): number | typeof AGAIN {
    const piece = this.arriving.shift();
    if (piece === undefined) return AGAIN;
    buf.set(piece);
    return piece.length;
  }

  write(_fd: number, bytes: Uint8Array): number | typeof AGAIN {
    if (this.isBroken) throw new KernelError("EPIPE", "Cannot write: closed");
    const count = Math.min(bytes.length, this.room);
    if (count === 0) return AGAIN;
    this.room -= count;
    this.written.push(...bytes.subarray(0, count));
    return count;
  }

  close(): void {}
}

const bytes = (...values: number[]) => new Uint8Array(values);

Deno.test("DnsStream gives messages whole, however their bytes were cut (RFC 7766 8)", () => {
  const wire = new Wire([bytes(0), bytes(2, 7), bytes(8, 0, 1, 9, 0), bytes(0)]);
  const stream = new DnsStream(wire.sys, 3, true);
  assertEquals(stream.read(), { messages: [bytes(7, 8), bytes(9), bytes()], isMore: false });
  assertEquals({ isOpen: stream.isOpen, isEnded: stream.isEnded }, { isOpen: true, isEnded: false });
});

Deno.test("DnsStream ends with the other side's end, and can still be written", () => {
  const stream = new DnsStream(new Wire([bytes()]).sys, 3, true);
  assertEquals(stream.read(), { messages: [], isMore: false });
  assertEquals({ isOpen: stream.isOpen, isEnded: stream.isEnded }, { isOpen: true, isEnded: true });
});

Deno.test("DnsStream keeps what does not fit until there is room, and writes nothing before it is connected", () => {
  const wire = new Wire([]);
  const stream = new DnsStream(wire.sys, 3, false);
  stream.write(bytes(5, 6));
  assertEquals(wire.written, []);
  wire.room = 3;
  stream.flush();
  assertEquals(wire.written, [0, 2, 5]);
  wire.room = Infinity;
  stream.flush();
  assertEquals(wire.written, [0, 2, 5, 6]);
});

Deno.test("DnsStream is over when the other side reads nothing, or the connection breaks", () => {
  const deaf = new Wire([]);
  deaf.room = 0;
  const stream = new DnsStream(deaf.sys, 3, true);
  for (let sent = 0; sent <= OUT_MAX; sent += 60_002) stream.write(new Uint8Array(60_000));
  assertEquals(stream.isOpen, false);
  const broken = new Wire([]);
  broken.isBroken = true;
  const other = new DnsStream(broken.sys, 3, true);
  other.write(bytes(1));
  assertEquals(other.isOpen, false);
});

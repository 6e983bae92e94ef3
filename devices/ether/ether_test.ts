import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Block } from "../../kernel/block.ts";
import type { Chan } from "../../kernel/chan.ts";
import { MAC_BROADCAST, parseMacAddr } from "../../kernel/wire/mac_addr.ts";
import { Bench, frame, GROUP_MAC, OUR_MAC, PEER_MAC, refusal } from "../../tests/kit/ip/ether.ts";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { LOOP_LIMIT } from "./ether.ts";
import { RECORD_LEN } from "./headers_only.ts";
import { EtherConv, GROUPS_MAX } from "./ether_conv.ts";

const OTHER_MAC = parseMacAddr("525400000077")!;

/** How many frames each conversation got. */
function counts(bench: Bench, convs: readonly { data: Chan }[]): number[] {
  return convs.map(({ data }) => bench.count(data));
}

Deno.test("etherInput() gives a frame to the conversation of its type, and to those that want every type", () => {
  const bench = new Bench();
  const convs = [bench.conv("connect 0x800"), bench.conv("connect 0x806"), bench.conv("connect -1"), bench.conv()];
  bench.port.arrives(frame({ type: 0x800 }));
  assertEquals(counts(bench, convs), [1, 0, 1, 0]);
  bench.port.arrives(frame({ type: 0x806 }));
  assertEquals(counts(bench, convs), [0, 1, 1, 0]);
  bench.port.arrives(frame({ type: 0x8100 }));
  bench.port.arrives(frame({ type: 0 }));
  assertEquals(counts(bench, convs), [0, 0, 2, 0]);
  assertEquals([bench.counter("in"), bench.counter("rx_nohandler")], [4, 0]);
});

Deno.test("etherInput() drops and counts frames without a reader and frames for others", () => {
  const bench = new Bench();
  bench.conv("connect 0x800");
  bench.port.arrives(frame({ type: 0x86dd }));
  bench.port.arrives(frame({ dst: OTHER_MAC }));
  bench.port.arrives(frame({ dst: GROUP_MAC }));
  assertEquals([bench.counter("rx_nohandler"), bench.counter("rx_filtered"), bench.counter("in")], [1, 2, 3]);
});

Deno.test("etherInput() refuses frames without a whole header and counts them (akaros 11.16)", () => {
  const bench = new Bench();
  const { data } = bench.conv("connect -1", "promiscuous");
  for (let length = 0; length < 14; length++) bench.port.arrives(new Uint8Array(length));
  assertEquals([bench.count(data), bench.counter("framing errs"), bench.counter("rx_length_errors")], [0, 14, 14]);
  bench.port.arrives(frame({ length: 0 }));
  assertEquals(bench.count(data), 1);
});

Deno.test("etherInput() copies a frame for all readers but the last, which gets the block itself", () => {
  const bench = new Bench();
  const first = bench.conv("connect 0x800");
  const second = bench.conv("connect -1");
  const block = Block.from(frame());
  bench.port.receive!(block);
  const a = bench.dev.bread(first.data, 2000) as Block;
  const b = bench.dev.bread(second.data, 2000) as Block;
  assert(a !== block && b === block);
  a.buf.fill(0);
  assertEquals(b.bytes(), frame());
});

Deno.test("etherInput() takes a frame in borrowed pieces", () => {
  const bench = new Bench();
  const { data } = bench.conv("connect 0x800");
  const bytes = frame();
  const block = Block.from(bytes.subarray(0, 5));
  block.extents = [bytes.slice(5)];
  bench.port.receive!(block);
  assertEquals(bench.next(data), bytes);
});

Deno.test("broadcasts reach every conversation of the type; a multicast only after a join", () => {
  const bench = new Bench();
  const convs = [bench.conv("connect 0x86dd"), bench.conv("connect -1")];
  bench.port.arrives(frame({ dst: MAC_BROADCAST, type: 0x86dd }));
  assertEquals(counts(bench, convs), [1, 1]);
  bench.port.arrives(frame({ dst: GROUP_MAC, type: 0x86dd }));
  assertEquals(counts(bench, convs), [0, 0]);
  bench.tell(convs[0]!.ctl, `addmulti ${GROUP_MAC}`);
  bench.port.arrives(frame({ dst: GROUP_MAC, type: 0x86dd }));
  assertEquals(counts(bench, convs), [1, 1]);
});

Deno.test("a multicast address is joined until the last conversation that joined it leaves or closes", () => {
  const bench = new Bench();
  const joined = [bench.conv("connect 1"), bench.conv("connect 2"), bench.conv("connect -1")];
  const [a, b, all] = joined;
  const hears = () => {
    bench.port.arrives(frame({ dst: GROUP_MAC, type: 0x86dd }));
    return bench.count(all!.data) === 1;
  };
  bench.tell(a!.ctl, "addmulti 333300000005");
  bench.tell(a!.ctl, "addmulti 33:33:00:00:00:05");
  bench.tell(b!.ctl, "addmulti 333300000005");
  bench.tell(a!.ctl, "remmulti 333300000005");
  assert(hears());
  b!.ctl.release();
  assert(hears(), "its data is still open");
  b!.data.release();
  assertEquals(hears(), false);
  const again = bench.conv("connect 2");
  assertEquals(again.number, b!.number);
  bench.tell(again.ctl, "addmulti 333300000005");
  assert(hears());
});

Deno.test("a conversation joins at most 64 multicast addresses, and only multicast ones", () => {
  const bench = new Bench();
  const { ctl } = bench.conv();
  for (let i = 0; i < GROUPS_MAX; i++) bench.tell(ctl, `addmulti 0100000000${i.toString(16).padStart(2, "0")}`);
  assertEquals(refusal(() => bench.tell(ctl, "addmulti 010000000100")), "ENOSPC");
  assertEquals(refusal(() => bench.tell(ctl, `addmulti ${PEER_MAC}`)), "EFAIL");
  assertEquals(refusal(() => bench.tell(ctl, "remmulti 010000000100")), "EFAIL");
});

Deno.test("promiscuous -1 really sees everything; other conversations see no more than before", () => {
  const bench = new Bench();
  const convs = [bench.conv("connect -1", "promiscuous"), bench.conv("connect -1"), bench.conv("connect 0x800")];
  const [all, , ip] = convs;
  for (const dst of [OTHER_MAC, GROUP_MAC]) bench.port.arrives(frame({ dst }));
  assertEquals(counts(bench, convs), [2, 0, 0]);
  // Frames that we send, to any destination.
  for (const dst of [OTHER_MAC, GROUP_MAC, MAC_BROADCAST, OUR_MAC]) bench.write(ip!.data, frame({ dst }));
  bench.run();
  assertEquals(counts(bench, convs), [4, 2, 2]);
  assertEquals([bench.port.sent.length, bench.counter("prom")], [3, 1]);
  all!.ctl.release();
  all!.data.release();
  assertEquals(bench.counter("prom"), 0);
});

Deno.test("a promiscuous conversation with a type sees frames to others of that type only", () => {
  const bench = new Bench();
  const { data, ctl } = bench.conv("connect 0x800", "promiscuous");
  bench.tell(ctl, "promiscuous");
  assertEquals(bench.counter("prom"), 1);
  bench.port.arrives(frame({ dst: OTHER_MAC }));
  bench.port.arrives(frame({ dst: OTHER_MAC, type: 0x806 }));
  assertEquals(bench.count(data), 1);
});

Deno.test("frames to our own address are looped back and not transmitted, in a job", () => {
  const bench = new Bench();
  const { data } = bench.conv("connect 0x800");
  bench.write(data, frame({ dst: OUR_MAC }));
  assertEquals(bench.next(data), null);
  bench.run();
  assertEquals(bench.next(data), frame({ dst: OUR_MAC, src: OUR_MAC }));
  assertEquals([bench.port.sent.length, bench.counter("out"), bench.counter("tx_looped")], [0, 0, 1]);
});

Deno.test("output() finds the address of a frame in borrowed pieces", () => {
  const bench = new Bench();
  const { data } = bench.conv("connect 0x800");
  const bytes = frame({ dst: OUR_MAC, length: 100 });
  const block = Block.from(bytes.subarray(0, 3));
  block.extents = [bytes.slice(3)];
  bench.bwrite(data, block);
  bench.run();
  assertEquals([bench.port.sent.length, bench.next(data)], [0, bytes]);
});

Deno.test("broadcasts are transmitted and looped back, to their sender too", () => {
  const bench = new Bench();
  const { data } = bench.conv("connect 0x806");
  bench.write(data, frame({ dst: MAC_BROADCAST, type: 0x806 }));
  bench.write(data, frame({ dst: PEER_MAC, type: 0x806 }));
  bench.write(data, frame({ dst: GROUP_MAC, type: 0x806 }));
  bench.run();
  assertEquals([bench.count(data), bench.port.sent.length, bench.counter("out")], [1, 3, 3]);
});

Deno.test("our own multicasts are looped back to promiscuous conversations only, not to members of the group", () => {
  const bench = new Bench();
  const joined = bench.conv("connect 0x86dd", `addmulti ${GROUP_MAC}`);
  const snoop = bench.conv("connect -1", "promiscuous");
  bench.write(joined.data, frame({ dst: GROUP_MAC, type: 0x86dd }));
  bench.run();
  assertEquals(counts(bench, [joined, snoop]), [0, 1]);
});

Deno.test("a bridge is not shown what was written by a bridge, but what is from the wire or from us", () => {
  const bench = new Bench();
  const convs = [bench.conv("connect -1", "promiscuous", "bridge"), bench.conv("connect -1", "promiscuous")];
  bench.port.arrives(frame({ dst: OTHER_MAC }));
  assertEquals(counts(bench, convs), [1, 1]);
  bench.bwrite(convs[0]!.data, frame({ dst: OTHER_MAC, src: PEER_MAC }));
  bench.run();
  assertEquals(counts(bench, convs), [0, 1]);
  bench.bwrite(convs[0]!.data, frame({ dst: OTHER_MAC, src: OUR_MAC }));
  bench.run();
  assertEquals(counts(bench, convs), [1, 1]);
});

Deno.test("a headersonly conversation gets records of 68 bytes: 58 of the frame, its length, the time", () => {
  const bench = new Bench();
  const headers = bench.conv("connect -1", "headersonly");
  const whole = bench.conv("connect 0x800");
  bench.clock.advance(1234.5);
  const used = [bench.blocks.alloc(100), bench.blocks.alloc(100)];
  for (const block of used) {
    block.buf.fill(0xaa);
    block.free();
  }
  bench.port.arrives(frame({ length: 1000 }));
  bench.port.arrives(frame({ length: 6, fill: 9 }));
  const record = bench.next(headers.data)!;
  assertEquals(record.length, RECORD_LEN);
  assertEquals(record.subarray(0, 58), frame({ length: 44 }));
  const view = new DataView(record.slice().buffer);
  assertEquals([view.getUint16(58), view.getBigUint64(60)], [1014, BigInt(1_767_225_600_000 + 1234)]);
  const short = bench.next(headers.data)!;
  assertEquals([...short.subarray(14, 58)], [...new Array(6).fill(9), ...new Array(38).fill(0)]);
  assertEquals(bench.next(whole.data)!.length, 1014);
  whole.ctl.release();
  whole.data.release();
  bench.port.arrives(frame());
  assertEquals([bench.next(headers.data)!.length, bench.counter("rx_nohandler")], [RECORD_LEN, 0]);
});

Deno.test("a full queue drops for its own conversation only and counts soft overflows", () => {
  const bench = new Bench();
  bench.port.mbps = 10;
  const slow = bench.conv("connect -1");
  const quick = bench.conv("connect 0x800");
  for (let i = 0; i < 100; i++) {
    bench.port.arrives(frame({ length: 1500 }));
    assertEquals(bench.count(quick.data), 1);
  }
  const kept = Math.ceil(EtherConv.inputLimit(10) / 1514);
  assertEquals([bench.count(slow.data), bench.counter("soft overflows")], [kept, 100 - kept]);
  assertEquals(bench.counter("rx_nohandler"), 0);
  assertEquals(bench.textOf(`${slow.number}/stats`).match(/conv soft overflows: (\d+)/)?.[1], `${100 - kept}`);
});

Deno.test("what waits to be looped back is bounded", () => {
  const bench = new Bench();
  const { data } = bench.conv("connect -1");
  for (let i = 0; i < 400; i++) bench.write(data, frame({ length: 1000 }));
  const kept = Math.ceil(LOOP_LIMIT / 1014);
  assertEquals([bench.counter("tx_looped"), bench.counter("loop_dropped")], [kept, 400 - kept]);
  bench.run();
  assertEquals(bench.count(data), kept);
});

Deno.test("output() pads short frames with zeros to 60 bytes, whatever the buffer held", () => {
  const bench = new Bench();
  const { data } = bench.conv();
  assertEquals(bench.write(data, frame({ dst: PEER_MAC, length: 1 })), 15);
  assertEquals(bench.bwrite(data, frame({ dst: PEER_MAC, length: 1 })), 15);
  const dirty = new Block(new Uint8Array(100).fill(0xaa), 10, 30);
  assertEquals(bench.bwrite(data, dirty), 20);
  const pieces = Block.from(frame({ dst: PEER_MAC, length: 0 }).subarray(0, 6));
  pieces.extents = [frame({ length: 2 }).slice(6)];
  assertEquals(bench.bwrite(data, pieces), 16);
  const tails = bench.port.sent.map((block) => [...block.bytes().subarray(-40)]);
  assertEquals(tails, new Array(4).fill(new Array(40).fill(0)));
  assertEquals(bench.port.sent.map((block) => block.length), [60, 60, 60, 60]);
});

Deno.test("output() counts what the port could not send", () => {
  const bench = new Bench();
  const { data } = bench.conv();
  bench.port.link = false;
  assertEquals(bench.write(data, frame({ dst: PEER_MAC })), 64);
  assertEquals([bench.counter("output errs"), bench.counter("out"), bench.counter("link")], [1, 0, 0]);
});

Deno.test("any frames from the wire throw nothing, stay within the limits, and are counted", () => {
  const bytesArb = fc.oneof(
    fc.uint8Array({ maxLength: 80 }),
    fc.record({
      dst: fc.constantFrom(OUR_MAC, OTHER_MAC, GROUP_MAC, MAC_BROADCAST),
      type: fc.constantFrom(0x800, 0x806, 0x8100, 0, 0xffff),
      length: fc.integer({ min: 0, max: 3000 }),
    }).map(frame),
  );
  const verbs = ["connect 0x800", "connect -1", "connect -2", "promiscuous", "headersonly", "bridge", "offload"];
  fc.assert(
    fc.property(
      fc.array(fc.subarray(verbs), { maxLength: 3 }),
      fc.array(bytesArb, { maxLength: 50 }),
      (cast, frames) => {
        const bench = new Bench();
        bench.port.mbps = 10;
        const convs = cast.map((commands, i) =>
          bench.conv(...commands.filter((command) => i === 0 || command !== "connect 0x800"))
        );
        for (const bytes of frames) bench.port.arrives(bytes);
        const { counters, convs: inner } = bench.dev.nic(0);
        assertEquals(counters.inFrames, frames.length);
        for (const conv of inner) if (conv !== null) assert(conv.queue.length <= conv.queue.limit + 3014);
        const given = convs.reduce((sum, { data }) => sum + bench.count(data), 0);
        const whole = frames.length - counters.lengthErrors - counters.filtered - counters.unclaimed;
        assert(given + counters.softOverflows >= whole);
      },
    ),
    fuzz(300),
  );
});

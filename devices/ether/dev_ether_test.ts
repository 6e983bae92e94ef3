import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Block, BlockPool, Checksum, Segment } from "../../kernel/block.ts";
import type { Chan } from "../../kernel/chan.ts";
import { ChanCtl } from "../../kernel/dev.ts";
import { KernelError } from "../../kernel/error.ts";
import { EventQueue, FdTap, TapEvent } from "../../kernel/fd_tap.ts";
import { EVE, Open } from "../../kernel/qid.ts";
import { SeededRandom } from "../../kernel/random.ts";
import { Rendez } from "../../kernel/rendez.ts";
import { VirtualClock } from "../../kernel/time.ts";
import { MAC_BROADCAST } from "../../kernel/wire/mac_addr.ts";
import {
  ALL_OFFLOADS,
  Bench,
  FakePort,
  frame,
  GROUP_MAC,
  macBytes,
  OUR_MAC,
  PEER_MAC,
  refusal,
} from "../../tests/kit/ip/ether.ts";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { Cable } from "./cable.ts";
import { EtherDev, NICS_MAX } from "./dev_ether.ts";
import { CONVS_MAX } from "./ether.ts";

Deno.test("attach() takes a NIC's number, and 0 for none (akaros 11.16)", () => {
  const bench = new Bench();
  bench.dev.attachPort(new FakePort(macBytes(PEER_MAC)));
  for (const [spec, nic] of [["", 0], ["0", 0], ["0x1", 1], ["01", 1]] as const) {
    const root = bench.dev.attach(spec, "ann");
    assertEquals([root.instance, root.path, root.isDir], [nic, `#ether.${nic}`, true]);
  }
});

Deno.test("attach() answers ENODEV without a NIC, EINVAL to nonsense, EFAIL to a VLAN", () => {
  const { dev } = new Bench();
  for (const spec of ["1", "31", "32", "4000000000", "1.5"]) {
    assertEquals(refusal(() => dev.attach(spec, "a")), "ENODEV");
  }
  for (const spec of ["-1", "x", "0x", "08", " 0", "0.", "0.0", "0.4096", "0.x", "0.1.2", "99999999999"]) {
    assertEquals(refusal(() => dev.attach(spec, "ann")), "EINVAL", spec);
  }
  for (const spec of ["0.1", "0.4095", ".7"]) assertEquals(refusal(() => dev.attach(spec, "ann")), "EFAIL", spec);
});

Deno.test("attachPort() numbers NICs from 0, fills gaps, and takes 32", () => {
  const { dev } = new Bench();
  for (let i = 1; i < NICS_MAX; i++) assertEquals(dev.attachPort(new FakePort()), i);
  assertEquals(refusal(() => dev.attachPort(new FakePort())), "ENOSPC");
  dev.detachPort(7);
  assertEquals(refusal(() => dev.detachPort(7)), "ENODEV");
  assertEquals(dev.attachPort(new FakePort()), 7);
  assertEquals(refusal(() => dev.attachPort(new FakePort(macBytes(GROUP_MAC)))), "EINVAL");
});

Deno.test("opening clone reserves a conversation and becomes its ctl; the ninth is ENODEV", () => {
  const bench = new Bench();
  const ctls = Array.from({ length: CONVS_MAX }, () => bench.open("clone"));
  assertEquals(ctls.map((ctl) => bench.text(ctl)), ["0", "1", "2", "3", "4", "5", "6", "7"]);
  assertEquals(ctls[3]!.path, "#ether.0/ether0/3/ctl");
  assertEquals(refusal(() => bench.open("clone")), "ENODEV");
  ctls[5]!.release();
  assertEquals(bench.text(bench.open("clone")), "5");
});

Deno.test("the last close of ctl and data frees a conversation and all that it was", () => {
  const bench = new Bench();
  const { ctl, data } = bench.conv("connect 0x800", "promiscuous", "headersonly", "bridge", "offload");
  bench.port.arrives(frame());
  ctl.release();
  assertEquals(bench.textOf("0/type"), "2048");
  data.release();
  assertEquals([bench.textOf("0/type"), bench.counter("prom")], ["0", 0]);
  bench.port.arrives(frame());
  const next = bench.conv("connect 0x800");
  assertEquals([next.number, bench.next(next.data)], [0, null]);
  bench.port.arrives(frame());
  assertEquals(bench.next(next.data), frame());
});

Deno.test("walking, O_PATH and status files hold no conversation", () => {
  const bench = new Bench();
  bench.open("clone", { flags: Open.Path }).release();
  assertEquals(bench.dev.nic(0).convs[0], null);
  const { ctl, data } = bench.conv();
  const others = ["0/stats", "0/type"].map((path) => bench.open(path, { flags: Open.Read }));
  others.push(bench.open("0/data", { flags: Open.Path }));
  bench.dev.walk(bench.dev.attach("0", "ann"), ["ether0", "0", "ctl"]).chan!.release();
  for (const chan of [ctl, data, ...others]) chan.release();
  assertEquals(bench.dev.nic(0).convs[0]!.inUse, 0);
});

Deno.test("only the owner and eve may open a conversation that is in use (akaros 11.11)", () => {
  const bench = new Bench();
  const { ctl, data } = bench.conv();
  assertEquals(refusal(() => bench.open("0/data", { user: "bob" })), "EACCES");
  assertEquals(refusal(() => bench.open("0/ctl", { user: "bob", flags: Open.Read })), "EACCES");
  bench.open("0/data", { user: EVE }).release();
  bench.open("0/type", { user: "bob", flags: Open.Read });
  assertEquals(refusal(() => bench.open("0/type", { flags: Open.Write })), "EACCES");
  ctl.release();
  data.release();
  bench.open("0/ctl", { user: "bob" });
  assertEquals(refusal(() => bench.open("0/ctl")), "EACCES");
});

Deno.test("wstat() lets the owner and eve change owner and permissions, and nothing else", () => {
  const bench = new Bench();
  const { ctl } = bench.conv();
  assertEquals(refusal(() => bench.dev.wstat(ctl, { uid: "bob" }, "bob")), "EPERM");
  assertEquals(refusal(() => bench.dev.wstat(ctl, { name: "x" }, "ann")), "EPERM");
  assertEquals(refusal(() => bench.dev.wstat(bench.open("stats", { flags: 1 }), { mode: 0 }, EVE)), "EPERM");
  bench.dev.wstat(ctl, { mode: 0o777 }, "ann");
  assertEquals(bench.dev.stat(ctl).mode, 0o666);
  bench.open("0/data", { user: "bob" });
  bench.dev.wstat(ctl, { uid: "bob", mode: 0o600 }, EVE);
  assertEquals(refusal(() => bench.open("0/data")), "EACCES");
});

Deno.test("a byte write gets our source address, a block write keeps its own", () => {
  const bench = new Bench();
  const { data } = bench.conv();
  const bytes = frame({ dst: PEER_MAC, src: GROUP_MAC });
  assertEquals(bench.write(data, bytes), 64);
  assertEquals(bench.bwrite(data, bytes), 64);
  const [byte, block] = bench.port.sent.map((one) => one.bytes());
  assertEquals(byte, frame({ dst: PEER_MAC, src: OUR_MAC }));
  assertEquals(block, bytes);
  assertEquals(bytes, frame({ dst: PEER_MAC, src: GROUP_MAC }), "the writer's bytes are not touched");
});

Deno.test("frames shorter than a header are EINVAL on both paths (akaros 11.16)", () => {
  const bench = new Bench();
  const { data } = bench.conv();
  for (const length of [0, 1, 13]) {
    assertEquals(refusal(() => bench.write(data, new Uint8Array(length))), "EINVAL");
    const block = Block.from(new Uint8Array(length));
    assertEquals(refusal(() => bench.bwrite(data, block)), "EINVAL");
    assertEquals(block.length, length, "the block is still the caller's");
  }
  assertEquals(bench.write(data, new Uint8Array(14)), 14);
});

Deno.test("frames longer than the MTU and a header are E2BIG as bytes and EMSGSIZE as blocks", () => {
  const bench = new Bench();
  const { data } = bench.conv();
  assertEquals(bench.write(data, frame({ dst: PEER_MAC, length: 1500 })), 1514);
  assertEquals(bench.bwrite(data, frame({ dst: PEER_MAC, length: 1500 })), 1514);
  assertEquals(refusal(() => bench.write(data, frame({ length: 1501 }))), "E2BIG");
  assertEquals(refusal(() => bench.bwrite(data, frame({ length: 1501 }))), "EMSGSIZE");
  bench.port.mtu = 9000;
  assertEquals(bench.bwrite(data, frame({ dst: PEER_MAC, length: 9000 })), 9014);
});

Deno.test("metadata that points outside of its frame is EINVAL", () => {
  const bench = new Bench();
  bench.port.offloads = ALL_OFFLOADS;
  const { data } = bench.conv();
  const owed = Block.from(frame());
  owed.checksum = Checksum.Owed;
  owed.checksumStart = owed.rp + 20;
  owed.checksumField = owed.wp - 1;
  assertEquals(refusal(() => bench.bwrite(data, owed)), "EINVAL");
  const segment = Block.from(frame());
  segment.segment = Segment.Tcp4;
  assertEquals(refusal(() => bench.bwrite(data, segment)), "EINVAL");
});

Deno.test("any bytes and metadata written to data throw nothing but KernelError, and what is sent is a frame", () => {
  const anyNumber = fc.oneof(fc.integer({ min: -10, max: 200 }), fc.double());
  const blockArb = fc.record({
    bytes: fc.uint8Array({ maxLength: 120 }),
    borrowed: fc.uint8Array({ maxLength: 40 }),
    checksum: fc.constantFrom(Checksum.None, Checksum.Verified, Checksum.Owed),
    checksumStart: anyNumber,
    checksumField: anyNumber,
    segment: fc.constantFrom(Segment.None, Segment.Tcp4, Segment.Tcp6, Segment.Udp),
    segmentSize: anyNumber,
    segmentHeaderLen: anyNumber,
  });
  fc.assert(
    fc.property(blockArb, fc.boolean(), fc.boolean(), ({ bytes, borrowed, ...metadata }, asBytes, offloads) => {
      const bench = new Bench();
      bench.port.mtu = 100;
      if (offloads) bench.port.offloads = ALL_OFFLOADS;
      const { data } = bench.conv("connect -1", "promiscuous");
      const block = Object.assign(Block.from(bytes), metadata, borrowed.length > 0 ? { extents: [borrowed] } : {});
      try {
        if (asBytes) bench.write(data, bytes);
        else bench.bwrite(data, block);
      } catch (error) {
        assert(error instanceof KernelError);
      }
      bench.run();
      const lengthMax = offloads ? 160 : 114;
      for (const { length } of bench.port.sent) assert(length >= 60 && length <= lengthMax);
      assert(bench.count(data) <= 1);
    }),
    fuzz(500),
  );
});

Deno.test("an empty data file answers where to wait, and the wait ends with a frame", async () => {
  const bench = new Bench();
  const { data } = bench.conv("connect 0x800");
  const wait = bench.dev.read(data, new Uint8Array(100), 0);
  assert(wait instanceof Rendez);
  assert(bench.dev.bread(data, 100) instanceof Rendez);
  const sleep = wait.sleep();
  bench.port.arrives(frame());
  await sleep.done;
  assertEquals(bench.dev.read(data, new Uint8Array(10), 0), 10);
  assert(bench.dev.read(data, new Uint8Array(100), 0) instanceof Rendez, "a short read loses the rest");
});

Deno.test("a block longer than asked for stays queued; the error has its length", () => {
  const bench = new Bench();
  const { data } = bench.conv("connect 0x800");
  bench.port.arrives(frame());
  try {
    bench.dev.bread(data, 63);
    assert(false);
  } catch (error) {
    assert(error instanceof KernelError);
    assertEquals([error.code, error.length], ["EMSGSIZE", 64]);
  }
  assertEquals(bench.next(data), frame());
});

/** A tap on `data`, and how to poll it. */
function tapOn(bench: Bench, data: Chan, filter: number): { level: number; poll: () => number; tap: FdTap } {
  const events = new EventQueue();
  const tap = new FdTap({ fd: 3, filter, id: 1 << 20, queue: events });
  return { level: bench.dev.tapfd(data, tap, "add"), poll: () => events.poll()?.events ?? 0, tap };
}

Deno.test("data files can be tapped, and adding a tap reports the level (akaros 11.10)", () => {
  const bench = new Bench();
  const { data } = bench.conv("connect 0x800");
  const { Readable, Writable, Hangup, RdHup } = TapEvent;
  const first = tapOn(bench, data, Readable | Writable | Hangup);
  assertEquals(first.level, Writable);
  bench.port.arrives(frame());
  bench.port.arrives(frame());
  assertEquals([first.poll(), first.poll()], [Readable, 0]);
  const second = tapOn(bench, data, RdHup);
  assertEquals(second.level, Readable | Writable);
  bench.next(data);
  bench.port.arrives(frame());
  assertEquals(first.poll(), 0, "no edge: it was not empty");
  bench.count(data);
  bench.port.arrives(frame());
  assertEquals([first.poll(), second.poll()], [Readable, 0]);
  bench.dev.tapfd(data, first.tap, "remove");
  bench.dev.detachPort(0);
  assertEquals([first.poll(), second.poll()], [0, RdHup]);
});

Deno.test("taps on ctl and for events that a NIC has not are ENOSYS; a tap can be changed", () => {
  const bench = new Bench();
  const { ctl, data } = bench.conv("connect 0x800");
  assertEquals(refusal(() => tapOn(bench, ctl, TapEvent.Readable)), "ENOSYS");
  assertEquals(refusal(() => tapOn(bench, data, TapEvent.Written)), "ENOSYS");
  const { tap, poll } = tapOn(bench, data, TapEvent.Hangup);
  tap.filter = TapEvent.Readable;
  bench.dev.tapfd(data, tap, "modify");
  bench.port.arrives(frame());
  assertEquals(poll(), TapEvent.Readable);
});

Deno.test("O_NONBLOCK can be set on an open file, and nothing else that matters (akaros 11.10)", () => {
  const bench = new Bench();
  const { data } = bench.conv();
  assertEquals(bench.dev.chanCtl(data, ChanCtl.SetFlags, Open.NonBlock | Open.CloseOnExec), 0);
  assert(data.nonBlock);
  assertEquals(data.flags, Open.NonBlock);
  bench.dev.chanCtl(data, ChanCtl.SetFlags, 0);
  assertEquals(data.nonBlock, false);
  assertEquals(refusal(() => bench.dev.chanCtl(data, ChanCtl.Debug, 0)), "EINVAL");
});

Deno.test("a NIC that goes away hangs up: what is queued can be read, then EPIPE with the reason", () => {
  const bench = new Bench();
  const { ctl, data } = bench.conv("connect 0x800");
  const stats = bench.open("stats", { flags: Open.Read });
  const root = bench.dev.attach("0", "ann");
  bench.write(data, frame({ dst: MAC_BROADCAST }));
  bench.port.arrives(frame());
  bench.dev.detachPort(0, "unplugged");
  assertEquals(bench.port.receive, null);
  bench.run();
  assertEquals(bench.next(data), frame());
  for (const act of [() => bench.next(data), () => bench.write(data, frame()), () => bench.bwrite(data, frame())]) {
    try {
      act();
      assert(false);
    } catch (error) {
      assert(error instanceof KernelError);
      assertEquals([error.code, error.message], ["EPIPE", "unplugged"]);
    }
  }
  assert(bench.text(stats).includes("link: 0\n"));
  assertEquals(refusal(() => bench.dev.attach("0", "ann")), "ENODEV");
  const clone = bench.dev.walk(root, ["ether0", "clone"]).chan!;
  assertEquals(refusal(() => bench.dev.open(clone, Open.ReadWrite, "ann")), "ENODEV");
  ctl.release();
  data.release();
});

Deno.test("only data and ctl can be written, and no directory can be read", () => {
  const bench = new Bench();
  const addr = bench.open("addr");
  assertEquals(refusal(() => bench.dev.write(addr, new Uint8Array(6), 0)), "EPERM");
  const dir = bench.dev.attach("0", "ann");
  assertEquals(refusal(() => bench.dev.read(dir, new Uint8Array(6), 0)), "EISDIR");
  assertEquals(refusal(() => bench.dev.open(dir, Open.ReadWrite, "ann")), "EACCES");
});

Deno.test("two kernels on one cable exchange frames through their files", () => {
  const clock = new VirtualClock();
  const cable = new Cable(clock, new SeededRandom(1), { delayMs: 2 });
  const conv = (name: string, mac: Uint8Array) => {
    const dev = new EtherDev({ clock, blocks: new BlockPool() });
    dev.attachPort(cable.attach({ name, mac }));
    const open = (...path: string[]) => {
      const { chan } = dev.walk(dev.attach("0", "ann"), ["ether0", ...path]);
      return dev.open(chan!, Open.ReadWrite, "ann") as Chan;
    };
    dev.write(open("clone"), new TextEncoder().encode("connect 0x800"), 0);
    return { dev, data: open("0", "data") };
  };
  const a = conv("a", macBytes(OUR_MAC));
  const b = conv("b", macBytes(PEER_MAC));
  a.dev.write(a.data, frame({ dst: PEER_MAC }), 0);
  clock.advance(2);
  assertEquals((b.dev.bread(b.data, 2000) as Block).bytes(), frame({ dst: PEER_MAC, src: OUR_MAC }));
});

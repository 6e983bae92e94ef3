/**
 * Property tests of the system-call edge: whatever numbers, names and blocks a program passes, it gets an answer or a
 * KernelError; and a block that was refused is still its own, as it was.
 *
 * @module
 */

import { assertEquals, fail } from "@std/assert";
import fc from "fast-check";
import { Block } from "../../../kernel/block.ts";
import { KernelError } from "../../../kernel/error.ts";
import { FDS_MAX } from "../../../kernel/fd_table.ts";
import { EventQueue } from "../../../kernel/fd_tap.ts";
import { Open } from "../../../kernel/qid.ts";
import { AGAIN } from "../../../kernel/sys.ts";
import { fuzzSteps, sequences } from "../../kit/check/fuzz.ts";
import { echoPacket, icmpErrorPacket, ipPacket, pattern, PEER, udpPacket, US } from "../../kit/ip/ip_fixture.ts";
import { advance, errnoOf, type Story, tell, User } from "../../kit/ip/story.ts";
import { damaged } from "../../kit/ip/wire.ts";
import { overLimits } from "../../kit/host/limits.ts";

/** Steps of one host: enough to fill its tables. */
const LIFE = 500;

/** Calls that one process lives for. */
const PROC_LIFE = 200;

/** Numbers as programs have them, and as none should. */
const numbers: fc.Arbitrary<number> = fc.oneof(
  { weight: 6, arbitrary: fc.nat(12) },
  fc.constantFrom(
    -1,
    -100,
    1.5,
    NaN,
    Infinity,
    -Infinity,
    2 ** 31,
    2 ** 32,
    2 ** 53,
    -(2 ** 31),
    1e300,
    100,
    1000,
    4095,
  ),
  fc.constantFrom(...Object.values(Open)),
  fc.constantFrom(FDS_MAX - 1, FDS_MAX, FDS_MAX + 1),
);

const NAMES = [
  ...["/", "", ".", "..", "/..", "/net", "/net/", "/net/udp", "/net/udp/clone", "/net/udp/0/data", "/net/udp/0/ctl/x"],
  ...[
    "/net/icmp/0/err",
    "/net/ipifc/1/snoop",
    "/net/arp",
    "/net/log",
    "/net/ether0/0/data",
    "/net/udp/8192",
    "/dev/time",
  ],
  ...[
    "#",
    "#.",
    "#ip",
    "#ip.1",
    "#ip..",
    "#ip/udp/0/data",
    "#pipe",
    "#pipe/data",
    "#srv/x",
    "#nothing",
    "#ether.0/ether0",
  ],
  ...[
    "/srv",
    "/srv/x",
    "x",
    "x/y",
    "a\0b",
    "é",
    "x".repeat(5000),
    "//net///udp//0",
    "#eventfd/efd",
    "#root",
    "#cons/null",
  ],
];
const names = fc.oneof({ weight: 6, arbitrary: fc.constantFrom(...NAMES) }, fc.string({ maxLength: 20 }));
const bytes = fc.uint8Array({ maxLength: 80 });
/** More than any message may have; not in the generator, so that a failure can be read. */
const LARGE = pattern(70000);

/** Arguments for any call: enough of each kind. */
const calls = fc.record({ call: fc.nat(999), fd: numbers, a: numbers, b: numbers, path: names, to: names, bytes });
type Call = typeof calls extends fc.Arbitrary<infer T> ? T : never;

/** Every system call of the face that never sleeps, with the arguments of `c`. */
const CALLS: readonly ((user: User, c: Call) => unknown)[] = [
  ({ proc }, c) => proc.sys.open(c.path, c.a, c.b),
  ({ proc }, c) => proc.sys.open(c.path, Open.ReadWrite | Open.NonBlock),
  ({ proc }, c) => proc.sys.open(c.path, Open.Path),
  ({ proc }, c) => proc.sys.openat(c.fd, c.path, c.a, c.b),
  ({ proc }, c) => proc.sys.close(c.fd),
  ({ proc }, c) => proc.sys.read(c.fd, c.bytes.slice()),
  ({ proc }, c) => proc.sys.write(c.fd, c.bytes),
  ({ proc }, c) => proc.sys.blockread(c.fd, c.a),
  ({ proc }, c) => proc.sys.blockwrite(c.fd, c.bytes),
  ({ proc }, c) => proc.sys.blockwrite(c.fd, Block.from(c.bytes)),
  ({ proc }, c) => proc.sys.blockwrite(c.fd, LARGE),
  ({ proc }, c) => proc.sys.write(c.fd, LARGE),
  ({ proc }, c) => proc.sys.blockreadv(c.fd, c.a, c.b),
  ({ proc }, c) => proc.sys.blockwritev(c.fd, [c.bytes, Block.from(c.bytes)]),
  ({ proc }, c) => proc.sys.fstat(c.fd),
  ({ proc }, c) => proc.sys.stat(c.path),
  ({ proc }, c) => proc.sys.fcntl(c.fd, c.a, c.b),
  ({ proc }, c) => proc.sys.access(c.path, c.a),
  ({ proc }, c) => proc.sys.umask(c.a),
  ({ proc }, c) => proc.sys.llseek(c.fd, c.a, c.b),
  ({ proc }, c) => proc.sys.link(c.path, c.to),
  ({ proc }, c) => proc.sys.symlink(c.path, c.to),
  ({ proc }, c) => proc.sys.readlink(c.path),
  ({ proc }, c) => proc.sys.unlink(c.path),
  ({ proc }, c) => proc.sys.rename(c.path, c.to),
  ({ proc }, c) => proc.sys.mkdir(c.path, c.a),
  ({ proc }, c) => proc.sys.wstat(c.path, { mode: c.a, uid: c.to }),
  ({ proc }, c) => proc.sys.fwstat(c.fd, { mode: c.a, length: c.b, name: c.to }),
  ({ proc }, c) => proc.sys.chdir(c.path),
  ({ proc }, c) => proc.sys.fchdir(c.fd),
  ({ proc }, c) => proc.sys.getcwd() + proc.sys.fd2path(c.fd),
  ({ proc }, c) => proc.sys.nbind(c.path, c.to, c.a),
  ({ proc }, c) => proc.sys.nmount(c.fd, c.path, c.a),
  ({ proc }, c) => proc.sys.nunmount(c.a > 5 ? null : c.path, c.to),
  ({ proc }, c) => proc.sys.tapFds([{ fd: c.fd, command: c.a, filter: c.b, queue: new EventQueue(), level: true }]),
  ({ proc }, c) => proc.sys.tapFds([{ fd: c.fd, command: c.a, filter: c.b }]),
  ({ proc }, c) => proc.sys.dupFdsTo(c.a, [{ fd: c.fd, childFd: c.b }]),
  ({ proc }, c) => proc.sys.abortFd(c.fd),
  ({ proc }, c) => proc.sys.list(c.path),
];

Deno.test("no arguments make a system call throw anything but KernelError, or leave anything open", async () => {
  const end = async (story: Story) => {
    // All of them: descriptors may have been given to others.
    story.host.kernel.shutdown();
    advance(story.host, 3_600_000);
    assertEquals(overLimits(story.host), []);
    // What the process had open is free again: nothing that it dreamt up was forgotten at its end.
    const { stack } = story;
    const busy = ["udp", "icmp", "raw"].flatMap((name) => {
      const { convs } = stack.space(stack.protoNamed(name)!);
      return convs.filter((conv) => conv.inUse > 0).map(String);
    });
    assertEquals(busy, []);
    await story.host.close();
  };
  await fc.assert(
    fc.asyncProperty(sequences(calls, PROC_LIFE), fc.constantFrom("alice", "eve", "eve"), async (steps, name) => {
      const story = await tell();
      const user = new User(story.host, name);
      for (const call of steps) {
        const number = call.call % CALLS.length;
        try {
          CALLS[number]!(user, call);
        } catch (error) {
          if (error instanceof KernelError) continue;
          fail(`${CALLS[number]} threw what is no KernelError: ${error instanceof Error ? error.stack : error}`);
        }
      }
      await end(story);
    }),
    fuzzSteps(6000, PROC_LIFE),
  );
});

/** What a writer may try: packets, records, frames, too much, too little. */
const ATTEMPTS: readonly Uint8Array[] = [
  ...[0, 7, 28, 36, 52, 60, 100, 1600].map((length) => pattern(length)),
  udpPacket({ src: US, dst: PEER, srcPort: 9, payload: pattern(30) }),
  udpPacket({ src: US, dst: PEER, srcPort: 9, payload: pattern(1600), dontFragment: true }),
  udpPacket({ src: US, dst: "203.0.113.9", srcPort: 9 }),
  echoPacket({ src: US, dst: PEER, id: 77 }),
  echoPacket({ src: US, dst: PEER, id: 78 }),
  icmpErrorPacket({ type: 3, code: 3, packet: udpPacket({ dstPort: 9 }) }, { src: US, dst: PEER }),
  ipPacket({ src: US, dst: PEER, protocol: 47, payload: pattern(20) }),
];

/** Lengths about the limits of messages, packets and frames: tried instead of an attempt. */
const LENGTHS = [65000, 65507, 65508, 65535, 65536, 65537, 65507 + 52, 65508 + 52, 65535 + 36];

/** Descriptors of every kind that a block can be written to; the routes are gone, and a pipe is full. */
function writableFds({ user }: Story): Map<string, number> {
  const { sys } = user.proc;
  const fds = new Map<string, number>();
  const convs: [string, ...string[]][] = [
    ["udp", "bypass 9"],
    ["udp", "bypass 10-20", "bypass-header kernel"],
    ["udp", `connect ${PEER}!9`],
    ["udp", "connect 203.0.113.9!9"],
    ["udp", "headers", "announce 8"],
    ["udp", "oldheaders"],
    ["icmp", "bypass 77"],
    ["icmp", "connect 203.0.113.9!1"],
    ["raw", "bypass 47"],
    ["ipifc"],
  ];
  for (const [proto, ...commands] of convs) {
    const conv = user.conv(proto, ...commands);
    fds.set(`${conv.dir} after "${commands.join(", ")}"`, conv.data);
  }
  user.command("/net/iproute", "flush");
  const ctl = user.open("/net/ether0/clone");
  fds.set("ether", user.open(`/net/ether0/${user.readText(ctl)}/data`));
  for (const oneblock of [true, false]) {
    const pipe = user.open("#pipe", Open.Path);
    if (oneblock) user.write(sys.openat(pipe, "ctl", Open.Write) as number, "oneblock");
    const data = sys.openat(pipe, "data", Open.ReadWrite | Open.NonBlock) as number;
    sys.write(data, pattern(40000));
    fds.set(oneblock ? "full oneblock pipe" : "full pipe", data);
  }
  return fds;
}

Deno.test("a block that is refused, or for which there is no room, is its writer's as it was", async () => {
  const attempts = fc.oneof(...ATTEMPTS.flatMap((one) => [fc.constant(one), damaged(one)]));
  const writes = fc.tuple(fc.nat(999), attempts, fc.nat(40));
  await fc.assert(
    fc.asyncProperty(sequences(writes, LIFE), async (steps) => {
      await using story = await tell();
      const { sys } = story.user.proc;
      const fds = [...writableFds(story)];
      for (const [number, attempt, borrowed] of steps) {
        const bytes = LENGTHS[borrowed] === undefined ? attempt : LARGE.subarray(0, LENGTHS[borrowed]);
        const [where, fd] = fds[number % fds.length]!;
        const cut = Math.max(0, bytes.length - borrowed);
        const block = Block.from(bytes.subarray(0, cut));
        if (borrowed > 0) block.extents = [bytes.slice(cut)];
        let outcome: unknown;
        try {
          outcome = sys.blockwrite(fd, block);
        } catch (error) {
          if (!(error instanceof KernelError)) throw error;
          outcome = AGAIN;
        }
        if (outcome !== AGAIN) continue;
        const same = block.length === bytes.length && block.bytes().every((byte, i) => byte === bytes[i]);
        if (!same) fail(`A block that ${where} refused has changed: ${block.length} of ${bytes.length} bytes`);
        assertEquals([block.segment, block.checksum], [0, 0]);
      }
    }),
    fuzzSteps(3000, LIFE),
  );
});

Deno.test("descriptors and lengths that are no whole numbers are refused", async () => {
  await using story = await tell();
  const { user } = story;
  const { sys } = user.proc;
  const pipe = user.open("#pipe", Open.Path);
  const data = sys.openat(pipe, "data", Open.ReadWrite | Open.NonBlock) as number;
  const data1 = sys.openat(pipe, "data1", Open.ReadWrite | Open.NonBlock) as number;
  user.write(data, "secret");
  user.readText(data1, 3);
  // Below 0 it gave back what had been read already, and the pipe's count of bytes grew.
  for (const max of [-1, -3, 1.5, NaN]) assertEquals(errnoOf(() => sys.blockread(data1, max)), "EINVAL", `${max}`);
  assertEquals([sys.fstat(data1).length, user.readText(data1)], [3, "ret"]);
  const child = story.host.spawn("child");
  for (const childFd of [-1, 1.5, NaN, FDS_MAX, 2 ** 40]) {
    assertEquals(sys.dupFdsTo(child.pid, [{ fd: data, childFd }]), 0, `${childFd}`);
  }
  const F_DUPFD = 0;
  for (const from of [-1, 1.5, NaN, FDS_MAX]) {
    const code = errnoOf(() => sys.fcntl(data, F_DUPFD, from));
    assertEquals(code === "EINVAL" || code === "EMFILE", true, `${from}`);
  }
  // Refused copies hold nothing: the last close is the last.
  sys.close(data);
  user.readText(data1);
  assertEquals(user.read(data1)?.length, 0);
});

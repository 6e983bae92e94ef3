/**
 * Property test of a whole host: whatever bytes are written to a file, nothing is thrown but KernelError, and no queue
 * or table is left above its limit. A property keeps one host for many cases. A failure prints the seed: AKARINO_SEED
 * repeats the whole run.
 *
 * @module
 */

import { assert } from "@std/assert";
import fc from "fast-check";
import { NETIF_VERBS } from "../../../devices/ether/netif_ctl.ts";
import { IPIFC_VERBS } from "../../../devices/ip/files/ipifc_ctl.ts";
import { DirMode, Open } from "../../../kernel/qid.ts";
import { AGAIN } from "../../../kernel/sys.ts";
import { concatBytes } from "../../../kernel/wire/bytes.ts";
import { fuzzSteps, sequences } from "../../kit/check/fuzz.ts";
import { pattern } from "../../kit/ip/ip_fixture.ts";
import { advance, type Story, tell } from "../../kit/ip/story.ts";
import { assertWithinLimits, everyConv, FRAMES, LIMITS_EVERY, mayRefuse, near, PACKETS } from "../../kit/ip/fuzz.ts";

/** Cases that one host of the file property lives for: its tables fill, and then another begins. */
const HOST_LIFE = 250;

const VERBS = [
  ...new Set([...NETIF_VERBS, ...IPIFC_VERBS].map(({ name }) => name)),
  ..."connect announce bind bypass bypass-header bypass-echo shutdown ttl tos ignoreadvice offload rqlimit".split(" "),
  ..."headers oldheaders flush del tag set clear only addmulti remmulti accept hangup keepalive checksum".split(" "),
];

const WORDS = [
  ...[
    "10.0.0.1",
    "10.0.0.9",
    "10.0.0.2!9",
    "10.0.0.1!7",
    "*",
    "*!7",
    "*!*",
    "0",
    "7",
    "-1",
    "1",
    "68",
    "1500",
    "65535",
  ],
  ...["65536", "1-65535", "9-3", "1-255", "4294967296", "0x800", "0x0", "-0x80000000", "99999999999999999999", "1e9"],
  ...[
    "/24",
    "/0",
    "/32",
    "/33",
    "255.255.255.0",
    "255.0.255.0",
    "0.0.0.0",
    "255.255.255.255",
    "224.0.0.5",
    "127.0.0.1",
  ],
  ...["::", "::1", "fe80::1", "ff02::1", "::ffff:10.0.0.1", "on", "off", "rd", "wr", "rdwr", "keep", "kernel", "all"],
  ...["replies", "ether", "loopback", "pkt", "tun", "/net/ether0", "#ether.0/ether0", "/net", "/", "#ip", "#pipe/data"],
  ...["020000000009", "ffffffffffff", "01005e000005", "000000000000", "proxy", "none", "''", "'a b'", "'", "\0", "é"],
  ...["x".repeat(200), "udp", "arp", "icmp", "bypass", "!", "!!", "10.0.0.2!9!r", "10.0.0.2!", "!9", "\n", "\t"],
];

const encoder = new TextEncoder();
/** A command that makes sense, nearly does, or does not. */
const commands = fc.oneof(
  { weight: 8, arbitrary: fc.tuple(fc.constantFrom(...VERBS), fc.array(fc.constantFrom(...WORDS), { maxLength: 5 })) },
  fc.tuple(fc.string({ maxLength: 12 }), fc.array(fc.string({ maxLength: 12 }), { maxLength: 3 })),
).map(([verb, words]) => encoder.encode([verb, ...words].join(" ")));

/** Every file below `dir` that `story`'s user may write, clone files included. */
function writableFiles(story: Story, dir: string): string[] {
  return story.user.proc.sys.list(dir).flatMap(({ name, mode }) => {
    const path = `${dir}/${name}`;
    if ((mode & DirMode.Dir) !== 0) return writableFiles(story, path);
    return (mode & 0o222) !== 0 ? [path] : [];
  });
}

const records = [52, 36].map((length) => concatBytes([pattern(length), pattern(20)]));
const contents = fc.oneof(
  { weight: 4, arbitrary: commands },
  fc.uint8Array({ maxLength: 100 }),
  near([...PACKETS, ...FRAMES.slice(0, 4), ...records, pattern(5000)]),
);

/** A host with something open in every protocol, so that commands to it last, and its writable files. */
async function fileWorld(): Promise<{ story: Story; files: string[] }> {
  const story = await tell();
  const { user } = story;
  everyConv(story);
  for (const proto of ["udp", "udp", "icmp", "raw", "ipifc", "ether0"]) user.open(`/net/${proto}/clone`);
  user.open("/net/log", Open.Read);
  user.open("/net/ipifc/1/snoop", Open.Read);
  return { story, files: ["/net", "/dev", "#ip.3", "#pipe", "#eventfd"].flatMap((dir) => writableFiles(story, dir)) };
}

Deno.test("no bytes in any writable file of any device make the host throw or exceed a limit", async () => {
  const writes = fc.tuple(fc.nat(999), contents, fc.boolean());
  await fc.assert(
    fc.asyncProperty(sequences(writes, HOST_LIFE), async (steps) => {
      const { story, files } = await fileWorld();
      await using _ = story;
      for (const name of ["ctl", "data", "clone", "arp", "ndb", "iproute", "log", "efd", "sysname"]) {
        assert(files.some((file) => file.endsWith(`/${name}`)), `the tree has a writable ${name}`);
      }
      const { user, wire, host } = story;
      const { sys } = user.proc;
      let count = 0;
      for (const [number, bytes, asBlock] of steps) {
        count++;
        const file = files[number % files.length]!;
        mayRefuse(file, () => {
          const fd = sys.open(file, Open.Write | Open.NonBlock);
          if (fd === AGAIN) return;
          mayRefuse(file, () => asBlock ? sys.blockwrite(fd, bytes) : sys.write(fd, bytes));
          sys.close(fd);
          if (count % 16 === 0) advance(host, number);
        });
        mayRefuse(`${file}, and then a packet,`, () => wire.inject(PACKETS[number % PACKETS.length]!));
        if (count % LIMITS_EVERY === 0) assertWithinLimits(story, file);
      }
      assertWithinLimits(story, "The last write");
    }),
    fuzzSteps(4000, HOST_LIFE),
  );
});

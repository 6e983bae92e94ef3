/** The layout of struct msghdr, as Linux reads it. */

import { assertEquals } from "@std/assert";
import { machineTest } from "../../../tests/kit/check/skip.ts";
import { parseIpAddr } from "../../../kernel/wire/ip_addr.ts";
import { receivedAt, receiveSet, sendSet } from "./datagram_sets.ts";
import { takeErrorReport } from "./error_queue.ts";
import { controlSpace, MessageSet } from "./message_set.ts";
import { libc, withLibc } from "../libc.ts";

machineTest("Control data come back as they were put, and stop at a length that cannot be", ["ffi"], () => {
  withLibc(() => {
    const set = new MessageSet(2, { control: 64 });
    let at = set.putInt(1, 0, [0, 2], 64);
    at = set.putInt(1, at, [41, 67], 0xba);
    assertEquals(at, 2 * controlSpace(4));
    set.setControlLength(1, at);
    const seen: number[][] = [];
    const look = () =>
      set.eachControl(1, (...one) => seen.push([one[0], one[1], set.view.getInt32(one[2], true), one[3]]));
    look();
    assertEquals(seen.splice(0), [[0, 2, 64, 4], [41, 67, 0xba, 4]]);
    set.view.setUint32(set.controlAt(1), 3, true);
    look();
    assertEquals(seen, []);
  });
});

machineTest("A datagram that is sent and received through the sets keeps its TTL, TOS and address", ["ffi"], () => {
  withLibc(() => {
    const fd = libc().socket(2, 2 | 0x800, 0);
    const name = new Uint8Array([2, 0, 0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    const length = new Uint8Array(new Int32Array([16]).buffer);
    const on = new Uint8Array(new Int32Array([1]).buffer);
    libc().bind(fd, name, name.length);
    libc().getsockname(fd, name, length);
    for (const option of [8, 12, 13]) libc().setsockopt(fd, 0, option, on, 4);
    const to = { address: parseIpAddr("127.0.0.1")!, port: name[2]! << 8 | name[3]! };
    const parts = [new Uint8Array([1, 2]), new Uint8Array([3])];
    const message = { to, from: null, parts, ttl: 33, tos: 0xb8, dontFragment: false, segmentSize: 0 };
    const sending = sendSet();
    sending.put(0, 4, message);
    assertEquals(libc().sendmmsg(fd, sending.bytes, 1, 0), 1);
    const set = receiveSet(1);
    assertEquals(libc().recvmmsg(fd, set.bytes, 1, 0, null), 1);
    const { payload, ttl, tos, from } = receivedAt(set, 0, to);
    assertEquals({ payload: [...payload], ttl, tos, port: from.port }, {
      payload: [1, 2, 3],
      ttl: 33,
      tos: 0xb8,
      port: to.port,
    });
    assertEquals(takeErrorReport(fd, to), null, "no error waits");
    libc().close(fd);
  });
});

import { assertEquals } from "@std/assert";
import { machineTest } from "../../../tests/kit/check/skip.ts";
import { SocketLab } from "../../../tests/kit/host/sockets.ts";
import { libc } from "../libc.ts";
import { putSockaddr, sockaddrAt } from "./family.ts";
import { MessageBlocks } from "./message_blocks.ts";

const MSG_DONTWAIT = 0x40;

machineTest("MessageBlocks carry messages while the collector clears all that is not theirs", ["ffi"], async () => {
  await using lab = new SocketLab();
  const [one, other] = [lab.datagrams("127.0.0.1"), lab.datagrams("127.0.0.1")];
  const [from, to] = [one, other].map((socket) => (socket as typeof socket & { fd: number }).fd);
  const sent = new MessageBlocks(3, 3000);
  const got = new MessageBlocks(4, 4096);
  for (let round = 0; round < 300; round++) {
    for (let i = 0; i < 3; i++) {
      sent.payload.fill(round + i, i * 1000, i * 1000 + 10 * i);
      sent.setPayload(i, i * 1000, 10 * i);
      sent.setLengths(i, putSockaddr(sent.names, sent.nameAt(i), 4, other.local), 0);
    }
    for (let i = 0; i < 4; i++) {
      got.setPayload(i, i * 1024, 1024);
      got.setRoom(i);
    }
    // Garbage of the size of what the pointers point to, so that freed memory would be used again.
    const garbage = Array.from({ length: 50 }, () => new Uint8Array(4096).fill(0xee));
    assertEquals(libc().sendmmsg(from!, sent.headers, 3, MSG_DONTWAIT), 3);
    assertEquals(libc().recvmmsg(to!, got.headers, 4, MSG_DONTWAIT, null), 3);
    for (let i = 0; i < 3; i++) {
      assertEquals(got.lengthOf(i), 10 * i);
      assertEquals(got.payload.subarray(i * 1024, i * 1024 + 10 * i), new Uint8Array(10 * i).fill(round + i));
      assertEquals(sockaddrAt(got.names, got.nameAt(i)), one.local);
    }
    assertEquals(garbage.length, 50);
  }
});

/** Sockets of Linux' own stack, on the loopback interface. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { machineTest } from "../../tests/kit/check/skip.ts";
import { ECONNREFUSED, HostError, libc } from "./libc.ts";
import { LinuxSocket, type Received } from "./linux_socket.ts";
import { createNetns, holdNetns, type Netns } from "./netns.ts";
import { pause } from "./pause.ts";

/** The next message, as soon as there is one; null after a second. */
async function next(socket: LinuxSocket): Promise<Received | null> {
  let message = socket.receive();
  for (let i = 0; message === null && i < 1000; i++) {
    await pause();
    message = socket.receive();
  }
  return message;
}

async function checkSizes(addr: string, netns: Netns | null, version: 4 | 6): Promise<void> {
  const server = new LinuxSocket("udp", netns, version);
  const client = new LinuxSocket("udp", netns, version);
  try {
    server.bind(addr, 47113);
    for (const size of [0, 1, 9000, 65507]) {
      assert(client.sendTo(new Uint8Array(size).fill(size & 255), addr, 47113));
      const message = await next(server);
      assertEquals({ length: message?.bytes.length, addr: message?.addr }, { length: size, addr });
    }
    assertEquals(server.receive(), null);
  } finally {
    server.close();
    client.close();
  }
}

machineTest("LinuxSocket sends datagrams of any size and receives them whole, with their sender", ["ffi"], async () => {
  await checkSizes("127.0.0.1", null, 4);
});

machineTest("LinuxSocket over IPv6: datagrams of any size, an echo request, and IPv4's port", [
  ...["root", "netns"] as const,
], async () => {
  const netns = holdNetns();
  try {
    await checkSizes("::1", netns, 6);
    // The loopback answers itself. The message comes without an IP header.
    const icmp = new LinuxSocket("icmp", netns, 6);
    icmp.sendTo(new Uint8Array([128, 0, 0, 0, 1, 2, 3, 4]), "::1", 0);
    const types = [(await next(icmp))?.bytes[0], (await next(icmp))?.bytes[0]];
    icmp.close();
    assertEquals(types, [128, 129]);
    const sockets = ([4, 6] as const).map((version) => new LinuxSocket("udp", netns, version));
    ["0.0.0.0", "::"].forEach((addr, i) => sockets[i]!.bind(addr, 47116));
    for (const socket of sockets) socket.close();
  } finally {
    netns.close();
  }
});

machineTest("a connected LinuxSocket reports a closed port", ["ffi"], async () => {
  const socket = new LinuxSocket("udp", null);
  const errors: number[] = [];
  socket.onError = (errno) => errors.push(errno);
  try {
    // struct sockaddr_in of 127.0.0.1!47115.
    const name = new Uint8Array([2, 0, 47115 >> 8, 47115 & 255, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    assertEquals(libc().connect(socket.fd, name, name.length), 0);
    socket.sendTo(new Uint8Array(1), "127.0.0.1", 47115);
    for (let i = 0; errors.length === 0 && i < 1000; i++) {
      assertEquals(socket.drain(1), 0);
      await pause();
    }
    assertEquals(errors, [ECONNREFUSED]);
    assertEquals([socket.drain(1), errors.length], [0, 1]);
  } finally {
    socket.close();
  }
});

machineTest("LinuxSocket names the end that it cannot bind, and what it cannot send", ["ffi"], () => {
  const socket = new LinuxSocket("udp", null);
  try {
    assertThrows(() => socket.bind("192.0.2.1", 7), HostError, "192.0.2.1!7");
    assertThrows(() => socket.bind("1.2.3", 7), HostError, '"1.2.3"');
    assertThrows(() => socket.sendTo(new Uint8Array(65508), "127.0.0.1", 7), HostError, "65508 bytes");
  } finally {
    socket.close();
  }
});

machineTest(
  "LinuxSocket opens inside a namespace, where only that namespace's addresses are",
  ["root", "netns"],
  () => {
    const netns = createNetns(`akarino-socket-${Deno.pid}`);
    const socket = new LinuxSocket("udp", netns);
    try {
      socket.bind("127.0.0.1", 47114);
      assertThrows(() => socket.sendTo(new Uint8Array(1), "10.255.255.1", 7), HostError);
    } finally {
      socket.close();
      netns.close();
    }
  },
);

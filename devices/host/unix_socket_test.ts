import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { machineTest } from "../../tests/kit/check/skip.ts";
import { RealClock } from "./clock.ts";
import { HostError } from "./libc.ts";
import { pause } from "./pause.ts";
import { Reactor } from "./reactor.ts";
import { GONE, LATER, UnixDatagram, UnixListener, UnixStream } from "./unix_socket.ts";

/** A folder for sockets and a running loop, for as long as `work` lasts. */
async function withLoop(work: (folder: string, reactor: Reactor) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "akarino-unix-" });
  const reactor = new Reactor({ clock: new RealClock() });
  reactor.start();
  try {
    await work(folder, reactor);
  } finally {
    await reactor.stop();
    await Deno.remove(folder, { recursive: true });
  }
}

async function until(holds: () => boolean): Promise<void> {
  for (const end = Date.now() + 5000; !holds();) {
    assert(Date.now() < end, "it never came to be");
    await pause();
  }
}

machineTest("a stream: connections come by the loop, full ones wait, the end is seen", ["ffi"], async () => {
  await withLoop(async (folder, reactor) => {
    using listener = new UnixListener(`${folder}/s`);
    const streams: UnixStream[] = [];
    listener.onConnection((stream) => streams.push(stream));
    reactor.add(listener);
    using client = UnixStream.connect(listener.path);
    await until(() => streams.length === 1);
    using server = streams[0]!;
    const into = new Uint8Array(100_000);
    assertEquals(server.read(into), LATER);

    const bytes = new Uint8Array(50_000).fill(7);
    let written = 0;
    for (let count = 0; (count = client.write(bytes)) !== LATER;) written += count;
    assert(written > 100_000);
    let told = 0;
    client.onWritable = () => told++;
    client.awaitWritable(reactor);
    client.awaitWritable(reactor);
    for (let i = 0; i < 20; i++) await pause();
    assertEquals(told, 0);
    let seen = 0;
    server.onReadable = () => {
      const count = server.read(into);
      if (count > 0) seen += count;
      return 1;
    };
    reactor.add(server);
    await until(() => seen === written);
    assertEquals(told, 1);
    client.awaitWritable(reactor);
    await until(() => told === 2);

    client.close();
    server.onReadable = null;
    assertEquals([server.read(into), server.write(bytes), server.write(bytes)], [GONE, GONE, GONE], "and no SIGPIPE");
  });
});

machineTest("datagrams: a full queue waits, and the current owner of the path gets them", ["ffi"], async () => {
  await withLoop(async (folder, reactor) => {
    using ours = new UnixDatagram(`${folder}/a`, `${folder}/b`);
    assertEquals(ours.send(new Uint8Array(60)), GONE, "there is no peer yet");
    const peer = () => new UnixDatagram(`${folder}/b`, `${folder}/a`);
    using theirs = peer();
    const into = new Uint8Array(2000);
    for (let round = 0; round < 3; round++) {
      let sent = 0;
      while (ours.send(new Uint8Array(sent % 1500)) === 1) sent++;
      assert(sent > 0);
      let told = 0;
      ours.onWritable = () => {
        ours.resume();
        told++;
      };
      ours.awaitWritable(reactor);
      for (let i = 0; i < 20; i++) await pause();
      assertEquals(told, 0);
      for (let i = 0; i < sent; i++) assertEquals(theirs.receive(into), i % 1500);
      assertEquals(theirs.receive(into), LATER);
      await until(() => told === 1);
    }
    while (ours.send(into) === 1);
    ours.awaitWritable(reactor);
    theirs.close();
    using another = peer();
    ours.resume();
    assertEquals([another.send(into.subarray(0, 9)), ours.receive(into)], [1, 9]);
    assertEquals([ours.send(into.subarray(0, 8)), another.receive(into)], [1, 8]);
  });
});

machineTest("a path: taken, stale, no socket, too long; its file goes with the socket", ["ffi"], async () => {
  await withLoop(async (folder) => {
    const path = `${folder}/s`;
    const exists = () => Deno.statSync(folder) && [...Deno.readDirSync(folder)].some((entry) => entry.name === "s");
    for (const open of [() => new UnixListener(path), () => new UnixDatagram(path, `${folder}/peer`)]) {
      const first = open();
      assertEquals(assertThrows(open, HostError, "another program has it").code, "EADDRINUSE");
      await Deno.rename(path, `${path}2`);
      first.close();
      // A socket file without a listener, as a killed program leaves it.
      await Deno.rename(`${path}2`, path);
      const second = open();
      second.close();
      assertEquals(exists(), false);
    }
    await Deno.writeTextFile(path, "precious");
    assertThrows(() => new UnixListener(path), HostError, "it is no socket");
    assertEquals(await Deno.readTextFile(path), "precious");
    const long = assertThrows(() => new UnixListener("x".repeat(108)), HostError);
    assertStringIncludes(long.message, "too long, 107 bytes at most");
    assertEquals(assertThrows(() => UnixStream.connect(`${folder}/none`), HostError).code, "ENOENT");
    assertEquals(assertThrows(() => UnixStream.connect(""), HostError).code, "EINVAL");
    using early = new UnixListener(`${folder}/t`);
    using client = UnixStream.connect(early.path);
    early.drain(8);
    assertEquals(client.read(new Uint8Array(1)), GONE, "who asked for no connections closes them");
  });
});

machineTest("a path: its file is the user's alone, or has the mode that is asked for", ["ffi"], async () => {
  await withLoop(async (folder) => {
    const modeOf = (path: string) => Deno.statSync(path).mode! & 0o777;
    using usual = new UnixListener(`${folder}/a`);
    using datagram = new UnixDatagram(`${folder}/b`, `${folder}/peer`);
    using open = new UnixListener(`${folder}/c`, 0o666);
    assertEquals([usual.path, datagram.path, open.path].map(modeOf), [0o600, 0o600, 0o666]);
    await Promise.resolve();
  });
});

machineTest("a path that is a successor's by now stays: its file goes with its own socket", ["ffi"], async () => {
  await withLoop(async (folder) => {
    const path = `${folder}/s`;
    for (const open of [() => new UnixListener(path), () => new UnixDatagram(path, `${folder}/peer`)]) {
      const first = open();
      await Deno.remove(path);
      const second = open();
      first.close();
      assertEquals(Deno.statSync(path).isSocket, true, "the successor's");
      second.close();
      assertEquals([...Deno.readDirSync(folder)], []);
    }
  });
});
